"""What the ranking leaves: the rows of ranking.csv, and ranking.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from poolsearch.answers import answers_of
from poolsearch.context import Run
from poolsearch.metrics import interval, score
from poolsearch.mixture.mixture import Mixture
from poolsearch.stages.ranking.choice import Candidates, Pair, by_member
from poolsearch.stages.ranking.early_stop import ERROR
from poolsearch.stages.ranking.tally import Tally
from poolsearch.stats import kendall_tau
from poolsearch.supernet.prefix_tree import tree_macs

COLUMNS = (
    "rank", "placement", "number", "val_accuracy", "low", "high", "score", "member", "assignment", "macs", "macs_ratio",
    "is_default", "control", "images", "val_metric",
)  # fmt: skip


def rows_of(
    run: Run, mixture: Mixture, candidates: Candidates, pairs: Sequence[Pair], tally: Tally
) -> list[dict[str, Any]]:
    """One row per placement, best first by the metric; a tie is decided by fewer MACs, then by number.

    Placements stopped early come after all others, by their metric on the images that they saw. ``score`` is free
    of the initial score, and empty for a pair never scored.
    """
    metric, classes = run.settings.data.metric, len(run.images.class_names)
    correct_P, images_P = tally.correct_P.tolist(), tally.images_P.tolist()
    value_P = [float(score(metric, *tally.seen(i), classes)) for i in range(len(pairs))]
    default_macs = run.costs.macs(run.space.default)
    learnt_AM = mixture.learnt_score_AM()
    best: dict[int, int] = {}
    merit = [(bool(tally.stopped_P[i]), -value_P[i]) for i in range(len(pairs))]
    for place in sorted(range(len(pairs)), key=lambda i: merit[i]):
        best.setdefault(pairs[place][0], place)
    order = sorted(candidates.numbers, key=lambda n: (*merit[best[n]], run.macs_A[n], n))
    rows = []
    for position, number in enumerate(order, 1):
        place = best[number]
        member, correct, images = pairs[place][1], correct_P[place], images_P[place]
        low, high = interval(metric, *tally.seen(place), classes)
        placement = run.space[number]
        values = (
            position, str(placement), number, correct / images, low, high, _finite(learnt_AM[number, member]), member,
            float(mixture.assign_AM[number, member]), int(run.macs_A[number]), run.macs_A[number] / default_macs,
            placement == run.space.default, number in candidates.control, images,
            value_P[place],
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The text of ranking.csv, or of another table."""
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary_of(
    run: Run, rows: Sequence[dict[str, Any]], measured: dict[str, float], pairs: Sequence[Pair], tally: Tally
) -> dict[str, Any]:
    """The contents of ranking.json."""
    placements = [[run.space[number] for number in own] for own in by_member(pairs).values()]
    costs = [[run.costs.block_macs(p) for p in group] for group in placements]
    shared = sum(tree_macs(rows_, group) for rows_, group in zip(costs, placements, strict=True))
    scored = [row for row in rows if row["score"] is not None]
    settings = run.settings
    return {
        "images": len(run.split.search_val),
        "metric": settings.data.metric,
        "mode": "all" if len(rows) == run.space.size else "top",
        "members": settings.rank.rank_members,
        "norm": settings.search.norm,
        "placements": len(rows),
        "eval_batch": tally.batch,
        **measured,
        "macs_saving": sum(sum(sum(row) for row in group) for group in costs) / shared,
        "early_stop": _early_stop(run, rows, tally) if settings.rank.rank_early_stop else None,
        "answers": answers(rows, settings.retrain.answer_at),
        "tau_score_accuracy": tau(scored, "score"),
        "tau_macs_accuracy": tau(rows, "macs"),
    }


def answers(rows: Sequence[dict[str, Any]], answer_at: Sequence[float]) -> list[dict[str, Any]]:
    """The pick of each limit on MACs, and what it is worth on the search-val half."""
    kept = ("placement", "rank", "val_metric", "macs", "macs_ratio")
    return [
        {"limit": answer.limit} | {name: None if answer.place is None else rows[answer.place][name] for name in kept}
        for answer in answers_of([row["macs_ratio"] for row in rows], answer_at)
    ]


def _early_stop(run: Run, rows: Sequence[dict[str, Any]], tally: Tally) -> dict[str, Any]:
    return {
        "top": run.settings.retrain.top_k,
        "error": ERROR,
        "stopped": sum(row["images"] < tally.images for row in rows),
        "images_saved": 1 - float(tally.images_P.mean()) / tally.images,
    }


def tau(rows: Sequence[dict[str, Any]], column: str) -> float | None:
    """Kendall's tau of a column with the metric on the search-val half; None where it is not defined."""
    return _finite(kendall_tau([row[column] for row in rows], [row["val_metric"] for row in rows]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
