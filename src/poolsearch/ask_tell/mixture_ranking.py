"""The rows of a mixture's ranking, and the evaluations that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from poolsearch.ask_tell.checks import as_metric
from poolsearch.errors import PoolsearchError, add_note
from poolsearch.space import Placement

Evaluate = Callable[[int, Placement], Any]
Evaluations = Mapping[tuple[int, Placement], Any]


@dataclass(frozen=True)
class RankedPlacement:
    """A line of a ranking; the names are those of the columns of ranking.csv.

    Attributes:
        rank: from 1.
        placement, number: the placement, and its number in the space.
        val_metric: what the evaluation gave, from 0 to 1; None where nothing was evaluated.
        score: what the search learned of the placement, free of the initial score; None where it was never scored.
        member: the supernet that stands for the placement.
        assignment: the probability of that member, given the placement.
        macs, macs_ratio: multiply-adds, and in times the default's; None where they were not given.
        is_default: it is the network's own placement.
    """

    rank: int
    placement: Placement
    number: int
    val_metric: float | None
    score: float | None
    member: int
    assignment: float
    macs: int | None
    macs_ratio: float | None
    is_default: bool


def metric_of(evaluate: Evaluate | Evaluations) -> Evaluate:
    """A function of member and placement that gives a metric from 0 to 1, whatever the user gave.

    Args:
        evaluate: a function, or metrics by (member, placement).

    Returns:
        A function that raises :class:`PoolsearchError` where a metric is missing or none.
    """
    return _asked(evaluate) if callable(evaluate) else _looked_up(evaluate)


def _asked(evaluate: Evaluate) -> Evaluate:
    """The function, with what it gives checked, and what it raises noted."""

    def metric(member: int, placement: Placement) -> float:
        of = f"member {member} with placement {placement.shown}"
        try:
            found = evaluate(member, placement)
        except Exception as error:  # whatever a user's function raises is theirs
            add_note(error, f"raised by the evaluation of {of}; the search is as it was before ranking()")
            raise
        return as_metric(found, of)

    return metric


def _looked_up(evaluations: Evaluations) -> Evaluate:
    def metric(member: int, placement: Placement) -> float:
        if (member, placement) not in evaluations:
            raise PoolsearchError(
                f"there is no metric for member {member} with placement {placement.shown}, that is under the key "
                f"({member}, Placement.parse('{placement}')): evaluate all that to_evaluate() gives for the same "
                "members and top."
            )
        return as_metric(evaluations[member, placement], f"member {member} with placement {placement.shown}")

    return metric
