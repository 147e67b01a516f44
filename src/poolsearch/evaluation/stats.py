"""Statistics of accuracies and rankings: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Values = NDArray[Any]
"""Seeds by images: booleans, or floats."""
Ints = NDArray[np.integer]

_MOST_DISTINCT = 1000
_ROUNDING = 1e-12
_MOST_SEEDS = 1000
_DISAGREEING, _AGREEING = 2, 4
"""Images that no one tested: see :func:`paired_difference`."""


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's rank correlation (kendall_tau, of the kind b, which counts ties) of two vectors.

    Args:
        a, b: equally long vectors.

    Returns:
        In [-1, 1]; NaN when one is constant or shorter than 2.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2:
        return math.nan
    return float(np.asarray(stats.kendalltau(a, b))[0])


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two vectors.

    Args:
        a, b: equally long vectors.

    Returns:
        In [-1, 1]; NaN when one is constant or shorter than 2.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.asarray(stats.spearmanr(a, b))[0])


def partial_correlation(a: ArrayLike, b: ArrayLike, given: ArrayLike) -> float:
    """Pearson's correlation of two vectors given others: of what these, and a constant, leave of each by least squares.

    Args:
        a, b: vectors of length N.
        given: what is held constant, (N,) or (N, K).

    Returns:
        In [-1, 1]; NaN where N is below K + 3, which leaves fewer than two dimensions, or nothing is left of one of the
        two.
    """
    a, b, given = np.asarray(a, float), np.asarray(b, float), np.asarray(given, float)
    given_NK = given.reshape(len(a), -1)
    count, columns = given_NK.shape
    if count < columns + 3:
        return math.nan
    known_NK = np.column_stack([np.ones(count), given_NK])
    left_a, left_b = (side - known_NK @ np.linalg.lstsq(known_NK, side, rcond=None)[0] for side in (a, b))
    if min(_part_left(left_a, a), _part_left(left_b, b)) < _ROUNDING:
        return math.nan
    return float(left_a @ left_b / math.sqrt((left_a @ left_a) * (left_b @ left_b)))


def _part_left(left_N: NDArray[np.float64], whole_N: NDArray[np.float64]) -> float:
    """The part of a vector's length that is left of it."""
    length = float(np.linalg.norm(whole_N))
    return float(np.linalg.norm(left_N)) / length if length else 0.0


def wilson(correct: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Args:
        correct: how many images are right; need not be whole.
        n: of how many, above 0; may be an effective number of images.
        level: coverage of the interval, in (0, 1).

    Returns:
        (low, high) in [0, 1], with ``correct / n`` between them.
    """
    z, p = float(stats.norm.ppf((1 + level) / 2)), correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is inside, rounding or not


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few independent values, and Student's interval of it.

    For paired differences over seeds, whose spread is not known otherwise.

    Args:
        values: at least one.
        level: coverage of the interval, in (0, 1).

    Returns:
        (mean, low, high), in units of the values; low and high are NaN where there is only one value.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    quantile = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class HalfWidth:
    """What the half width of an interval is made of; the squares of its parts add up.

    Attributes:
        of_seeds, of_images: as fractions, at the interval's level.
        freedom: degrees of freedom of the variance over seeds.
        images: how many were tested.
    """

    of_seeds: float
    of_images: float
    freedom: int
    images: int

    @property
    def whole(self) -> float:
        """The least difference that is told from chance."""
        return math.hypot(self.of_seeds, self.of_images)

    def needed(self, gain: float, seeds: int, level: float = 0.95) -> tuple[int, int]:
        """How many images and seeds make the half width about as small as a gain.

        Args:
            gain: to be shown, as a fraction; less than the half width.
            seeds: that there are, at least 2.
            level: of the interval that the half width was made at.

        Returns:
            (images, seeds); that of the two which is not the matter stays as it is. Seeds end at 1000.
        """
        images_alone, seeds_alone = 2 * self.of_seeds**2 <= gain**2, 2 * self.of_images**2 <= gain**2
        for_images = gain**2 - self.of_seeds**2 if images_alone else gain**2 / 2
        for_seeds = gain**2 - self.of_images**2 if seeds_alone else gain**2 / 2
        more = seeds
        while not images_alone and more < _MOST_SEEDS:
            freedom = self.freedom * (more - 1) / (seeds - 1)
            quantiles = [float(special.stdtrit(f, (1 + level) / 2)) for f in (freedom, self.freedom)]
            if (self.of_seeds * quantiles[0] / quantiles[1]) ** 2 * seeds / more <= for_seeds:
                break
            more += 1
        return self.images if seeds_alone else math.ceil(self.images * self.of_images**2 / for_images), more


@dataclass(frozen=True)
class Difference:
    """A difference of two means with its interval, as fractions.

    ``p`` is the probability that chance alone makes a difference as large, in either direction. The ends of the
    interval are in [-1, 1], where a difference of two metrics lies; ``half`` is its half width before that.
    """

    mean: float
    low: float
    high: float
    seeds: int
    p: float
    half: HalfWidth | None = None


@dataclass(frozen=True)
class PooledVariance:
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


def pooled_variance(metric_KS: ArrayLike) -> PooledVariance:
    """The spread of networks trained with the same seeds: two-way, without what a seed does to all of them.

    Args:
        metric_KS: metric of network k trained with seed s, as a fraction, shape (K, S).

    Returns:
        The residuals of all K networks, pooled, with (K - 1) (S - 1) degrees of freedom.

    Raises:
        ValueError: there are fewer than two networks or two seeds.
    """
    metric_KS = np.asarray(metric_KS, float)
    if metric_KS.ndim != 2 or min(metric_KS.shape) < 2:
        raise ValueError(f"need at least two networks and two seeds, got an array of shape {metric_KS.shape}")
    centred_KS = metric_KS - metric_KS.mean(1, keepdims=True)
    return PooledVariance(centred_KS - centred_KS.mean(0))


@dataclass(frozen=True)
class _Parts:
    """Where the variance of a mean difference comes from.

    Attributes:
        by_seeds: the trainings, with what they do to single images.
        by_both: of this, what they do to single images; from so many answers that it is known well.
        by_images: the images alone.
        spread: of the trainings.
        image_N: the mean difference of each image, less that of its class.
        freedom: degrees of freedom of the images' variance.
    """

    mean: float
    by_seeds: float
    by_both: float
    by_images: float
    spread: PooledVariance
    image_N: NDArray[np.float64]
    freedom: float

    def half_width(self, level: float) -> HalfWidth:
        """Howe's: that of each part by its own Student's quantile."""
        few, many = (
            float(special.stdtrit(freedom, (1 + level) / 2)) for freedom in (self.spread.freedom, self.freedom)
        )
        return HalfWidth(
            math.sqrt(max(few**2 * self.by_seeds, many**2 * self.by_both)),
            many * math.sqrt(self.by_images),
            self.spread.freedom,
            len(self.image_N),
        )


def paired_difference(
    a_SN: Values, b_SN: Values, level: float = 0.95, spread: PooledVariance | None = None, class_N: Ints | None = None
) -> Difference:
    """Mean of ``a - b`` over S paired seeds and N test images, with an interval that covers both sources of chance.

    Seeds and images are crossed random effects: three seeds that agree on 300 images are still only 300 images. The
    variance of the mean is that of the seeds' means over S, plus that of the images' means over N, minus what both of
    them count, the interaction's. Two or three seeds tell little about their own variance: that of ``spread``, of all
    networks trained alike, is taken where it is the larger, with its degrees of freedom. The interval is Howe's (1974)
    for a sum of two variances, which holds at its level wherever the chance comes from.

    The images' variance is that within their classes, where these count alike. It cannot be seen in images that all
    agree: so it is taken as if two more images had been tested, of which each network alone were right in one (Bonett
    and Price 2012 for paired proportions), with the weight of an image of the small classes; and as if each class had
    four more images without a difference (Agresti and Coull 1998), since a class of a few that all differ in one
    direction by chance has no variance about its own mean. Its degrees of freedom are those of so many images of one
    weight as would give a variance that is known as well: hardly more than the smallest class has, where it decides.

    Args:
        a_SN, b_SN: what test image n adds to the metric of seed s of each network, shape (S, N), so that the mean over
            images is the metric: for accuracy, whether it is right. Shape (S, 1): the metric itself, where it is no
            mean over images; the interval then knows the chance of the trainings alone.
        level: coverage of the interval.
        spread: of the networks trained with these seeds, the two among them; None: of the two alone.
        class_N: the class of each image, where the metric counts every class alike; None: it counts images alike.

    Returns:
        The mean of ``a - b`` as a fraction, its interval, the two-sided p value, and what the half width is made of.

    Raises:
        ValueError: the shapes differ, or there are fewer than two seeds.
    """
    parts = _parts(a_SN, b_SN, spread, class_N)
    half = parts.half_width(level)
    p = p_value_of_half_width(abs(parts.mean), lambda level: parts.half_width(level).whole)
    low, high = max(parts.mean - half.whole, -1.0), min(parts.mean + half.whole, 1.0)
    return Difference(parts.mean, min(low, parts.mean), max(high, parts.mean), len(a_SN), p, half)


def probability_above(
    a_SN: Values,
    b_SN: Values,
    draw: np.random.Generator,
    spread: PooledVariance | None = None,
    draws: int = 10_000,
    class_N: Ints | None = None,
) -> float:
    """The bootstrap probability that the mean of ``a - b`` is above zero: seeds and images drawn anew, each by itself.

    Of the seeds, the deviations of all networks of ``spread`` are drawn from, as two seeds alone would give two values
    only; of the images, those of one mean over the seeds are drawn together, which is the same and takes no time. What
    the interval of :func:`paired_difference` takes for their variance and they do not show is drawn from a normal
    distribution. Each draw is divided by a chi that says how little so few seeds, and so few images, tell of their own
    spread, as in Student's t. What the seeds and the images both count is taken out of the images' part.

    Args:
        a_SN, b_SN, spread, class_N: as in :func:`paired_difference`, which takes the same parts of variance.
        draw: where the draws come from.
        draws: how many.

    Returns:
        In [0, 1]; draws of a mean of exactly zero count as half.

    Raises:
        ValueError: as :func:`paired_difference`.
    """
    parts = _parts(a_SN, b_SN, spread, class_N)
    found_D = parts.mean + _deviations_of_drawn_seeds(parts, len(a_SN), draw, draws)
    found_D += _deviations_of_drawn_images(parts, draw, draws)
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


def _deviations_of_drawn_images(parts: _Parts, draw: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """What other images would change in the mean difference, shape (draws,)."""
    shown = float(parts.image_N.var()) / len(parts.image_N)
    found_D = draw.normal(0, math.sqrt(max(parts.by_images - shown, 0.0)), draws)
    if shown > 0:
        means_D = _means_of_drawn(parts.image_N, draw, draws) - parts.image_N.mean()
        found_D += means_D * math.sqrt(min(parts.by_images / shown, 1.0))
    return found_D / np.sqrt(draw.chisquare(parts.freedom, draws) / parts.freedom)


def _means_of_drawn(value_N: NDArray[np.float64], draw: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """The means of as many values drawn with replacement, shape (draws,); equal values are drawn together.

    Thousands of distinct values are not drawn one by one: the mean of so many is normal.
    """
    value_V, count_V = np.unique(value_N, return_counts=True)
    if len(value_V) > _MOST_DISTINCT:
        return draw.normal(value_N.mean(), value_N.std() / math.sqrt(len(value_N)), draws)
    return draw.multinomial(len(value_N), count_V / len(value_N), draws) @ value_V / len(value_N)


def _parts(a_SN: Values, b_SN: Values, spread: PooledVariance | None, class_N: Ints | None) -> _Parts:
    if a_SN.shape != b_SN.shape or a_SN.ndim != 2:
        raise ValueError(f"need two arrays of one shape (seeds, images), got {a_SN.shape} and {b_SN.shape}")
    seeds, images = a_SN.shape
    if seeds < 2:
        raise ValueError("an interval needs at least two seeds")
    if images == 1:
        return _parts_of_seeds(a_SN[:, 0], b_SN[:, 0], spread)
    class_N = np.zeros(images, np.int64) if class_N is None else np.unique(class_N, return_inverse=True)[1]
    difference_SN = a_SN.astype(float) - b_SN.astype(float)
    mean, seed_S, image_N = float(difference_SN.mean()), difference_SN.mean(1), difference_SN.mean(0)
    rest_SN = difference_SN - seed_S[:, None] - image_N + mean
    by_both = float((rest_SN**2).sum()) / ((seeds - 1) * (images - 1)) / (seeds * images)
    known = spread or pooled_variance([a_SN.mean(1), b_SN.mean(1)])
    by_seeds = max(float(seed_S.var(ddof=1)), 2 * known.variance) / seeds

    size_K, sum_K = np.bincount(class_N), np.bincount(class_N, image_N)
    weight_N = (images / (len(size_K) * size_K))[class_N]  # of an image, as classes count alike
    alike = float((weight_N**2).sum() ** 2 / (weight_N**4).sum())  # images of one weight that tell as much
    agreeing_K = size_K * (sum_K / (size_K + _AGREEING)) ** 2
    seen = float((image_N**2).sum() - agreeing_K.sum())
    unseen = _DISAGREEING * float((weight_N**2).sum()) / (alike + _DISAGREEING)
    by_images = max((seen + unseen) / images**2 - by_both, 0.0)
    centred_N = image_N - (sum_K / size_K)[class_N]
    return _Parts(mean, by_seeds, by_both, by_images, known, centred_N, max(alike - 1, 1.0))


def _parts_of_seeds(a_S: Values, b_S: Values, spread: PooledVariance | None) -> _Parts:
    """Of a metric that is no mean over images: the trainings are all that is known to differ by chance."""
    difference_S = a_S.astype(float) - b_S.astype(float)
    known = spread or pooled_variance([a_S, b_S])
    by_seeds = max(float(difference_S.var(ddof=1)), 2 * known.variance) / len(a_S)
    return _Parts(float(difference_S.mean()), by_seeds, 0.0, 0.0, known, np.zeros(1), 1.0)


def p_value_of_half_width(distance: float, half_width: Callable[[float], float]) -> float:
    """One minus the level at which an interval of this half width just touches what is so far away: a p value.

    Args:
        distance: not negative.
        half_width: at each level in (0, 1), from which it grows.

    Returns:
        1 for a distance within the interval at every level, as that of a rounding residue; never less than 1e-12.
    """
    least, most = 1e-12, 1 - 1e-12
    if half_width(1 - most) >= distance:
        return 1.0
    if half_width(1 - least) <= distance:
        return least
    return cast("float", optimize.brentq(lambda p: half_width(1 - p) - distance, least, most))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for there being several, in their order (Holm 1979).

    Calling those at most alpha significant is wrong about any of them with a probability of at most alpha, however
    they depend on each other.

    Args:
        p_values: one of each hypothesis tested together, in any order.

    Returns:
        The adjusted p values in the same order, never below the given ones, at most 1.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[i]))
        adjusted[i] = least
    return adjusted


def pareto(cost: ArrayLike, value: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none has cost <= and value >= with one of the two strict.

    Args:
        cost: of each of N points, lower is better, shape (N,).
        value: of the same points, higher is better.

    Returns:
        Shape (N,), True for points on the Pareto front; equal points are all on it or all off it.
    """
    cost, value = np.asarray(cost, float), np.asarray(value, float)
    no_worse = (cost[None] <= cost[:, None]) & (value[None] >= value[:, None])
    better = no_worse & ((cost[None] < cost[:, None]) | (value[None] > value[:, None]))
    return np.logical_not(better.any(1))
