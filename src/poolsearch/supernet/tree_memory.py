"""How much memory running a set of placements as a tree takes, known before anything is run.

At every moment these maps are alive: the input of each block on the way from the root whose other children are still
to be run, and what the block at hand makes. Their sizes are found on the meta device, with torch's own account of what
each operation allocates, so that they are those of the very operations that will run. Left out are the weights and
what libraries take for themselves inside an operation (a convolution's workspace).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from poolsearch.nets.live_bytes import LiveBytes
from poolsearch.nets.poolable import Poolable, Size, every_block, state_size
from poolsearch.space import Exponents, Placement, Space

_BATCH = 2


@dataclass(frozen=True)
class SegmentBytes:
    """Of one part of a network, per image: the most alive beside its input, and its map, which is of ``size``."""

    work: int
    map: int
    size: Size


@dataclass(frozen=True)
class MemoryTable:
    """Bytes of each part per image, keyed as in :class:`~poolsearch.cost.CostTable`; ``image`` is the input."""

    image: int
    stem: SegmentBytes
    block: dict[tuple[int, Size, Exponents], SegmentBytes]


def memory_table(
    net: Poolable,
    height: int,
    width: int,
    space: Space | None = None,
    memory_format: torch.memory_format = torch.channels_last,
) -> MemoryTable:
    """Bytes of every (block, size, downsampling), in the number format of ``net``.

    Args:
        net: on the meta device, in the format that it computes in.
        height, width: of the input image.
        space: the placements that are to be covered; the network's own where not given.
        memory_format: of the images.

    Returns:
        A table from which :func:`tree_bytes` looks up any placements of the space.
    """
    dtype = next(net.parameters()).dtype
    image = torch.zeros(_BATCH, net.channels, height, width, device="meta", dtype=dtype)
    stem, state = _count(net.stem, image.to(memory_format=memory_format))

    def count(index: int, x: Any, site: Exponents) -> tuple[SegmentBytes, Any]:
        return _count(partial(net.run_block, index, exponents=site), x)

    block, _ = every_block(net, state, space or net.space, count)
    # the loader gives float32; another format is a copy beside it
    pixels = 3 * height * width
    return MemoryTable(pixels * (4 if dtype == torch.float32 else 4 + dtype.itemsize), stem, block)


def _count(run: Callable[[Any], Any], state: Any) -> tuple[SegmentBytes, Any]:
    with torch.no_grad(), LiveBytes() as live:
        for leaf in tree_leaves(state):
            if isinstance(leaf, Tensor):
                live.ignore(leaf)
        out = run(state)
        return SegmentBytes(-(-live.most // _BATCH), -(-live.now // _BATCH), state_size(out)), out


def tree_bytes(table: MemoryTable, placements: Sequence[Placement]) -> int:
    """The most bytes that :func:`~poolsearch.supernet.prefix_tree.run_tree` has alive at any moment, images included.

    Args:
        table: of a space that has the placements.
        placements: those that are run as one tree, in any order.

    Returns:
        Bytes for each image of a batch; 0 without placements.
    """
    ordered = sorted(placements, key=lambda p: p.sites, reverse=True)
    if not ordered:
        return 0
    return table.image + max(table.stem.work, _branch(table, ordered, 0, table.stem.size, table.stem.map))


def _branch(table: MemoryTable, group: list[Placement], block: int, size: Size, own: int) -> int:
    """The most alive from ``block`` on, for placements in the tree's order that agree on everything before it.

    Args:
        size: of the maps before ``block``.
        own: bytes of that input; what earlier blocks keep is the caller's to add.
    """
    most = own
    while block < group[0].length:
        *others, last = [list(same) for _, same in groupby(group, key=lambda p: p.at(block))]
        for child in [*others, last]:
            found = table.block[block, size, child[0].at(block)]
            most = max(most, own + found.work)
            if child is last:
                own, size, group = found.map, found.size, last
            else:
                most = max(most, own + _branch(table, child, block + 1, found.size, found.map))
        block += 1
    return most
