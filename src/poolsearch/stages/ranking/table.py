"""What the ranking leaves: the rows of ranking.csv, and ranking.json."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolsearch.evaluation.budget_picks import answers_of
from poolsearch.evaluation.metrics import interval, score
from poolsearch.evaluation.stats import kendall_tau
from poolsearch.mixture.mixture import Mixture
from poolsearch.session.open_run import Run
from poolsearch.stages.ranking.choice import Candidates, Pair, by_member
from poolsearch.stages.ranking.early_stop import ERROR
from poolsearch.stages.ranking.tally import Tally
from poolsearch.supernet.prefix_tree import tree_macs

COLUMNS = (
    "rank", "placement", "number", "val_accuracy", "low", "high", "score", "member", "assignment", "macs", "macs_ratio",
    "is_default", "control", "images", "val_metric",
)  # fmt: skip


@dataclass(frozen=True)
class _Evaluated:
    """What a placement is worth on the images that it saw: by one member, or by the mean of all of them."""

    member: int
    stopped: bool
    value: float
    accuracy: float
    low: float
    high: float
    images: int


def rows_of(
    run: Run, mixture: Mixture, candidates: Candidates, pairs: Sequence[Pair], tally: Tally
) -> list[dict[str, Any]]:
    """One row per placement, best first by the metric; a tie is decided by fewer MACs, then by number.

    What a tree search settled on stands before all others (paper, appendix C: it alone is evaluated). Placements
    stopped early come after all others, by their metric on the images that they saw. ``score`` is free
    of the initial score, and empty for a pair never scored. With ``--rank-members mean`` metric, accuracy and interval
    are the means of those of all members, and the member named is the most probable one.

    Args:
        run: open.
        mixture: its scores and final assignment.
        candidates: the placements.
        pairs: what was evaluated: (number of the placement, member).
        tally: what each pair saw, in the order of ``pairs``.

    Returns:
        For each placement a value of each of the columns of ranking.csv.
    """
    seen = _seen(run, mixture, pairs, tally)
    default_macs = run.costs.macs(run.space.default)
    learnt_AM = mixture.learnt_score_AM()

    def place(number: int) -> tuple[float, ...]:
        one = seen[number]
        return number != candidates.found, one.stopped, -one.value, run.macs_A[number], number

    order = sorted(candidates.numbers, key=place)
    rows = []
    for position, number in enumerate(order, 1):
        found, placement = seen[number], run.space[number]
        values = (
            position, str(placement), number, found.accuracy, found.low, found.high,
            _finite(learnt_AM[number, found.member]), found.member, float(mixture.balanced_AM[number, found.member]),
            int(run.macs_A[number]), run.macs_A[number] / default_macs, placement == run.space.default,
            number in candidates.control, found.images, found.value,
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _seen(run: Run, mixture: Mixture, pairs: Sequence[Pair], tally: Tally) -> dict[int, _Evaluated]:
    """What each placement is worth: the best of the members that evaluated it, or their mean."""
    found: dict[int, list[_Evaluated]] = {}
    for place, (number, _) in enumerate(pairs):
        found.setdefault(number, []).append(_by_one(run, pairs, tally, place))
    if run.settings.rank.rank_members == "mean":
        member_A = mixture.final_member_A()
        return {number: _by_all(int(member_A[number]), several) for number, several in found.items()}
    return {number: min(several, key=lambda one: (one.stopped, -one.value)) for number, several in found.items()}


def _by_one(run: Run, pairs: Sequence[Pair], tally: Tally, place: int) -> _Evaluated:
    metric, classes, seen = run.settings.data.metric, len(run.images.class_names), tally.seen(place)
    low, high = interval(metric, *seen, classes)
    true_N, predicted_N = seen
    accuracy, images = float((true_N == predicted_N).mean()), len(true_N)
    value = float(score(metric, *seen, classes))
    return _Evaluated(pairs[place][1], bool(tally.stopped_P[place]), value, accuracy, low, high, images)


def _by_all(member: int, several: Sequence[_Evaluated]) -> _Evaluated:
    def mean(name: str) -> float:
        return statistics.fmean(getattr(one, name) for one in several)

    ends = mean("low"), mean("high")
    return _Evaluated(member, False, mean("value"), mean("accuracy"), *ends, several[0].images)


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The text of ranking.csv, or of another table.

    Args:
        rows: values by column; None is written as an empty cell.
        columns: in the order of the file.

    Returns:
        A line of names and one for each row.
    """
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary_of(
    run: Run,
    rows: Sequence[dict[str, Any]],
    measured: dict[str, float],
    candidates: Candidates,
    pairs: Sequence[Pair],
    tally: Tally,
) -> dict[str, Any]:
    """The contents of ranking.json.

    Args:
        run: open.
        rows: of ranking.csv, best first.
        measured: what sharing prefixes saved, by key.
        candidates: the placements.
        pairs: what was evaluated: (number of the placement, member).
        tally: what each pair saw, in the order of ``pairs``.

    Returns:
        JSON values by their keys; ``macs_saving`` is MACs one by one divided by those of the trees, of blocks alone.
    """
    placements = [[run.space[number] for number in own] for own in by_member(pairs).values()]
    costs = [[run.costs.block_macs(p) for p in group] for group in placements]
    shared = sum(tree_macs(rows_, group) for rows_, group in zip(costs, placements, strict=True))
    scored = [row for row in rows if row["score"] is not None]
    settings = run.settings
    return {
        "images": len(run.split.search_val),
        "metric": settings.data.metric,
        "mode": "all" if len(rows) == run.space.size else "top",
        "found": None if candidates.found is None else str(run.space[candidates.found]),
        "members": settings.rank.rank_members,
        "norm": settings.search.norm,
        "placements": len(rows),
        "eval_batch": tally.batch,
        **measured,
        "macs_saving": sum(sum(sum(row) for row in group) for group in costs) / shared,
        "early_stop": _early_stop(run, rows, tally) if settings.rank.rank_early_stop else None,
        "answers": answer_entries(rows, settings.retrain.answer_at),
        "tau_score_accuracy": kendall_tau_of(scored, "score"),
        "tau_macs_accuracy": kendall_tau_of(rows, "macs"),
    }


def answer_entries(rows: Sequence[dict[str, Any]], answer_at: Sequence[float]) -> list[dict[str, Any]]:
    """The pick of each limit on MACs, and what it is worth on the search-val half.

    Args:
        rows: of ranking.csv, best first.
        answer_at: the limits, in times the default's MACs, in any order.

    Returns:
        A line for each limit, ascending, and last one without (``limit`` None); its values are None where nothing that
        was ranked is within the limit.
    """
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


def kendall_tau_of(rows: Sequence[dict[str, Any]], column: str) -> float | None:
    """Kendall's tau of a column with the metric on the search-val half; None where it is not defined.

    Args:
        rows: of ranking.csv, in any order.
        column: of numbers.

    Returns:
        From -1 to 1, or None.
    """
    return _finite(kendall_tau([row[column] for row in rows], [row["val_metric"] for row in rows]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
