"""The figures as files, and what they show."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_run import compositions, write_fake_run

from poolsearch.reports.heatmap import MOST_CELLS
from poolsearch.reports.plots import figures
from poolsearch.reports.read import read_run
from poolsearch.reports.theme import page_specs

NAMES = ["accuracy_macs", "assignment", "curves", "ladder", "retrain", "scores"]


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
