"""DynOPool: maps are sampled on a grid whose cells have a learned height and width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.resizers.resizer import (
    Axes,
    Resizer,
    Size,
    area_factors,
    at_least,
    clamp_in_place,
    gradient_only,
    legal_length,
    two_numbers,
    values_of,
)

_OFFSETS = {1: (0.5,), 4: (0.25, 0.75)}
"""Where in a cell it is sampled along an axis, by how many points a cell has."""


class DynOPool(Resizer):
    """Samples maps on a grid, by a learned scale for each axis.

    ::

        layer = DynOPool(scale=0.5)
        layer(torch.rand(8, 16, 32, 32)).shape  # (8, 16, 16, 16)

    An axis of length L is divided into the nearest legal number n of cells to r L, all of one length. Each cell is
    sampled at its centre (or at four points, of which the largest value is taken), bilinearly between the four pixels
    around; beyond the border its pixels are repeated. The scale r has its gradient through the places that are sampled;
    rounding is passed over (straight through). What is learned is 1 / r, which keeps steps even where r is small.

    Source: Jang, Chu, Kim and Han, "Pooling revisited: your receptive field is suboptimal", CVPR 2022, section 3.

    Differs: the paper samples each cell at four points and takes their maximum: ``points=4``. The centre alone, the
    default, leaves maps as they are at a scale of 1, which four points do not. Scales above 1 are not allowed. With a
    change of the scale the grid grows from the middle of the map, so that neither side of it is preferred. A scale that
    training takes out of its range is put back to its end.

    Args:
        scale: to begin with, above 0 and at most 1; one number, or those of height and width.
        points: of a cell: 1 or 4.
        smallest: see :class:`~poolsearch.resizers.resizer.Resizer`.

    Attributes:
        stride: the parameter, shape (2,): 1 / scale of height and width.

    Shape:
        (B, C, H, W) to (B, C, H', W'), with H' from ``smallest`` to H, and W' likewise.

    Raises:
        ValueError: an argument is out of range; when it is called, also that the maps are smaller than the cells to
            begin with, or as :meth:`~poolsearch.resizers.resizer.Resizer.forward`.
    """

    def __init__(self, scale: Axes = 0.5, points: int = 1, smallest: int = 1) -> None:
        super().__init__(smallest)
        high, wide = two_numbers(self.label, "scale", scale, 1e-4, 1.0)
        if points not in _OFFSETS:
            raise ValueError(f"{self.label}: points is {points!r}; a cell is sampled at 1 point or at 4.")
        self.points = points
        self.start = 1 / high, 1 / wide
        self.stride = nn.Parameter(torch.tensor(self.start))

    def scales(self) -> Tensor:
        return 1 / at_least(self.stride, 1.0)

    def learned_size(self, height: int, width: int) -> Size:
        self.check_start(height, width)
        lengths, strides = (height, width), values_of(self.label, self.stride)
        high, wide = (
            legal_length(math.floor(n / max(s, 1.0) + 0.5), n, self.smallest)
            for n, s in zip(lengths, strides, strict=True)
        )
        return high, wide

    def keep_bounds(self, height: int, width: int) -> None:
        clamp_in_place(self.stride, 1.0, [n / min(self.smallest, n) for n in (height, width)])

    def resize(self, x_BCHW: Tensor, size: Size) -> Tensor:
        offsets = _OFFSETS[self.points]
        for axis, stride, cells in zip((2, 3), self.stride.to(x_BCHW.dtype), size, strict=True):
            length = x_BCHW.shape[axis]
            cell = length / cells + gradient_only(stride)  # as long as fits exactly
            x_BCHW = sample(x_BCHW, axis, query_places(length, cells, cell, offsets))
        return F.max_pool2d(x_BCHW, len(offsets)) if self.points > 1 else x_BCHW

    def resize_frozen(self, x_BCHW: Tensor) -> Tensor:
        assert self.frozen is not None
        (high, wide), per_axis = self.frozen[1], len(_OFFSETS[self.points])
        grid = (high * per_axis, wide * per_axis)  # the points of all cells are the centres of a finer grid
        x_BCHW = F.interpolate(x_BCHW, grid, mode="bilinear", align_corners=False)
        return F.max_pool2d(x_BCHW, per_axis) if self.points > 1 else x_BCHW


def query_places(length: int, cells: int, cell: Tensor, offsets: Sequence[float]) -> Tensor:
    """Where an axis is sampled.

    Args:
        length: of the axis, in pixels.
        cells: into how many it is divided.
        cell: the length of one, in pixels, as a tensor without axes; the grid lies in the middle of the axis.
        offsets: where in a cell, from 0 to 1.

    Returns:
        Shape (cells * len(offsets),): places in pixels, where 0 is the centre of the first pixel; those beyond the
        border are moved onto it.
    """
    begins = torch.arange(cells, dtype=cell.dtype, device=cell.device)[:, None]
    in_cells = (begins + begins.new_tensor(offsets)).flatten()
    return (length / 2 + (in_cells - cells / 2) * cell - 0.5).clamp(0.0, length - 1.0)


def sample(x_BCHW: Tensor, axis: int, places: Tensor) -> Tensor:
    """Read an axis between its pixels, linearly.

    Args:
        x_BCHW: maps.
        axis: 2 or 3, of at least two pixels.
        places: shape (n,), in pixels, from 0 to the length of the axis less 1.

    Returns:
        The maps with n pixels along this axis, with gradients to maps and places.
    """
    before = places.detach().floor().clamp(max=x_BCHW.shape[axis] - 2)
    part = (places - before).to(x_BCHW.dtype)
    index = before.long()
    low, high = x_BCHW.index_select(axis, index), x_BCHW.index_select(axis, index + 1)
    return low + (high - low) * (part[:, None] if axis == 2 else part)


def gmacs_cost(layers: Iterable[Resizer], gmacs: Sequence[float]) -> Tensor:
    """DynOPool's penalty of computation: the billions of multiply-adds that the learned scales make.

    Add it to the loss, times a weight of your own: the larger that is, the smaller become the maps.

    Source: Jang et al. 2022, section 3.

    Differs: what runs behind a layer is taken to cost as much as its maps have pixels before sizes are rounded, which
    makes it smooth.

    Args:
        layers: in the order in which they run, at least one.
        gmacs: for each of them what runs behind it, up to the next, would cost for maps of the size before the first,
            in billions of multiply-adds for one image.

    Returns:
        A number, as a tensor without axes, with gradients to all scales.

    Raises:
        ValueError: there are no layers, or not as many numbers as layers.
    """
    areas = area_factors(layers)
    if len(gmacs) != len(areas):
        raise ValueError(f"there are {len(areas)} resizers and {len(gmacs)} costs: give one for each.")
    return (areas * areas.new_tensor(gmacs)).sum()
