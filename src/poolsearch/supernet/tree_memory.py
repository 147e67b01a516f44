"""How much memory running a set of placements as a tree takes, known before anything is run.

At every moment these maps are alive: the input of each block on the way from the root whose other children are still
to be run, and what the block at hand makes. Their sizes are found on the meta device, with torch's own account of what
each operation allocates, so that they are those of the very operations that will run. Left out are the weights and
what libraries take for themselves inside an operation (a convolution's workspace).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from poolsearch.nets.live_bytes import LiveBytes
from poolsearch.nets.poolable import (
    HeadKey,
    Poolable,
    Size,
    carried_sizes,
    every_block,
    split_state,
    state_size,
)
from poolsearch.space import Exponents, Placement, Space

_BATCH = 2


@dataclass(frozen=True)
class SegmentBytes:
    """Of one part of a network, per image: the most alive beside its input, and its map, which is of ``size``.

    ``carried``: of its maps, those that stay until the head reads them, of the sizes ``carried_sizes``.
    """

    work: int
    map: int
    size: Size
    carried: int = 0
    carried_sizes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class MemoryTable:
    """Bytes of each part per image, keyed as in :class:`~poolsearch.cost.CostTable`; ``image`` is the input.

    ``head``: the most alive beside what it reads; empty where it makes class logits, which takes little.
    """

    image: int
    stem: SegmentBytes
    block: dict[tuple[int, Size, Exponents], SegmentBytes]
    head: dict[HeadKey, int] = field(default_factory=dict)


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

    block, last = every_block(net, state, space or net.space, count)
    head = {key: work for key, end in last.items() if (work := _head_work(net, end)) is not None}
    # the loader gives float32; another format is a copy beside it
    pixels = 3 * height * width
    return MemoryTable(pixels * (4 if dtype == torch.float32 else 4 + dtype.itemsize), stem, block, head)


def _count(run: Callable[[Any], Any], state: Any) -> tuple[SegmentBytes, Any]:
    with torch.no_grad(), LiveBytes() as live:
        _ignore(live, state)
        out = run(state)
        carried = -(-live.bytes_of(split_state(out)[1]) // _BATCH)
        most, now = -(-live.most // _BATCH), -(-live.now // _BATCH)
        return SegmentBytes(most, now, state_size(out), carried, carried_sizes(out)), out


def _head_work(net: Poolable, state: Any) -> int | None:
    """Of the head, the most alive beside what it reads; None where it makes class logits."""
    with torch.no_grad(), LiveBytes() as live:
        _ignore(live, state)
        out = net.head(state)
        return None if isinstance(out, Tensor) and out.dim() == 2 else -(-live.most // _BATCH)


def _ignore(live: LiveBytes, state: Any) -> None:
    for leaf in tree_leaves(state):
        if isinstance(leaf, Tensor):
            live.ignore(leaf)


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
    stem = table.stem
    return table.image + max(stem.work, _branch(table, ordered, 0, stem, stem.carried_sizes))


def _branch(
    table: MemoryTable, group: list[Placement], block: int, before: SegmentBytes, sizes: tuple[Any, ...]
) -> int:
    """The most alive from ``block`` on, for placements in the tree's order that agree on everything before it.

    Args:
        before: the part before ``block``, whose maps are alive; what earlier ones keep is the caller's to add.
        sizes: of all maps that are carried to the head so far.
    """
    most = own = before.map
    size, carried = before.size, before.carried
    while block < group[0].length:
        *others, last = [list(same) for _, same in groupby(group, key=lambda p: p.at(block))]
        for child in [*others, last]:
            found = table.block[block, size, child[0].at(block)]
            most = max(most, own + found.work)
            if child is last:
                own, carried, size, group = carried + found.map, carried + found.carried, found.size, last
                sizes = (*sizes, *found.carried_sizes)
            else:
                most = max(most, own + _branch(table, child, block + 1, found, (*sizes, *found.carried_sizes)))
        block += 1
    return max(most, own + table.head.get((size, *sizes), 0))
