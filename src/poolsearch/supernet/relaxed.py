"""The relaxed supernet: every block works at all resolutions at once, weighted (paper, appendix C, Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import Op, Poolable, Size, resize, state_size
from poolsearch.space import KEEP
from poolsearch.supernet.single_path import SinglePath


class Relaxed(nn.Module):
    """A single-path supernet as a relaxed one: ``relaxed(x_BCHW, weight_LR)`` gives logits; see :func:`forward`.

    Args:
        supernet: its BatchNorm normalises by the batch at hand.
    """

    def __init__(self, supernet: SinglePath) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, x_BCHW: Tensor, weight_LR: Tensor) -> Tensor:
        return forward(self.supernet, x_BCHW, weight_LR)


def forward(supernet: SinglePath, x_BCHW: Tensor, weight_LR: Tensor) -> Tensor:
    """Compute logits that are differentiable in the weights and in the supernet's parameters.

    Between blocks every map has the size of the first block's. Each block but the first, which stays as it is, runs
    at every resolution: its input pooled by ``2**r``, its output enlarged again by the nearest neighbour, and the R
    results summed by their weights (Eq. 4). A block of several convolutions and its shortcut are run whole at each
    resolution.

    Differs (docs/differences.md#relaxed-search): r runs from 0, so that the full resolution can be reached, to the
    halvings of the network's own placement. Maps are shrunk by the network's pooling where it pools, else by max
    pooling; the paper does not say how they are resized. Blocks and not single convolutions are weighed.

    Args:
        supernet: its BatchNorm normalises by the batch at hand.
        x_BCHW: normalised images.
        weight_LR: of each block but the first (L) and each resolution (R): rows on the simplex.

    Returns:
        Logits, (B, classes).

    Raises:
        PoolsearchError: a value that a block passes on beside its maps depends on the resolution, or maps of several
            blocks reach the head.
    """
    net = supernet.net
    if getattr(net, "carries", 0):
        raise PoolsearchError(
            "this network cannot be relaxed: its head reads maps of several blocks, and in a relaxed supernet no block "
            "has a resolution of its own. Use another method, such as --method mixture."
        )
    assert len(weight_LR) == len(net.blocks) - 1, "one row for each block but the first"
    h_BCHW = supernet.run_at(0, supernet.run_stem(x_BCHW), KEEP)
    for index, weight_R in enumerate(weight_LR, 1):
        h_BCHW = _mixed(supernet, index, h_BCHW, weight_R)
    return supernet.run_head(h_BCHW, net.default)


def resolutions(net: Poolable) -> int:
    """How many resolutions a block may be at in the relaxed supernet of a network.

    Args:
        net: whose own placement keeps or halves both axes at every site.

    Returns:
        R: full, and one for each halving of the network's own placement.
    """
    assert net.default.blocks is not None
    return len(net.default.blocks)


def path_of(weight_LR: Sequence[Sequence[float]]) -> list[int]:
    """The resolution of every block: that of the largest weight (paper, appendix C).

    Args:
        weight_LR: a row of R weights for each block but the first, the full resolution's first.

    Returns:
        Halvings of the full resolution, one number for each block; 0 for the first. Of equal weights the highest
        resolution's counts.
    """
    return [0, *(max(range(len(row)), key=lambda r: row[r]) for row in weight_LR)]


def _mixed(supernet: SinglePath, index: int, h_BCHW: Any, weight_R: Tensor) -> Any:
    """Block ``index`` at all resolutions."""
    size, op = state_size(h_BCHW), _pooling(supernet.net.op)
    several, mixed = False, tuple[Any, ...]()
    for r, weight in enumerate(weight_R):
        out = supernet.run_at(index, resize(h_BCHW, (r, r), op), (r, r))
        several = isinstance(out, tuple)
        parts = tuple(_weighted(part, weight, r, size) for part in (out if several else (out,)))
        mixed = tuple(map(_sum, mixed, parts)) if mixed else parts
    return mixed if several else mixed[0]


def _pooling(op: Op) -> Op:
    """How maps are pooled for a network whose sites downsample by ``op``."""
    return "max" if op in ("stride", "native") else op


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4


def _weighted(value: Any, weight: Tensor, r: int, size: Size) -> Any:
    """A map times its weight, and then enlarged; what is no map stays as it is.

    Pooling rounds odd sizes up, so that the enlarged map may be larger: pixels still lie over those they were made of
    when it is cut off at the end.
    """
    return resize(value * weight, (-r, -r), "max")[..., : size[0], : size[1]] if _is_map(value) else value


def _sum(one: Any, other: Any) -> Any:
    if _is_map(one):
        return one + other
    same = one is other or (torch.equal(one, other) if isinstance(one, Tensor) else one == other)
    if not same:
        raise PoolsearchError(
            "this network cannot be relaxed: a block passes on a value beside its maps that depends on the resolution. "
            "Use another method, such as --method mixture, or name other blocks."
        )
    return one
