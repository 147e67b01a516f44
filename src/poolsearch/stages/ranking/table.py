"""What the ranking leaves: the rows of ranking.csv, and ranking.json."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.evaluation.budget_picks import answers_of
from poolsearch.evaluation.stats import kendall_tau
from poolsearch.mixture.mixture import Mixture
from poolsearch.session.run import Run
from poolsearch.stages.ranking.choice import Candidates, Pair, by_member
from poolsearch.stages.ranking.early_stop import ERROR
from poolsearch.stages.ranking.tally import Tally
from poolsearch.storage.stage_results import MEMBER_COLUMNS, MemberEvaluation
from poolsearch.supernet.prefix_tree import tree_macs

EVALUATED = (
    "rank", "placement", "number", "val_accuracy", "low", "high", "score", "member", "assignment", "macs", "macs_ratio",
    "is_default", "control", "images", "val_metric",
)  # fmt: skip
"""Columns of ranking.csv without those of a prediction."""
COLUMNS = (*EVALUATED, "prediction", "prediction_low", "prediction_high", "trials")


@dataclass(frozen=True)
class _Evaluated:
    """What a placement is worth on the images that it saw: by one member, or by the mean of all of them."""

    by: MemberEvaluation
    value: float
    accuracy: float
    low: float
    high: float


def evaluations_of(
    run: Run, mixture: Mixture, candidates: Candidates, pairs: Sequence[Pair], tally: Tally
) -> list[MemberEvaluation]:
    """What every pair is worth on the images that it saw.

    ``score`` is free of the initial score, and None for a pair never scored.

    Args:
        run: open.
        mixture: its scores and final assignment.
        candidates: the placements.
        pairs: what was evaluated: (number of the placement, member).
        tally: what each pair saw, in the order of ``pairs``.

    Returns:
        One for each pair, in their order.
    """
    learnt_AM, found = mixture.learnt_score_AM(), list[MemberEvaluation]()
    for place, (number, member) in enumerate(pairs):
        measure, response_N = tally.seen(place)
        low, high = measure.interval(response_N)
        found.append(MemberEvaluation(
            placement=str(run.space[number]), number=number, member=member,
            val_metric=float(measure.score(response_N)), val_accuracy=measure.accuracy(response_N),
            low=low, high=high, images=len(response_N),
            score=_finite(learnt_AM[number, member]), assignment=float(mixture.balanced_AM[number, member]),
            control=number in candidates.control,
        ))  # fmt: skip
    return found


def members_csv(evaluations: Iterable[MemberEvaluation]) -> str:
    """The text of members.csv.

    Args:
        evaluations: in any order, which is kept.

    Returns:
        A line of names and one for each.
    """
    return as_csv([dataclasses.asdict(one) for one in evaluations], MEMBER_COLUMNS)


def rows_of(run: Run, evaluations: Sequence[MemberEvaluation], found: int | None = None) -> list[dict[str, Any]]:
    """One row per placement, best first by the metric; a tie is decided by fewer MACs, then by number.

    What a tree search settled on stands before all others (paper, appendix C: it alone is evaluated). Placements
    stopped early come after all others, by their metric on the images that they saw. With ``--rank-members mean``
    metric, accuracy and interval are the means of those of all members, and the member named is the most probable one.

    Args:
        run: open.
        evaluations: of every placement by the members that are asked, as of :func:`evaluations_of`.
        found: number of the placement that the search itself settled on, if it does.

    Returns:
        For each placement a value of each of :data:`EVALUATED`.
    """
    seen = _seen(evaluations, run.settings.rank.rank_members == "mean")
    default_macs, images = run.costs.macs(run.space.default), max(one.images for one in evaluations)

    def place(number: int) -> tuple[float, ...]:
        one = seen[number]
        return number != found, one.by.images < images, -one.value, run.macs_A[number], number

    rows = []
    for position, number in enumerate(sorted(seen, key=place), 1):
        one, macs = seen[number], int(run.macs_A[number])
        values = (
            position, one.by.placement, number, one.accuracy, one.low, one.high, one.by.score, one.by.member,
            one.by.assignment, macs, macs / default_macs, run.space[number] == run.space.default, one.by.control,
            one.by.images, one.value,
        )  # fmt: skip
        rows.append(dict(zip(EVALUATED, values, strict=True)))
    return rows


def values_of_members(rows: Sequence[dict[str, Any]], evaluations: Iterable[MemberEvaluation]) -> NDArray[np.float64]:
    """The metric of the placement of each row in each member.

    Args:
        rows: of ranking.csv.
        evaluations: of their placements, and of no others.

    Returns:
        Shape (M, A), in the order of the rows; NaN where a member did not evaluate a placement.
    """
    place = {row["number"]: position for position, row in enumerate(rows)}
    known = list(evaluations)
    value_MA = np.full((max(one.member for one in known) + 1, len(rows)), np.nan)
    for one in known:
        value_MA[one.member, place[one.number]] = one.val_metric
    return value_MA


def _seen(evaluations: Iterable[MemberEvaluation], mean: bool) -> dict[int, _Evaluated]:
    """What each placement is worth: by the best of the members that evaluated it, or by the mean of all."""
    found: dict[int, list[MemberEvaluation]] = {}
    for one in evaluations:
        found.setdefault(one.number, []).append(one)
    return {number: _by_all(several) if mean else _by_best(several) for number, several in found.items()}


def _by_best(several: Sequence[MemberEvaluation]) -> _Evaluated:
    images = max(one.images for one in several)
    best = min(several, key=lambda one: (one.images < images, -one.val_metric))
    return _Evaluated(best, best.val_metric, best.val_accuracy, best.low, best.high)


def _by_all(several: Sequence[MemberEvaluation]) -> _Evaluated:
    def mean(name: str) -> float:
        return statistics.fmean(getattr(one, name) for one in several)

    return _Evaluated(most_probable(several), mean("val_metric"), mean("val_accuracy"), mean("low"), mean("high"))


def most_probable(several: Sequence[MemberEvaluation]) -> MemberEvaluation:
    """Of all members' evaluations of a placement that of the member which stands for it.

    Args:
        several: members ascending.

    Returns:
        As :meth:`poolsearch.mixture.mixture.Mixture.final_member_A` says.
    """
    scored = [one for one in several if one.score is not None]
    return max(scored or several, key=lambda one: one.assignment)


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The text of ranking.csv, or of another table.

    Args:
        rows: values by column; None, or none, is written as an empty cell.
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
