"""A ranking by stand-alone trainings: its order, the rows of ranking.csv, and ranking.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from poolsearch.context import Run
from poolsearch.rungs import Rung
from poolsearch.stages.ranking.table import COLUMNS, tau
from poolsearch.stats import wilson


@dataclass(frozen=True)
class Standing:
    """Where a placement ended: epochs it was trained, and search-val images it then got right, over all seeds."""

    number: int
    epochs: int
    correct: int


def order(run: Run, standings: Iterable[Standing]) -> list[Standing]:
    """Best first, among placements trained equally far; ties as in every ranking: fewer MACs, then the number."""
    return sorted(standings, key=lambda s: (-s.correct, run.macs_A[s.number], s.number))


def standing_rows(run: Run, standings: Sequence[Standing], seeds: int) -> list[dict[str, Any]]:
    """One row per placement in the order given; what only supernets have is empty.

    The accuracy is the mean over seeds, its interval that of one training on the search-val images.
    """
    images, default_macs = len(run.split.search_val), run.costs.macs(run.space.default)
    rows = []
    for position, standing in enumerate(standings, 1):
        placement, macs = run.space[standing.number], int(run.macs_A[standing.number])
        low, high = wilson(round(standing.correct / seeds), images)
        values = (
            position, str(placement), standing.number, standing.correct / seeds / images, low, high, None, None, None,
            macs, macs / default_macs, placement == run.space.default, False, images,
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def standing_summary(run: Run, rows: Sequence[dict[str, Any]], plan: Sequence[Rung]) -> dict[str, Any]:
    """The contents of ranking.json. Accuracies of different rungs are not compared with MACs."""
    return {
        "images": len(run.split.search_val),
        "mode": "all",
        "method": run.settings.search.method,
        "placements": len(rows),
        "rungs": [dataclasses.asdict(rung) for rung in plan],
        "tau_macs_accuracy": tau(rows, "macs") if len(plan) == 1 else None,
    }
