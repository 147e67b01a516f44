"""Masks: the number of the class of each pixel, read as it is stored and fitted as its image is."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from poolsearch.data.decode import upright
from poolsearch.data.form import Form, fitted
from poolsearch.data.gate import Unreadable, open_regular
from poolsearch.data.image_file import Raw, check_most, identified, is_npy, read_npy
from poolsearch.image_size import ImageSize
from poolsearch.tasks.dense import IGNORED

MASK_KINDS = frozenset([".png", ".npy", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".tga"])
"""Endings of files without loss, in which the numbers of classes stay what they are."""

_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM", "TGA")
_GREY_TIMES = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies grey of 2 and 4 bits


def read_mask(raw: Raw) -> npt.NDArray[np.uint8]:
    """A mask as it is stored: of a palette the indices, of grey the values; turned upright.

    Args:
        raw: a path, the bytes of a file, or an array.

    Returns:
        The number of each pixel, (H, W); :data:`IGNORED` does not count.

    Raises:
        Unreadable: its numbers are not those of classes, or the file is one that changes them.
        Exception: whatever PIL and NumPy raise for a damaged file.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            return _from_file(handle)
    return _from_file(io.BytesIO(raw)) if isinstance(raw, bytes) else as_mask(raw)


def _from_file(handle: BinaryIO) -> npt.NDArray[np.uint8]:
    if is_npy(handle):
        return as_mask(read_npy(handle))
    image = identified(handle)
    if image.format not in _FORMATS:
        raise Unreadable(f"of the format {image.format}, which changes numbers: save masks as PNG")
    check_most(ImageSize(image.height, image.width))
    return mask_of_image(image)


def mask_of_image(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A mask that Pillow has opened.

    Args:
        image: of any mode, decoded or not.

    Returns:
        As of :func:`read_mask`.

    Raises:
        Unreadable, Exception: as :func:`read_mask`.
    """
    tiles: Any = getattr(image, "tile", None)
    times = _GREY_TIMES.get(tiles[0][3], 1) if image.format == "PNG" and tiles else 1
    return as_mask(np.asarray(upright(image)) // times if times > 1 else np.asarray(upright(image)))


def as_mask(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Numbers of pixels as a mask.

    Args:
        values: whole numbers, of any type; (H, W), with one more axis of length 1, or the same in all colours.

    Returns:
        uint8 (H, W).

    Raises:
        Unreadable: they are not whole numbers from 0 to 255, or of another shape.
    """
    if values.ndim == 3:
        values = _one_channel(values)
    if values.ndim != 2 or 0 in values.shape:
        raise Unreadable(f"of shape {values.shape}, and not (height, width)")
    if values.dtype.kind not in "buif":
        raise Unreadable(f"of {values.dtype}, and not of whole numbers")
    if values.dtype.kind == "f" and (bad := values[~(np.isfinite(values) & (values == np.rint(values)))]).size:
        raise Unreadable(f"not of whole numbers: it holds {bad[0]}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > IGNORED:
        raise Unreadable(
            f"with the number {low if low < 0 else high}: classes of pixels are 0 to {IGNORED - 1}, and {IGNORED} is a "
            "pixel that does not count"
        )
    return np.ascontiguousarray(values, np.uint8)


def _one_channel(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.shape[0] == 1:
        return values[0]
    colours, rest = (values[..., :3], values[..., 3:]) if values.shape[2] > 2 else (values[..., :1], values[..., 1:])
    if values.shape[2] > 4 or (colours != colours[..., :1]).any() or (rest != 255).any():
        what = "in colours" if values.shape[2] <= 4 else f"of shape {values.shape}"
        raise Unreadable(f"{what}: what is needed is the number of the class of each pixel, in grey or by a palette")
    return colours[..., 0]


def fitted_mask(mask_HW: npt.NDArray[np.uint8], form: Form) -> npt.NDArray[np.uint8]:
    """A mask as its image is fitted, each pixel that of the nearest one; what is added around it does not count.

    Args:
        mask_HW: of the size of the image.
        form: the size, and how an image of another shape gets into it.

    Returns:
        uint8 of the size of the form.
    """
    return np.asarray(fitted(Image.fromarray(mask_HW), form, Image.Resampling.NEAREST, IGNORED))
