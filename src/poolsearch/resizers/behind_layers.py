"""Resizers behind the layers that lose their stride, as the papers have them: for any module, whatever it gives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.cost.macs import count_macs
from poolsearch.errors import PoolsearchError
from poolsearch.resizers.network import LearnedSizes
from poolsearch.resizers.resizer import Resizer, Size

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_PROBES = (1.0, 0.7)
"""Scales at which the network has to run: as it is given, and at sizes that no halving makes."""


@dataclass(frozen=True)
class StridedLayers:
    """The layers that shrink maps of one size, which together get one resizer.

    Attributes:
        names: of the submodules, in the order in which they run.
        given: the size of the maps that they read.
        stride: (height, width).
    """

    names: tuple[str, ...]
    given: Size
    stride: tuple[int, int]


class ResizedLayers(LearnedSizes):
    """A network whose strided layers run at stride 1, with resizers behind them: it is called as the network is.

    Made by :func:`~poolsearch.resizers.replace_strides`. The network's parameters are those of the given one, the same
    objects, under ``model.``; those of the resizers are under ``resizers.NUMBER.``.

    Args:
        model: the network; not changed.
        groups: its strided layers, those that share a resizer together.
        resizers: one for each group.

    Attributes:
        model: a copy of the network that shares its parameters and buffers.
    """

    def __init__(self, model: nn.Module, groups: list[StridedLayers], resizers: list[Resizer]) -> None:
        super().__init__(dict(enumerate(resizers)))
        self.model = _sharing_copy(model)
        for group, layer in zip(groups, resizers, strict=True):
            layer.label = f"{type(layer).__name__} behind '{group.names[0]}'"
            for name in group.names:
                part = self.model.get_submodule(name)
                _without_stride(part)
                part.register_forward_hook(partial(_resize_output, layer))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the network computes, with resized maps.

        Args:
            *args, **kwargs: as the network takes them.

        Returns:
            What the network gives.

        Raises:
            ValueError: a resizer cannot resize its maps: they are too small, or not of the frozen size.
        """
        return self.model(*args, **kwargs)

    @torch.no_grad()
    def macs(self, height: int, width: int) -> int:
        """Multiply-adds of one forward pass on one image with maps of the sizes that they have now.

        Those of the resizers are not counted. The network computes once, on blank images, in evaluation.

        Args:
            height, width: of the image, in pixels.

        Returns:
            Of the whole network.
        """
        return count_macs(lambda: _evaluated(_standing_in(self), blank_images(self.model, height, width)))[0]


def _resize_output(layer: Resizer, part: nn.Module, args: Any, made_BCHW: Tensor) -> Tensor:
    """A hook: what a layer gives, resized."""
    return layer(made_BCHW)


def _sharing_copy(model: nn.Module) -> Any:
    """A copy with modules of its own and the same tensors."""
    tensors = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _without_stride(part: nn.Module) -> None:
    """Make a layer keep the size of its maps: a convolution at stride 1, a pooling as nothing."""
    if isinstance(part, nn.Conv2d):
        part.stride = (1, 1)
    elif isinstance(part, _POOLS):
        part.kernel_size, part.stride, part.padding, part.ceil_mode = 1, 1, 0, False


def _standing_in(net: ResizedLayers) -> ResizedLayers:
    """A copy whose resizers only make maps of their size, without multiply-adds that a counter sees."""
    found = _sharing_copy(net)
    for layer in found.layers():
        layer.forward = partial(_averaged, layer.output_size)
    return found


def _averaged(size_of: Callable[[int, int], Size], x_BCHW: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x_BCHW, size_of(*x_BCHW.shape[2:]))


def blank_images(model: nn.Module, height: int, width: int) -> Tensor:
    """Two images that a network can compute with.

    Args:
        model: any module with a convolution; its first says how many channels images have.
        height, width: in pixels.

    Returns:
        Zeros, of the type and on the device of the network's parameters.
    """
    channels = next((part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)), 3)
    weight = next(model.parameters(), torch.zeros(()))
    return torch.zeros(2, channels, height, width, dtype=weight.dtype, device=weight.device)


@torch.no_grad()
def _evaluated(model: nn.Module, images: Tensor) -> Any:
    """What a copy of a network gives in evaluation; the generators of random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        return model.eval()(images)


def strided_layers(model: nn.Module, images: Tensor) -> list[StridedLayers]:
    """The convolutions and poolings of a network that shrink their maps, by the size of the maps that they read.

    Layers one after another read maps of other sizes; those on parallel paths of a block read the same, and must go on
    shrinking them alike. A pooling down to one pixel is no downsampling but a head's average.

    Args:
        model: any module of images; run once, as a copy in evaluation.
        images: of the size to work with.

    Returns:
        In the order in which they run; what shrinks maps by a function, without a layer, is not among them.

    Raises:
        PoolsearchError: a strided layer runs more than once, layers that read maps of one size have other strides, or
            there are none.
    """
    probe = _sharing_copy(model)
    seen: dict[str, tuple[Size, tuple[int, int]]] = {}

    def note(name: str, part: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        (height, width), stride = given[0].shape[2:], _pair(part.stride)
        if max(stride) == 1 or (isinstance(part, _POOLS) and max(made.shape[2:]) == 1):
            return
        if name in seen:
            raise PoolsearchError(
                f"layer '{name}' of {type(model).__name__} shrinks maps more than once in a pass: make a layer for "
                "each place, or use replace_downsampling."
            )
        seen[name] = (height, width), stride

    for name, part in probe.named_modules():
        if isinstance(part, (nn.Conv2d, *_POOLS)):
            part.register_forward_hook(partial(note, name))
    _evaluated(probe, images)
    groups: dict[Size, list[str]] = {}
    for name, (given, _) in seen.items():
        groups.setdefault(given, []).append(name)
    if not groups:
        raise PoolsearchError(f"{type(model).__name__} has no convolution or pooling layer with a stride to replace.")
    found: list[StridedLayers] = []
    for given, names in groups.items():
        strides = {seen[name][1] for name in names}
        if len(strides) > 1:
            raise PoolsearchError(
                f"layers {', '.join(map(repr, names))} of {type(model).__name__} read maps of {given[0]}x{given[1]} "
                f"and have strides of {sorted(strides)}: one resizer cannot stand for both. Use replace_downsampling."
            )
        found.append(StridedLayers(tuple(names), given, strides.pop()))
    return found


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def resized_layers(
    model: nn.Module,
    images: Tensor,
    groups: list[StridedLayers],
    resizers: list[Resizer],
) -> ResizedLayers:
    """Put resizers behind strided layers, and see that the network runs with maps of other sizes.

    Args:
        model: the network.
        images: of the size to work with.
        groups: of its layers, those that are replaced.
        resizers: one for each group.

    Returns:
        The network with its resizers, which share its parameters.

    Raises:
        PoolsearchError: its maps do not fit together, or its head takes maps of one size only.
    """
    net = ResizedLayers(model, groups, resizers)
    for scale in _PROBES:
        probe = _sharing_copy(net)
        for layer in probe.layers():
            layer.forward = partial(_averaged, partial(_scaled, scale / 2))
        try:
            _evaluated(probe, images)
        except (RuntimeError, ValueError, IndexError) as error:
            said = str(error).split("\n")[0].rstrip(".")
            behind = ", ".join(repr(group.names[0]) for group in groups)
            raise PoolsearchError(
                f"{type(model).__name__} does not run when the maps behind {behind} have other sizes: {said}. Use "
                "replace_downsampling, or let the head average its maps before they are flattened."
            ) from error
    try:
        net.gmacs = _gmacs(net, images)
    except ValueError as error:  # a resizer's own
        raise PoolsearchError(str(error)) from error
    net.resizers.to(images.device)
    return net.train(model.training)


def _scaled(scale: float, height: int, width: int) -> Size:
    return max(math.ceil(height * scale), 2), max(math.ceil(width * scale), 2)


def _gmacs(net: ResizedLayers, images: Tensor) -> tuple[float, ...]:
    """What runs on the maps of each resizer (by the size that a layer reads), as if no map had been resized."""
    probe = _standing_in(net)
    areas: dict[Resizer, tuple[int, int]] = {}
    costs: list[tuple[int, float]] = []

    def resized(layer: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        areas[layer] = math.prod(given[0].shape[2:]), math.prod(made.shape[2:])

    def convolved(part: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        per_pixel = part.weight.numel() / 1e9
        costs.append((math.prod(given[0].shape[2:]), per_pixel * math.prod(made.shape[2:])))

    for part in probe.modules():
        if isinstance(part, Resizer):
            part.register_forward_hook(resized)
        elif isinstance(part, nn.Conv2d):
            part.register_forward_hook(convolved, prepend=True)  # before its result is resized
    _evaluated(probe, images)
    order = [areas[layer] for layer in probe.layers()]
    shares, found = [1.0], [0.0] * (len(order) + 1)
    for given, made in order:
        shares.append(shares[-1] * made / given)
    for area, cost in costs:
        behind = sum(made >= area for _, made in order)
        found[behind] += cost / shares[behind]
    return tuple(found[1:])
