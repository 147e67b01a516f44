"""Whether what a method finds is better than something else, over its seeds: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from poolsearch.evaluation.stats import p_value_of_half_width

LEVEL = 0.95


@dataclass(frozen=True)
class FoundPlacements:
    """The placements that a method found, one for each seed, by their ground truth.

    Attributes:
        placements: of each seed.
        truths: of each, in the metric.
        trainings: that each truth is the mean of.
    """

    placements: Sequence[str]
    truths: Sequence[float]
    trainings: Sequence[int]


@dataclass(frozen=True)
class MeanDifference:
    """The mean of one minus that of the other, with an interval of 95 %; ``p`` is two-sided."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def difference_of(found: FoundPlacements, other: FoundPlacements, noise: float, freedom: int) -> MeanDifference | None:
    """How far what a method finds is above something else.

    Two things are uncertain: what another seed of the search would have found, known from the seeds that there are
    (Student's t, of each side), and the ground truth of each distinct placement, the mean of some trainings. A
    placement that both sides found cancels out. The half widths are added as squares, as Howe does.

    Args:
        found: of the method.
        other: what it is compared with; one entry is a fixed placement, which no search could change.
        noise: standard deviation of one training about its placement's mean, as a fraction; NaN where it is not known.
        freedom: degrees of freedom of that deviation.

    Returns:
        The difference as a fraction; None where too little is known for an interval: one seed, or no noise.
    """
    if len(found.truths) < 2 or math.isnan(noise) or freedom < 1:
        return None
    mean = float(np.mean(found.truths) - np.mean(other.truths))
    trained = sum(w**2 * noise**2 / n for w, n in _weights(found, other).values())
    by_search = [
        (float(np.var(side.truths, ddof=1)) / n, n - 1) for side in (found, other) if (n := len(side.truths)) > 1
    ]

    def half_width(level: float) -> float:
        quantile = (1 + level) / 2
        parts = [stats.t.ppf(quantile, f) ** 2 * variance for variance, f in by_search]
        return math.sqrt(sum(parts) + float(stats.t.ppf(quantile, freedom)) ** 2 * trained)

    half = half_width(LEVEL)
    return MeanDifference(
        mean, mean - half, mean + half, p_value_of_half_width(abs(mean), half_width), len(found.truths)
    )


def _weights(found: FoundPlacements, other: FoundPlacements) -> dict[str, tuple[float, int]]:
    """How much the truth of each distinct placement counts in the difference, and of how many trainings it is."""
    weights: dict[str, tuple[float, int]] = {}
    for side, sign in ((found, 1), (other, -1)):
        for placement, n in zip(side.placements, side.trainings, strict=True):
            before = weights.get(placement, (0.0, n))[0]
            weights[placement] = before + sign / len(side.placements), n
    return weights


def verdict_text(gaps: Mapping[str, MeanDifference | None], adjusted: Mapping[str, float]) -> str:
    """What may be said of a method: each comparison, in points with its interval.

    Args:
        gaps: by what it is compared with: ``default``, ``macs`` or ``random``; None where no interval is known.
        adjusted: the p values of the same, adjusted for there being several methods; read where an interval is known.

    Returns:
        Clauses with semicolons between them; empty without comparisons.
    """
    said: list[str] = []
    for name, words in (
        ("default", "the default"),
        ("macs", "MACs alone"),
        ("random", "random placements at its cost"),
    ):
        if name not in gaps:
            continue
        each = gaps[name]
        if each is None:
            said.append(f"not known against {words}")
            continue
        p = adjusted[name]
        found = "better than" if each.mean > 0 else "worse than"
        found = found if p < 1 - LEVEL else "no evidence of a difference from"
        said.append(f"{found} {words} ({100 * each.mean:+.2f} points, {100 * each.low:+.2f} to {100 * each.high:+.2f})")
    return "; ".join(said)
