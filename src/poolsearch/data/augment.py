"""Random crops and flips of whole batches, on uint8 and on any device.

Random numbers are drawn on the CPU from the generator that is passed in, so that every device gets the same batch.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.data.prefetch import to_device
from poolsearch.image_size import ImageSize

CENTRAL = 7 / 8
"""The part of the side that evaluation looks at when images are stored larger than they are used."""

_TRIES = 10
"""As many as torchvision's RandomResizedCrop makes before it falls back to the centre."""


def pad_crop_flip(
    x_BHWC: Tensor, generator: np.random.Generator, pad: int | tuple[int, int], flip: bool, padding: int = 0
) -> Tensor:
    """Pad on each side, cut out the old size at a random place, mirror half of them.

    Every image has its own offset, uniform in 0..2 pad in each direction.

    Args:
        x_BHWC: images of any type.
        generator: gives the offsets, then the mirroring.
        pad: pixels on each side, or those above and below and those at the left and right; 0 leaves every image in its
            place.
        flip: mirror each image with probability 1/2.
        padding: the value of these pixels.

    Returns:
        The images in the same shape and type.
    """
    batch, height, width, channels = x_BHWC.shape
    high, wide = (pad, pad) if isinstance(pad, int) else pad
    if high == wide:
        offset_2B = generator.integers(0, 2 * high + 1, size=(2, batch))
    else:
        offset_2B = np.stack([generator.integers(0, 2 * most + 1, size=batch) for most in (high, wide)])
    if high or wide:
        padded = F.pad(x_BHWC, (0, 0, wide, wide, high, high), value=padding)
        s0, s1, s2, s3 = padded.stride()
        # every possible crop as a view; picking one for each image then copies whole rows
        views = padded.as_strided(
            (batch, 2 * high + 1, 2 * wide + 1, height, width, channels), (s0, s1, s2, s1, s2, s3)
        )
        top_B, left_B = to_device(offset_2B, x_BHWC.device)
        x_BHWC = views[torch.arange(batch, device=x_BHWC.device), top_B, left_B]
    return _flip(x_BHWC, generator) if flip else x_BHWC


def random_resized_crop_flip(
    x_BHWC: Tensor,
    size: ImageSize | int,
    generator: np.random.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: bool = True,
    nearest: bool = False,
) -> Tensor:
    """Cut a random part out of each image and resize it to ``size``.

    Parts are drawn as torchvision's ``RandomResizedCrop`` does: a share of the area uniform in ``scale``, a logarithm
    of the aspect ratio uniform in ``ratio``, times that of ``size``; ten tries, then the centre.

    Args:
        x_BHWC: images of any type.
        size: of what comes out; the side of a square, or height and width.
        generator: gives the parts, then the mirroring.
        scale: least and largest share of the area.
        ratio: least and largest width / height of a part, where that of ``size`` is 1.
        flip: mirror each image with probability 1/2.
        nearest: each pixel is that of the nearest one, as masks need it.

    Returns:
        float32 (B, *size, C) in the units of ``x_BHWC``.
    """
    batch, height, width, _ = x_BHWC.shape
    size = ImageSize.of(size)
    shape = size.width / size.height
    box_B4 = _boxes(batch, height, width, generator, scale, (ratio[0] * shape, ratio[1] * shape))
    mirror_B = generator.random(batch) < 0.5 if flip else np.zeros(batch, dtype=bool)
    theta_B23 = to_device(_affine(box_B4, mirror_B, height, width), x_BHWC.device)
    # a part may be reduced up to this many times: sampled so much finer and averaged, so that nothing aliases
    finer = 1 if nearest else max(1, min(height // size.height, width // size.width))
    sampled = [batch, x_BHWC.shape[3], size.height * finer, size.width * finer]
    grid = F.affine_grid(theta_B23, sampled, align_corners=False)
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).to(torch.float32)
    mode = "nearest" if nearest else "bilinear"
    out_BCHW = F.grid_sample(x_BCHW, grid, mode=mode, padding_mode="border", align_corners=False)
    if finer > 1:
        out_BCHW = F.avg_pool2d(out_BCHW, finer)
    return out_BCHW.permute(0, 2, 3, 1)


def centre(x_BHWC: Tensor, size: ImageSize | int, view: ImageSize | int | None = None, nearest: bool = False) -> Tensor:
    """The view for evaluation: the central 7/8 of each side, or more if ``view`` is more, at ``size``.

    With images stored at 256 and used at 224 that is the plain centre crop; of images much larger than ``size`` the
    central part is resized with antialiasing. A ``view`` of less than ``size`` is enlarged: what is seen is then that
    of ``view`` pixels, and no sharper than it is stored.

    Args:
        x_BHWC: uint8 images as they are stored.
        size: of what comes out; the side of a square, or height and width.
        view: pixels of the stored images that are seen at least; as many as ``size`` where not given.
        nearest: where it is resized, each pixel is that of the nearest one, as masks need it.

    Returns:
        uint8 (B, *size, C); a view of ``x_BHWC`` where nothing is resized.
    """
    height, width = x_BHWC.shape[1:3]
    size = ImageSize.of(size)
    high, wide = central_part(ImageSize(height, width), size if view is None else ImageSize.of(view))
    top, left = (height - high) // 2, (width - wide) // 2
    crop_BHWC = x_BHWC[:, top : top + high, left : left + wide]
    if (high, wide) == size:
        return crop_BHWC
    if nearest:
        return F.interpolate(crop_BHWC.permute(0, 3, 1, 2), size, mode="nearest-exact").permute(0, 2, 3, 1)
    x_BCHW = crop_BHWC.permute(0, 3, 1, 2).to(torch.float32)
    resized = F.interpolate(x_BCHW, size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def central_part(stored: ImageSize, least: ImageSize) -> ImageSize:
    """The part of an image that evaluation looks at.

    Args:
        stored: the size of the whole image.
        least: pixels that are seen at least.

    Returns:
        7/8 of each side, or more where ``least`` is more.
    """
    return ImageSize(*(max(one, round(side * CENTRAL)) for one, side in zip(least, stored, strict=True)))


def normalise(
    x_BHWC: Tensor, mean_C: Tensor, std_C: Tensor, memory_format: torch.memory_format = torch.channels_last
) -> Tensor:
    """Compute (x / 255 - mean) / std, in the layout that networks take.

    A contiguous BHWC already lies in channels_last order: nothing is moved.

    Args:
        x_BHWC: images in units of 0..255, of any type.
        mean_C, std_C: of each channel, in units of 0..1, float32 on the device of ``x_BHWC``.
        memory_format: of the result; its values do not depend on it.

    Returns:
        float32 (B, C, H, W).
    """
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).to(torch.float32, memory_format=memory_format)
    gain_C11 = (1 / (255 * std_C)).view(-1, 1, 1)
    shift_C11 = (mean_C / std_C).view(-1, 1, 1)
    return x_BCHW * gain_C11 - shift_C11


def _flip(x_BHWC: Tensor, generator: np.random.Generator) -> Tensor:
    mirror_B = to_device(generator.random(len(x_BHWC)) < 0.5, x_BHWC.device)
    return torch.where(mirror_B.view(-1, 1, 1, 1), x_BHWC.flip(2), x_BHWC)


def _boxes(
    batch: int,
    height: int,
    width: int,
    generator: np.random.Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> npt.NDArray[np.int64]:
    """(top, left, height, width) of each part, in whole pixels: B, 4."""
    area_BT = height * width * generator.uniform(*scale, size=(batch, _TRIES))
    ratio_BT = np.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1]), size=(batch, _TRIES)))
    place_B2 = generator.random((batch, 2))
    width_BT = np.rint(np.sqrt(area_BT * ratio_BT)).astype(np.int64)
    height_BT = np.rint(np.sqrt(area_BT / ratio_BT)).astype(np.int64)
    fits_BT = (width_BT > 0) & (width_BT <= width) & (height_BT > 0) & (height_BT <= height)
    first_B = fits_BT.argmax(axis=1)
    rows = np.arange(batch)
    high_B, wide_B = height_BT[rows, first_B], width_BT[rows, first_B]
    top_B = np.floor(place_B2[:, 0] * (height - high_B + 1)).astype(np.int64)
    left_B = np.floor(place_B2[:, 1] * (width - wide_B + 1)).astype(np.int64)
    box_B4 = np.stack([top_B, left_B, high_B, wide_B], axis=1)
    box_B4[~fits_BT.any(axis=1)] = _central_box(height, width, ratio)
    return box_B4


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """The largest central part whose aspect ratio is allowed."""
    aspect = min(max(width / height, ratio[0]), ratio[1])
    high = min(height, round(width / aspect))
    wide = min(width, round(height * aspect))
    return (height - high) // 2, (width - wide) // 2, high, wide


def _affine(
    box_B4: npt.NDArray[np.int64], mirror_B: npt.NDArray[np.bool_], height: int, width: int
) -> npt.NDArray[np.float32]:
    """The maps from the output's square -1..1 to each box in the input's square -1..1: B, 2, 3."""
    top_B, left_B, high_B, wide_B = box_B4.T.astype(np.float64)
    theta_B23 = np.zeros((len(box_B4), 2, 3), dtype=np.float32)
    theta_B23[:, 0, 0] = np.where(mirror_B, -wide_B, wide_B) / width
    theta_B23[:, 0, 2] = (2 * left_B + wide_B) / width - 1
    theta_B23[:, 1, 1] = high_B / height
    theta_B23[:, 1, 2] = (2 * top_B + high_B) / height - 1
    return theta_B23
