"""Run folders that earlier versions wrote, used by this one: each name ends with the commit that wrote it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from poolsearch.cli.main import main

OLD = Path(__file__).parents[1] / "old_runs"


def copy(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / name, tmp_path / "run"))


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy("begun-a1d06cd", tmp_path)
    assert main(["run", str(run), "--resume"]) == 0
    said = capsys.readouterr()
    stages = json.loads((run / "run.json").read_text())["stages"]
    search = [entry for entry in stages if entry["stage"] == "search"]
    assert search[-1]["resumed_at_step"] > 0 and search[-1]["ended"], said
    assert {entry["stage"] for entry in stages} >= {"search", "rank", "retrain"}
    assert len(json.loads((run / "test.json").read_text())["trials"]) == 4  # the default and another, two seeds each


@pytest.mark.slow
def test_a_run_that_ended_is_reported_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy("ended-796e7c6", tmp_path)
    opened = (run / "test.json").read_bytes()
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert "5,3,2" in page and "4,3,3" in page
    assert main(["export", str(run)]) == 0
    exported = json.loads((run / "export" / "export.json").read_text())
    assert exported["placement"] == "5,3,2"
    assert (run / "test.json").read_bytes() == opened, capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_tested_by_an_earlier_version_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy("ended-796e7c6", tmp_path)
    opened = json.loads((run / "test.json").read_text())
    weights = {path: path.read_bytes() for path in run.glob("retrain/*/*/model.safetensors")}
    assert main(["retrain", str(run), "--quiet"]) == 0
    assert json.loads((run / "test.json").read_text()) == opened  # nobody asked for more
    assert main(["retrain", str(run), "--retrain-seeds", "3", "--top-k", "3"]) == 0, capsys.readouterr().err
    grown = json.loads((run / "test.json").read_text())
    assert grown["earlier"] == [opened]
    assert (grown["seeds"], grown["top_k"], grown["level"], grown["winner"]) == (3, 3, 0.025, "5,3,2")
    assert len(grown["trials"]) == 9
    assert {path: path.read_bytes() for path in weights} == weights
    assert main(["retrain", str(run), "--retrain-seeds", "2"]) == 2
