"""A ranking by stand-alone trainings: its order, the rows of ranking.csv, and ranking.json."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from poolsearch.evaluation.stats import wilson
from poolsearch.samplers.successive_halving import Rung
from poolsearch.session.run import Run
from poolsearch.stages.ranking.table import EVALUATED, answer_entries, kendall_tau_of
from poolsearch.tasks.task import class_metric_of


@dataclass(frozen=True)
class TrainedPlacement:
    """Where a placement ended: epochs it was trained, and how each seed then did on the search-val images."""

    number: int
    epochs: int
    scored: Sequence[ScoredTraining]

    @property
    def correct(self) -> int:
        """Images that are right, over all seeds."""
        return sum(scored.correct for scored in self.scored)


@dataclass(frozen=True)
class ScoredTraining:
    """A training on the search-val images: how many are right (see ``Measure.right``), the metric with its interval."""

    correct: int
    value: float
    low: float
    high: float


def best_first(run: Run, standings: Iterable[TrainedPlacement]) -> list[TrainedPlacement]:
    """Best first, among placements trained equally far; ties as in every ranking: fewer MACs, then the number.

    Args:
        run: open; its metric decides.
        standings: each with as many seeds as the others.

    Returns:
        The same placements in order.
    """

    def merit(standing: TrainedPlacement) -> float:
        # whole numbers, where there are any: of sums of fractions, equal ones may differ in the last bit
        if run.settings.data.metric == "accuracy":
            return standing.correct
        return math.fsum(scored.value for scored in standing.scored)

    return sorted(standings, key=lambda s: (-merit(s), run.macs_A[s.number], s.number))


def standalone_rows(run: Run, standings: Sequence[TrainedPlacement], seeds: int) -> list[dict[str, Any]]:
    """One row per placement in the order given; what only supernets have is empty.

    Accuracy and metric are means over seeds, the interval is that of one training on the search-val images: the mean
    of the seeds' intervals, for accuracy the interval of the mean.

    Args:
        run: open.
        standings: best first.
        seeds: trainings of each placement.

    Returns:
        For each placement a value of each of the columns of ranking.csv.
    """
    images, default_macs = len(run.split.search_val), run.costs.macs(run.space.default)
    rows = []
    for position, standing in enumerate(standings, 1):
        placement, macs = run.space[standing.number], int(run.macs_A[standing.number])
        low, high = (statistics.mean(ends) for ends in zip(*((s.low, s.high) for s in standing.scored), strict=True))
        accuracy = standing.correct / seeds / images
        if class_metric_of(run.task) is None:
            accuracy = statistics.mean(scored.value for scored in standing.scored)
        if run.settings.data.metric == "accuracy":
            low, high = wilson(round(standing.correct / seeds), images)
        values = (
            position, str(placement), standing.number, accuracy, low, high, None, None, None,
            macs, macs / default_macs, placement == run.space.default, False, images,
            statistics.mean(scored.value for scored in standing.scored),
        )  # fmt: skip
        rows.append(dict(zip(EVALUATED, values, strict=True)))
    return rows


def standalone_summary(
    run: Run, rows: Sequence[dict[str, Any]], standings: Sequence[TrainedPlacement], plan: Sequence[Rung]
) -> dict[str, Any]:
    """The contents of ranking.json. Accuracies of different rungs are not compared with MACs.

    Args:
        run: open.
        rows: of ranking.csv, best first.
        standings: the same placements, in any order.
        plan: all rungs of the method, the longest last.

    Returns:
        JSON values by their keys; ``whole_trainings`` is what was trained, in trainings of full length.
    """
    full = plan[-1].epochs
    return {
        "images": len(run.split.search_val),
        "mode": "all" if len(rows) == run.space.size else "drawn",
        "metric": run.settings.data.metric,
        "method": run.settings.search.method,
        "placements": len(rows),
        "answers": answer_entries(rows, run.settings.retrain.answer_at),
        "rungs": [dataclasses.asdict(rung) for rung in plan],
        "finished": sum(standing.epochs == full for standing in standings),
        "whole_trainings": sum(standing.epochs * len(standing.scored) for standing in standings) / full,
        "tau_macs_accuracy": kendall_tau_of(rows, "macs") if len(plan) == 1 else None,
    }
