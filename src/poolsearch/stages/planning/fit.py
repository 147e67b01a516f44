"""From a few measured steps to the seconds of every other: a non-negative sum of what a step works at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]

LEAST_ERROR = 0.1
"""The relative error that is always reckoned with: so far apart are two runs of the same job on the same machine."""


@dataclass(frozen=True)
class FittedRates:
    """Seconds as a sum of kinds of work (K of them), each at its own rate.

    Attributes:
        rate_K: seconds per unit of each kind, none below zero.
        error: relative, of a prediction: twice the root mean square of what was measured against what is predicted.
    """

    rate_K: Floats
    error: float

    def seconds(self, work_NK: Floats) -> Floats:
        """Predicted seconds of each of N pieces of work.

        Args:
            work_NK: how much of each kind is in each piece.

        Returns:
            Seconds, shape (N,).
        """
        return work_NK @ self.rate_K


def fit_rates(work_NK: Floats, seconds_RN: Floats) -> FittedRates:
    """Rates that predict what R rounds took, with the least sum of squares of relative errors.

    A step has a constant part (starting its kernels), one by its multiply-adds and one by the maps that it reads and
    writes; which of them counts depends on the machine. None can cost less than nothing, so that few measurements do
    for all three.

    Args:
        work_NK: how much of each kind is in each of the N things measured.
        seconds_RN: of each of them in each round; all positive.

    Returns:
        A rate for each of the K kinds, and the relative error of a prediction, 0.1 at least.
    """
    taken_N = trimmed_mean(seconds_RN)
    scale_K = np.maximum(work_NK.max(axis=0), np.finfo(float).tiny)
    rate_K, _ = nnls(work_NK / scale_K / taken_N[:, None], np.ones(len(work_NK)))
    rate_K = np.asarray(rate_K) / scale_K
    gap_N = np.log(taken_N / np.maximum(work_NK @ rate_K, np.finfo(float).tiny))
    return FittedRates(rate_K, max(LEAST_ERROR, 2 * float(np.sqrt(np.mean(gap_N**2) + _scatter(seconds_RN) ** 2))))


def trimmed_mean(seconds_RN: Floats) -> Floats:
    """The mean of the rounds, in which the slowest and the fastest tenth count as the next to them.

    Where others use the machine, too, a long job is held up as often as its steps are: the median would not know. A
    single long interruption, as likely as not during a few seconds of measuring, counts as one more such step.

    Args:
        seconds_RN: of N pieces of work in each of R rounds.

    Returns:
        Seconds of each piece, shape (N,).
    """
    rounds = len(seconds_RN)
    tenth = min(-(-rounds // 10), (rounds - 1) // 2)
    sorted_RN = np.sort(seconds_RN, axis=0)
    return np.clip(seconds_RN, sorted_RN[tenth], sorted_RN[-1 - tenth]).mean(axis=0)


def _scatter(seconds_RN: Floats) -> float:
    """How fast the machine is from one moment to the next, relative: half the range of the middle two thirds of rounds.

    So that a single step during which something else ran says nothing.
    """
    low, high = np.quantile(np.log(seconds_RN).mean(axis=1), [1 / 6, 5 / 6])
    return float(high - low) / 2
