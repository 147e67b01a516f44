"""States of searches as plain values: what they are of is kept with them, and is checked before anything is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.space import Space


def space_text(space: Space) -> str:
    """A space in a few words, with a hash of all its placements.

    Args:
        space: any.

    Returns:
        The same text for spaces with the same placements in the same order.
    """
    digest = hashlib.sha256(space.exponents_AL2().tobytes()).hexdigest()[:16]
    return f"{space.size} placements of {space.length} blocks, default {space.default.shown}, hash {digest}"


def check_same_search(kind: str, state: Any, own: Mapping[str, Any]) -> None:
    """See that a state is one of a search like this one.

    Args:
        kind: the class of the search.
        state: what its ``state_dict`` gave, or anything else.
        own: what this search is of, by name, as plain values.

    Raises:
        PoolsearchError: it is no such state, or of a search that differs in one of these.
    """
    if not isinstance(state, Mapping) or state.get("kind") != kind or not isinstance(state.get("of"), Mapping):
        raise PoolsearchError(f"this is no state of a {kind}: give what its state_dict() gave.")
    other = state["of"]
    differs = [name for name in own if other.get(name) != own[name]]
    if differs:
        told = "; ".join(f"{name}: {other.get(name)} in the state, {own[name]} here" for name in differs)
        raise PoolsearchError(
            f"the state is of another search ({told}). Make the {kind} with the arguments that it had when the state "
            "was saved, or begin a new search without the state."
        )
