"""Statistics of accuracies and rankings: pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Values = NDArray[Any]
"""Booleans or numbers, shape (seeds, images)."""


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's rank correlation tau-b of two equally long vectors; NaN when one is constant or shorter than 2."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2:
        return math.nan
    return float(np.asarray(stats.kendalltau(a, b))[0])


def wilson(correct: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion: ``correct`` of ``n`` images, both ends in [0, 1].

    The numbers need not be whole: ``n`` may be an effective number of images.
    """
    z, p = float(stats.norm.ppf((1 + level) / 2)), correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is inside, rounding or not


@dataclass(frozen=True)
class Difference:
    """A difference of two means of a metric with its interval, all as fractions."""

    mean: float
    low: float
    high: float
    seeds: int


def paired_difference(a_SN: Values, b_SN: Values, level: float = 0.95) -> Difference:
    """Mean of ``a - b`` over S paired seeds and N test images, with an interval that covers both sources of chance.

    Seeds and images are crossed random effects: three seeds that agree on 300 images are still only 300 images. The
    variance of the mean is that of the seeds' means over S, plus that of the images' means over N, minus what both of
    them count, the interaction's. The degrees of freedom of Student's quantile are Satterthwaite's: S - 1 where the
    seeds decide, N - 1 where the images do.

    Args:
        a_SN, b_SN: what test image n adds to the metric of seed s of each network, so that the mean over images is the
            metric: for accuracy, whether it is right; for others see :func:`poolsearch.metrics.contributions`.
        level: coverage of the interval.

    Raises:
        ValueError: the shapes differ, or there are fewer than two seeds or two images.
    """
    if a_SN.shape != b_SN.shape or a_SN.ndim != 2:
        raise ValueError(f"need two arrays of one shape (seeds, images), got {a_SN.shape} and {b_SN.shape}")
    seeds, images = a_SN.shape
    if seeds < 2 or images < 2:
        raise ValueError("an interval needs at least two seeds and two images")
    difference_SN = a_SN.astype(float) - b_SN.astype(float)
    mean, seed_S, image_N = float(difference_SN.mean()), difference_SN.mean(1), difference_SN.mean(0)
    by_seeds, by_images = float(seed_S.var(ddof=1)) / seeds, float(image_N.var(ddof=1)) / images
    rest_SN = difference_SN - seed_S[:, None] - image_N + mean
    by_both = float((rest_SN**2).sum()) / ((seeds - 1) * (images - 1)) / (seeds * images)
    variance = max(by_seeds + by_images - by_both, by_seeds, by_images)
    if variance == 0:
        return Difference(mean, mean, mean, seeds)
    freedom = variance**2 / (by_seeds**2 / (seeds - 1) + by_images**2 / (images - 1))
    half = float(stats.t.ppf((1 + level) / 2, max(freedom, seeds - 1))) * math.sqrt(variance)
    return Difference(mean, mean - half, mean + half, seeds)


def pareto(cost: ArrayLike, value: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none has cost <= and value >= with one of the two strict."""
    cost, value = np.asarray(cost, float), np.asarray(value, float)
    no_worse = (cost[None] <= cost[:, None]) & (value[None] >= value[:, None])
    better = no_worse & ((cost[None] < cost[:, None]) | (value[None] > value[:, None]))
    return np.logical_not(better.any(1))
