"""One image, whatever its file holds, as bytes of the form in which all are stored.

Decoding processes import this module, as :mod:`~poolsearch.data.image_file`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import ExifTags, Image, ImageOps

from poolsearch.data.form import STRIP, Form, OutOfRange, eight_bits, fitted
from poolsearch.data.gate import PIXELS, TooLarge, Unreadable, open_regular
from poolsearch.data.image_file import (
    MAY_TURN,
    WIDE,
    Raw,
    channels_in,
    check_most,
    check_shape,
    header_of,
    identified,
    is_npy,
    number_of_pages,
    pages_are_channels,
    pixels_of,
    read_npy,
)
from poolsearch.image_size import ImageSize
from poolsearch.value_range import ValueRange

if TYPE_CHECKING:
    import numpy.typing as npt


class WrongChannels(Unreadable):
    """An image has a number of channels that cannot be converted."""


class UnexpectedSize(Exception):
    """An image has not the size that all were taken to have."""


def decode(raw: Raw, form: Form, size: ImageSize | None = None, most: int = PIXELS) -> bytes:
    """Decode an image: turned upright, and fitted into the size of ``form``.

    An image that already fits is not resampled.

    Args:
        raw: a path, the bytes of a file, or pixels.
        form: of what comes out.
        size: that the image must have by its header, before any turning; None: any.
        most: so many pixels are decoded at most.

    Returns:
        Bytes of shape (height, width, channels).

    Raises:
        WrongChannels: it has other channels than ``form``, and cannot be converted.
        OutOfRange: it has values beyond those of ``form``.
        UnexpectedSize: ``size`` is given and the image has another one.
        TooLarge: more than ``most`` pixels would be decoded; none was.
        Unreadable: it is a path, but not that of a file that may be read.
        Exception: whatever PIL raises for a damaged file.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            return _from_file(handle, form, size, most)
    return _from_file(io.BytesIO(raw), form, size, most) if isinstance(raw, bytes) else _array(raw, form, size, most)


def _from_file(handle: BinaryIO, form: Form, size: ImageSize | None, most: int) -> bytes:
    if is_npy(handle):
        return _array(read_npy(handle, most), form, size, most)
    return _decoded(identified(handle), form, size, most)


def _array(pixels: npt.NDArray[Any], form: Form, size: ImageSize | None, most: int) -> bytes:
    """An image that is an array."""
    check_shape(pixels.shape)
    found, channels = ImageSize(*pixels.shape[:2]), channels_in(pixels.shape)
    if size is not None and found != size:
        raise UnexpectedSize
    check_most(found, most)
    if pixels.dtype.kind == "b":
        pixels = pixels.astype("u1") * 255
    elif pixels.dtype.str != "|u1":
        pixels = eight_bits(pixels, form)
    if found == form.size and channels == form.channels:
        return pixels.tobytes()
    if channels > 4 or (channels == 2 and form.channels == 2):
        if channels != form.channels:
            raise _wrong(channels, form)
        return _bytes([Image.fromarray(pixels[:, :, band].copy()) for band in range(channels)], form)
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
    return _bytes(_parts(image, form), form)


def _wrong(channels: int, form: Form) -> WrongChannels:
    return WrongChannels(f"it has {channels} channels, which are not converted to {form.channels} (--channels)")


def _decoded(image: Image.Image, form: Form, size: ImageSize | None, most: int) -> bytes:
    if size is not None and pixels_of(image) != size:
        raise UnexpectedSize
    width, height = image.size
    pixels, side = width * height, max(form.size)
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
    return _bytes(_parts(image, form), form)


def _bytes(parts: list[Image.Image], form: Form) -> bytes:
    """Images whose bands, one after the other, are the channels, as bytes."""
    if len(parts) == 1:
        return fitted(parts[0], form).tobytes()
    import numpy as np

    return np.stack([np.asarray(fitted(part, form)) for part in parts], -1).tobytes()


def _parts(image: Image.Image, form: Form) -> list[Image.Image]:
    """An image as images whose bands, one after the other, are the channels that are wanted.

    Bands are apart where some of them are no colours: transparency, or measurements.
    """
    match form.channels:
        case 1:
            return [_grey(upright(image), form)]
        case wanted if pages_are_channels(image, wanted):
            return [_grey(page, form) for page in _pages(image, wanted)]
        case 3:
            return [_rgb(upright(image), form)]
        case 2 | 4 as wanted:
            image = upright(image)
            if "transparency" in image.info:
                image = image.convert("RGBA")
            if len(image.getbands()) != wanted:
                image = _wide(image, form) if image.mode in WIDE else image
                image = image.convert("LA" if wanted == 2 else "RGBA")
            return [*image.split()]
        case _:
            raise _wrong(number_of_pages(image) * len(image.getbands()), form)


def _pages(image: Image.Image, number: int) -> Iterator[Image.Image]:
    for page in range(number):
        image.seek(page)
        yield image.copy()


def upright(image: Image.Image) -> Image.Image:
    """Decode an image, and turn it as its EXIF data says.

    Args:
        image: of any mode.

    Returns:
        In the same mode.

    Raises:
        Exception: whatever PIL raises for a damaged file.
    """
    image.load()
    # looking for the orientation takes a while, and these are the only places for it
    may_turn = not MAY_TURN.isdisjoint(image.info) or hasattr(image, "tag_v2")
    if may_turn and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image, form: Form) -> Image.Image:
    """Any mode to RGB. Transparent images are laid on white: the colour under a transparent pixel is arbitrary."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in WIDE:
        return _wide(image, form).convert("RGB")
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _grey(image: Image.Image, form: Form) -> Image.Image:
    """Any mode to grey, transparent images as in :func:`_rgb`; colours by their luminance (ITU-R 601-2)."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode in WIDE:
        return _wide(image, form)
    return (_on_white(image) if image.has_transparency_data else image).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    rows = max(1, STRIP // image.width)
    if rows < image.height:
        whole = Image.new("RGB", image.size)
        for top in range(0, image.height, rows):
            box = (0, top, image.width, min(top + rows, image.height))
            whole.paste(_on_white(image.crop(box)), box)
        return whole
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _wide(image: Image.Image, form: Form) -> Image.Image:
    """Grey of more than 8 bits as grey of 8 bits."""
    import numpy as np

    return Image.fromarray(eight_bits(np.asarray(image), form))


def range_of(raw: Raw, channels: int = 1, most: int = PIXELS) -> ValueRange | None:
    """The least usual range that holds the values of an image.

    Args:
        raw: a path, the bytes of a file, or pixels.
        channels: to which it is to be converted; pages that are none of them do not count.
        most: as of :func:`decode`.

    Returns:
        The range; None where the image has 8 bits.

    Raises:
        TooLarge, Unreadable, Exception: as :func:`decode`.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            wide = header_of(handle)[2]
    else:
        wide = header_of(io.BytesIO(raw))[2] if isinstance(raw, bytes) else raw.dtype.itemsize > 1
    found: ValueRange | None = None
    while wide:  # once more for each page with values beyond those of the pages before
        try:
            decode(raw, Form(ImageSize(1, 1), channels=channels, values=found), most=most)
        except OutOfRange as error:
            found = error.values if found is None else error.values.with_(found)
            continue
        except WrongChannels:  # it is left out later, with the reason
            pass
        break
    return found
