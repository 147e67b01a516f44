"""Balancing the assignment: every placement is drawn equally often, and every member is trained equally often."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError

Array = NDArray[np.float64]

_FITTING_ROUNDS = 20  # a warm start needs fewer
_RIDGE = 1e-9  # keeps the Hessian invertible where the assignment is all but hard


class NotBalanced(PoolsearchError):
    """Iterative proportional fitting did not reach the tolerance within its cap."""


@dataclass(frozen=True)
class BalancedAssignment:
    """An assignment with uniform marginals.

    Attributes:
        assign_AM: p(member given placement); rows sum to one, columns to A/M up to the tolerance.
        scale_M: log scaling of each member; the start for the next, slightly different table.
        iterations: rounds of proportional fitting.
    """

    assign_AM: Array
    scale_M: Array
    iterations: int


def _log_sum_exp(x_AM: Array, axis: int) -> Array:
    top = x_AM.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(x_AM - top).sum(axis))


def assignment_of(logit_AM: Array, scale_M: Array) -> Array:
    """p(member given placement) for given member scalings: a softmax over each row.

    Args:
        logit_AM: scores divided by the temperature, shape (A, M).
        scale_M: log scaling of each member, as :func:`balance` found it.

    Returns:
        Shape (A, M); rows sum to one. Columns are balanced as far as the scalings fit the logits.
    """
    scaled_AM = logit_AM + scale_M
    weight_AM = np.exp(scaled_AM - scaled_AM.max(1, keepdims=True))
    return weight_AM / weight_AM.sum(1, keepdims=True)


def balance(
    logit_AM: Array, scale_M: Array | None = None, tolerance: float = 1e-4, max_iterations: int = 1000
) -> BalancedAssignment:
    """Balance softmax(logit) to uniform marginals by iterative proportional fitting (IPF, Sinkhorn), in log space.

    Rows and columns of the joint p(placement, member) are normalised in turn until the Kullback-Leibler
    divergence of p(member) from uniform is below the tolerance; rows are exact. In log space nothing underflows
    at 1/temperature = 400 with a member that lags everywhere by 0.3. The joint softmax of Eq. 3 needs no step of its
    own: its constant is one more factor that the fitting removes (docs/differences.md#joint-softmax).

    Paper: section 2.3, Eq. 3 and "iterative proportional fitting", with delta = 1e-4.
    Differs (docs/differences.md#balancing): after :data:`_FITTING_ROUNDS` rounds, steps of Newton's method on the
    convex dual take over. The balanced table is the same (it is unique); but where members split the placements 51 to
    49 by a large gap, fitting alone moves by log(51/49) a round and needs tens of thousands, and Newton's method about
    five.

    Args:
        logit_AM: scores divided by the temperature, shape (A, M).
        scale_M: log scalings to start from, such as those of the step before; zeros if None.
        tolerance: largest divergence of p(member) from uniform, in nats.
        max_iterations: rounds after which it gives up.

    Returns:
        The balanced table, of shape (A, M), with the scalings that made it.

    Raises:
        NotBalanced: the cap was reached.
        ValueError: a logit is not finite.
    """
    if not np.isfinite(logit_AM).all():
        raise ValueError("scores must be finite numbers")
    placements, members = logit_AM.shape
    scale_M = np.zeros(members) if scale_M is None else scale_M
    divergence = math.inf
    for iteration in range(1, max_iterations + 1):
        log_assign_AM = logit_AM + scale_M
        log_assign_AM = log_assign_AM - _log_sum_exp(log_assign_AM, 1)[:, None]
        log_share_M = _log_sum_exp(log_assign_AM, 0) - math.log(placements)  # p(member)
        excess_M = log_share_M + math.log(members)
        divergence = float(np.exp(log_share_M) @ excess_M)
        if divergence < tolerance:
            return BalancedAssignment(np.exp(log_assign_AM), scale_M, iteration)
        step_M = None if iteration <= _FITTING_ROUNDS else _newton_step(logit_AM, scale_M, np.exp(log_assign_AM))
        scale_M = scale_M - excess_M if step_M is None else scale_M + step_M
    raise NotBalanced(
        f"the assignment of {placements} placements to {members} members is still {divergence:.2g} nats from balance "
        f"after {max_iterations} iterations (tolerance {tolerance:g}). Start a new run with a lower --inv-temp-end."
    )


def _newton_step(logit_AM: Array, scale_M: Array, assign_AM: Array) -> Array | None:
    """A step that lowers the dual, or None when none was found (a round of fitting always lowers it).

    The dual is the mean over placements of logsumexp(logit + scale), minus the mean of scale. Its gradient is
    p(member) - 1/M; its Hessian, diag(p(member)) - mean of assign' assign, is flat along (1, ..., 1), where adding a
    constant to all scales changes nothing: that direction is filled up.
    """
    placements, members = assign_AM.shape
    share_M = assign_AM.mean(0)
    gradient_M = share_M - 1 / members
    hessian_MM = np.diag(share_M) - assign_AM.T @ assign_AM / placements
    filled_MM = hessian_MM + 1 / members + _RIDGE * np.eye(members)
    direction_M = -np.linalg.solve(filled_MM, gradient_M)

    def dual(at_M: Array) -> float:
        return float(_log_sum_exp(logit_AM + at_M, 1).mean() - at_M.mean())

    here, slope = dual(scale_M), float(gradient_M @ direction_M)
    for halvings in range(40):
        length = 0.5**halvings
        if dual(scale_M + length * direction_M) <= here + 1e-4 * length * slope:
            return length * direction_M
    return None


def entropy(assign_AM: Array) -> float:
    """Mean entropy of p(member given placement), divided by log M.

    Args:
        assign_AM: rows sum to one, shape (A, M).

    Returns:
        1 is uniform, 0 is hard; NaN for M = 1.
    """
    members = assign_AM.shape[1]
    if members == 1:
        return math.nan
    safe_AM = np.where(assign_AM > 0, assign_AM, 1.0)
    return float(-(assign_AM * np.log(safe_AM)).sum(1).mean() / math.log(members))
