"""How good placements are, stand-alone: a Bayesian linear model of scores and MACs plus a Gaussian process over sites.

For placement a, in points of the metric,

    f(a) = b0 + b1 score(a) + b2 macs(a) + b3 macs2(a) + g(a),    y = f(a) + noise

with normal priors of the weights b in units of the truth's spread, g a Gaussian process projected off the other terms,
and y the metric of one stand-alone training. Spread, noise, length and size of g, and whether the scores count at all,
are averaged over a grid by evidence; nothing is maximised, so that few trainings cannot be fitted too well.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from poolsearch.calibration.features import Features, Floats, kernel
from poolsearch.calibration.prior import PRIOR, Prior

LEVEL = 0.9
"""Of the intervals."""

_LEVEL_STD = 100.0  # points; of the intercept, which is as good as unknown
_NEGLIGIBLE = 1e-3  # grid points that weigh less than so much of the heaviest are left out


@dataclass(frozen=True)
class Observations:
    """Stand-alone trainings, each on its own line; a placement may have several.

    Attributes:
        index_T: which placement.
        points_T: its metric, times 100.
    """

    index_T: NDArray[np.int64]
    points_T: Floats

    @classmethod
    def of(cls, index_T: ArrayLike = (), points_T: ArrayLike = ()) -> Observations:
        """From two equally long lists.

        Args:
            index_T: of placements.
            points_T: the metric of each training, times 100.

        Returns:
            The same as arrays.
        """
        return cls(np.array(index_T, int), np.array(points_T, float))

    def __len__(self) -> int:
        return len(self.index_T)


@dataclass(frozen=True)
class Component:
    """The posterior at one point of the grid.

    Attributes:
        weight: its probability.
        trusts: whether the scores count in it.
        noise: standard deviation of a training, in points.
        mean_A: of f, in points against the posterior's level.
        covariance_AA: of f, in squared points.
    """

    weight: float
    trusts: bool
    noise: float
    mean_A: Floats
    covariance_AA: Floats


@dataclass(frozen=True)
class Posterior:
    """What is known of f after the observations.

    Attributes:
        default: the place of the network's own placement.
        level: mean of what was observed, in points; 0 where nothing was.
        components: of the mixture over the grid, weights adding up to 1.
    """

    default: int
    level: float
    components: tuple[Component, ...]

    @property
    def mean_A(self) -> Floats:
        """Expected points against the default."""
        return self.points_A - self.points_A[self.default]

    @property
    def points_A(self) -> Floats:
        """The metric that is expected of a training, times 100; of no use where nothing was observed."""
        return self.level + sum((c.weight * c.mean_A for c in self.components), np.zeros(()))

    @property
    def trust(self) -> float:
        """Probability that the supernets' scores count; 0 where there are none."""
        return sum(c.weight for c in self.components if c.trusts)

    @property
    def noise(self) -> float:
        """Standard deviation of one training from another of the same placement, in points."""
        return math.sqrt(sum(c.weight * c.noise**2 for c in self.components))

    def covariance_AA(self) -> Floats:
        """Of f, over the whole mixture.

        Returns:
            Shape (A, A), squared points.
        """
        mean_A = self.points_A - self.level
        total_AA = np.zeros((len(mean_A), len(mean_A)))
        for c in self.components:
            apart_A = c.mean_A - mean_A
            total_AA += c.weight * (c.covariance_AA + np.outer(apart_A, apart_A))
        return total_AA

    def interval_A(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Where points against the default lie with this probability.

        Args:
            level: between 0 and 1.

        Returns:
            The lower and the upper ends, shape (A,) each; both 0 for the default.
        """
        weight_C = np.array([c.weight for c in self.components])
        mean_CA = np.stack([c.mean_A - c.mean_A[self.default] for c in self.components])
        std_CA = np.sqrt(np.stack([_variance_of_difference(c.covariance_AA, self.default) for c in self.components]))
        return (
            _quantile(weight_C, mean_CA, std_CA, (1 - level) / 2),
            _quantile(weight_C, mean_CA, std_CA, (1 + level) / 2),
        )


def posterior(features: Features, observed: Observations, noise_floor: float = 0.0, prior: Prior = PRIOR) -> Posterior:
    """Learn from stand-alone trainings what every placement is worth.

    Args:
        features: of A placements.
        observed: T trainings of some of them; with none the prior is returned.
        noise_floor: least standard deviation of a training, in points: that of the images it is scored on.
        prior: what is believed before.

    Returns:
        The posterior of all A placements.
    """
    level = float(observed.points_T.mean()) if len(observed) else 0.0
    index_T, points_T = observed.index_T, observed.points_T - level
    log_P, cells = list[float](), list[_Cell]()
    for trusts, chance in _chances(features, prior):
        column_AK, mean_K, std_K = _linear(features, prior, trusts)
        linear_AA = (column_AK * std_K**2) @ column_AK.T
        for length, rest in itertools.product(prior.lengths, prior.rests):
            shape_AA = linear_AA + rest**2 * _projected(kernel(features.position_AD, length), column_AK)
            for spread, noise in itertools.product(prior.spreads, prior.noises):
                cell = _Cell(trusts, spread, math.hypot(noise, noise_floor), column_AK @ mean_K, shape_AA)
                cells.append(cell)
                log_P.append(math.log(chance) + log_density(cell.mean_A[index_T], cell.seen_TT(index_T), points_T))
    least = max(log_P) + math.log(_NEGLIGIBLE)
    total = float(np.logaddexp.reduce([log for log in log_P if log > least]))
    components = tuple(
        Component(
            math.exp(log - total), cell.trusts, cell.noise,
            *condition(cell.mean_A, cell.covariance_AA(), index_T, points_T, cell.noise),
        )
        for log, cell in zip(log_P, cells, strict=True) if log > least
    )  # fmt: skip
    return Posterior(features.default, level, components)


@dataclass(frozen=True)
class _Cell:
    """One point of the grid: a normal prior of f but for its scale."""

    trusts: bool
    spread: float
    noise: float
    shape_A: Floats
    shape_AA: Floats

    @property
    def mean_A(self) -> Floats:
        return self.spread * self.shape_A

    def covariance_AA(self) -> Floats:
        return self.spread**2 * self.shape_AA + _LEVEL_STD**2

    def seen_TT(self, index_T: NDArray[np.int64]) -> Floats:
        """Covariance of the observations."""
        of_f_TT = self.spread**2 * self.shape_AA[np.ix_(index_T, index_T)] + _LEVEL_STD**2
        return of_f_TT + self.noise**2 * np.eye(len(index_T))


def _chances(features: Features, prior: Prior) -> list[tuple[bool, float]]:
    """Whether the scores count, and how probable that is."""
    if features.score_A is None:
        return [(False, 1.0)]
    return [(trusts, chance) for trusts, chance in ((True, prior.trust), (False, 1 - prior.trust)) if chance]


def condition(
    mean_A: Floats, covariance_AA: Floats, index_T: NDArray[np.int64], points_T: Floats, noise: float
) -> tuple[Floats, Floats]:
    """Condition a normal distribution on noisy values of some of its variables.

    Source: Rasmussen and Williams, 2006, eqs. 2.23 and 2.24.

    Args:
        mean_A, covariance_AA: of the variables.
        index_T: which variable was seen, in each of T observations.
        points_T: the values seen.
        noise: standard deviation of an observation.

    Returns:
        Mean and covariance of the variables given the observations.
    """
    if not len(index_T):
        return mean_A, covariance_AA
    seen_TT = covariance_AA[np.ix_(index_T, index_T)] + noise**2 * np.eye(len(index_T))
    cross_TA = covariance_AA[index_T]
    solved_TA = cho_solve(cho_factor(seen_TT, lower=True), cross_TA)
    return mean_A + solved_TA.T @ (points_T - mean_A[index_T]), covariance_AA - cross_TA.T @ solved_TA


def log_density(mean_T: Floats, covariance_TT: Floats, points_T: Floats) -> float:
    """Logarithm of a normal density: the evidence of a model.

    Source: Rasmussen and Williams, 2006, eq. 2.30.

    Args:
        mean_T, covariance_TT: of the observations, noise included.
        points_T: the values seen.

    Returns:
        0 where nothing was seen.
    """
    if not len(points_T):
        return 0.0
    factor = cho_factor(covariance_TT, lower=True)
    left_T = points_T - mean_T
    determinant = 2 * float(np.log(np.diag(factor[0])).sum())
    return -0.5 * (float(left_T @ cho_solve(factor, left_T)) + determinant + len(points_T) * math.log(2 * math.pi))


def _linear(features: Features, prior: Prior, trusts: bool) -> tuple[Floats, Floats, Floats]:
    """The columns of the linear part, and the means and standard deviations of their weights."""
    columns = [(features.macs_A, prior.macs if trusts else prior.macs_alone)]
    columns.append((features.macs2_A, prior.macs2 if trusts else prior.macs2_alone))
    if trusts:
        assert features.score_A is not None
        columns.append((features.score_A, prior.score))
    column_AK = np.stack([column for column, _ in columns], 1)
    return column_AK, np.array([w.mean for _, w in columns]), np.array([w.std for _, w in columns])


def _projected(covariance_AA: Floats, column_AK: Floats) -> Floats:
    """A covariance off the span of the columns and of a constant, scaled to a mean variance of 1 again."""
    base_AK, singular_K, _ = np.linalg.svd(np.column_stack([np.ones(len(column_AK)), column_AK]), full_matrices=False)
    base_AK = base_AK[:, singular_K > 1e-9 * singular_K[0]]
    left_AA = covariance_AA - base_AK @ (base_AK.T @ covariance_AA)
    left_AA = left_AA - (left_AA @ base_AK) @ base_AK.T
    mean = float(np.trace(left_AA)) / len(left_AA)
    return left_AA / mean if mean > 1e-9 else np.zeros_like(left_AA)


def _variance_of_difference(covariance_AA: Floats, default: int) -> Floats:
    variance_A = np.diag(covariance_AA) + covariance_AA[default, default] - 2 * covariance_AA[default]
    return np.maximum(variance_A, 0.0)


def _quantile(weight_C: Floats, mean_CA: Floats, std_CA: Floats, level: float) -> Floats:
    """Of a mixture of normals, for each A, by bisection."""
    low_A, high_A = (mean_CA - 9 * std_CA).min(0), (mean_CA + 9 * std_CA).max(0)
    for _ in range(50):
        middle_A = (low_A + high_A) / 2
        below_A = weight_C @ ndtr((middle_A - mean_CA) / np.maximum(std_CA, 1e-12))
        low_A, high_A = np.where(below_A < level, middle_A, low_A), np.where(below_A < level, high_A, middle_A)
    return (low_A + high_A) / 2
