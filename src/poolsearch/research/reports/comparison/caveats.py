"""What a reader of a comparison should doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence

from poolsearch.research.reports.comparison.values import CaseResult, Comparison

FEW_SEEDS = 3
UNEQUAL = 0.25
LISTED = 12


def warnings(data: Comparison) -> list[str]:
    """The comparison's own notes, then what its numbers give reason to doubt."""
    return [*data.notes, *_unfinished(data), *_few_seeds(data), *_truth(data), *_outside(data), *_unequal_work(data)]


def _unfinished(data: Comparison) -> list[str]:
    if not data.unfinished:
        return []
    count = len(data.unfinished)
    return [
        f"Not finished, and left out of all that is said: {_some(data.unfinished)} "
        f"({count} search{'' if count == 1 else 'es'})."
    ]


def _few_seeds(data: Comparison) -> list[str]:
    few = [f"{case.label} ({len(case.picks)})" for case in data.cases if len(case.picks) < FEW_SEEDS]
    return [f"Fewer than {FEW_SEEDS} seeds, so the spread is hardly known: {_some(few)}."] if few else []


def _truth(data: Comparison) -> list[str]:
    truth = data.truth
    doubts: list[str] = []
    if not truth.whole:
        known = "" if truth.placements is None else f" ({truth.placements:,} placements)"
        doubts.append(
            f"The truth is not known of the whole space, only of a part{known}: the best of all may be another, and "
            "regrets and correlations are of this part or not known."
        )
    if truth.part != "test":
        doubts.append(
            "The truth is measured on the search-val half, whose images the methods have seen: this favours them."
        )
    if truth.seeds == 1:
        doubts.append("The truth is one training of each placement: its random variation is not known.")
    if data.width is not None and truth.source.startswith("Table 6") and data.width != 16:
        doubts.append(f"The truth is of networks 16 channels wide, but the networks searched are {data.width} wide.")
    return [*doubts, *_noise(data)]


def _noise(data: Comparison) -> list[str]:
    """How small a difference the truth can tell, and how well any order can agree with it."""
    truth = data.truth
    doubts: list[str] = []
    if truth.noise is not None and truth.seeds:
        told = 1.96 * math.sqrt(2 / truth.seeds) * truth.noise
        doubts.append(
            f"One training scatters by {100 * truth.noise:.2f} points around its placement's mean: two placements with "
            f"{truth.seeds} training{'' if truth.seeds == 1 else 's'} each are told apart from "
            f"{100 * told:.2f} points on. The best of many such means is likely worse than it looks."
        )
    if truth.seed_kendall_tau is not None and truth.seed_kendall_tau.value is not None:
        doubts.append(
            f"Two trainings of all placements would agree with each other to a Kendall's tau of "
            f"{truth.seed_kendall_tau.value:.2f}: no method can be expected to agree much better with the truth."
        )
    return doubts


def _outside(data: Comparison) -> list[str]:
    found = [f"{case.label}: {', '.join(case.outside)}" for case in data.cases if case.outside]
    if not found:
        return []
    return [
        f"Found outside the restricted space, which the other methods did not search: {_some(found, '; ')}. Their "
        "truth comes from extra trainings, where it is known."
    ]


def _unequal_work(data: Comparison) -> list[str]:
    equal = [(case.work, case) for case in data.cases if case.budget == "equal" and case.work is not None]
    if len(equal) < 2:
        return []
    (least, cheap), (most, dear) = (choose(equal, key=lambda entry: entry[0]) for choose in (min, max))
    if least > 0 and most <= (1 + UNEQUAL) * least:
        return []
    return [
        "Methods that should have equal total training did not cost the same: "
        f"{cheap.label} {_trainings(cheap)}, {dear.label} {_trainings(dear)}."
    ]


def _trainings(case: CaseResult) -> str:
    return f"{case.work:.2f} whole trainings"


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return between.join(texts[:LISTED]) + more
