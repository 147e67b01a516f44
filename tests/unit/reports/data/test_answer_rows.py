"""Answers and controls of a run, by hand and on older runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_run import compositions, write_fake_run

from poolsearch.reports.data.answer_rows import answer_rows
from poolsearch.reports.data.rows import retrained_rows
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.figures.test_accuracy import accuracy_on_test_by_macs
from poolsearch.reports.figures.theme import page_specs
from poolsearch.reports.page.tables import answers, controls
from poolsearch.reports.terminal import show


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "run", 2, snapshots=3)


def change_test(folder: Path, change) -> None:
    test = json.loads((folder / "test.json").read_text())
    change(test)
    (folder / "test.json").write_text(json.dumps(test))


def test_before_retraining_the_answers_are_there_from_the_ranking(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 2, stages=("search", "rank"), snapshots=2))
    rows = answer_rows(data)
    assert [row.limit for row in rows] == [1.0, 1.5, None]  # of runs that do not say: the default's
    for row in rows:
        within = [r for r in data.ranking if r.macs_ratio is not None and r.macs_ratio <= (row.limit or 1e9)]
        assert row.pick == within[0]
        assert (row.tested, row.default, row.better) == (None, None, False)
    assert "test" not in answers(data).split("<tbody>")[0].replace("latest", "")
    asked = {"settings": {"retrain": {"answer_at": [0.7]}}}
    rows = answer_rows(dataclasses.replace(data, run=data.run | asked))
    assert [row.limit for row in rows] == [0.7, None]


def test_the_answers_of_the_test_are_shown(folder: Path) -> None:
    rows = answer_rows(read_run(folder))
    none = rows[-1]
    assert none.limit is None and none.pick is not None and none.pick.rank == 1
    assert none.better and none.adjusted_p == 0.008
    assert none.tested is not None and none.tested["placement"] == none.pick.placement
    shown = answers(read_run(folder))
    assert "99.8%" in shown and "p 0.008" in shown


def test_a_run_of_before_there_were_answers_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def older(test) -> None:
        for name in ("answers", "controls", "notes"):
            del test[name]

    change_test(folder, older)
    data = read_run(folder)
    rows = answer_rows(data)
    assert [row.limit for row in rows] == [1.0, 1.5, None]
    assert rows[-1].default is not None and rows[-1].default["difference"] == data.test["difference"]
    assert controls(data) == ""
    assert accuracy_on_test_by_macs(data) is not None
    show(folder)
    assert "Answers" in capsys.readouterr().out


def test_no_placement_within_a_limit_is_said(folder: Path) -> None:
    data = read_run(folder)
    asked = {"settings": {"retrain": {"answer_at": [0.01]}}}

    change_test(folder, lambda test: test["answers"].insert(0, {"limit": 0.01, "placement": None}))
    for found in (dataclasses.replace(data, run=data.run | asked, test=None), read_run(folder)):
        assert answer_rows(found)[0].pick is None
        assert "none was ranked" in answers(found)


def test_other_costs_are_shown_where_they_are_known(folder: Path) -> None:
    assert not any(name in answers(read_run(folder)) for name in ("latency", "memory", "receptive"))
    table = pq.read_table(folder / "costs.parquet")
    size = table.num_rows
    table = table.append_column("latency_ms", pa.array([1.25] * size))
    table = table.append_column("memory", pa.array([None] * size, pa.int64()))
    table = table.append_column("field_height", pa.array([[11, 36, 102]] * size))
    pq.write_table(table, folder / "costs.parquet")
    shown = answers(read_run(folder))
    assert "1.25 ms" in shown and "11, 36, 102 px" in shown and "memory" not in shown


def test_controls_are_told_and_drawn_but_are_no_finalists(folder: Path) -> None:
    (folder / "retrain" / "4,3,3@40" / "0").mkdir(parents=True)

    def larger_images(test) -> None:
        test["controls"][0]["control"] = "input-size"
        for trial in test["controls"][0]["trials"]:
            trial |= {"placement": "4,3,3", "image_size": 40}

    assert "8,1,1 (most MACs)" in controls(read_run(folder))
    change_test(folder, larger_images)
    data = read_run(folder)
    assert any(trial.placement == "4,3,3 at 40x40" for trial in data.trials)
    assert len(retrained_rows(data)) == 6
    table = controls(data)
    assert "4,3,3 at 40x40" in table and "90.00%" in table
    assert "<p>MACs alone would choose something else.</p>" in table
    figure = accuracy_on_test_by_macs(data)
    assert figure is not None
    values = [rows for spec in page_specs(figure) for rows in spec["datasets"].values()]
    points = next(rows for rows in values if len(rows) == 7)
    assert sum(point["role"] == "control" for point in points) == 1
    for point in points:
        beaten = any(
            other["macs"] <= point["macs"] and other["mean"] >= point["mean"] and other != point for other in points
        )
        assert point["front"] == (not beaten)


def test_before_the_test_is_opened_only_finalists_are_listed(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 2, compositions(10, 3), ("search", "rank", "retrain"), snapshots=3)
    (folder / "retrain" / "1,1,8" / "0").mkdir(parents=True)  # a random pick
    assert "1,1,8" not in [entry.placement for entry in retrained_rows(read_run(folder))]


def test_what_is_printed_after_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(folder)
    printed = capsys.readouterr().out
    assert "99.8%" in printed and "MACs alone would choose something else." in printed
    assert printed.index("Answers") < printed.index("Move the downsampling")
