"""MACs of every part of a network at every size: a placement's are a sum of entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from poolsearch.nets.poolable import HeadKey, Poolable, Size, carried_sizes, every_block, state_size
from poolsearch.space import Exponents, Placement, Space

BlockKey = tuple[int, Size, Exponents]
"""(block, size of its input, exponents of its site): what decides all that a block does."""


@dataclass(frozen=True)
class SegmentCost:
    """MACs of a part for one image, the size of the maps that it gives, and of those that it gives the head alone."""

    macs: int
    size: Size
    carried: tuple[Any, ...] = ()


@dataclass(frozen=True)
class CostTable:
    """MACs of each part for one image: a placement's cost is a sum of entries.

    A block's work is decided by the size of its maps and by the site before it, so that a table of (block, size of its
    input, exponents of its site) covers every placement. Sizes are kept and not only how often they were halved, since
    a block of another library's may round down where another rounds up.

    Attributes:
        stem: MACs of the stem, and the size of the maps before the first block.
        block: of each block.
        head: MACs of the head by the sizes of all maps that it reads: the last ones, then those carried to it.
    """

    stem: SegmentCost
    block: dict[BlockKey, SegmentCost]
    head: dict[HeadKey, int]

    def _blocks(self, placement: Placement) -> list[SegmentCost]:
        found = [self.stem]
        for index in range(placement.length):
            found.append(self.block[index, found[-1].size, placement.at(index)])
        return found[1:]

    def block_macs(self, placement: Placement) -> list[int]:
        """MACs of each block for one image.

        Args:
            placement: one that the table covers.

        Returns:
            L numbers, the first block's first; stem and head are not among them.
        """
        return [cost.macs for cost in self._blocks(placement)]

    def macs(self, placement: Placement) -> int:
        """MACs of one forward pass on one image.

        Args:
            placement: one that the table covers.

        Returns:
            Of stem, blocks and head together.
        """
        blocks = self._blocks(placement)
        head = self.head[(blocks[-1].size, *(size for part in (self.stem, *blocks) for size in part.carried))]
        return self.stem.macs + sum(cost.macs for cost in blocks) + head


def cost_table(net: Poolable, height: int, width: int, space: Space | None = None) -> CostTable:
    """Count the MACs of every (block, size, downsampling) with torch's flop counter, without computing anything.

    Args:
        net: on the meta device.
        height, width: of the input image.
        space: the placements that are to be covered; the network's own where not given.

    Returns:
        MACs for one image.
    """

    def count(index: int, state: Any, site: Exponents) -> tuple[SegmentCost, Any]:
        macs, out = count_macs(partial(net.run_block, index, state, site))
        return SegmentCost(macs, state_size(out), carried_sizes(out)), out

    macs, state = count_macs(partial(net.stem, torch.zeros(2, net.channels, height, width, device="meta")))
    block, last = every_block(net, state, space or net.space, count)
    head = {key: count_macs(partial(net.head, state))[0] for key, state in last.items()}
    return CostTable(SegmentCost(macs, state_size(state), carried_sizes(state)), block, head)


def count_macs(run: Callable[[], Any]) -> tuple[int, Any]:
    """Count the MACs of a call with torch's flop counter.

    Args:
        run: computes something of a batch of two images, on any device.

    Returns:
        MACs for one image, and what was computed.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = run()
    return counter.get_total_flops() // 2 // 2, out  # two flops per multiply-add, a batch of two


def macs_of(table: CostTable, placements: Iterable[Placement]) -> NDArray[np.int64]:
    """MACs of each placement.

    Args:
        table: of the network.
        placements: A of them, all covered by the table.

    Returns:
        Shape (A,): multiply-adds of one forward pass on one image.
    """
    return np.array([table.macs(p) for p in placements], np.int64)
