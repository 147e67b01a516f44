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
from poolsearch.metrics import Ints, contributions, in_words
from poolsearch.stages.alone import Trial, diverged, predictions
from poolsearch.stages.retraining.classes import class_results
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
    predicted_of: dict[str, list[Ints]] = {}
    trials = [Trial(finalist.placement, seed) for seed in range(seeds) for finalist in finalists]
    with run.progress.bar("test", len(trials)) as update:
        for done, trial in enumerate(trials, 1):
            predicted_N = predictions(run, trial, run.dir.retrain, run.split.test, "test")
            small = predicted_N.astype(np.min_scalar_type(len(run.images.class_names) - 1))
            _save_array(trial.folder(run.dir.retrain) / "test_predicted.npy", small)
            predicted_of.setdefault(str(trial.placement), []).append(predicted_N)
            update(done, "")
    write_json(run.dir.test, record | _results(run, finalists, predicted_of))


def _save_array(path: Path, array: Ints) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)


def _results(run: Run, finalists: Sequence[Finalist], predicted_of: dict[str, list[Ints]]) -> dict[str, Any]:
    winner, default = str(finalists[0].placement), str(run.space.default)
    true_N, metric = run.images.label_N[run.split.test], run.settings.data.metric
    classes = len(run.images.class_names)
    # of each seed and image, so that the mean over images is the metric
    added_of = {name: contributions(metric, true_N, np.stack(found), classes) for name, found in predicted_of.items()}
    value_of = {name: added_SN.mean(1).tolist() for name, added_SN in added_of.items()}
    default_macs = run.costs.macs(run.space.default)
    summary = []
    for finalist in finalists:
        name, macs = str(finalist.placement), run.costs.macs(finalist.placement)
        values = value_of[name]
        summary.append({
            "placement": name, "rank": finalist.rank, "is_default": name == default, "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else None, "n": len(values), "macs": macs,
            "macs_ratio": macs / default_macs,
        })  # fmt: skip
    top = [row["mean"] for row in summary if row["rank"] is not None and row["rank"] <= run.settings.retrain.top_k]
    macs_ratio = summary[0]["macs_ratio"]
    difference = _difference(added_of[winner], added_of[default]) if winner != default else None
    of_both = {"winner": predicted_of[winner], "default": predicted_of[default]}
    return {
        "metric": metric,
        "trials": [
            {"placement": name, "seed": seed, "accuracy": float((predicted_N == true_N).mean()), "value": value}
            for name, values in value_of.items()
            for seed, (value, predicted_N) in enumerate(zip(values, predicted_of[name], strict=True))
        ],
        "summary": summary,
        "classes": class_results(true_N, of_both, run.images.class_names),
        "top1": statistics.mean(value_of[winner]),
        "best_of_top": max(top),
        "mean_of_top": statistics.mean(top),
        "difference": difference and dataclasses.asdict(difference),
        "verdict": verdict(
            finalists[0].placement.shown, run.space.default.shown, difference, macs_ratio,
            _diverged(run, finalists, len(value_of[winner])), in_words(metric),
        ),
    }  # fmt: skip


def _diverged(run: Run, finalists: Sequence[Finalist], seeds: int) -> set[str]:
    """Placements of which a training has no finite loss, as people read them."""
    trials = [Trial(finalist.placement, seed) for seed in range(seeds) for finalist in finalists]
    return {trial.placement.shown for trial in trials if diverged(trial.folder(run.dir.retrain))}


def _difference(a_SN: NDArray[np.float64], b_SN: NDArray[np.float64]) -> Difference | None:
    return paired_difference(a_SN, b_SN) if len(a_SN) > 1 else None
