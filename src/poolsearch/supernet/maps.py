"""The maps inside a supernet, block after block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from poolsearch.nets.poolable import split_state
from poolsearch.space import Placement
from poolsearch.supernet.single_path import SinglePath


def run_maps(supernet: SinglePath, x_BCHW: Tensor, placement: Placement) -> Iterator[Tensor]:
    """Give what comes out of each block of ``placement``, one after the other, as the network itself computes it.

    Between the blocks of a restrided network several maps may be alive together; the first is given.

    Args:
        supernet: in evaluation mode; its mode is left as it is.
        x_BCHW: normalised images. Where the batch at hand normalises, the maps of an image depend on the others.
        placement: of the network's number of blocks.

    Yields:
        For each block in turn its map, (B, C, H, W) with the block's own channels and size.

    Raises:
        PoolsearchError: the placement has another number of blocks.
    """
    supernet.net.check(placement)
    state = supernet.run_stem(x_BCHW)
    for index in range(len(supernet.net.blocks)):
        state = supernet.run_block(index, state, placement)
        yield first_map(state)


def first_map(state: Tensor | tuple[Any, ...]) -> Tensor:
    """The first map of what is alive between two blocks.

    Args:
        state: one map (B, C, H, W), or a tuple of maps and other values, as restrided blocks pass on; of those that are
            only carried to the head none is given.

    Returns:
        A map (B, C, H, W).
    """
    live, _ = split_state(state)
    if isinstance(live, Tensor):
        return live
    return next(value for value in live if isinstance(value, Tensor) and value.dim() == 4)
