"""The ways of many placements through a network at once: which entry of each block's table each of them meets.

What a block costs is decided by the size of its input and by its site. A placement is then a walk through small tables:
a state (the size of the maps) and a site give the entry, and the next state. However many placements there are, they
take a few gathers per block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poolsearch.cost.macs import BlockKey, CostTable
from poolsearch.nets.poolable import HeadKey, Size
from poolsearch.space import KEEP, Exponents, Placement, Space


@dataclass(frozen=True)
class Routes:
    """Where placements go.

    Attributes:
        entry_LA: for each block the entry of its table, see :meth:`Grid.values`.
        heads: the sizes of all maps that the head reads, each combination that some placement gives it.
        head_A: place in ``heads`` of each placement's.
    """

    entry_LA: NDArray[np.int16]
    heads: list[HeadKey]
    head_A: NDArray[np.int32]

    def of_head(self, found: Mapping[HeadKey, float]) -> NDArray[np.float64]:
        """Values of the head.

        Args:
            found: the value for each combination of sizes; where one is missing, that for larger maps stands for it.

        Returns:
            Shape (A,), by placement.
        """
        return np.array([found[nearest_head(found, key)] for key in self.heads], np.float64)[self.head_A]


def nearest_head(found: Mapping[HeadKey, float], key: HeadKey) -> HeadKey:
    """The sizes for which a value of the head is known, that are these or as little larger as possible.

    Args:
        found: values by sizes; those for the largest maps are among them.
        key: sizes of all maps that the head reads.

    Returns:
        A key of ``found``, no map of which is smaller than in ``key``.
    """
    if key in found:
        return key
    return min((other for other in found if _covers(other, key)), key=_pixels)


def _covers(one: HeadKey, other: HeadKey) -> bool:
    return all(a == b or (_is_size(a) and a[0] >= b[0] and a[1] >= b[1]) for a, b in zip(one, other, strict=True))


def _pixels(key: HeadKey) -> int:
    return sum(part[0] * part[1] for part in key if _is_size(part))


def _is_size(part: Any) -> bool:
    return isinstance(part, tuple) and len(cast("tuple[Any, ...]", part)) == 2


@dataclass(frozen=True)
class Grid:
    """All sizes of maps that occur, and where a block leads from each.

    Attributes:
        sizes: of all maps; a state is a place in this.
        sites: all exponents that a site may have; an entry is a state times their number, plus a place in this.
        first: the state before the first block.
        next_LE: the state after a block, by entry; 0 where no placement comes.
        carried: of each block that gives the head maps of its own their sizes, by entry.
        stem: the sizes of those of the stem.
    """

    sizes: list[Size]
    sites: list[Exponents]
    first: int
    next_LE: NDArray[np.int16]
    carried: dict[int, dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    stem: tuple[Any, ...] = ()

    @classmethod
    def of(cls, table: CostTable) -> Grid:
        """The sizes that a network's maps have, and where its blocks lead.

        Args:
            table: of the network and of all placements that are to be routed.

        Returns:
            Sizes and sites in ascending order.
        """
        sizes = sorted({table.stem.size} | {size for _, size, _ in table.block} | {key[0] for key in table.head})
        sites = sorted({site for _, _, site in table.block})
        after = {key: sizes.index(part.size) for key, part in table.block.items()}
        carried: dict[int, dict[int, tuple[Any, ...]]] = {}
        for (index, size, site), part in table.block.items():
            if part.carried:
                carried.setdefault(index, {})[_entry(sizes, sites, size, site)] = part.carried
        next_LE = _by_entry(sizes, sites, after).astype(np.int16)
        return cls(sizes, sites, sizes.index(table.stem.size), next_LE, carried, table.stem.carried)

    def values(self, found: Mapping[BlockKey, float]) -> NDArray[np.float64]:
        """Values of blocks as an array.

        Args:
            found: the value of each (block, size of its input, site) that some placement comes to.

        Returns:
            Shape (L, E), by block and entry; 0 where no placement comes.
        """
        return _by_entry(self.sizes, self.sites, found)

    def exponent_E2(self) -> NDArray[np.int8]:
        """Exponents of the site of each entry.

        Returns:
            Shape (E, 2), (height, width).
        """
        return np.tile(np.array(self.sites, np.int8), (len(self.sizes), 1))

    def routes(self, space: Space, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> Routes:
        """The ways of placements through the network.

        Args:
            space: of the same network.
            numbers: of the placements in ``space``; all of them if None.

        Returns:
            In the order of ``numbers``.
        """
        site_AL = self._places(space.exponents_AL2(numbers))
        state_A, carried_A = np.full(len(site_AL), self.first, np.int16), np.zeros(len(site_AL), np.int64)
        carried = [self.stem]
        entry_LA = np.empty(site_AL.shape[::-1], np.int16)
        for index, site_A in enumerate(np.ascontiguousarray(site_AL.T)):
            entry_LA[index] = len(self.sites) * state_A + site_A
            state_A = self.next_LE[index][entry_LA[index]]
            if index in self.carried:
                carried, carried_A = _joined(carried, carried_A, self.carried[index], entry_LA[index])
        lasts = dict[int, tuple[Any, ...]](enumerate((size,) for size in self.sizes))
        heads, head_A = _joined(carried, carried_A, lasts, state_A)
        return Routes(entry_LA, [(key[-1], *key[:-1]) for key in heads], head_A.astype(np.int32))

    def _places(self, exponent_AL2: NDArray[np.int8]) -> NDArray[np.int16]:
        """Places in ``sites``, shape (A, L)."""
        high, wide = np.array(self.sites).T
        span = np.ptp(wide) + 1
        place_by_code = np.zeros((np.ptp(high) + 1) * span, np.int16)
        place_by_code[(high - high.min()) * span + wide - wide.min()] = np.arange(len(self.sites))
        code_AL = (exponent_AL2[..., 0] - high.min()) * span + exponent_AL2[..., 1] - wide.min()
        return place_by_code[code_AL]


def _by_entry(sizes: list[Size], sites: list[Exponents], found: Mapping[BlockKey, float]) -> NDArray[np.float64]:
    values_LE = np.zeros((1 + max(index for index, _, _ in found), len(sites) * len(sizes)))
    for (index, size, site), value in found.items():
        values_LE[index, _entry(sizes, sites, size, site)] = value
    return values_LE


def _entry(sizes: list[Size], sites: list[Exponents], size: Size, site: Exponents) -> int:
    return len(sites) * sizes.index(size) + sites.index(site)


def _joined(
    found: list[tuple[Any, ...]], place_A: NDArray[np.int64], more: Mapping[int, tuple[Any, ...]], which_A: NDArray[Any]
) -> tuple[list[tuple[Any, ...]], NDArray[np.int64]]:
    """Each placement's tuple out of ``found`` and then that out of ``more``: those that occur, and which is whose."""
    span = max(more) + 1
    codes, place_A = np.unique(place_A * span + which_A, return_inverse=True)
    return [found[code // span] + more[code % span] for code in codes.tolist()], place_A


def sum_entries(values_LE: NDArray[np.float64], routes: Routes) -> NDArray[np.float64]:
    """The sum over the blocks of each placement's values.

    Args:
        values_LE: by block and entry, as of :meth:`Grid.values`.
        routes: of A placements.

    Returns:
        Shape (A,), in the unit of the values.
    """
    sum_A = np.zeros(routes.entry_LA.shape[1])
    for value_E, entry_A in zip(values_LE, routes.entry_LA, strict=True):
        sum_A += value_E[entry_A]
    return sum_A


def covering_placements(table: CostTable, space: Space) -> list[Placement]:
    """Few placements that together meet every (block, size, site): the default, then each that adds the most.

    Args:
        table: of a network and a space.
        space: the same; its limits are not looked at.

    Returns:
        In the order in which they were found, the default first.
    """
    left, found = set(table.block), list[Placement]()
    placement = space.default
    while left:
        found.append(placement)
        left -= set(block_keys(table, placement))
        placement = _adding_most(table, space, left)
    heads = {head_of(table, each) for each in found}
    return found + [_with_head(table, space, key) for key in _few_heads(table) if key not in heads]


def block_keys(table: CostTable, placement: Placement) -> list[BlockKey]:
    """What the blocks of a placement are: what decides all that each of them does.

    Args:
        table: of the network, for the sizes of its maps.
        placement: one that the table covers.

    Returns:
        (block, size of its input, exponents of its site) of each of the L blocks, in their order.
    """
    size, found = table.stem.size, list[BlockKey]()
    for index in range(placement.length):
        found.append((index, size, placement.at(index)))
        size = table.block[found[-1]].size
    return found


def head_of(table: CostTable, placement: Placement) -> HeadKey:
    """The sizes of all maps that the head reads at a placement.

    Args:
        table: of the network, for the sizes of its maps.
        placement: one that the table covers.

    Returns:
        A key of ``table.head``.
    """
    parts = [table.stem, *(table.block[key] for key in block_keys(table, placement))]
    return (parts[-1].size, *(size for part in parts for size in part.carried))


_HEADS = 12
"""Combinations of sizes for which a head is run whole; others cost at most what the next larger of these does."""


def _few_heads(table: CostTable) -> list[HeadKey]:
    """Some of the sizes that heads are given, those of the largest maps among them."""
    keys = sorted(table.head, key=_pixels, reverse=True)
    largest = list[HeadKey]()
    for key in keys:  # none is covered by one that has fewer pixels
        if not any(_covers(other, key) for other in largest):
            largest.append(key)
    every = -(-len(keys) // _HEADS)
    return list(dict.fromkeys([*largest, *keys[::every]]))


def _with_head(table: CostTable, space: Space, key: HeadKey) -> Placement:
    """A placement that gives the head maps of these sizes."""
    ways: dict[tuple[Exponents, Size, tuple[Any, ...]], tuple[Exponents, ...]] = {
        (KEEP, table.stem.size, table.stem.carried): ()
    }
    for index in range(space.length):
        after: dict[tuple[Exponents, Size, tuple[Any, ...]], tuple[Exponents, ...]] = {}
        for (done, size, carried), sites in ways.items():
            for site in space.sites(index, done):
                part = table.block[index, size, site]
                now = (*carried, *part.carried)
                if now == key[1 : 1 + len(now)]:
                    after[(done[0] + site[0], done[1] + site[1]), part.size, now] = (*sites, site)
        ways = after
    return next(Placement(sites[1:]) for (_, size, _), sites in ways.items() if size == key[0])


def _adding_most(table: CostTable, space: Space, left: set[BlockKey]) -> Placement:
    """The placement with the most classes of ``left``: the longest path through the blocks' states."""
    best: dict[tuple[Exponents, Size], tuple[int, tuple[Exponents, ...]]] = {(KEEP, table.stem.size): (0, ())}
    for index in range(space.length):
        after: dict[tuple[Exponents, Size], tuple[int, tuple[Exponents, ...]]] = {}
        for (done, size), (count, sites) in best.items():
            for site in space.sites(index, done):
                key = (done[0] + site[0], done[1] + site[1]), table.block[index, size, site].size
                gain = count + ((index, size, site) in left)
                if key not in after or gain > after[key][0]:
                    after[key] = gain, (*sites, site)
        best = after
    return Placement(max(best.values(), key=lambda path: path[0])[1][1:])
