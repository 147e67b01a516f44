"""What is known of placements before any of them is trained: supernet scores, multiply-adds, where they downsample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch.space import Placement

Floats = NDArray[np.float64]

_EXTREME = 3.0  # standard deviations; beyond, a score says no more than that it is extreme


@dataclass(frozen=True)
class Features:
    """Of A placements; columns have mean 0 and standard deviation 1 over these, or are 0 where they do not vary.

    Attributes:
        default: which of them is the network's own.
        score_A: of the supernets; None where there are none.
        macs_A: logarithm of the MACs.
        macs2_A: its square, less what the logarithm itself explains.
        position_AD: after which part of the blocks each halving is reached, of each axis.
    """

    default: int
    score_A: Floats | None
    macs_A: Floats
    macs2_A: Floats
    position_AD: Floats

    @classmethod
    def of(
        cls, placements: Sequence[Placement], macs_A: ArrayLike, default: int, score_A: ArrayLike | None = None
    ) -> Features:
        """From what a run knows of its placements.

        Args:
            placements: at least one, all of one network.
            macs_A: multiply-adds of each, above 0.
            default: the place of the network's own among them.
            score_A: higher is better, in any unit; None where there are no supernets.

        Returns:
            The features, in the order of the placements.
        """
        log_A = standardized(np.log(np.asarray(macs_A, float)))
        square_A = log_A**2
        bent_A = square_A - square_A.mean() - log_A * (log_A @ square_A) / max(float(log_A @ log_A), 1e-12)
        score = None if score_A is None else np.clip(standardized(score_A), -_EXTREME, _EXTREME)
        return cls(default, score, log_A, standardized(bent_A), positions(placements))


def standardized(value_A: ArrayLike) -> Floats:
    """Values less their mean, divided by their standard deviation.

    Args:
        value_A: of any unit.

    Returns:
        Zeros where all values are equal but for rounding.
    """
    value_A = np.asarray(value_A, float)
    spread, size = float(value_A.std()), float(np.abs(value_A).max(initial=0.0))
    return (value_A - value_A.mean()) / spread if spread > 1e-9 * size else np.zeros_like(value_A)


def mean_of_members(value_MA: ArrayLike) -> Floats:
    """What several supernets say of placements: each one's level and spread removed, and the mean taken.

    Members of a mixture are trained apart and end at different levels, so that their metrics cannot be compared.

    Args:
        value_MA: the metric of each placement by each member; NaN where a member did not evaluate it.

    Returns:
        The mean over the members that evaluated a placement, in standard deviations of a member's values; 0, which is
        the middle, where none did.
    """
    value_MA = np.asarray(value_MA, float)
    known_MA = np.isfinite(value_MA)
    standard_MA = np.zeros_like(value_MA)
    for own, known, out in zip(value_MA, known_MA, standard_MA, strict=True):
        if known.any():
            out[known] = standardized(own[known])
    return standard_MA.sum(0) / np.maximum(known_MA.sum(0), 1)


def positions(placements: Sequence[Placement]) -> Floats:
    """After which part of its blocks a network reaches each halving, of height and of width.

    For ``4,3,3`` these are 0.4 and 0.7. Axes that are always halved together give one set of columns. A map that grows
    again counts as halved only in the blocks that see it so.

    Args:
        placements: of one network.

    Returns:
        Shape (A, D), from 0 to 1, with a column for each halving that any of them reaches.
    """
    site_ALX = np.array([[(0, 0), *placement.sites] for placement in placements], int)
    level_AXL = site_ALX.cumsum(1).swapaxes(1, 2)
    if (level_AXL[:, 0] == level_AXL[:, 1]).all():
        level_AXL = level_AXL[:, :1]
    columns = [
        (level_AXL[:, axis] < halving).mean(1)
        for axis in range(level_AXL.shape[1])
        for halving in range(1, int(level_AXL[:, axis].max()) + 1)
    ]
    return np.stack(columns, 1) if columns else np.zeros((len(placements), 0))


def kernel(position_AD: Floats, length: float) -> Floats:
    """Covariance of a Gaussian process over positions: Matern 5/2 of each coordinate, multiplied.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.17.

    Args:
        position_AD: from :func:`positions`.
        length: over which the process varies, as a part of the blocks.

    Returns:
        Shape (A, A), 1 on the diagonal.
    """
    covariance_AA = np.ones((len(position_AD), len(position_AD)))
    for own_A in position_AD.T:
        distance_AA = math.sqrt(5) * np.abs(own_A[:, None] - own_A) / length
        covariance_AA *= (1 + distance_AA + distance_AA**2 / 3) * np.exp(-distance_AA)
    return covariance_AA
