"""The form in which all images are stored: their size, and how values of more than 8 bits become bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from poolsearch.data.image_file import pixels_of
from poolsearch.image_size import Fit, ImageSize
from poolsearch.value_range import EACH_FILE, ValueRange

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

STRIP = 8_000_000
"""So many pixels are converted at once where that takes several copies."""


@dataclass(frozen=True)
class Form:
    """What every image is made into when it is decoded.

    Attributes:
        size: in pixels.
        fit: how an image of another shape gets into the size.
        channels: to which it is converted.
        values: of images of more than 8 bits, those that become black and white; None: not known yet; "each-file":
            guessed for each file by itself.
        clip: values beyond are cut off; else they are told (:class:`OutOfRange`).
    """

    size: ImageSize
    fit: Fit = "crop"
    channels: int = 3
    values: ValueRange | Literal["each-file"] | None = None
    clip: bool = False


class OutOfRange(Exception):
    """An image has values beyond those that all were taken to have.

    Args:
        values: a range that holds those of this image.
    """

    def __init__(self, values: ValueRange) -> None:
        super().__init__(values)
        self.values = values


def eight_bits(values: npt.NDArray[Any], form: Form) -> npt.NDArray[np.uint8]:
    """Values of more than 8 bits, or floating-point, as 8 bits.

    Args:
        values: of an image.
        form: which of them become black and white.

    Returns:
        The same shape; those of whole 16 bits are divided by 257 exactly.

    Raises:
        OutOfRange: there are values beyond those of the form.
    """
    import numpy as np

    black, white = _black_and_white(values, form)
    eight = np.empty(values.shape, np.uint8)
    rows = max(1, STRIP // values[0].size)
    for at in range(0, len(values), rows):
        strip = (values[at : at + rows].astype(np.float64) - black) * (255 / (white - black))
        eight[at : at + rows] = np.rint(np.clip(strip, 0, 255))
    return eight


def _black_and_white(values: npt.NDArray[Any], form: Form) -> ValueRange:
    """The range of an image's values: that of the data set, where it holds them.

    Raises:
        OutOfRange: it does not.
    """
    found = least_range(values)
    if form.values == EACH_FILE:
        whole = values.dtype.kind != "f" or float(values.max()) > 1
        return ValueRange(0, 65535 if values.dtype.str[1:] in ("u2", "i2") or found.high > 255 else 255 if whole else 1)
    if form.values is None or (not form.clip and found.with_(form.values) != form.values):
        raise OutOfRange(found)
    return form.values


def least_range(values: npt.NDArray[Any]) -> ValueRange:
    """The least usual range that holds some values.

    Args:
        values: of an image.

    Returns:
        As of :meth:`ValueRange.around`.

    Raises:
        ValueError: they are not finite.
    """
    import numpy as np

    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("pixels are not finite")
    return ValueRange.around(low, high, values.dtype.kind != "f")


def fitted(
    image: Image.Image, form: Form, resample: Image.Resampling = Image.Resampling.BICUBIC, padding: int = 0
) -> Image.Image:
    """An image at the size of a form, by one resize at most.

    Args:
        image: of any size and mode.
        form: the size, and how an image of another shape gets into it.
        resample: how pixels are made from those of another size.
        padding: the value of pixels that are added.

    Returns:
        The image itself where it has that size.
    """
    height, width = form.size
    if pixels_of(image) == form.size:
        return image
    if form.fit == "squeeze":
        return image.resize((width, height), resample)
    if form.fit == "pad":
        inner = padded_size(pixels_of(image), form.size)
        whole = Image.new(image.mode, (width, height), padding)
        resized = image.resize((inner.width, inner.height), resample)
        whole.paste(resized, ((width - inner.width) // 2, (height - inner.height) // 2))
        return whole
    box = central_box(pixels_of(image), form.size)
    if (box[2] - box[0], box[3] - box[1]) == (width, height):
        return image.crop(box)
    return image.resize((width, height), resample, box=box)


def central_box(size: ImageSize, shape: ImageSize) -> tuple[float, float, float, float]:
    """The largest part of an image that has a shape, in its centre.

    Args:
        size: of the image.
        shape: whose ratio of height to width the part has.

    Returns:
        Left, upper, right and lower edge in pixels.
    """
    high = min(size.height, size.width * shape.height / shape.width)
    wide = min(size.width, size.height * shape.width / shape.height)
    left, upper = (size.width - wide) // 2, (size.height - high) // 2
    return left, upper, left + wide, upper + high


def padded_size(size: ImageSize, within: ImageSize) -> ImageSize:
    """The largest size of an image's shape within another.

    Args:
        size: of the image.
        within: what it has to fit into.

    Returns:
        The size, in whole pixels.
    """
    factor = min(within.height / size.height, within.width / size.width)
    return ImageSize(
        min(within.height, max(1, round(size.height * factor))), min(within.width, max(1, round(size.width * factor)))
    )
