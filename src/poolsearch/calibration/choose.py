"""Which placement to train next: the one from which most is to be learned about what is best within each budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from poolsearch import rng
from poolsearch.calibration.features import Features, Floats
from poolsearch.calibration.model import Observations, Posterior, posterior
from poolsearch.calibration.prior import PRIOR, Prior

WORTH = 0.1
"""Points: where no training promises so much, on the mean over budgets, learning ends."""

_DEFAULTS = 2  # trainings of the default: all is told against it, and two of them show the noise
_THOMPSON_EVERY = 4
_NODES = 21

Why = Literal["default", "gain", "thompson"]


@dataclass(frozen=True)
class Suggestion:
    """A placement to train.

    Attributes:
        index: which.
        gain: points that one more training of it is expected to bring, on the mean over budgets.
        why: the default; the highest gain for its cost; or the best of a random draw from what is believed.
    """

    index: int
    gain: float
    why: Why


def next_placements(
    features: Features,
    observed: Observations,
    noise_floor: float,
    macs_ratio_A: Floats,
    limits: Sequence[float],
    count: int,
    seed: int,
    prior: Prior = PRIOR,
) -> list[Suggestion]:
    """The next stand-alone trainings, to be done at once.

    The default is trained twice. Of the rest each is the one with the highest expected gain (knowledge gradient) for
    its cost, where cost counts less and less; every fourth is the best of a random draw from the posterior, so that
    a wrong model is found out. Those of one round count as seen, at their expected values, for the next of it.

    Source: Frazier, Powell, Dayanik, The knowledge-gradient policy for correlated normal beliefs, 2009; Thompson, 1933.

    Args:
        features: of A placements.
        observed: all trainings so far.
        noise_floor: see :func:`~poolsearch.calibration.model.posterior`.
        macs_ratio_A: MACs in times the default's.
        limits: budgets, in times the default's MACs; that without a limit is always among them.
        count: how many.
        seed: of the random draws; with the number of trainings so far it decides them.
        prior: what is believed before any training.

    Returns:
        Up to ``count``; none where nothing promises :data:`WORTH`.
    """
    found: list[Suggestion] = []
    macs_ratio_A = np.asarray(macs_ratio_A, float)
    for _ in range(count):
        step = len(observed)
        of_default = int((observed.index_T == features.default).sum())
        belief = posterior(features, observed, noise_floor, prior)
        if of_default < _DEFAULTS:
            pick = Suggestion(features.default, 0.0, "default")
        else:
            gain_A = expected_gains(belief, macs_ratio_A, limits)
            if gain_A.max() < WORTH:
                break
            if step % _THOMPSON_EVERY == _THOMPSON_EVERY - 1:
                best = _thompson(belief, macs_ratio_A, limits, rng.generator(seed, "thompson", step))
                pick = Suggestion(best, float(gain_A[best]), "thompson")
            else:
                cooled = 1 / (1 + step / 4)
                best = int(np.argmax(gain_A / macs_ratio_A**cooled))
                pick = Suggestion(best, float(gain_A[best]), "gain")
        found.append(pick)
        observed = Observations.of([*observed.index_T, pick.index], [*observed.points_T, belief.points_A[pick.index]])
    return found


def expected_gains(belief: Posterior, macs_ratio_A: Floats, limits: Sequence[float]) -> Floats:
    """By how much the best posterior mean within each budget is expected to rise after one training of each placement.

    The posterior is taken as normal, with the mean and covariance of the mixture.

    Args:
        belief: the posterior.
        macs_ratio_A: MACs in times the default's.
        limits: budgets; that without a limit is added.

    Returns:
        Points, the mean over budgets, shape (A,).
    """
    mean_A, covariance_AA = belief.mean_A, belief.covariance_AA()
    relative_AA = covariance_AA - covariance_AA[:, [belief.default]]  # of f, and of f less the default's
    seen_A = np.sqrt(np.diag(covariance_AA) + belief.noise**2)
    node_Q, weight_Q = np.polynomial.hermite_e.hermegauss(_NODES)
    weight_Q = weight_Q / weight_Q.sum()
    gain_A, budgets = np.zeros(len(mean_A)), [*limits, np.inf]
    for limit in budgets:
        within_A = macs_ratio_A <= limit
        if not within_A.any():
            continue
        slope_AW = relative_AA[:, within_A] / seen_A[:, None]  # how each mean moves with what is seen of placement A
        best_QA = np.stack([(mean_A[within_A] + node * slope_AW).max(1) for node in node_Q])
        gain_A += weight_Q @ best_QA - mean_A[within_A].max()
    return gain_A / len(budgets)


def _thompson(belief: Posterior, macs_ratio_A: Floats, limits: Sequence[float], draw: np.random.Generator) -> int:
    """The best, within one of the budgets, of a draw from the posterior."""
    component = belief.components[draw.choice(len(belief.components), p=[c.weight for c in belief.components])]
    values, vectors = np.linalg.eigh(component.covariance_AA)
    f_A = component.mean_A + vectors @ (np.sqrt(np.maximum(values, 0)) * draw.standard_normal(len(values)))
    limit = draw.choice([*limits, np.inf])
    return int(np.argmax(np.where(macs_ratio_A <= limit, f_A, -np.inf)))
