"""Statistics of accuracies and rankings: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Values = NDArray[Any]
"""Seeds by images: booleans, or floats."""

_MOST_DISTINCT = 1000


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's rank correlation tau-b of two equally long vectors; NaN when one is constant or shorter than 2."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2:
        return math.nan
    return float(np.asarray(stats.kendalltau(a, b))[0])


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two equally long vectors; NaN when one is constant or shorter than 2."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.asarray(stats.spearmanr(a, b))[0])


def wilson(correct: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion: ``correct`` of ``n`` images, both ends in [0, 1].

    The numbers need not be whole: ``n`` may be an effective number of images.
    """
    z, p = float(stats.norm.ppf((1 + level) / 2)), correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is inside, rounding or not


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few independent values, and Student's interval of it; the ends are NaN where there is only one value.

    For paired differences over seeds, whose spread is not known otherwise.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    quantile = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Difference:
    """A difference of two means with its interval, as fractions.

    ``p`` is the probability that chance alone makes a difference as large, in either direction.
    """

    mean: float
    low: float
    high: float
    seeds: int
    p: float


@dataclass(frozen=True)
class Spread:
    """How much trainings of one network differ by chance, learnt from several networks together.

    Attributes:
        residual_KS: what seed s of network k is away from its network's mean and from the seed's, in the metric.
    """

    residual_KS: NDArray[np.float64]

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the variance."""
        networks, seeds = self.residual_KS.shape
        return (networks - 1) * (seeds - 1)

    @property
    def variance(self) -> float:
        """Of one training."""
        return float((self.residual_KS**2).sum()) / self.freedom


def spread_of(metric_KS: ArrayLike) -> Spread:
    """The spread of K networks trained with the same S seeds each: two-way, without what a seed does to all of them.

    Raises:
        ValueError: there are fewer than two networks or two seeds.
    """
    metric_KS = np.asarray(metric_KS, float)
    if metric_KS.ndim != 2 or min(metric_KS.shape) < 2:
        raise ValueError(f"need at least two networks and two seeds, got an array of shape {metric_KS.shape}")
    centred_KS = metric_KS - metric_KS.mean(1, keepdims=True)
    return Spread(centred_KS - centred_KS.mean(0))


@dataclass(frozen=True)
class _Parts:
    """Where the variance of a mean difference comes from.

    Attributes:
        by_seeds: the trainings, with what they do to single images.
        by_both: of this, what they do to single images; from so many answers that it is known well.
        by_images: the images alone.
        image_N: the mean difference of each image.
    """

    mean: float
    by_seeds: float
    by_both: float
    by_images: float
    spread: Spread
    image_N: NDArray[np.float64]

    def half_width(self, level: float) -> float:
        """Howe's half width: that of each part by its own Student's quantile, squared and added."""
        few, many = (
            float(stats.t.ppf((1 + level) / 2, freedom)) for freedom in (self.spread.freedom, len(self.image_N) - 1)
        )
        of_seeds = max(few**2 * self.by_seeds, many**2 * self.by_both)
        return math.sqrt(of_seeds + many**2 * self.by_images)


def paired_difference(a_SN: Values, b_SN: Values, level: float = 0.95, spread: Spread | None = None) -> Difference:
    """Mean of ``a - b`` over S paired seeds and N test images, with an interval that covers both sources of chance.

    Seeds and images are crossed random effects: three seeds that agree on 300 images are still only 300 images. The
    variance of the mean is that of the seeds' means over S, plus that of the images' means over N, minus what both of
    them count, the interaction's. Two or three seeds tell little about their own variance: that of ``spread``, of all
    networks trained alike, is taken where it is the larger, with its degrees of freedom. The interval is Howe's (1974)
    for a sum of two variances, which holds at its level wherever the chance comes from.

    Args:
        a_SN, b_SN: what test image n adds to the metric of seed s of each network, so that the mean over images is the
            metric: for accuracy, whether it is right.
        level: coverage of the interval.
        spread: of the networks trained with these seeds, the two among them; None: of the two alone.

    Raises:
        ValueError: the shapes differ, or there are fewer than two seeds or two images.
    """
    parts = _parts(a_SN, b_SN, spread)
    if parts.by_seeds + parts.by_both + parts.by_images == 0:
        return Difference(parts.mean, parts.mean, parts.mean, len(a_SN), float(parts.mean == 0))
    half = parts.half_width(level)
    return Difference(
        parts.mean, parts.mean - half, parts.mean + half, len(a_SN), crossing(abs(parts.mean), parts.half_width)
    )


def probability_above(
    a_SN: Values, b_SN: Values, draw: np.random.Generator, spread: Spread | None = None, draws: int = 10_000
) -> float:
    """The bootstrap probability that the mean of ``a - b`` is above zero: seeds and images drawn anew, each by itself.

    Of the seeds, the deviations of all networks of ``spread`` are drawn from, as two seeds alone would give two values
    only; each draw is divided by a chi that says how little so few seeds tell of their own spread, as in Student's t.
    Of the images, those of one mean over the seeds are drawn together, which is the same and takes no time. What the
    seeds and the images both count is taken out of the images' part.

    Args:
        a_SN, b_SN, spread: as in :func:`paired_difference`, which takes the same parts of variance.
        draw: where the draws come from.
        draws: how many.

    Raises:
        ValueError: as :func:`paired_difference`.
    """
    parts = _parts(a_SN, b_SN, spread)
    found_D = parts.mean + _deviations_of_drawn_seeds(parts, len(a_SN), draw, draws)
    if parts.by_images > 0:
        raw = float(parts.image_N.var(ddof=1)) / len(parts.image_N)
        found_D += (_means_of_drawn(parts.image_N, draw, draws) - parts.mean) * math.sqrt(parts.by_images / raw)
    return float((found_D > 0).mean() + (found_D == 0).mean() / 2)


def _deviations_of_drawn_seeds(parts: _Parts, seeds: int, draw: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """What other seeds would change in the mean difference, shape (draws,)."""
    residual_R, freedom = parts.spread.residual_KS.ravel(), parts.spread.freedom
    if not residual_R.any():  # seeds that agree wholly: only the interaction tells how far apart they may be
        return draw.normal(0, math.sqrt(parts.by_both), draws)
    pair_D2S = residual_R[draw.integers(len(residual_R), size=(draws, 2, seeds))]
    unit_D = (pair_D2S[:, 0] - pair_D2S[:, 1]).mean(1) / math.sqrt(float((residual_R**2).mean()) * 2 / seeds)
    chi_D = np.sqrt(draw.chisquare(freedom, draws) / freedom)
    return unit_D * np.maximum(math.sqrt(parts.by_seeds) / chi_D, math.sqrt(parts.by_both))


def _means_of_drawn(value_N: NDArray[np.float64], draw: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """The means of as many values drawn with replacement, shape (draws,); equal values are drawn together.

    Thousands of distinct values are not drawn one by one: the mean of so many is normal.
    """
    value_V, count_V = np.unique(value_N, return_counts=True)
    if len(value_V) > _MOST_DISTINCT:
        return draw.normal(value_N.mean(), value_N.std() / math.sqrt(len(value_N)), draws)
    return draw.multinomial(len(value_N), count_V / len(value_N), draws) @ value_V / len(value_N)


def _parts(a_SN: Values, b_SN: Values, spread: Spread | None) -> _Parts:
    if a_SN.shape != b_SN.shape or a_SN.ndim != 2:
        raise ValueError(f"need two arrays of one shape (seeds, images), got {a_SN.shape} and {b_SN.shape}")
    seeds, images = a_SN.shape
    if seeds < 2 or images < 2:
        raise ValueError("an interval needs at least two seeds and two images")
    difference_SN = a_SN.astype(float) - b_SN.astype(float)
    mean, seed_S, image_N = float(difference_SN.mean()), difference_SN.mean(1), difference_SN.mean(0)
    rest_SN = difference_SN - seed_S[:, None] - image_N + mean
    by_both = float((rest_SN**2).sum()) / ((seeds - 1) * (images - 1)) / (seeds * images)
    known = spread or spread_of([a_SN.mean(1), b_SN.mean(1)])
    by_seeds = max(float(seed_S.var(ddof=1)), 2 * known.variance) / seeds
    by_images = max(float(image_N.var(ddof=1)) / images - by_both, 0.0)
    return _Parts(mean, by_seeds, by_both, by_images, known, image_N)


def crossing(distance: float, half_width: Callable[[float], float]) -> float:
    """One minus the level at which an interval of this half width just touches what is so far away: a p value."""
    if distance == 0:
        return 1.0
    least, most = 1e-12, 1 - 1e-12
    if half_width(1 - least) <= distance:
        return least
    return cast("float", optimize.brentq(lambda p: half_width(1 - p) - distance, least, most))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for there being several, in their order (Holm 1979).

    Calling those at most alpha significant is wrong about any of them with a probability of at most alpha, however
    they depend on each other.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[i]))
        adjusted[i] = least
    return adjusted


def pareto(cost: ArrayLike, value: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none has cost <= and value >= with one of the two strict."""
    cost, value = np.asarray(cost, float), np.asarray(value, float)
    no_worse = (cost[None] <= cost[:, None]) & (value[None] >= value[:, None])
    better = no_worse & ((cost[None] < cost[:, None]) | (value[None] > value[:, None]))
    return np.logical_not(better.any(1))
