"""What a placement, or a tree of placements, works at for one image: passes, multiply-adds, bytes of maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poolsearch.cost import CostTable, cost_table
from poolsearch.nets.build import blank
from poolsearch.session.run import Run
from poolsearch.space import Placement, Space
from poolsearch.supernet.prefix_tree import tree_macs
from poolsearch.supernet.tree_memory import MemoryTable, memory_table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """The work of one network in a space of placements, by parts.

    Three kinds of work make up what a pass costs: itself (1: each of its kernels has to be started), its MACs, and
    the bytes of its maps.
    """

    space: Space
    costs: CostTable
    memory: MemoryTable

    def of(self, placements: Iterable[Placement], images: float) -> Floats:
        """Each placement on a batch of so many images.

        Args:
            placements: N of them, which must be covered by the tables.
            images: of the batch; a mean need not be whole.

        Returns:
            Passes (1), MACs and bytes of maps, shape (N, 3).
        """
        return self._one_image(placements) * [1, images, images]

    def of_all(self, images: float) -> Floats:
        """Each placement of the space on such a batch.

        Args:
            images: of the batch; a mean need not be whole.

        Returns:
            As of :meth:`of`, in the order of the placements' numbers, shape (A, 3).
        """
        return self._all_A3 * [1, images, images]

    def of_tree(self, placements: Sequence[Placement], images: float) -> Floats:
        """The tree of these placements on a batch: parts that several share count once.

        Args:
            placements: all of the same number of blocks, at least one.
            images: of the batch; a mean need not be whole.

        Returns:
            Passes (blocks that are run, divided by those of one placement), MACs and bytes of maps, shape (3,).
        """
        macs = tree_macs([self.costs.block_macs(p) for p in placements], placements)
        size = tree_macs([self._bytes(p) for p in placements], placements)
        nodes = tree_macs([[1] * p.length for p in placements], placements)
        shared = images * (self.costs.stem.macs + macs), images * (self.memory.stem.work + size)
        return np.array([nodes / placements[0].length, *shared], np.float64)

    @cached_property
    def _all_A3(self) -> Floats:
        return self._one_image(self.space)

    def _one_image(self, placements: Iterable[Placement]) -> Floats:
        stem = self.memory.stem.work
        return np.array([(1, self.costs.macs(p), stem + sum(self._bytes(p))) for p in placements], np.float64)

    def _bytes(self, placement: Placement) -> list[int]:
        """Of the maps that each block makes, per image."""
        found, size = [], self.memory.stem.size
        for index in range(placement.length):
            part = self.memory.block[index, size, placement.at(index)]
            found.append(part.work)
            size = part.size
        return found


def work_of(run: Run) -> Work:
    """That of the run's network, of the width that its settings say.

    Args:
        run: open; bytes are in the number format of its machine.

    Returns:
        Tables of MACs and of memory that cover its space.
    """
    net, size = blank(run.net_spec), run.image_size
    costs = cost_table(net, *size, run.space)
    memory = memory_table(net.to(run.machine.dtype), *size, run.space, run.machine.memory_format)
    return Work(run.space, costs, memory)
