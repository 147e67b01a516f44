"""Reading: large tables are followed in part, and damaged files are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import compositions, write_fake_run

from poolsearch.errors import PoolsearchError
from poolsearch.reports import write_report
from poolsearch.reports.data.rows import retrained_rows
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.data.score_table import MOST_PLACEMENTS
from poolsearch.reports.figures.curves import curves
from poolsearch.reports.text.verdict_text import verdict


def test_every_part_is_read(run: Path) -> None:
    data = read_run(run)
    assert data.scores is not None
    assert data.scores.assign_TAM.shape == (100, 36, 4)
    assert data.scores.assign_TAM.sum(2) == pytest.approx(1)
    assert data.scores.total == 36
    assert data.members == 4
    assert len(data.trials) == 18
    assert data.winner is not None
    assert data.winner.placement == "7,2,1"
    assert data.default_row is not None
    assert data.default_row.rank == 13


def test_a_ranking_of_before_there_was_a_column_of_images_is_read(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 2, compositions(5, 3), ("search", "rank"), snapshots=2)
    path = folder / "ranking.csv"
    now = read_run(folder).ranking
    path.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in path.read_text().splitlines()))
    then = read_run(folder).ranking
    assert {row.images for row in now} == {25_000}
    assert {row.images for row in then} == {None}
    assert [row.placement for row in then] == [row.placement for row in now]
    write_report(folder)
    assert "stopped early" not in (folder / "report.html").read_text()


@pytest.mark.parametrize("stages", [("search",), ("search", "rank")])
def test_a_large_space_is_followed_in_part(tmp_path: Path, stages: tuple[str, ...]) -> None:
    placements = compositions(12, 4)
    data = read_run(write_fake_run(tmp_path, 2, placements, stages, snapshots=3))
    assert data.scores is not None
    assert data.scores.total == len(placements) == 165
    assert len(data.scores.placements) == MOST_PLACEMENTS
    assert data.default in data.scores.placements
    assert data.scores.last.num_rows == 2 * 165


def test_a_line_cut_off_by_an_interruption_is_dropped(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 1, compositions(5, 3), ("search",), snapshots=2)
    whole = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(whole[:-20])
    assert len(read_run(folder).events) == len(whole.splitlines()) - 1


OLD_EVENTS = """\
{"stage": "search", "epoch": 0, "step": 195, "seconds": 34.339, "learning_rate": 0.1, "val_accuracy": 0.1904}
{"stage": "search", "epoch": 1, "step": 390, "seconds": 81.142, "learning_rate": 0.09, "val_accuracy": null}
"""  # as older versions wrote them


def test_events_of_a_run_that_an_older_version_began_have_todays_names(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 1, compositions(5, 3), ("search",), snapshots=2)
    resumed = '{"stage": "search", "epoch": 2, "step": 585, "val_metric": 0.25}\n'
    (folder / "events.jsonl").write_text(OLD_EVENTS + resumed)
    data = read_run(folder)
    assert [event["val_metric"] for event in data.events] == [0.1904, None, 0.25]
    assert curves(data) is not None
    assert verdict(data).sentence.endswith("epoch 2; validation minibatches are at 25.0%.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", None),
        ("ranking.csv", "rank,placement\n1,\n"),
        ("ranking.json", "nonsense"),
        ("events.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n'),
        ("events.jsonl", "[1]\n"),
        ("scores.parquet", "not parquet"),
        ("test.json", '{"opened": "x", "verdict": "y"}'),
        ("skipped.json", "[1]"),
        ("skipped.json", '[{"path": "a"}]'),
        ("retrain/1,1,3/0/metrics.json", "{"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str | None) -> None:
    folder = write_fake_run(tmp_path, 2, compositions(5, 3), ("search", "rank"), snapshots=2)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(PoolsearchError, match=path.name):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_placements_have_their_text_for_people(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 2, snapshots=3, unequal=True))
    names = {row.placement for row in data.ranking}
    assert data.default == "4,3,3" and data.default_row is not None and data.default_row.placement == "4,3,3"
    assert "h 7,2,1 · w 7,1,2" in names and len(names) == 36
    assert data.scores is not None and {*data.scores.placements} == names
    assert data.test is not None and data.test["winner"] == data.ranking[0].placement
    tested = {entry["placement"] for entry in data.test["summary"]}
    assert tested == {trial.placement for trial in data.trials} == {e["placement"] for e in data.test["trials"]}
    assert tested < names
    assert [row.rank for row in retrained_rows(data)] == [1, 2, 3, 4, 5, 13]  # found again in the ranking


def test_a_test_file_without_placements_is_damaged(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 2, snapshots=3)
    test = json.loads((folder / "test.json").read_text())
    (folder / "test.json").write_text(json.dumps(test | {"trials": [{"seed": 0}]}))
    with pytest.raises(PoolsearchError, match=r"test.json is damaged"):
        read_run(folder)
