"""kill -9 while trials are trained, then --resume: the same are trained, and all ends as if never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from killing import KILL_AT
from poolsearch.storage.run_dir import RunDir

Python = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = (
    "--method spos --rank-by prediction --trials 4 --epochs 1 --trial-epochs 1 --width 2 --precision fp32 --device cpu "
    "--batch 64 --val-batch 64 --checkpoint-seconds 0.2 --workers 1 --quiet --placements 4,3,3 5,3,2 7,1,2 1,1,8 "
    "--top-k 1 --retrain-seeds 1 --retrain-epochs 1 --control --answer-at"
).split()


def results(out: Path) -> dict[str, Any]:
    """Everything the ranking leaves, but for times."""
    files = RunDir(out)
    assert not list(out.rglob("*.tmp")), "a killed process's temporary file was left"
    timed = ("seconds_tree", "seconds_one_by_one", "measured_saving", "evaluation")
    summary = json.loads(files.ranking_summary.read_text())
    kept: dict[str, Any] = {path.name: path.read_text() for path in (files.ranking, files.members, files.trials_record)}
    kept["ranking.json"] = {name: value for name, value in summary.items() if name not in timed}
    for trial in sorted(files.trials.glob("*/*")):
        name = f"{trial.parent.name}/{trial.name}"
        metrics = json.loads((trial / "metrics.json").read_text())
        kept[f"{name} metrics"] = {k: v for k, v in metrics.items() if k != "seconds"}
        kept[f"{name} files"] = sorted(p.name for p in trial.iterdir())
    return kept


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, python: Python) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("reference") / "run"
    done = python("-m", "poolsearch", "run", "--out", out, *FLAGS)
    assert done.returncode == 0, done.stderr
    return results(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "count"),
    [
        ("members.csv", "after", 1),
        ("trials.json", "after", 3),  # the second round is chosen, and nothing of it trained
        pytest.param("metrics.json", "before", 3, marks=pytest.mark.nightly),
        pytest.param("metrics.json", "after", 4, marks=pytest.mark.nightly),
        pytest.param("trials.json", "before", 4, marks=pytest.mark.nightly),
        pytest.param("ranking.csv", "after", 1, marks=pytest.mark.nightly),
        ("ranking.json", "after", 2),  # by all trials, and ranking.csv not there yet
    ],
)
def test_killed_at_a_write_it_ends_bit_identical(
    tmp_path: Path, uninterrupted: dict[str, Any], python: Python, name: str, moment: str, count: int
) -> None:
    out = tmp_path / "run"
    killed = python("-c", KILL_AT, name, moment, str(count), "run", "--out", out, *FLAGS)
    assert killed.returncode == -signal.SIGKILL
    done = python("-m", "poolsearch", "run", "--out", out, "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert results(out) == uninterrupted
