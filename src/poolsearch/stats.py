"""Statistics of accuracies and rankings: pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's rank correlation tau-b of two equally long vectors; NaN when one is constant or shorter than 2."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size < 2:
        return math.nan
    return float(np.asarray(stats.kendalltau(a, b))[0])


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion: ``correct`` of ``n`` images, both ends in [0, 1]."""
    interval = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Difference:
    """A difference of two mean accuracies with its interval, all as fractions."""

    mean: float
    low: float
    high: float
    seeds: int


def paired_difference(a_SN: NDArray[np.bool_], b_SN: NDArray[np.bool_], level: float = 0.95) -> Difference:
    """Mean of ``a - b`` over S paired seeds and N test images, with an interval that covers both sources of chance.

    The variance is the seeds' (paired differences over S) plus the images' (the per-image difference averaged
    over seeds, over N): three seeds that agree on 300 images are still only 300 images. The quantile is
    Student's with S - 1 degrees of freedom, which is conservative for the sum.

    Args:
        a_SN, b_SN: whether seed s of each network got test image n right.
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
    variance = difference_SN.mean(1).var(ddof=1) / seeds + difference_SN.mean(0).var(ddof=1) / images
    mean = float(difference_SN.mean())
    half = float(stats.t.ppf((1 + level) / 2, seeds - 1) * math.sqrt(variance))
    return Difference(mean, mean - half, mean + half, seeds)


def pareto(cost: ArrayLike, value: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none has cost <= and value >= with one of the two strict."""
    cost, value = np.asarray(cost, float), np.asarray(value, float)
    no_worse = (cost[None] <= cost[:, None]) & (value[None] >= value[:, None])
    better = no_worse & ((cost[None] < cost[:, None]) | (value[None] > value[:, None]))
    return np.logical_not(better.any(1))
