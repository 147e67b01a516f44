"""Opening the test split, once: its record, the evaluations, and what came out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.context import Run
from poolsearch.errors import PoolsearchError
from poolsearch.files import atomic, read_json, write_json
from poolsearch.stages.alone import Trial, correct, diverged
from poolsearch.stages.retraining.finalists import Finalist
from poolsearch.stats import Difference, paired_difference
from poolsearch.verdict import verdict


def check_winner(run: Run, winner: Finalist) -> None:
    """A test split that was opened for one winner is not opened for another.

    Raises:
        PoolsearchError: it was.
    """
    recorded = read_json(run.dir.test)["winner"] if run.dir.test.exists() else None
    if recorded not in (None, str(winner.placement)):
        raise PoolsearchError(
            f"the test split of {run.dir.root} was opened for {recorded}, but the ranking now begins with "
            f"{winner.placement}. Restore ranking.csv, or start a new run with --out."
        )


def open_test(run: Run, finalists: Sequence[Finalist], seeds: int) -> None:
    """Evaluate every trial on the test split; the opening is written down before the first image is read."""
    winner, default = str(finalists[0].placement), str(run.space.default)
    before = read_json(run.dir.test) if run.dir.test.exists() else {}
    opened = before.get("opened", datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record = {"opened": opened, "winner": winner, "default": default, "images": len(run.split.test)}
    write_json(run.dir.test, record)
    correct_of: dict[str, list[NDArray[np.bool_]]] = {}
    trials = [Trial(finalist.placement, seed) for seed in range(seeds) for finalist in finalists]
    with run.progress.bar("test", len(trials)) as update:
        for done, trial in enumerate(trials, 1):
            found_N = correct(run, trial, run.dir.retrain, run.split.test, "test")
            _save_array(trial.folder(run.dir.retrain) / "test_correct.npy", found_N)
            correct_of.setdefault(str(trial.placement), []).append(found_N)
            update(done, "")
    write_json(run.dir.test, record | _results(run, finalists, correct_of))


def _save_array(path: Path, array: NDArray[np.bool_]) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)


def _results(run: Run, finalists: Sequence[Finalist], correct_of: dict[str, list[NDArray[np.bool_]]]) -> dict[str, Any]:
    winner, default = str(finalists[0].placement), str(run.space.default)
    accuracy = {name: [float(c.mean()) for c in found] for name, found in correct_of.items()}
    default_macs = run.costs.macs(run.space.default)
    summary = []
    for finalist in finalists:
        name, macs = str(finalist.placement), run.costs.macs(finalist.placement)
        values = accuracy[name]
        summary.append({
            "placement": name, "rank": finalist.rank, "is_default": name == default, "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else None, "n": len(values), "macs": macs,
            "macs_ratio": macs / default_macs,
        })  # fmt: skip
    top = [row["mean"] for row in summary if row["rank"] is not None and row["rank"] <= run.settings.retrain.top_k]
    macs_ratio = summary[0]["macs_ratio"]
    difference = _difference(correct_of[winner], correct_of[default]) if winner != default else None
    return {
        "trials": [
            {"placement": name, "seed": seed, "accuracy": value}
            for name, values in accuracy.items()
            for seed, value in enumerate(values)
        ],
        "summary": summary,
        "top1": statistics.mean(accuracy[winner]),
        "best_of_top": max(top),
        "mean_of_top": statistics.mean(top),
        "difference": difference and dataclasses.asdict(difference),
        "verdict": verdict(
            finalists[0].placement.shown, run.space.default.shown, difference, macs_ratio,
            _diverged(run, finalists, len(accuracy[winner])),
        ),
    }  # fmt: skip


def _diverged(run: Run, finalists: Sequence[Finalist], seeds: int) -> set[str]:
    """Placements of which a training has no finite loss, as people read them."""
    trials = [Trial(finalist.placement, seed) for seed in range(seeds) for finalist in finalists]
    return {trial.placement.shown for trial in trials if diverged(trial.folder(run.dir.retrain))}


def _difference(a: list[NDArray[np.bool_]], b: list[NDArray[np.bool_]]) -> Difference | None:
    return paired_difference(np.stack(a), np.stack(b)) if len(a) > 1 else None
