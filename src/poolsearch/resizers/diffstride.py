"""DiffStride: maps are shrunk by cropping their spectrum, by a stride that is learned."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from poolsearch.resizers.resizer import (
    Axes,
    Resizer,
    Size,
    area_factors,
    at_least,
    clamp_in_place,
    legal_length,
    two_numbers,
    values_of,
)


class DiffStride(Resizer):
    """Shrinks maps by cropping their spectrum, by a learned stride for each axis.

    ::

        layer = DiffStride(stride=2.0)
        layer(torch.rand(8, 16, 32, 32)).shape  # (8, 16, 24, 24): 32 / 2, and twice the smoothness

    Along each axis of length L the spectrum is multiplied by a mask which is 1 up to the frequency L / (2 S), falls
    linearly to 0 over ``smoothness`` frequencies R (:func:`spectral_mask`), and is then cropped to
    ``floor(L / S + 2 R)`` frequencies. The mask gives the stride S its gradient; the size of the crop has none. So the
    maps are larger than L / S by up to 2 R pixels, and maps of at most 2 R pixels are filtered but never made smaller.
    A stride of 1 gives the maps as they are.

    Source: Riad, Teboul, Grangier and Zeghidour, "Learning strides in convolutional neural networks", ICLR 2022,
    section 2 and Algorithm 1.

    Differs: values are kept as the map shrinks, so that a constant stays that constant (as in
    ``scipy.signal.resample``); with the unscaled inverse transform it would grow with the stride. Both axes are done
    one after the other, each by a real transform, which is the same as one transform in two dimensions, since the mask
    is a product. It is the same along both; the paper's is one frequency wider along the width. Of an odd L the highest
    frequency (L - 1) / 2 stands for L / 2 in the mask, so that a stride of 1 has a gradient there, too. An even crop
    keeps its last frequency from both sides. A stride that training takes out of [1, length of the axis] is put back to
    its end.

    Args:
        stride: to begin with, at least 1; one number, or those of height and width.
        smoothness: over how many frequencies the mask falls, above 0; 4 in the paper.
        smallest: see :class:`~poolsearch.resizers.resizer.Resizer`.

    Attributes:
        stride: the parameter, shape (2,): of height and width.

    Shape:
        (B, C, H, W) to (B, C, H', W'), with H' from ``smallest`` to H, and W' likewise.

    Raises:
        ValueError: an argument is out of range; when it is called, also that the maps are smaller than the stride to
            begin with, or as :meth:`~poolsearch.resizers.resizer.Resizer.forward`.
    """

    def __init__(self, stride: Axes = 2.0, smoothness: float = 4.0, smallest: int = 1) -> None:
        super().__init__(smallest)
        self.start = two_numbers(self.label, "stride", stride, 1.0, sys.float_info.max)
        if not (isinstance(smoothness, (int, float)) and 0 < smoothness < math.inf):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{self.label}: smoothness is {smoothness!r}; give a number of frequencies above 0.")
        self.smoothness = float(smoothness)
        self.stride = nn.Parameter(torch.tensor(self.start))

    def scales(self) -> Tensor:
        return 1 / at_least(self.stride, 1.0)

    def learned_size(self, height: int, width: int) -> Size:
        self.check_start(height, width)
        lengths, strides = (height, width), values_of(self.label, self.stride)
        high, wide = (
            legal_length(math.floor(n / min(max(s, 1.0), n) + 2 * self.smoothness), n, self.smallest)
            for n, s in zip(lengths, strides, strict=True)
        )
        return high, wide

    def keep_bounds(self, height: int, width: int) -> None:
        clamp_in_place(self.stride, 1.0, (height, width))

    def resize(self, x_BCHW: Tensor, size: Size) -> Tensor:
        strides = at_least(self.stride.to(x_BCHW.dtype), 1.0)
        x_BCHW = crop_spectrum(x_BCHW, strides[1], self.smoothness, size[1])
        return crop_spectrum(x_BCHW.mT, strides[0], self.smoothness, size[0]).mT

    def prepare_frozen(self) -> None:
        """Along an axis, cropping the spectrum is a linear map: its matrix is what it makes of each pixel alone."""
        assert self.frozen is not None
        kind = torch.promote_types(self.stride.dtype, torch.float32)
        strides = self.stride.cpu().double()  # not every device has float64
        for name, given, made, stride in zip(("_rows", "_columns"), *self.frozen, strides, strict=True):
            pixels = torch.eye(given, dtype=torch.float64)
            cropped = crop_spectrum(pixels, at_least(stride, 1.0), self.smoothness, made).mT
            self.register_buffer(name, cropped.contiguous().to(self.stride.device, kind), persistent=False)

    def resize_frozen(self, x_BCHW: Tensor) -> Tensor:
        rows, columns = (getattr(self, name).to(x_BCHW.dtype) for name in ("_rows", "_columns"))
        return rows @ x_BCHW @ columns.mT


def spectral_mask(length: int, stride: Tensor, smoothness: float, count: int) -> Tensor:
    """What each frequency of an axis is multiplied by.

    Source: the paper's section 2; the ramp is that of Sukhbaatar et al. 2019, "Adaptive attention span in
    transformers".

    Args:
        length: of the axis, in pixels.
        stride: a number of at least 1, as a tensor without axes.
        smoothness: over how many frequencies it falls from 1 to 0.
        count: how many frequencies to give, from the constant on.

    Returns:
        Shape (count,), from 0 to 1, with a gradient to the stride.
    """
    frequency = torch.arange(count, dtype=stride.dtype, device=stride.device)
    ramp = (smoothness + length // 2 / stride - frequency) / smoothness
    inside = torch.where(
        ramp > 1, torch.ones_like(ramp), ramp
    )  # the highest frequency has its gradient at a stride of 1
    return torch.where(inside < 0, torch.zeros_like(ramp), inside)


def crop_spectrum(x: Tensor, stride: Tensor, smoothness: float, size: int) -> Tensor:
    """Mask and crop the spectrum of the last axis.

    Args:
        x: of any shape (..., L), float32 or float64.
        stride, smoothness: of :func:`spectral_mask`.
        size: how many pixels to give, from 1 to L.

    Returns:
        (..., size): the same signal at fewer places, without what the mask takes from it.
    """
    length, kept = x.shape[-1], size // 2 + 1
    weights = spectral_mask(length, stride, smoothness, kept) * (size / length)
    if size % 2 == 0 and size < length:  # this frequency stands for that of the other sign, too
        twice = torch.ones_like(weights)
        twice[-1] = 2.0
        weights = weights * twice
    return torch.fft.irfft(torch.fft.rfft(x)[..., :kept] * weights, n=size)


def stride_cost(layers: Iterable[DiffStride]) -> Tensor:
    """DiffStride's regulariser of computational cost: the areas of the maps behind each layer, summed.

    Add it to the loss, times a weight of your own: the larger that is, the larger become the strides.

    Source: Riad et al. 2022, section 2: the sum over layers l of the product over i up to l of 1 / (S_h S_w).

    Args:
        layers: in the order in which they run, at least one.

    Returns:
        A number, as a tensor without axes, with gradients to all strides.

    Raises:
        ValueError: there are no layers.
    """
    return area_factors(layers).sum()
