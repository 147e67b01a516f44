"""What users give to a search: read, or refused with a sentence that says what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.space import Space

MOST_PLACEMENTS = 10_000_000
"""The tables of a mixture hold several numbers for each placement and member."""


def as_metric(value: Any, of: str) -> float:
    """Read a metric.

    Args:
        value: a number, a NumPy number, or a tensor of one element (which waits for its device).
        of: what it is of, for the error.

    Returns:
        The same as a float, from 0 to 1.

    Raises:
        PoolsearchError: it is no number, not finite, or outside of 0..1.
    """
    try:
        found = None if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None:
        raise PoolsearchError(
            f"the metric of {of} is {value!r:.60}: give one number from 0 to 1, higher is better, such as the "
            "accuracy as a fraction."
        )
    if 0 <= found <= 1:
        return found
    if math.isnan(found):
        why = "has the training diverged? Leave such a trial out, or give it 0"
    elif 1 < found <= 100:
        why = f"divide a percentage by 100, which gives {found / 100:g}"
    else:
        why = "higher has to be better: of a loss, give exp(-loss) or the like"
    raise PoolsearchError(f"the metric of {of} is {found:g}; allowed is a number from 0 to 1: {why}.")


def macs_of(macs: ArrayLike, space: Space) -> NDArray[np.float64]:
    """Read the multiply-adds of the placements of a space.

    Args:
        macs: a number for each.
        space: the placements.

    Returns:
        Shape (A,), above zero.

    Raises:
        PoolsearchError: there are more or fewer, or one is not above zero.
    """
    macs_A = np.asarray(macs, np.float64)
    if macs_A.shape != (space.size,) or not (np.isfinite(macs_A) & (macs_A > 0)).all():
        raise PoolsearchError(
            f"macs has the shape {macs_A.shape}: give a positive number for each of the {space.size} placements, in "
            "the order of the space, such as poolsearch.placement_costs(net, image_size).macs_A."
        )
    return macs_A


def check_space(space: Any) -> None:
    """See that a space is one, and of a size that tables can hold.

    Args:
        space: anything.

    Raises:
        PoolsearchError: it is not.
    """
    if not isinstance(space, Space):
        raise PoolsearchError(
            f"space is a {type(space).__name__}: give a poolsearch.Space, such as poolsearch.restride(model, "
            "images).space."
        )
    if space.size > MOST_PLACEMENTS:
        raise PoolsearchError(
            f"the space has {space.size:,} placements, and the tables of a mixture hold {MOST_PLACEMENTS:,} at most: "
            "search a random part of it, such as space.subset(20_000, seed=0)."
        )


def check_whole(name: str, value: Any, what: str) -> None:
    """See that a number is whole and at least 1.

    Args:
        name: of the argument.
        value: anything.
        what: what it counts.

    Raises:
        PoolsearchError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise PoolsearchError(f"{name} is {value!r:.40}; allowed is a whole number of at least 1: {what}.")
