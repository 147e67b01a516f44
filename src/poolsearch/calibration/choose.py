"""Which placement to train next: the one that may well be the best within a budget, the budgets taking turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from poolsearch.calibration.features import Features, Floats
from poolsearch.calibration.model import Observations, Posterior, posterior
from poolsearch.calibration.prior import PRIOR, Prior

WORTH = 0.1
"""Points: where no placement promises so much more than the best is expected to have, learning ends."""

_DEFAULTS = 2  # trainings of the default: everything is told against it, and two of them show the noise
_OPTIMISM = 1.0  # standard deviations

Why = Literal["default", "promising"]


@dataclass(frozen=True)
class Suggestion:
    """A placement to train.

    Attributes:
        index: which.
        gain: points by which its upper bound is above what the best within the budget is expected to have.
        why: it is the default, or it is the most promising within the budget whose turn it is.
        limit: that budget, in times the default's MACs; None: none.
    """

    index: int
    gain: float
    why: Why
    limit: float | None = None


def next_placements(
    features: Features,
    observed: Observations,
    noise_floor: float,
    macs_ratio_A: Floats,
    limits: Sequence[float],
    count: int,
    prior: Prior = PRIOR,
) -> list[Suggestion]:
    """The next stand-alone trainings, to be done at once.

    The default is trained twice. Each of the rest has the highest upper bound (mean plus a standard deviation, both of
    the points against the default) within a budget: without a limit every other time, and each limit in turn between.
    Those of one round count as seen, at their expected values, for the next of it. Nothing is drawn: the same
    observations give the same placements.

    Source: Cox and John, A statistical method for global optimization, 1992 (upper confidence bounds); Ginsbourger, Le
    Riche, Carraro, Kriging is well-suited to parallelize optimization, 2010 (expected values stand in for results).

    Args:
        features: of A placements.
        observed: all trainings so far.
        noise_floor: see :func:`~poolsearch.calibration.model.posterior`.
        macs_ratio_A: MACs in times the default's.
        limits: budgets, in times the default's MACs; that without a limit is always among them.
        count: how many.
        prior: what is believed before any training.

    Returns:
        Up to ``count``; none where no placement promises :data:`WORTH` within any budget.
    """
    found: list[Suggestion] = []
    macs_ratio_A = np.asarray(macs_ratio_A, float)
    for _ in range(count):
        belief = posterior(features, observed, noise_floor, prior)
        if int((observed.index_T == features.default).sum()) < _DEFAULTS:
            pick = Suggestion(features.default, 0.0, "default")
        else:
            turns = _turns(limits)
            now = max(len(observed) - _DEFAULTS, 0) % len(turns)
            promises = (_promising(belief, macs_ratio_A, limit) for limit in [*turns[now:], *turns[:now]])
            worth = next((one for one in promises if one is not None and one.gain >= WORTH), None)
            if worth is None:
                break
            pick = worth
        found.append(pick)
        seen = [*observed.points_T, belief.points_A[pick.index]]
        observed = Observations.of([*observed.index_T, pick.index], seen)
    return found


def upper_bounds(belief: Posterior) -> Floats:
    """Points against the default that a placement may well have: mean plus a standard deviation.

    Args:
        belief: the posterior.

    Returns:
        Shape (A,); 0 for the default.
    """
    covariance_AA, default = belief.covariance_AA(), belief.default
    variance_A = np.diag(covariance_AA) + covariance_AA[default, default] - 2 * covariance_AA[default]
    return belief.mean_A + _OPTIMISM * np.sqrt(np.maximum(variance_A, 0.0))


def _turns(limits: Sequence[float]) -> list[float | None]:
    """The budgets in the order of their turns; None is that without a limit."""
    return list(chain.from_iterable((None, limit) for limit in sorted(set(limits)))) or [None]


def _promising(belief: Posterior, macs_ratio_A: Floats, limit: float | None) -> Suggestion | None:
    """The placement with the highest upper bound within a budget; None where nothing is within it."""
    within_A = macs_ratio_A <= (np.inf if limit is None else limit)
    if not within_A.any():
        return None
    bound_A = np.where(within_A, upper_bounds(belief), -np.inf)
    index = int(np.argmax(bound_A))
    return Suggestion(index, float(bound_A[index] - belief.mean_A[within_A].max()), "promising", limit)
