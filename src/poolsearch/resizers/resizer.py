"""What layers that learn to resize have in common: checks, bounds, frozen sizes, and how an optimizer gets them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Size = tuple[int, int]
"""(height, width) of a map, in pixels."""

Axes = float | tuple[float, float]
"""One number for both axes, or one each for height and width."""


class Resizer(nn.Module, ABC):
    """A layer that makes maps (B, C, H, W) smaller, by how much it learns.

    Args:
        smallest: no axis becomes shorter than this many pixels (a shorter one keeps its size); at least 1.

    Attributes:
        label: what errors call the layer: its class, and in a network where it stands, too.
        frozen: the size of the maps that it takes and of those that it gives, once :meth:`freeze` was called, else
            None.
        start: (height, width) strides that it begins with, until the first maps were seen to be large enough for them.

    Raises:
        ValueError: ``smallest`` is no such number.
    """

    def __init__(self, smallest: int = 1) -> None:
        super().__init__()
        if not isinstance(smallest, int) or smallest < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{type(self).__name__}: smallest is {smallest!r}; give whole pixels, at least 1.")
        self.smallest = smallest
        self.label = type(self).__name__
        self.frozen: tuple[Size, Size] | None = None
        self.start: tuple[float, float] | None = None
        self.register_load_state_dict_post_hook(_freeze_again)

    @abstractmethod
    def scales(self) -> Tensor:
        """How large its maps are of those that it is given, as it has learned so far.

        Returns:
            Shape (2,): of height and width, above 0 and at most 1, with gradients. The sizes of maps are rounded from
            these.
        """

    @abstractmethod
    def learned_size(self, height: int, width: int) -> Size:
        """The size that maps would get if it were not frozen.

        Args:
            height, width: of the maps that it is given, in pixels.

        Returns:
            (height, width), each from ``smallest`` to what was given.
        """

    def keep_bounds(self, height: int, width: int) -> None:
        """Move parameters that an optimizer took out of their range back to its end, in place; by default none has one.

        Args:
            height, width: of the maps that it is given, in pixels.
        """

    @abstractmethod
    def resize(self, x_BCHW: Tensor, size: Size) -> Tensor:
        """Resize maps, with gradients to what is learned.

        Args:
            x_BCHW: maps, of float32 or float64.
            size: what :meth:`learned_size` says of them.

        Returns:
            (B, C, \\*size).
        """

    @abstractmethod
    def resize_frozen(self, x_BCHW: Tensor) -> Tensor:
        """Resize maps of the frozen size by operations that ONNX has.

        Args:
            x_BCHW: maps, of float32 or float64.

        Returns:
            What :meth:`resize` gives of them.
        """

    def check_start(self, height: int, width: int) -> None:
        """See, at the first maps, that they are not smaller than the strides to begin with.

        Later ones may be: as strides are learned, maps become smaller.

        Args:
            height, width: of the maps, in pixels.

        Raises:
            ValueError: they are.
        """
        if self.start is not None and (height < self.start[0] or width < self.start[1]):
            raise ValueError(
                f"{self.label} was given maps of {height}x{width}, too small to be divided by "
                f"{self.start[0]:g}x{self.start[1]:g}: give larger maps, or smaller strides (larger scales) to "
                "begin with."
            )
        self.start = None

    def prepare_frozen(self) -> None:
        """Compute what :meth:`resize_frozen` needs; called by :meth:`freeze`."""

    def output_size(self, height: int, width: int) -> Size:
        """The size of its maps.

        Args:
            height, width: of the maps that it is given, in pixels.

        Returns:
            (height, width).

        Raises:
            ValueError: it is frozen for maps of another size, or what it learned is not a number.
        """
        if self.frozen is None:
            return self.learned_size(height, width)
        given, made = self.frozen
        if (height, width) != given:
            raise ValueError(
                f"{self.label} was frozen for maps of {given[0]}x{given[1]} and was given {height}x{width}: call "
                "thaw(), or freeze it for this size."
            )
        return made

    def freeze(self, height: int, width: int) -> Size:
        """Fix the size of its maps: what it learned stays as it is, and it can be exported.

        Args:
            height, width: of the maps that it will be given, in pixels.

        Returns:
            The size of its own maps from now on.

        Raises:
            ValueError: such maps cannot be resized.
        """
        _check_size(self.label, height, width)
        self.frozen = None
        self.frozen = (height, width), self.learned_size(height, width)
        self.requires_grad_(False)
        with torch.no_grad():
            self.prepare_frozen()
        return self.frozen[1]

    def thaw(self) -> None:
        """Let it learn again, from what it was frozen at."""
        self.frozen = None
        self.requires_grad_(True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Resize maps.

        Computed in float32 (float64 maps in float64), also under autocast, and given in the type of the maps.

        Args:
            x_BCHW: maps, (B, C, H, W), of floating point, each axis of at least two pixels.

        Returns:
            (B, C, H', W') with (H', W') as :meth:`output_size` says.

        Raises:
            ValueError: the maps are complex, of integers or of another form, or an axis has one pixel.
        """
        _check_map(self.label, x_BCHW)
        height, width = x_BCHW.shape[2:]
        if self.training and self.frozen is None:
            self.keep_bounds(height, width)
        size = self.output_size(height, width)
        wide = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32))
        if torch.is_autocast_enabled(x_BCHW.device.type):
            with torch.autocast(x_BCHW.device.type, enabled=False):
                return self._resized(wide, size).to(x_BCHW.dtype)
        return self._resized(wide, size).to(x_BCHW.dtype)

    def _resized(self, x_BCHW: Tensor, size: Size) -> Tensor:
        if self.frozen is not None:
            return self.resize_frozen(x_BCHW)
        if not x_BCHW.numel():  # no FFT takes an empty batch
            return x_BCHW[:, :, : size[0], : size[1]]
        return self.resize(x_BCHW, size)

    def extra_repr(self) -> str:
        """What ``print`` shows of it.

        Returns:
            Its scales, and the sizes where they are frozen.
        """
        if any(p.is_meta for p in self.parameters()):
            return ""
        high, wide = self.scales().tolist()
        fixed = "" if self.frozen is None else ", frozen {}x{} -> {}x{}".format(*self.frozen[0], *self.frozen[1])
        return f"scales={high:.3g}x{wide:.3g}{fixed}"


def _freeze_again(layer: nn.Module, _: Any) -> None:
    """What was frozen follows the parameters that were loaded."""
    assert isinstance(layer, Resizer)
    if layer.frozen is not None:
        layer.freeze(*layer.frozen[0])


def _check_map(label: str, x_BCHW: Any) -> None:
    if not isinstance(x_BCHW, Tensor) or x_BCHW.dim() != 4:
        what = f"a tensor of shape {[*x_BCHW.shape]}" if isinstance(x_BCHW, Tensor) else f"a {type(x_BCHW).__name__}"
        raise ValueError(f"{label} was given {what}: give maps of shape (B, C, H, W).")
    if not x_BCHW.is_floating_point():
        raise ValueError(
            f"{label} was given a map of {x_BCHW.dtype}: give floating-point maps, such as x.float(), and of complex "
            "ones the real and imaginary parts as channels."
        )
    _check_size(label, *x_BCHW.shape[2:])


def _check_size(label: str, height: int, width: int) -> None:
    if min(height, width) < 2:
        raise ValueError(
            f"{label} was given maps of {height}x{width}: an axis of one pixel cannot be resized. Maps are of shape "
            "(B, C, H, W); give larger images, or let the layers before keep larger maps (smallest=2)."
        )


def two_numbers(label: str, name: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """What is given for both axes, checked.

    Args:
        label: of the layer, for errors.
        name: of the argument.
        value: one number for both axes, or one each for height and width.
        low, high: what each may be, both included.

    Returns:
        (of height, of width).

    Raises:
        ValueError: it is neither, or out of range.
    """
    both: Any = (value, value) if isinstance(value, (int, float)) else value
    try:
        high_wide = tuple(float(v) for v in both)
    except (TypeError, ValueError):
        high_wide = ()
    if len(high_wide) != 2 or not all(low <= v <= high for v in high_wide):
        limit = f"from {low:g} to {high:g}" if high < 1e300 else f"of at least {low:g}"
        raise ValueError(f"{label}: {name} is {value!r}; give a number {limit}, or two: of height and width.")
    return high_wide[0], high_wide[1]


def values_of(label: str, parameter: Tensor) -> list[float]:
    """The numbers of a parameter, for sizes.

    Args:
        label: of the layer, for errors.
        parameter: any tensor with one axis.

    Returns:
        As Python numbers, which have no gradient.

    Raises:
        ValueError: one is not a number.
    """
    values: list[float] = parameter.detach().tolist()
    if any(math.isnan(value) for value in values):
        raise ValueError(
            f"{label} has learned {values}, which are not numbers: the training diverged. Use a smaller learning rate "
            "for the resizers."
        )
    return values


def legal_length(wanted: int, given: int, smallest: int) -> int:
    """The nearest length that an axis may have.

    Args:
        wanted: in pixels.
        given: of the axis before it is resized.
        smallest: see :class:`Resizer`.

    Returns:
        From ``min(smallest, given)`` to ``given``.
    """
    return max(min(wanted, given), min(smallest, given))


def at_least(x: Tensor, low: float) -> Tensor:
    """Keep numbers from falling below a bound, and their gradients as they are: one at the bound can rise again.

    ``Tensor.clamp`` gives a number at the bound a gradient or none, by the version of torch.

    Args:
        x: any tensor.
        low: the bound.

    Returns:
        A tensor of the same shape.
    """
    return torch.where(x < low, low + gradient_only(x), x)


def gradient_only(x: Tensor) -> Tensor:
    """Zeros with the gradient of what was given: added to a number, they pass it through (straight through).

    Args:
        x: any tensor.

    Returns:
        A tensor of the same shape.
    """
    return torch.where(x.isfinite(), x - x.detach(), torch.zeros_like(x))


@torch.no_grad()
def clamp_in_place(parameter: Tensor, low: float, high: Sequence[float]) -> None:
    """Move the numbers of a parameter into their range.

    It is written to only where one is outside, so that a graph which reads it stays valid.

    Args:
        parameter: shape (n,).
        low: the least of all.
        high: the most of each, n numbers.
    """
    most = parameter.new_tensor(high)
    if bool(((parameter < low) | (parameter > most)).any()):
        parameter.copy_(parameter.clamp(min=low).minimum(most))


def area_factors(layers: Iterable[Resizer]) -> Tensor:
    """The area of maps behind each of several resizers, one after another, of that before the first.

    Args:
        layers: n resizers in the order in which they run, at least one.

    Returns:
        Shape (n,): products of their scales, with gradients.

    Raises:
        ValueError: there are none.
    """
    found = [layer.scales().prod() for layer in layers]
    if not found:
        raise ValueError("there are no resizers to count the cost of: give at least one.")
    return torch.stack(found).cumprod(0)
