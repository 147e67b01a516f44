"""Prefix sharing: placements that agree up to a block compute the same up to it, so compute it once.

A set of placements is run as a tree over blocks, depth first: a node is a block after a site, a path from the root a
prefix, a leaf a placement. The operations and their inputs are those of running each placement alone, so that the
logits are the same to the bit; activations of a branch are freed before the next is run.

Halved maps are gone into first. Then a map waits for the rest of its children only while a smaller one is worked on,
so that never more maps wait than there are halvings, however many blocks there are. Where a small map may be enlarged
again (``--paths any``), one may wait for each block (:mod:`~poolsearch.supernet.tree_memory` counts the bytes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from torch import Tensor

from poolsearch.space import Placement
from poolsearch.supernet.single_path import SinglePath


def run_tree(supernet: SinglePath, x_BCHW: Tensor, placements: Sequence[Placement]) -> Iterator[tuple[int, Tensor]]:
    """Compute the logits of many placements on one batch, sharing what they have in common.

    Args:
        supernet: in training or evaluation mode, which is left as it is.
        x_BCHW: normalised images.
        placements: in any order; one that occurs twice is computed once.

    Yields:
        (position in ``placements``, logits (B, classes)) of each, in an order of the tree's own.

    Raises:
        PoolsearchError: a placement has another number of blocks than the network.
    """
    if placements:
        yield from _branch(supernet, supernet.run_stem(x_BCHW), root_group(supernet, placements), 0)


Group = list[tuple[int, Placement]]
"""Placements of one branch, each with its position in what was asked for."""


def root_group(supernet: SinglePath, placements: Sequence[Placement]) -> Group:
    """The group of the tree's root: sorted, so that placements which agree up to a block are neighbours.

    Args:
        supernet: that is to run them.
        placements: in any order.

    Returns:
        All placements with their positions, those that halve earlier first.

    Raises:
        PoolsearchError: a placement has another number of blocks than the network.
    """
    for placement in placements:
        supernet.net.check(placement)
    return sorted(enumerate(placements), key=lambda item: item[1].sites, reverse=True)


def children(group: Group, block: int) -> list[Group]:
    """A group divided by the site before ``block``.

    Args:
        group: placements that agree on all sites before that one, in the order of :func:`root_group`.
        block: from 0; no site is before the first, so that the whole group then is its one child.

    Returns:
        A group for each choice of the site, halved maps first.
    """
    return [list(same) for _, same in groupby(group, key=lambda item: item[1].at(block))]


def _branch(supernet: SinglePath, x_BCHW: Tensor, group: Group, block: int) -> Iterator[tuple[int, Tensor]]:
    """Run ``block`` and what follows for placements that agree on everything before it.

    The last child of a block takes its parent's place instead of being called, so that only maps that another branch
    still needs are alive.
    """
    while block < len(supernet.net.blocks):
        *others, last = children(group, block)
        for child in others:
            yield from _branch(supernet, supernet.run_block(block, x_BCHW, child[0][1]), child, block + 1)
        x_BCHW, group, block = supernet.run_block(block, x_BCHW, last[0][1]), last, block + 1
    logits = supernet.run_head(x_BCHW, group[0][1])
    yield from ((position, logits) for position, _ in group)


def tree_macs(block_macs: Sequence[Sequence[int]], placements: Sequence[Placement]) -> int:
    """MACs of the blocks of the tree of ``placements``: a block at a prefix that several share counts once.

    Args:
        block_macs: MACs of each block of each placement, shape (placements, blocks).
        placements: the same placements.

    Returns:
        Their sum over the tree, without stem and head; in the unit of ``block_macs``, which may be another one.
    """
    nodes = {
        (block, placement.prefix(block)): macs
        for placement, row in zip(placements, block_macs, strict=True)
        for block, macs in enumerate(row)
    }
    return sum(nodes.values())
