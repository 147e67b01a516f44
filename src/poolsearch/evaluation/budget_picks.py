"""Answers at a compute budget: of a ranking, the first placement within each limit on MACs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a ranking says to who can pay so much.

    Attributes:
        limit: how many times the default's MACs may be paid; None: there is no limit.
        place: which of the ranking is the pick, counted from 0; None where nothing that was ranked is within the limit.
    """

    limit: float | None
    place: int | None


def answers_of(macs_ratios: Sequence[float | None], answer_at: Sequence[float]) -> list[Answer]:
    """The answers of a ranking at each limit on MACs, and without a limit.

    Args:
        macs_ratios: MACs of each placement as a multiple of the default's, best placement first; None where not known,
            which is then within no limit.
        answer_at: the limits, as multiples of the default's MACs, in any order.

    Returns:
        One answer for each distinct limit, ascending; last the one without a limit, whose pick is the first of all.
    """
    ratios = [math.inf if ratio is None else ratio for ratio in macs_ratios]
    found = [
        Answer(limit, next((place for place, ratio in enumerate(ratios) if ratio <= limit), None))
        for limit in sorted({float(limit) for limit in answer_at})
    ]
    return [*found, Answer(None, 0 if ratios else None)]


def limit_text(limit: float | None) -> str:
    """A limit on MACs as a cell of a table.

    Args:
        limit: as a multiple of the default's MACs; None: there is no limit.

    Returns:
        ``≤ 1.5 ×``, or ``none``.
    """
    return "none" if limit is None else f"≤ {limit:g} ×"
