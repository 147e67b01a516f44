"""The placements of a space that are within a budget."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.cost.costs import Costs, Profile
from poolsearch.errors import PoolsearchError
from poolsearch.settings.cost_limits import Kind, Limit, shown_amount
from poolsearch.space import Space

WHOLE_UP_TO = 1 << 21
"""Spaces up to this size are looked at whole."""
_CHUNK = 1 << 16  # placements at once
_CHUNKS = 50  # of random placements, of larger spaces


@dataclass(frozen=True)
class BudgetedSpace:
    """A space within a budget.

    Attributes:
        space: what is left, cut down to what may be searched.
        tried: placements that were looked at: all, or those drawn until enough were found.
        within: how many of them are within the budget.
    """

    space: Space
    tried: int
    within: int


def costs_of_kind(costs: Costs, kind: Kind) -> NDArray[np.float64]:
    """What placements cost of one kind.

    Args:
        costs: of A placements; what is asked for must be known.
        kind: "macs", "memory" or "latency".

    Returns:
        Shape (A,): MACs of an image, bytes of a training step, or milliseconds of a forward pass.
    """
    found = {"macs": costs.macs_A, "memory": costs.memory_A, "latency": costs.latency_A}[kind]
    assert found is not None, "not known, or not measured"
    return found.astype(np.float64)


def within_limits(limits: Sequence[Limit], costs: Costs, default: Costs) -> NDArray[np.bool_]:
    """Which placements are within every limit.

    Args:
        limits: absolute ones, or multiples of what the default placement costs.
        costs: of A placements.
        default: costs of the default placement, arrays of length 1.

    Returns:
        Shape (A,), in the order of ``costs``.
    """
    fits_A = np.ones(len(costs.macs_A), bool)
    for limit in limits:
        fits_A &= costs_of_kind(costs, limit.kind) <= limit.most(float(costs_of_kind(default, limit.kind)[0]))
    return fits_A


def choose_within_budget(
    space: Space, profile: Profile, limits: Sequence[Limit], most: int, seed: int
) -> BudgetedSpace:
    """The placements within the limits, or a seeded uniform choice of ``most`` of them.

    Of spaces above two million placements random ones are looked at until ``most`` are found.

    Args:
        space: the placements to choose from.
        profile: tables that cover the space, with latency where a limit is on it.
        limits: a placement must be within all of them.
        most: how many placements to keep at most.
        seed: of the run, for what is drawn.

    Returns:
        The space cut down, always with the default where that is within the limits, and how many were looked at.

    Raises:
        PoolsearchError: there are none; the smallest cost is named.
    """
    default = profile.of(space.default, space)
    whole = space.size <= WHOLE_UP_TO
    found, least, alone, tried = list[int](), [math.inf] * len(limits), [0] * len(limits), 0
    for numbers in _all(space.size) if whole else _drawn(space, seed):
        costs = profile.costs(space, numbers)
        found += [numbers[place] for place in np.flatnonzero(within_limits(limits, costs, default)).tolist()]
        for i, limit in enumerate(limits):
            least[i] = min(least[i], float(costs_of_kind(costs, limit.kind).min()))
            alone[i] += int(within_limits([limit], costs, default).sum())
        tried += len(numbers)
        if not whole and len(found) >= most:
            break
    if not found:
        of = f"the {space.size:,} placements" if whole else f"{tried:,} placements drawn from {space.size:,}"
        raise _nothing(of, limits, least, alone, default)
    chosen = space.take(found if whole else found[:most]).subset(most, seed)
    return BudgetedSpace(chosen, tried, len(found))


def _all(size: int) -> Iterator[Sequence[int]]:
    return (range(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK))


def _drawn(space: Space, seed: int) -> Iterator[Sequence[int]]:
    """Numbers at random, each at most once, in chunks; the default's is the first."""
    draw = random.Random(rng.key(seed, "budget"))
    default = [space.index(space.default)] if space.default in space else []
    seen = set(default)
    for _ in range(_CHUNKS):
        drawn = dict.fromkeys(draw.randrange(space.size) for _ in range(_CHUNK))
        fresh = [number for number in drawn if number not in seen]
        seen.update(fresh)
        yield default + fresh
        default = []


def _nothing(
    of: str, limits: Sequence[Limit], least: Sequence[float], alone: Sequence[int], default: Costs
) -> PoolsearchError:
    """The error for a budget that leaves nothing: what the smallest is, or that limits exclude each other."""
    for limit, smallest, count in zip(limits, least, alone, strict=True):
        if count == 0:
            own = float(costs_of_kind(default, limit.kind)[0])
            return PoolsearchError(
                f"{limit.flag} {limit.text} leaves none of {of}: the smallest {limit.what} is "
                f"{shown_amount(limit.kind, _up(smallest))}, {_up(smallest / own):g}x that of the default placement "
                f"({shown_amount(limit.kind, own)}). Allow at least {limit.flag} {_up(smallest / own):g}x."
            )
    each = ", ".join(f"{limit.flag} {limit.text} {n:,}" for limit, n in zip(limits, alone, strict=True))
    return PoolsearchError(f"together the limits leave none of {of}; each alone leaves: {each}. Widen one of them.")


def _up(value: float) -> float:
    """Rounded up to three digits, so that what is named is enough."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / step) * step:.3g}")


def quantiles(values_A: NDArray[np.float64], parts: Sequence[float]) -> list[float]:
    """Quantiles that are values of placements, none between two.

    Args:
        values_A: costs of A placements, in any order and unit.
        parts: fractions of all placements, 0 for the least value and 1 for the largest.

    Returns:
        One value for each of ``parts``, in their order.
    """
    ordered = np.sort(values_A)
    return [float(ordered[round(part * (len(ordered) - 1))]) for part in parts]
