"""The figures as files, and what they show."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from altair.utils.schemapi import SchemaValidationError
from fake_run import compositions, write_fake_run

from poolsearch.reports.data.run_data import RunData, read_run
from poolsearch.reports.figures.all_figures import figures
from poolsearch.reports.figures.heatmap import MOST_CELLS
from poolsearch.reports.figures.theme import Figure, page_specs, styled, to_svg

NAMES = ["accuracy_macs", "assignment", "curves", "ladder", "retrain", "scores", "alone_macs"]


def test_the_figures_folder_holds_each_figure_twice(run: Path) -> None:
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(
        f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_pictures(run: Path, name: str) -> None:
    svg = ElementTree.parse(run / "figures" / f"{name}.svg").getroot()
    assert svg.tag.endswith("svg")
    assert len(list(svg.iter())) > 30
    png = (run / "figures" / f"{name}.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width == pytest.approx(2 * float(svg.attrib["width"]), abs=2)
    assert height > 300


def test_the_ladder_shows_the_default_first_and_where_each_row_halves(run: Path) -> None:
    ladder = figures(read_run(run))[0]
    svg = (run / "figures" / "ladder.svg").read_text()
    assert svg.index(">4,3,3<") < svg.index(">7,2,1<")
    values = [rows for spec in page_specs(ladder) for rows in spec["datasets"].values()]
    blocks = next(rows for rows in values if "resolution" in rows[0])
    winner = [block["resolution"] for block in blocks if block["placement"] == "7,2,1"]
    assert winner == ["full"] * 7 + ["1/2"] * 2 + ["1/4"]


def test_every_chart_fits_the_schema_of_vega_lite_which_nothing_else_looks_at(run: Path, unequal: RunData) -> None:
    for figure in (*figures(read_run(run)), *figures(unequal)):
        for panel in figure.panels:
            styled(panel).to_dict(validate=True)
    with pytest.raises(SchemaValidationError):
        styled(panel).configure_view(stroke=1).to_dict(validate=True)


def test_a_heat_map_of_a_large_run_stays_light(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 8, compositions(12, 4), ("search",), snapshots=60))
    figure = next(figure for figure in figures(data) if figure.name == "assignment")
    assert len(figure.panels) == 8
    assert "Shown are 60 of 165 placements" in figure.caption
    cells = [len(rows) for spec in page_specs(figure) for rows in spec["datasets"].values()]
    assert sum(cells) <= MOST_CELLS


def test_one_member_has_no_assignment(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 1, compositions(5, 3), ("search", "rank"), snapshots=3))
    assert [figure.name for figure in figures(data)] == ["ladder", "accuracy_macs", "curves", "scores"]


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A run in which height and width are halved each by itself; its first is 7,2,1 high and 7,1,2 wide."""
    return read_run(write_fake_run(tmp_path_factory.mktemp("runs") / "unequal", 2, snapshots=3, unequal=True))


def datasets(figure: Figure) -> list[list[dict[str, Any]]]:
    return [rows for spec in page_specs(figure) for rows in spec["datasets"].values() if rows]


def test_the_ladder_of_unequal_placements_has_height_above_width(unequal: RunData) -> None:
    ladder = figures(unequal)[0]
    assert "upper half of a bar is the resolution of its height" in ladder.caption
    assert "h and w count the blocks" in ladder.caption
    blocks = next(rows for rows in datasets(ladder) if "resolution" in rows[0])
    winner = [block for block in blocks if block["placement"] == "h 7,2,1 · w 7,1,2"]
    resolution = {axis: [b["resolution"] for b in winner if b["axis"] == axis] for axis in ("height", "width")}
    assert resolution == {
        "height": ["full"] * 7 + ["1/2"] * 2 + ["1/4"],
        "width": ["full"] * 7 + ["1/2"] + ["1/4"] * 2,
    }
    # the first row is the default: its bars are as high above their middle as below, and halve with the resolution
    default = [block for block in blocks if block["placement"] == "4,3,3"]
    assert len(default) == 20
    above = [b["bottom"] - b["top"] for b in default if b["axis"] == "height"]
    assert above == [b["bottom"] - b["top"] for b in default if b["axis"] == "width"]
    assert above == pytest.approx([0.42] * 4 + [0.21] * 3 + [0.105] * 3)
    assert {b["bottom"] for b in default if b["axis"] == "height"} == {0}
    assert {b["top"] for b in default if b["axis"] == "width"} == {0}


def test_the_numbers_of_unequal_placements_count_the_blocks_of_each_axis(unequal: RunData) -> None:
    texts = [row for rows in datasets(figures(unequal)[0]) for row in rows if "place" in row]
    winner = sorted((t["from"], t["text"], t["top"] < 1) for t in texts if 0.5 < t["top"] < 1.5)
    assert winner == sorted(
        [(0.5, "7", True), (7.5, "2", True), (9.5, "1", True), (0.5, "7", False), (7.5, "1", False), (8.5, "2", False)]
    )
    assert {t["place"] for t in texts} == {"inside", "above", "below"}


def test_every_figure_names_unequal_placements_as_people_read_them(unequal: RunData) -> None:
    drawn = figures(unequal)
    names = ["ladder", "accuracy_macs", "alone_macs", "retrain", "assignment", "curves", "scores"]
    assert [figure.name for figure in drawn] == names
    for figure in drawn:
        text = json.dumps(page_specs(figure), ensure_ascii=False) + figure.caption + figure.alt
        assert "h 7,2,1 · w 7,1,2" in text, figure.name
        assert "0x0_" not in text and "_1x" not in text, figure.name
        assert ElementTree.fromstring(to_svg(figure)).tag.endswith("svg")


def test_a_square_run_has_no_word_of_two_axes(run: Path) -> None:
    ladder = figures(read_run(run))[0]
    blocks = next(rows for rows in datasets(ladder) if "resolution" in rows[0])
    assert not any("axis" in block for block in blocks)
    assert "width" not in ladder.caption and "h and w" not in ladder.caption


def test_a_long_name_stands_on_the_side_where_there_is_room(unequal: RunData) -> None:
    def side(row_macs: int) -> str:
        macs = [100, *range(100, 200, 10), 200]
        first, *others = unequal.ranking[: len(macs) + 1]
        ranking = [dataclasses.replace(first, macs=row_macs)]
        ranking += [dataclasses.replace(row, macs=m) for row, m in zip(others, macs, strict=True)]
        data = dataclasses.replace(unequal, ranking=ranking)
        spec = page_specs(next(f for f in figures(data) if f.name == "accuracy_macs"))[0]
        named = {name for name, rows in spec["datasets"].items() if rows and rows[0].get("name", "").startswith("best")}
        marks = [layer["mark"] for layer in spec["layer"] if layer["data"].get("name") in named and len(named) == 1]
        return next(mark["align"] for mark in marks if mark["type"] == "text")

    assert side(110) == "left"
    assert side(190) == "right"
