"""The layers that shrink maps, and how each runs at another stride with its own parameters.

A layer at another stride is a shallow copy made for the call, a twin: it shares the original's parameters, buffers and
mode as they are at that moment, so that copying, moving, loading or replacing them needs no care.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from poolsearch.nets.restride.measure import Lengths, MeasuredGraph

Stride = tuple[int, int]
Margin = tuple[int, int, int, int]
"""Zeros to add: left, right, top, bottom."""

_POOL_LAYERS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_MAX_POOLS = (F.max_pool2d, torch.max_pool2d)
_POOL_FUNCTIONS = (*_MAX_POOLS, F.avg_pool2d)


@dataclass(frozen=True)
class Shrink:
    """A node that shrinks its maps: what it is, and by what factors along height and width."""

    kind: Literal["convolution", "pooling", "slice", "unshuffle"]
    stride: Stride


def pair(value: Any) -> Stride:
    """A setting that may be one number, for both axes.

    Args:
        value: a number, or a sequence of height and width.

    Returns:
        (height, width).
    """
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def resizes(node: fx.Node, measured: MeasuredGraph) -> bool:
    """Whether a node gives a map of another size than it reads.

    Args:
        node: of the graph.
        measured: the maps of that graph.

    Returns:
        True where the areas differ, of the largest map that it reads and of its own; False where either is no map.
    """
    out = measured.maps.get(node)
    sizes = [measured.maps[n] for n in measured.inputs(node)]
    if out is None or not sizes:
        return False
    read = max(sizes, key=lambda m: _area(m.large))
    return (_area(out.size), _area(out.large)) != (_area(read.size), _area(read.large))


def _area(size: Lengths) -> int:
    area = 1
    for n in size:
        area *= n
    return area


def shrink_of(node: fx.Node, layers: dict[str, nn.Module], measured: MeasuredGraph) -> Shrink | None:
    """What shrinks in a node that :func:`resizes`.

    Args:
        node: of the graph.
        layers: the network's submodules by name.
        measured: the maps of that graph.

    Returns:
        What kind of layer it is and its stride; None where that is nothing known.
    """
    if node.op == "call_module":
        layer = layers[str(node.target)]
        if isinstance(layer, nn.PixelUnshuffle):
            return Shrink("unshuffle", pair(layer.downscale_factor))
        stride = getattr(layer, "stride", None)
        if stride is None or (not isinstance(layer, (nn.Conv2d, *_POOL_LAYERS)) and [*layer.parameters()]):
            return None
        return _known("convolution" if isinstance(layer, nn.Conv2d) else "pooling", pair(stride))
    if node.target in _POOL_FUNCTIONS:
        settings = settings_of(node.target, node.args[1:], node.kwargs)
        return _known("pooling", pair(settings.get("stride") or settings["kernel_size"]))
    if node.target is F.pixel_unshuffle:
        return Shrink("unshuffle", pair(node.kwargs.get("downscale_factor") or node.args[1]))
    if node.target is operator.getitem and isinstance(node.args[1], tuple) and measured.maps[node].usual:
        steps = [_step(index) for index in _spread(node.args[1])]
        return _known("slice", (steps[2], steps[3])) if steps[:2] == [1, 1] else None
    return None


def trim_of(node: fx.Node, measured: MeasuredGraph) -> Stride | None:
    """How many pixels a node takes off its maps whatever their size, as a convolution without padding does.

    Args:
        node: of the graph, one that :func:`resizes`.
        measured: the maps of that graph.

    Returns:
        (height, width), below zero where it adds some; None where the loss depends on the size.
    """
    read = max((measured.maps[n] for n in measured.inputs(node)), key=lambda m: _area(m.large))
    out = measured.maps[node]
    if not (read.usual and out.usual):
        return None
    lost, of_large = (
        [a - b for a, b in zip(*sizes, strict=True)] for sizes in ((read.size, out.size), (read.large, out.large))
    )
    return (lost[0], lost[1]) if lost == of_large else None


def fitted(x_BCHW: Tensor, size: Stride, most: int) -> Tensor:
    """A map as the head needs it: what is left over at the border is cut off, what is missing filled with zeros.

    Convolutions without padding, and sizes that round up or down, make maps of a few pixels more or less where the
    downsampling is moved.

    Args:
        x_BCHW: the map.
        size: (height, width) to have.
        most: by how many pixels the map may differ along each axis.

    Returns:
        (B, C, height, width); the map itself where it has that size.

    Raises:
        RuntimeError: it differs by more.
    """
    rows, columns = size[0] - x_BCHW.shape[2], size[1] - x_BCHW.shape[3]
    if rows == columns == 0:
        return x_BCHW
    if max(abs(rows), abs(columns)) > most:
        raise RuntimeError(f"it needs maps of {size[0]}x{size[1]}")
    top, left = int(rows / 2), int(columns / 2)  # towards zero: the first row and column stay longest
    return F.pad(x_BCHW, (left, columns - left, top, rows - top))


def _known(kind: Literal["convolution", "pooling", "slice"], stride: Stride) -> Shrink | None:
    return Shrink(kind, stride) if max(stride) > 1 else None


def _step(index: Any) -> int:
    return index.step or 1 if isinstance(index, slice) else 1


def _spread(index: tuple[Any, ...]) -> list[Any]:
    """An index of four axes, with the ellipsis written out."""
    everything = slice(None)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *([everything] * (5 - len(index))), *index[at + 1 :])
    return [*index, *([everything] * (4 - len(index)))]


def slice_at(index: tuple[Any, ...], stride: Stride) -> tuple[Any, ...]:
    """The index of a map with other steps along height and width.

    Args:
        index: of up to four axes, which may hold an ellipsis.
        stride: the steps to have.

    Returns:
        An index of four axes; where it starts and stops is as before.
    """
    parts = _spread(index)
    return (*parts[:2], *(slice(p.start, p.stop, s) for p, s in zip(parts[2:], stride, strict=True)))


def _twin(layer: nn.Module, **changes: Any) -> Any:
    """A shallow copy with some attributes changed. (Not ``copy.copy``: torch.compile knows this form.)"""
    twin = object.__new__(type(layer))
    twin.__dict__.update({**layer.__dict__, **changes})
    return twin


def convolution_at(convolution: nn.Conv2d, x_BCHW: Tensor, stride: Stride, margin: Margin | None) -> Tensor:
    """Run a convolution at another stride, with its own weights.

    Args:
        convolution: the layer; not changed.
        x_BCHW: its input.
        stride: (height, width) to have.
        margin: padding in place of the layer's own, filled in the layer's mode; None: the layer's own.

    Returns:
        Its output, (B, channels, height, width).
    """
    if margin is None:
        return _twin(convolution, stride=stride)(x_BCHW)
    mode = {"zeros": "constant"}.get(convolution.padding_mode, convolution.padding_mode)
    return _bare(convolution, stride, F.pad(x_BCHW, margin, mode))


def _bare(convolution: nn.Conv2d, stride: Stride, x_BCHW: Tensor) -> Tensor:
    """Run a convolution without the padding that it declares."""
    return _twin(convolution, stride=stride, padding=(0, 0), padding_mode="zeros")(x_BCHW)


def margin_at(convolution: nn.Conv2d, stride: Stride) -> Margin | None:
    """The margin with which a convolution keeps or halves every size, rounding up.

    Kernels such as 2x2 take one more column at the end. A layer whose forward method pads for a stride of 2, as
    TensorFlow does, adds one less at the beginning than it needs at a stride of 1.

    Args:
        convolution: the layer, on the meta device.
        stride: (height, width) that it is to have.

    Returns:
        What :func:`convolution_at` takes; None where the layer's own padding does, as that of odd kernels.

    Raises:
        ValueError: there is none.
    """
    # along an axis that keeps the stride it has, nothing is changed
    own = [s == before and s > 1 for s, before in zip(stride, pair(convolution.stride), strict=True)]
    reach = [d * (k - 1) for k, d in zip(convolution.kernel_size, convolution.dilation, strict=True)]
    numbers = (0, 0) if isinstance(convolution.padding, str) else pair(convolution.padding)
    side = 2 * max(reach) + 8

    def fits(margin: Margin | None) -> bool:
        return all(_fits(convolution, stride, margin, own, side + odd) for odd in (0, 1))

    sides = [(p, p) if keep else (n // 2, n - n // 2) for p, keep, n in zip(numbers, own, reach, strict=True)]
    same: Margin = (*sides[1], *sides[0])
    for margin in (None, same):
        if fits(margin):
            return margin
    lost = [side - n for n in _bare(convolution, (1, 1), _empty(convolution, side)).shape[2:]]
    sides = [(p, p) if keep else (n - n // 2, n // 2) for p, keep, n in zip(numbers, own, lost, strict=True)]
    if fits(rest := (*sides[1], *sides[0])):
        return rest
    raise ValueError(f"a convolution of kernel {convolution.kernel_size} does not halve its maps at stride {stride}")


def _fits(convolution: nn.Conv2d, stride: Stride, margin: Margin | None, own: list[bool], side: int) -> bool:
    try:
        out_BCHW = convolution_at(convolution, _empty(convolution, side), stride, margin)
    except RuntimeError:  # padding="same" has no strided form
        return False
    return all(keep or n == -(-side // s) for n, s, keep in zip(out_BCHW.shape[2:], stride, own, strict=True))


def _empty(convolution: nn.Conv2d, side: int) -> Tensor:
    """An image for a convolution, without numbers."""
    return torch.empty(1, convolution.in_channels, side, side, dtype=convolution.weight.dtype, device="meta")


def pooling_at(pooling: nn.Module, x_BCHW: Tensor, stride: Stride) -> Tensor:
    """Run a pooling layer with only some of its strides: along an axis without, its window is one pixel wide.

    A blur pooling, whose window is its filter, still blurs both axes. ``ceil_mode`` stays as it is.

    Args:
        pooling: the layer; not changed.
        x_BCHW: its input.
        stride: (height, width) to have, each the layer's own or 1.

    Returns:
        Its output, (B, C, height, width).
    """
    return _twin(pooling, **window_at(pooling, stride))(x_BCHW)


def window_at(pooling: nn.Module, stride: Stride) -> dict[str, Any]:
    """The attributes of a pooling layer that is to have only some of its strides.

    Args:
        pooling: the layer; not changed.
        stride: (height, width) to have, each the layer's own or 1.

    Returns:
        What to set, by name: see :func:`narrowed_settings`.
    """
    return narrowed_settings({name: getattr(pooling, name) for name in _WINDOW if hasattr(pooling, name)}, stride)


def max_pool_at(x_BCHW: Tensor, stride: Stride, /, *args: Any, **kwargs: Any) -> Tensor:
    """Run ``F.max_pool2d`` with only some of its strides, as :func:`pooling_at` runs a layer.

    Args:
        x_BCHW: its input.
        stride: (height, width) to have, each the call's own or 1.
        *args, **kwargs: the other arguments of the call.

    Returns:
        Its output, (B, C, height, width).
    """
    return F.max_pool2d(x_BCHW, **narrowed_settings(settings_of(F.max_pool2d, args, kwargs), stride))


def average_pool_at(x_BCHW: Tensor, stride: Stride, /, *args: Any, **kwargs: Any) -> Tensor:
    """Run ``F.avg_pool2d`` with only some of its strides, as :func:`pooling_at` runs a layer.

    Args:
        x_BCHW: its input.
        stride: (height, width) to have, each the call's own or 1.
        *args, **kwargs: the other arguments of the call.

    Returns:
        Its output, (B, C, height, width).
    """
    return F.avg_pool2d(x_BCHW, **narrowed_settings(settings_of(F.avg_pool2d, args, kwargs), stride))


def pool_function_at(function: Any) -> Callable[..., Tensor]:
    """Which of :func:`max_pool_at` and :func:`average_pool_at` does for a pooling function.

    Args:
        function: one of torch's three pooling functions that are known.

    Returns:
        A function of the map, the stride and the other arguments of the call.
    """
    return max_pool_at if function in _MAX_POOLS else average_pool_at


_WINDOW = ("kernel_size", "stride", "padding", "dilation")


def settings_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a pooling function is told, by name.

    Args:
        function: one of torch's three pooling functions that are known.
        args: of the call, without the map.
        kwargs: of the call; the map may be among them.

    Returns:
        The arguments that were given, by their names, without the map.
    """
    last = ("dilation", "ceil_mode") if function in _MAX_POOLS else ("ceil_mode", "count_include_pad")
    names = ("kernel_size", "stride", "padding", *last)
    return dict(zip(names, args, strict=False)) | {k: v for k, v in kwargs.items() if k != "input"}


def narrowed_settings(settings: dict[str, Any], stride: Stride) -> dict[str, Any]:
    """The settings of a pooling with other strides: along an axis without, the window is one pixel wide.

    Args:
        settings: by name: kernel size, stride, padding, dilation and others, as far as there are any.
        stride: (height, width) to have.

    Returns:
        All settings with the stride and, where there is a kernel size, kernel size, padding and dilation to fit;
        where there is none, the stride alone.
    """
    if "kernel_size" not in settings:
        return {"stride": stride}
    narrow = {**settings, "stride": stride}
    for name, least in (("kernel_size", 1), ("padding", 0), ("dilation", 1)):
        if name in settings:
            value = pair(settings[name])
            narrow[name] = tuple(least if s == 1 else v for s, v in zip(stride, value, strict=True))
    return narrow


def pooling_like(template: nn.Module, x_BCHW: Tensor, stride: Stride) -> Tensor:
    """Run another block's pooling layer here: sizes round up, and a filter that is kept per channel fits these.

    Args:
        template: that layer; not changed.
        x_BCHW: a map, which may have another number of channels.
        stride: (height, width) to have, each the layer's own or 1.

    Returns:
        Its output, (B, C, height, width).
    """
    channels = x_BCHW.shape[1]
    filters = {name: f[:1].expand(channels, *f.shape[1:]) for name, f in template.named_buffers(recurse=False)}
    changes = {"_buffers": filters, "channels": channels, "ceil_mode": True}
    known = {name: value for name, value in changes.items() if hasattr(template, name)}
    return pooling_at(_twin(template, **known), x_BCHW, stride)


def unshuffle_at(x_BCHW: Tensor, factor: int, stride: Stride) -> Tensor:
    """Space to depth at another stride: every pixel (or every second along one axis) with its neighbours to the end.

    Args:
        x_BCHW: the map.
        factor: of the layer that this stands for, along both axes.
        stride: (height, width) to have, each the factor or 1.

    Returns:
        (B, C * factor**2, height, width), channels in the order of ``nn.PixelUnshuffle``.
    """
    bottom, right = (factor - 1 if s == 1 else 0 for s in stride)
    height, width = (-(-n // s) if s == 1 else n // s for n, s in zip(x_BCHW.shape[2:], stride, strict=True))
    patches = F.unfold(F.pad(x_BCHW, (0, right, 0, bottom)), factor, stride=stride)
    return patches.unflatten(2, (height, width))


def subsample(x_BCHW: Tensor, stride: Stride) -> Tensor:
    """Take every so many pixels along each axis, beginning with the first.

    Args:
        x_BCHW: the map.
        stride: (height, width), 1 where an axis stays as it is.

    Returns:
        A view, (B, C, ceil(H / height), ceil(W / width)).
    """
    return x_BCHW[..., :: stride[0], :: stride[1]]
