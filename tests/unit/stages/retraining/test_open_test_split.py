"""The test split is opened once, and what it costs is kept when the judgement fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolsearch
from conftest import TINY
from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.text.caveats import grave_warnings
from poolsearch.reports.text.verdict_text import verdict as told
from poolsearch.settings import Settings
from poolsearch.stages.retraining import open_test_split, outcome
from poolsearch.stages.standalone import trial as alone
from poolsearch.storage.run_dir import RunDir

pytestmark = pytest.mark.slow  # whole runs


def fails(*_: Any, **__: Any) -> Any:
    raise ValueError("f(a) and f(b) must have different signs")


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("done again")


def test_a_failure_to_judge_leaves_the_results_and_they_are_judged_again(
    tmp_path: Path, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "judge_picks", fails)
        with pytest.raises(PoolsearchError, match=r"judging it failed: ValueError: f\(a\) and f\(b\)") as error:
            poolsearch.run(out, tiny(placements=("4,3,3", "5,3,2"), control=("random",)))
    assert str(RunDir(out).test) in str(error.value) and f"run --resume --out {out}" in str(error.value)

    left = json.loads(RunDir(out).test.read_text())
    assert "verdict" not in left and left["opened"]
    of_seeds = {entry["placement"]: entry["mean"] for entry in left["summary"]}
    for name, mean in of_seeds.items():
        values = [trial["value"] for trial in left["trials"] if trial["placement"] == name]
        assert mean == pytest.approx(np.mean(values))
    assert left["controls"][0]["mean"] and left["controls"][0]["winner"] is None
    data = read_run(out)
    assert "not judged" in grave_warnings(data)[0] and "--resume" in grave_warnings(data)[0]
    assert told(data).command is not None and "--resume" in told(data).command

    with monkeypatch.context() as patch:
        patch.setattr(open_test_split, "predictions", never)
        patch.setattr(alone, "train_standalone", never)
        poolsearch.run(out, resume=True)
    done = json.loads(RunDir(out).test.read_text())
    assert done["verdict"] and done["opened"] == left["opened"]
    kept = {name: value for name, value in left.items() if name not in ("answers", "controls")}
    assert {name: done[name] for name in kept} == kept
    assert set(done["failed"]) <= {*of_seeds} and len(done["notes"]) == 1
    assert "adjusted_p" in done["answers"][-1]

    # judged without a fault from the start it says the same
    left["answers"], left["controls"] = done["answers"], done["controls"]
    whole = tmp_path / "whole"
    poolsearch.run(whole, tiny(placements=("4,3,3", "5,3,2"), control=("random",)))
    assert json.loads(RunDir(whole).test.read_text()) | {"opened": ""} == done | {"opened": ""}


@pytest.fixture(scope="module")
def not_judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test split was opened, and whose results could not be judged."""
    out = tmp_path_factory.mktemp("not_judged") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_test_split, "judgement", fails)
        with pytest.raises(PoolsearchError):
            poolsearch.run(out, Settings.of(**TINY | {"placements": ("4,3,3", "5,3,2")}))
    return out


@pytest.mark.parametrize("damage", ["gone", "another"])
def test_predictions_that_do_not_fit_the_results_are_made_again(not_judged: Path, tmp_path: Path, damage: str) -> None:
    out = Path(shutil.copytree(not_judged, tmp_path / "run"))
    left = json.loads(RunDir(out).test.read_text())
    one = next(RunDir(out).retrain.glob("*/*/test_predicted.npy"))
    if damage == "gone":
        one.unlink()
    else:
        np.save(one, (np.load(one) + 1) % 10)
    poolsearch.retrain(out)
    done = json.loads(RunDir(out).test.read_text())
    assert (done["trials"], done["opened"]) == (left["trials"], left["opened"]) and done["verdict"]
