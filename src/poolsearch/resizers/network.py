"""A network whose maps are shrunk by learned resizers, in the places where a placement would halve them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.cost.macs import count_macs
from poolsearch.nets.poolable import Carrying, Poolable, state_size
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.resizers.diffstride import DiffStride, stride_cost
from poolsearch.resizers.dynopool import gmacs_cost
from poolsearch.resizers.resizer import Resizer, Size
from poolsearch.resizers.shape_adaptor import ShapeAdaptor
from poolsearch.space import KEEP, Placement


@dataclass(frozen=True)
class Step:
    """A block's maps, before its resizer and behind it (the same where it has none), and its MACs for one image."""

    before: Size
    resized: Size
    macs: int


class LearnedSizes(nn.Module):
    """A network some of whose maps are resized by what it learns.

    Args:
        resizers: by number, in the order in which they run.

    Attributes:
        resizers: by the number, as text.
        gmacs: for each resizer the billions of multiply-adds behind it, up to the next, for one image whose maps were
            never resized; see :func:`~poolsearch.resizers.gmacs_cost`.
    """

    model: nn.Module

    def __init__(self, resizers: Mapping[int, Resizer]) -> None:
        super().__init__()
        self.resizers = nn.ModuleDict({str(number): resizers[number] for number in sorted(resizers)})
        self.gmacs: tuple[float, ...] = ()

    def layers(self) -> list[Resizer]:
        """All resizers.

        Returns:
            In the order in which they run.
        """
        return [layer for layer in self.resizers.values() if isinstance(layer, Resizer)]

    def cost(self) -> Tensor:
        """What the method adds to the loss, times a weight of your own, to keep the maps small.

        Returns:
            A number with gradients to the resizers: DiffStride's sum of areas
            (:func:`~poolsearch.resizers.stride_cost`), or of the others the billions of multiply-adds behind the
            resizers (:func:`~poolsearch.resizers.gmacs_cost`), which for Shape Adaptor its paper does not have.
        """
        layers = self.layers()
        spectral = [layer for layer in layers if isinstance(layer, DiffStride)]
        return stride_cost(spectral) if spectral else gmacs_cost(layers, self.gmacs)


class Resized(LearnedSizes):
    """A network whose downsampling is done by resizers: ``net(images)``.

    Made by :func:`~poolsearch.resizers.replace_downsampling`. Every block runs at full size, and where a resizer stands
    its maps are resized before it. The network's parameters are those that it was given with, under ``model.``, and
    those of the resizers are under ``resizers.BLOCK.``, with the block's number from 0.

    Args:
        net: whose blocks run; its parameters are shared.
        resizers: by the number of the block that each stands before.
        limit: the longest that the shorter axis of the last map may be, in pixels, with Shape Adaptors; None: no limit.

    Attributes:
        model: the network as it was given.
    """

    def __init__(self, net: Poolable, resizers: Mapping[int, Resizer], limit: int | None = None) -> None:
        super().__init__(resizers)
        self.model = net.original
        self.__dict__["net"] = net  # not a child: its parameters are the model's
        self.limit = limit
        for index, layer in resizers.items():
            layer.label = f"{type(layer).__name__} before '{block_name(net, index)}'"

    def forward(self, images: Tensor) -> Tensor:
        """Compute what the network computes, with resized maps.

        Args:
            images: (B, C, H, W), normalised.

        Returns:
            What the network gives, class logits (B, classes) say.

        Raises:
            ValueError: a resizer cannot resize its maps: they are too small, or not of the frozen size.
        """
        net: Poolable = self.__dict__["net"]
        state: Any = net.stem(images)
        if self.limit is not None:
            self._keep_limit(state_size(state))
        for index in range(len(net.blocks)):
            if (layer := self.resizer_before(index)) is not None:
                state = resize_state(state, layer)
            state = net.run_block(index, state, KEEP)
        return net.head(state)

    def resizer_before(self, index: int) -> Resizer | None:
        """The resizer that stands before a block.

        Args:
            index: of the block, from 0.

        Returns:
            The layer, or None.
        """
        name = str(index)
        found = self.resizers[name] if name in self.resizers else None  # noqa: SIM401 - a ModuleDict has no get
        assert found is None or isinstance(found, Resizer)
        return found

    def _keep_limit(self, size: Size) -> None:
        """Multiply the scales of Shape Adaptors by one number, so that the last map is not above the limit.

        Source: Liu et al. 2020, section 3 (memory-bounded Shape Adaptors).
        """
        adaptors = [layer for layer in self.layers() if isinstance(layer, ShapeAdaptor) and layer.frozen is None]
        if self.limit is not None and adaptors:
            last = min(size) * math.prod(float(layer.free_scale().detach()) for layer in adaptors)
            for layer in adaptors:
                layer.penalty = min((self.limit / last) ** (1 / len(adaptors)), 1.0)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds of one forward pass on one image with maps of the sizes that they have now.

        Those of the resizers themselves are not counted: an FFT is not made of multiply-adds of this kind, and the
        others are below one for each pixel and channel.

        Args:
            height, width: of the image, in pixels.

        Returns:
            Of stem, blocks and head together.
        """
        ends: list[int] = []
        steps = walk(self.__dict__["net"], height, width, self.size_before, ends.append)
        return sum(step.macs for step in steps) + sum(ends)

    def nearest_placement(self, height: int, width: int) -> Placement:
        """The placement whose resolutions are nearest to those that were learned.

        Each block's resolution, in halvings of the first block's, is rounded.

        Args:
            height, width: of the images, in pixels.

        Returns:
            A placement of the network that was given, which may halve at other sites, and less or more often, than the
            network's own.
        """
        scale = [1.0, 1.0]
        found = [(0, 0)]
        for index, step in enumerate(walk(self.__dict__["net"], height, width, self.size_before)):
            scale = [s * a / b for s, a, b in zip(scale, step.resized, step.before, strict=True)]
            if index:
                high, wide = (math.floor(0.5 - math.log2(s)) for s in scale)
                found.append((high, wide))
        return Placement(tuple((now[0] - before[0], now[1] - before[1]) for before, now in pairwise(found)))

    def size_before(self, index: int, given: Size) -> Size:
        """The size of the maps that a block gets.

        Args:
            index: of the block, from 0.
            given: the size of those before it.

        Returns:
            What the resizer before it makes of them now; the same where there is none.
        """
        layer = self.resizer_before(index)
        return given if layer is None else layer.output_size(*given)


def block_name(net: Poolable, index: int) -> str:
    """What a block is called.

    Args:
        net: the network.
        index: of the block, from 0.

    Returns:
        The name of the submodule.
    """
    return str(getattr(net.blocks[index], "path", f"blocks.{index}"))


def resize_state(state: Any, resize: Callable[[Tensor], Tensor]) -> Any:
    """Resize what is alive between two blocks.

    Args:
        state: a map (B, C, H, W), or a tuple with several of one size and whatever else is alive; or
            :class:`~poolsearch.nets.poolable.Carrying`.
        resize: of one map.

    Returns:
        The same form, with every map resized that the next block reads.
    """
    if isinstance(state, Carrying):
        return Carrying(resize_state(state.live, resize), state.carried)
    if isinstance(state, tuple):
        return tuple(resize(v) if isinstance(v, Tensor) and v.dim() == 4 else v for v in state)
    return resize(state)


@torch.no_grad()
def walk(
    net: Poolable,
    height: int,
    width: int,
    size_of: Callable[[int, Size], Size],
    ends: Callable[[int], None] = lambda _: None,
) -> Iterator[Step]:
    """Run a network block by block without numbers, its maps resized before blocks.

    Args:
        net: on any device.
        height, width: of the images, in pixels.
        size_of: for the number of a block and the size of the maps before it the size that they are to get.
        ends: told the multiply-adds for one image of the stem, and at last of the head.

    Yields:
        For each block in turn its maps and its cost.

    Raises:
        Exception: whatever stem, blocks and head raise on such maps.
    """
    blank = blank_copy(net).eval()
    dtype = next((p.dtype for p in net.parameters()), torch.float32)
    images = torch.empty(2, net.channels, height, width, dtype=dtype, device="meta")
    macs, state = count_macs(lambda: blank.stem(images))
    ends(macs)
    for index in range(len(net.blocks)):
        before = state_size(state)
        resized = size_of(index, before)
        if resized != before:
            state = resize_state(state, lambda x, to=resized: F.adaptive_avg_pool2d(x, to))
        macs, state = count_macs(lambda at=index, given=state: blank.run_block(at, given, KEEP))
        yield Step(before, resized, macs)
    ends(count_macs(lambda: blank.head(state))[0])
