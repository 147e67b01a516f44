"""Opening the test split, once: its record, and what every trained network sees in its images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.session.open_run import Run
from poolsearch.stages.retraining.controls import TrainedControl
from poolsearch.stages.retraining.finalists import Selection
from poolsearch.stages.retraining.outcome import judgement, results_on_test
from poolsearch.stages.standalone.trial import Trial, predictions
from poolsearch.storage.files import atomic, damaged, finite, is_whole, write_json
from poolsearch.storage.run_record import ended
from poolsearch.storage.stage_results import read_opening
from poolsearch.texts import command


def trials_of(chosen: Selection, rivals: Sequence[TrainedControl], seeds: int) -> list[Trial]:
    """All trainings, each once; seed by seed, so that an early stop leaves whole comparisons.

    Args:
        chosen: the finalists.
        rivals: the controls; those with nothing to train are passed over.
        seeds: trainings of each.

    Returns:
        In the order in which they are trained, those that finalists and controls share once.
    """
    every = [
        [Trial(finalist.placement, seed) for finalist in chosen.finalists]
        + [rival.trials[seed] for rival in rivals if rival.trials]
        for seed in range(seeds)
    ]
    return list(dict.fromkeys(trial for of_seed in every for trial in of_seed))


def check_choice(run: Run, chosen: Selection) -> None:
    """A test split that was opened for one winner, and one pick of each answer, is not opened for others.

    Args:
        run: open; nothing is written.
        chosen: what the ranking chooses now.

    Raises:
        PoolsearchError: it was; or what it was opened for is not known any more.
    """
    recorded = read_opening(run.dir)
    if not recorded and ended(run.dir, "retrain"):
        raise damaged(run.dir.test, "the test split was opened, and the file that says so is missing")
    now = _choice(chosen)
    if any(recorded.get(name, value) != value for name, value in now.items()):
        raise PoolsearchError(
            f"the test split of {run.dir.root} was opened for {recorded['winner']}, but the ranking now begins with "
            f"{chosen.winner}, or its answers at a compute budget are others. Restore ranking.csv, or start a new run "
            "with --out."
        )


def open_test(run: Run, chosen: Selection, rivals: Sequence[TrainedControl], seeds: int) -> None:
    """Evaluate every trial on the test split, and judge.

    The opening is written down before the first image is read, and what the networks reached before it is judged: a run
    that ends between the two is gone on with by judging what is there, without evaluating or opening anything anew.

    Args:
        run: open, with all trials trained; ``test.json`` in its folder takes the results.
        chosen: the finalists and picks, which are fixed.
        rivals: the controls.
        seeds: trainings of each.

    Raises:
        PoolsearchError: the results cannot be judged, by a fault of ours; they stay.
    """
    before = read_opening(run.dir)
    opened = before.get("opened", datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record = {
        "opened": opened, **_choice(chosen), "default": str(run.space.default), "images": len(run.split.test),
    }  # fmt: skip
    trials = trials_of(chosen, rivals, seeds)
    predicted = _kept(run, trials) if "trials" in before else None
    found = None if predicted is None else results_on_test(run, chosen, rivals, predicted)
    if predicted is None or found is None or any(before.get(name) != finite(value) for name, value in found.items()):
        write_json(run.dir.test, record)
        predicted = _evaluate(run, trials)
        found = results_on_test(run, chosen, rivals, predicted)
        write_json(run.dir.test, record | found)
    try:
        said = judgement(run, chosen, rivals, predicted)
    except Exception as error:  # a fault of ours, after all was paid for: what it cost must not be lost
        raise PoolsearchError(
            f"the networks were evaluated, and what each reached on the test split is in {run.dir.test}; but judging "
            f"it failed: {type(error).__name__}: {error}. This is a fault of poolsearch: please report it. With a "
            f"version that has it mended, {command('run', '--resume', '--out', run.dir.root)} judges these results; "
            "nothing is trained or evaluated again."
        ) from error
    controls = [entry | judged for entry, judged in zip(found["controls"], said["controls"], strict=True)]
    write_json(run.dir.test, record | found | said | {"controls": controls})


def _evaluate(run: Run, trials: Sequence[Trial]) -> dict[Trial, NDArray[np.int64]]:
    """What every trained network sees in the test images; kept beside it."""
    predicted: dict[Trial, NDArray[np.int64]] = {}
    with run.progress.bar("test", len(trials)) as update:
        for done, trial in enumerate(trials, 1):
            predicted[trial] = predictions(run, trial, run.dir.retrain, run.split.test, "test")
            small = predicted[trial].astype(np.min_scalar_type(len(run.images.class_names) - 1))
            _save_array(_predicted_of(run, trial), small)
            update(done, "")
    return predicted


def _kept(run: Run, trials: Sequence[Trial]) -> dict[Trial, NDArray[np.int64]] | None:
    """What was evaluated before; None where something of it is missing, damaged or not of this test split."""
    predicted: dict[Trial, NDArray[np.int64]] = {}
    for trial in trials:
        if not is_whole(_predicted_of(run, trial)):
            return None
        try:
            small = np.load(_predicted_of(run, trial), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if small.shape != run.split.test.shape or small.dtype.kind != "u" or small.max() >= len(run.images.class_names):
            return None
        predicted[trial] = small.astype(np.int64)
    return predicted


def _predicted_of(run: Run, trial: Trial) -> Path:
    return trial.folder(run.dir.retrain) / "test_predicted.npy"


def _choice(chosen: Selection) -> dict[str, Any]:
    """What is fixed before the split is opened, for test.json."""
    return {
        "winner": str(chosen.winner),
        "answers": [{"limit": limit, "placement": pick and str(pick)} for limit, pick in chosen.picks],
    }


def _save_array(path: Path, array: NDArray[np.integer]) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)
