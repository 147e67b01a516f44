"""How well an order of placements agrees with their ground truth: rank correlations, their intervals, and regret."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch import rng
from poolsearch.evaluation.stats import kendall_tau, partial_correlation, spearman

Floats = NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Correlation:
    """A correlation with its bootstrap interval over placements; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How well values rank placements.

    Attributes:
        placements: how many.
        kendall_tau: Kendall's tau-b.
        rho: Spearman's rank correlation.
        regret1: how far the first is below the best of all, in the metric of the truth; 0 is the best.
        regret5: the same of the best of the first five.
    """

    placements: int
    kendall_tau: Correlation
    rho: Correlation
    regret1: float
    regret5: float


def agreement(value_A: ArrayLike, truth_A: ArrayLike, seed: int = 0, draws: int = DRAWS) -> Agreement:
    """Compare values, of which a higher one stands for a better placement, with the truth about them.

    Args:
        value_A: what ranks them; a tie counts as half in the correlations, and for regret as the mean of those tied.
        truth_A: of the same placements.
        seed: of the bootstrap.
        draws: of the bootstrap.

    Returns:
        The correlations with intervals of 95 % over placements, and the regrets in units of ``truth_A``.

    Raises:
        ValueError: the two are not equally long vectors, are empty, or are not finite.
    """
    value_A, truth_A = np.asarray(value_A, float), np.asarray(truth_A, float)
    if value_A.shape != truth_A.shape or value_A.ndim != 1 or not value_A.size:
        raise ValueError(f"need two vectors of one length, got shapes {value_A.shape} and {truth_A.shape}")
    if not (np.isfinite(value_A).all() and np.isfinite(truth_A).all()):
        raise ValueError("values and truth must be finite: leave out placements of which one is not known")
    count = len(value_A)
    times_DA = rng.generator(seed, "agreement").multinomial(count, np.full(count, 1 / count), draws).astype(float)
    kendall_tau_D, rho_D = resampled_correlations(value_A, truth_A, times_DA)
    return Agreement(
        count,
        _with_interval(kendall_tau(value_A, truth_A), kendall_tau_D),
        _with_interval(spearman(value_A, truth_A), rho_D),
        regret(value_A, truth_A, 1),
        regret(value_A, truth_A, 5),
    )


def agreement_given_macs(
    value_A: ArrayLike, truth_A: ArrayLike, macs_A: ArrayLike, seed: int = 0, draws: int = DRAWS
) -> Correlation:
    """How well values agree with the truth beyond what MACs tell: their correlation given log MACs and its square.

    That is Pearson's correlation of what least squares on 1, log MACs and (log MACs)^2 leave of both
    (:func:`poolsearch.evaluation.stats.partial_correlation`), with a bootstrap interval over placements. An order that
    only follows the MACs, in whatever way a parabola can, has 0.

    Args:
        value_A, truth_A, seed, draws: as in :func:`agreement`.
        macs_A: of the same placements; positive.

    Returns:
        The correlation in [-1, 1] with its interval of 95 %; NaN of fewer than five placements, or of nothing left.
    """
    value_A, truth_A, log_A = np.asarray(value_A, float), np.asarray(truth_A, float), np.log(np.asarray(macs_A, float))
    log_A = log_A - log_A.mean()  # the square is then no multiple of it, rounding or not
    given_A2 = np.column_stack([log_A, log_A**2])
    count = len(value_A)
    times_DA = rng.generator(seed, "agreement").multinomial(count, np.full(count, 1 / count), draws).astype(float)
    return _with_interval(
        partial_correlation(value_A, truth_A, given_A2),
        resampled_partial_correlation(value_A, truth_A, given_A2, times_DA),
    )


def regret(value_A: ArrayLike, truth_A: ArrayLike, first: int) -> float:
    """How far the best of the first few by value is below the best of all.

    Args:
        value_A: what ranks the placements, higher is better, shape (A,).
        truth_A: of the same placements, shape (A,).
        first: how many from the top count, at least 1; more than A are all of them.

    Returns:
        In units of ``truth_A``, never negative; of placements tied at the end, the mean over their possible orders.
    """
    value_A, truth_A = np.asarray(value_A, float), np.asarray(truth_A, float)
    first = min(first, len(value_A))
    bar = np.sort(value_A)[-first]
    sure_A, tied_A = truth_A[value_A > bar], np.sort(truth_A[value_A == bar])
    return float(truth_A.max() - _mean_of_best(sure_A, tied_A, first - len(sure_A)))


def _mean_of_best(sure_N: Floats, tied_T: Floats, drawn: int) -> float:
    """The mean of the largest value among ``sure_N`` and ``drawn`` of ``tied_T`` (ascending), drawn at random."""
    ways = math.comb(len(tied_T), drawn)
    least = sure_N.max(initial=-math.inf)
    # the k-th smallest (k from 0) is the largest drawn in as many ways as the others come from the k below it
    return sum(max(least, float(value)) * math.comb(k, drawn - 1) for k, value in enumerate(tied_T)) / ways


def _with_interval(value: float, found_D: Floats) -> Correlation:
    """The percentile interval; resamples in which the correlation is not defined are left out."""
    found_D = found_D[np.isfinite(found_D)]
    if not len(found_D) or math.isnan(value):
        return Correlation(value, math.nan, math.nan)
    low, high = np.quantile(found_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Correlation(value, float(low), float(high))


def resampled_correlations(value_A: Floats, truth_A: Floats, times_DA: Floats) -> tuple[Floats, Floats]:
    """Kendall's tau-b and Spearman's correlation of bootstrap resamples of placements, all at once.

    Args:
        value_A, truth_A: the two sides, shape (A,).
        times_DA: how many times each of D resamples has each placement, shape (D, A).

    Returns:
        (Kendall's tau-b, Spearman's), each of shape (D,); NaN where one side of a resample is constant.
    """
    value_AA, truth_AA = (np.sign(side[:, None] - side[None]) for side in (value_A, truth_A))

    def pairs(sign_AA: Floats) -> Floats:
        return ((times_DA @ sign_AA) * times_DA).sum(1)

    with np.errstate(invalid="ignore", divide="ignore"):
        kendall_tau_D = pairs(value_AA * truth_AA) / np.sqrt(pairs(value_AA**2) * pairs(truth_AA**2))
        # half the sum of the signs is a placement's mean rank, counted from the middle
        value_DA, truth_DA = times_DA @ value_AA.T, times_DA @ truth_AA.T

        def product(a_DA: Floats, b_DA: Floats) -> Floats:
            return (times_DA * a_DA * b_DA).sum(1)

        rho_D = product(value_DA, truth_DA) / np.sqrt(product(value_DA, value_DA) * product(truth_DA, truth_DA))
    return kendall_tau_D, rho_D


def resampled_partial_correlation(value_A: Floats, truth_A: Floats, given_AK: Floats, times_DA: Floats) -> Floats:
    """:func:`poolsearch.evaluation.stats.partial_correlation` of bootstrap resamples of placements, all at once.

    Args:
        value_A, truth_A: the two sides, shape (A,).
        given_AK: what is held constant, shape (A, K).
        times_DA: how many times each of D resamples has each placement, shape (D, A).

    Returns:
        Shape (D,); NaN where it is not defined, as of fewer than K + 3 distinct placements.
    """
    known_AK, _ = np.linalg.qr(np.column_stack([np.ones(len(given_AK)), given_AK]))
    inner_DKK = np.einsum("da,ai,aj->dij", times_DA, known_AK, known_AK)
    inverse_DKK = np.linalg.pinv(inner_DKK, rcond=1e-10, hermitian=True)

    def left(side_A: Floats) -> Floats:
        moment_DK = (times_DA * side_A) @ known_AK
        return side_A - np.einsum("dij,dj,ai->da", inverse_DKK, moment_DK, known_AK)

    value_DA, truth_DA = left(value_A - value_A.mean()), left(truth_A - truth_A.mean())

    def product(a_DA: Floats, b_DA: Floats) -> Floats:
        return (times_DA * a_DA * b_DA).sum(1)

    with np.errstate(invalid="ignore", divide="ignore"):
        found_D = product(value_DA, truth_DA) / np.sqrt(product(value_DA, value_DA) * product(truth_DA, truth_DA))
    # of fewer distinct placements what is left is a line, or rounding
    return np.where((times_DA > 0).sum(1) >= known_AK.shape[1] + 2, found_D, math.nan)
