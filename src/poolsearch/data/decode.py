"""One image, whatever its file holds, as RGB bytes of the size that is stored.

Decoding processes import this module: it takes only what they need, and NumPy, which takes longer to import than all
the rest, when an image calls for it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeAlias

from PIL import ExifTags, Image, ImageOps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Raw: TypeAlias = "str | bytes | npt.NDArray[np.uint8]"
"""One image as its source has it: the path of a file, what is in one, or pixels HW or HWC."""

Size = tuple[int, int]
"""(width, height) before any turning, as the header has it."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_MAY_TURN = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}


class OtherSize(Exception):
    """An image has not the size that all were taken to have."""


def decode(raw: Raw, side: int, size: Size | None = None) -> bytes:
    """RGB bytes (side, side, 3): turned upright, the shorter side resized to ``side``, the centre cut out.

    An image that already has ``side`` as its shorter side is not resampled.

    Raises:
        OtherSize: ``size`` is given and the image has another one.
        Exception: whatever PIL raises for a damaged file.
    """
    if not isinstance(raw, (str, bytes)) and raw.shape == (side, side, 3) and size in (None, (side, side)):
        return raw.tobytes()
    image = open_image(raw)
    if size is not None and image.size != size:
        raise OtherSize
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * side:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 for less work; twice the size is left to the antialiased resize
        image.draft(None, (2 * side, 2 * side))
    return _centre_square(_upright_rgb(image), side).tobytes()


def open_image(raw: Raw) -> Image.Image:
    """The image, opened but not yet decoded: its header is read and no more."""
    if isinstance(raw, str):
        return Image.open(raw)
    if isinstance(raw, bytes):
        return Image.open(io.BytesIO(raw))
    return Image.fromarray(raw[:, :, 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw)


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    # looking for the orientation takes a while, and these are the only places for it
    may_turn = not _MAY_TURN.isdisjoint(image.info) or hasattr(image, "tag_v2")
    if may_turn and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB. Transparent images are laid on white: the colour under a transparent pixel is arbitrary."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT or image.mode in ("I", "F"):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Grey of 16 or 32 bits, or float, as 8 bits.

    65535 / 257 is 255 exactly. "I" and "F" do not say their range: values up to 1 ("F" only) are taken as 0..1, up to
    255 as 8-bit, larger ones as 16-bit.
    """
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels are not finite")
    top = values.max()
    if image.mode in _SIXTEEN_BIT or top > 255:
        values /= 257
    elif image.mode == "F" and top <= 1:
        values *= 255
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resizing the shorter side and cutting the centre, as one resize of the centre square."""
    width, height = image.size
    least = min(width, height)
    left, top = (width - least) // 2, (height - least) // 2
    box = (left, top, left + least, top + least)
    if least == side:
        return image if width == height else image.crop(box)
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)
