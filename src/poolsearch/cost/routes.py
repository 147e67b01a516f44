"""The ways of many placements through a network at once: which entry of each block's table each of them meets.

What a block costs is decided by the size of its input and by its site. A placement is then a walk through small tables:
a state (the size of the maps) and a site give the entry, and the next state. However many placements there are, they
take a few gathers per block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch.cost.macs import BlockKey, CostTable
from poolsearch.nets.poolable import Size
from poolsearch.space import KEEP, Exponents, Placement, Space


@dataclass(frozen=True)
class Routes:
    """Where placements go.

    Attributes:
        entry_LA: for each block the entry of its table, see :meth:`Grid.values`.
        last_A: place in ``Grid.sizes`` of the size of the last maps.
    """

    entry_LA: NDArray[np.int16]
    last_A: NDArray[np.int16]


@dataclass(frozen=True)
class Grid:
    """All sizes of maps that occur, and where a block leads from each.

    Attributes:
        sizes: of all maps; a state is a place in this.
        sites: all exponents that a site may have; an entry is a state times their number, plus a place in this.
        first: the state before the first block.
        next_LE: the state after a block, by entry; 0 where no placement comes.
    """

    sizes: list[Size]
    sites: list[Exponents]
    first: int
    next_LE: NDArray[np.int16]

    @classmethod
    def of(cls, table: CostTable) -> Grid:
        """The sizes that a network's maps have, and where its blocks lead.

        Args:
            table: of the network and of all placements that are to be routed.

        Returns:
            Sizes and sites in ascending order.
        """
        sizes = sorted({table.stem.size} | {size for _, size, _ in table.block} | set(table.head))
        sites = sorted({site for _, _, site in table.block})
        after = {key: sizes.index(part.size) for key, part in table.block.items()}
        return cls(sizes, sites, sizes.index(table.stem.size), _by_entry(sizes, sites, after).astype(np.int16))

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

    def by_last(self, found: Mapping[Size, float]) -> NDArray[np.float64]:
        """Values of the head as an array.

        Args:
            found: the value for each size of the last maps.

        Returns:
            Shape (number of sizes,), in the order of ``sizes``; 0 for a size that no last map has.
        """
        return np.array([found.get(size, 0) for size in self.sizes], np.float64)

    def routes(self, space: Space, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> Routes:
        """The ways of placements through the network.

        Args:
            space: of the same network.
            numbers: of the placements in ``space``; all of them if None.

        Returns:
            In the order of ``numbers``.
        """
        site_AL = self._places(space.exponents_AL2(numbers))
        state_A = np.full(len(site_AL), self.first, np.int16)
        entry_LA = np.empty(site_AL.shape[::-1], np.int16)
        for index, site_A in enumerate(np.ascontiguousarray(site_AL.T)):
            entry_LA[index] = len(self.sites) * state_A + site_A
            state_A = self.next_LE[index][entry_LA[index]]
        return Routes(entry_LA, state_A)

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
        values_LE[index, len(sites) * sizes.index(size) + sites.index(site)] = value
    return values_LE


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
    return found


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
