"""One image, whatever its file holds, as RGB bytes of the size that is stored.

Decoding processes import this module: it takes only what they need, and NumPy, which takes longer to import than all
the rest, when an image calls for it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from PIL import ExifTags, Image, ImageOps

from poolsearch.data.gate import PIXELS, TooLarge, open_regular

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Raw: TypeAlias = "str | bytes | npt.NDArray[np.uint8]"
"""One image as its source has it: the path of a file, what is in one, or pixels HW or HWC."""

Size = tuple[int, int]
"""(height, width) before any turning, as the header has it."""

_QUICK_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000", "TGA")
"""What is looked for in a file, whatever its name: Pillow knows others, and hands PostScript to Ghostscript to be run.
The quick ones are tried first, since for the others Pillow imports all that it has."""

_STRIP = 8_000_000
"""So many pixels are converted at once where that takes several copies."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_MAY_TURN = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}


class UnexpectedSize(Exception):
    """An image has not the size that all were taken to have."""


def decode(raw: Raw, side: int, size: Size | None = None, most: int = PIXELS) -> bytes:
    """Decode an image: turned upright, the shorter side resized to ``side``, the centre cut out.

    An image that already has ``side`` as its shorter side is not resampled.

    Args:
        raw: a path, the bytes of a file, or pixels.
        side: in pixels, of what comes out.
        size: (height, width) that the image must have by its header; None: any.
        most: so many pixels are decoded at most.

    Returns:
        RGB bytes of shape (side, side, 3).

    Raises:
        UnexpectedSize: ``size`` is given and the image has another one.
        TooLarge: more than ``most`` pixels would be decoded; none was.
        Unreadable: it is a path, but not that of a file that may be read.
        Exception: whatever PIL raises for a damaged file.
    """
    if not isinstance(raw, str):
        if not isinstance(raw, bytes) and raw.shape == (side, side, 3) and size in (None, (side, side)):
            return raw.tobytes()
        return _decoded(_open(raw), side, size, most)
    with open_regular(raw) as handle:
        return _decoded(_identified(handle), side, size, most)


def size_of(raw: Raw) -> Size:
    """The size of an image by its header, before any turning.

    Args:
        raw: a path, the bytes of a file, or pixels.

    Returns:
        (height, width) in pixels.

    Raises:
        Unreadable: it is a path, but not that of a file that may be read.
        Exception: whatever PIL raises for a damaged file.
    """
    if not isinstance(raw, str):
        return _size_of(_open(raw))
    with open_regular(raw) as handle:
        return _size_of(_identified(handle))


def _size_of(image: Image.Image) -> Size:
    return image.height, image.width


def _open(raw: bytes | npt.NDArray[np.uint8]) -> Image.Image:
    if isinstance(raw, bytes):
        return _identified(io.BytesIO(raw))
    return Image.fromarray(raw[:, :, 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw)


def _identified(handle: BinaryIO) -> Image.Image:
    """The image, not yet decoded: its header is read and no more."""
    try:
        return Image.open(handle, formats=_QUICK_FORMATS)
    except Image.UnidentifiedImageError:
        Image.init()
        return Image.open(handle, formats=[kind for kind in _FORMATS if kind in Image.OPEN])


def _decoded(image: Image.Image, side: int, size: Size | None, most: int) -> bytes:
    if size is not None and _size_of(image) != size:
        raise UnexpectedSize
    width, height = image.size
    pixels = width * height
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * side:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 for less work; twice the size is left to the antialiased resize
        image.draft(None, (2 * side, 2 * side))
        if not image.info.get("progressive"):  # those are held whole in any case
            pixels = image.width * image.height
    if pixels > most:
        raise TooLarge(
            f"too large: {width} x {height} are {pixels / 1e6:,.0f} million pixels, at most {most / 1e6:,.0f} are "
            "decoded. Shrink it"
        )
    return _centre_square(_upright_rgb(image), side).tobytes()


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
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rows = max(1, _STRIP // image.width)
    if rows < image.height:
        whole = Image.new("RGB", image.size)
        for top in range(0, image.height, rows):
            box = (0, top, image.width, min(top + rows, image.height))
            whole.paste(_on_white(image.crop(box)), box)
        return whole
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _eight_bits(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Grey of 16 or 32 bits, or float, as 8 bits.

    65535 / 257 is 255 exactly. "I" and "F" do not say their range: values up to 1 ("F" only) are taken as 0..1, up to
    255 as 8-bit, larger ones as 16-bit.
    """
    import numpy as np

    values_HW = np.asarray(image)
    top = float(values_HW.max())
    if not np.isfinite([top, values_HW.min()]).all():
        raise ValueError("pixels are not finite")
    wide = image.mode in _SIXTEEN_BIT or top > 255
    factor = 255 if image.mode == "F" and top <= 1 else 1
    eight_HW = np.empty(values_HW.shape, np.uint8)
    rows = max(1, _STRIP // values_HW.shape[1])
    for at in range(0, len(values_HW), rows):
        strip = values_HW[at : at + rows].astype(np.float64)
        strip = strip / 257 if wide else strip * factor
        eight_HW[at : at + rows] = np.rint(np.clip(strip, 0, 255))
    return eight_HW


def _centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resizing the shorter side and cutting the centre, as one resize of the centre square."""
    width, height = image.size
    least = min(width, height)
    left, top = (width - least) // 2, (height - least) // 2
    box = (left, top, left + least, top + least)
    if least == side:
        return image if width == height else image.crop(box)
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)
