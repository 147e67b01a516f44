"""MACs of every placement, known before any training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from poolsearch.nets.poolable import Poolable
from poolsearch.placement import KEEP, Exponents, Placement


@dataclass(frozen=True)
class CostTable:
    """MACs of each part for one image: a placement's cost is a sum of entries.

    A block's work is decided by how far its input is shrunk already and by the site before it, so that a table of
    (block, exponents of its input, exponents of its site) covers every placement.
    """

    fixed: int
    block: dict[tuple[int, Exponents, Exponents], int]

    def block_macs(self, placement: Placement) -> list[int]:
        """MACs of each block."""
        costs, before = [], KEEP
        for index in range(placement.length):
            site = placement.at(index)
            costs.append(self.block[index, before, site])
            before = (before[0] + site[0], before[1] + site[1])
        return costs

    def macs(self, placement: Placement) -> int:
        """MACs of one forward pass on one image."""
        return self.fixed + sum(self.block_macs(placement))


def cost_table(net: Poolable, height: int, width: int) -> CostTable:
    """Count the MACs of every (block, resolution, downsampling) with torch's flop counter, without computing anything.

    Args:
        net: on the meta device (build it under ``torch.device("meta")``).
        height, width: of the input image.
    """
    poolings = net.space.poolings
    fixed, x_BCHW = _count(partial(net.stem, torch.zeros(2, 3, height, width, device="meta")))
    entries: dict[tuple[int, Exponents, Exponents], int] = {}
    inputs = {KEEP: x_BCHW}
    for index in range(len(net.blocks)):
        outputs = {}
        for before, x in inputs.items():
            sites = [KEEP] if index == 0 or before[0] == poolings else [KEEP, (1, 1)]
            for site in sites:
                entries[index, before, site], out = _count(partial(net.run_block, index, x, site))
                outputs[before[0] + site[0], before[1] + site[1]] = out
        inputs = outputs
    head, _ = _count(partial(net.head, next(iter(inputs.values()))))
    return CostTable(fixed + head, entries)


def _count(run: Callable[[], torch.Tensor]) -> tuple[int, torch.Tensor]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = run()
    return counter.get_total_flops() // 2 // 2, out  # two flops per multiply-add, a batch of two


def macs_of(table: CostTable, placements: Iterable[Placement]) -> NDArray[np.int64]:
    """MACs of each placement, shape (A,)."""
    return np.array([table.macs(p) for p in placements], np.int64)
