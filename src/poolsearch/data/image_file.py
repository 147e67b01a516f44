"""What an image file, or an array, says of itself before it is decoded.

Decoding processes import this module: it takes only what they need, and NumPy, which takes longer to import than all
the rest, when an image calls for it.
"""

from __future__ import annotations

import io
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from PIL import ExifTags, Image

from poolsearch.data.gate import PIXELS, TooLarge, Unreadable, open_regular
from poolsearch.image_size import ImageSize

if TYPE_CHECKING:
    import numpy.typing as npt

Raw: TypeAlias = "str | bytes | npt.NDArray[Any]"
"""One image as its source has it: the path of a file, what is in one, or pixels HW or HWC."""

_QUICK_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000", "TGA")
"""What is looked for in a file, whatever its name: Pillow knows others, and hands PostScript to Ghostscript to be run.
The quick ones are tried first, since for the others Pillow imports all that it has."""

WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of more than 8 bits."""

_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations by which height and width change places
MAY_TURN = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
"""Where a file may say how it is to be turned."""

_NPY = b"\x93NUMPY"
_TIFF = (b"II", b"MM")
_TIFF_NAMES = (".tif", ".tiff")


def size_of(raw: Raw) -> ImageSize:
    """The size of an image by its header, before any turning.

    Args:
        raw: a path, the bytes of a file, or pixels.

    Returns:
        Height and width in pixels.

    Raises:
        Unreadable: it is a path, but not that of a file that may be read.
        Exception: whatever PIL raises for a damaged file.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            return header_of(handle)[0]
    return header_of(io.BytesIO(raw))[0] if isinstance(raw, bytes) else ImageSize(*raw.shape[:2])


def channels_of_array(raw: Raw) -> int | None:
    """How many channels an image has that is an array.

    Args:
        raw: a path, the bytes of a file, or pixels.

    Returns:
        Their number; None of a file of another kind.

    Raises:
        Unreadable, Exception: as :func:`size_of`.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            return header_of(handle)[1]
    return header_of(io.BytesIO(raw))[1] if isinstance(raw, bytes) else channels_in(raw.shape)


def header_of(handle: BinaryIO) -> tuple[ImageSize, int | None, bool]:
    """What the header of a file says.

    Args:
        handle: of an image, or an array.

    Returns:
        Its size; the channels of an array, else None; and whether it has more than 8 bits.

    Raises:
        Unreadable, Exception: as :func:`size_of`.
    """
    if not is_npy(handle):
        image = identified(handle)
        return pixels_of(image), None, image.mode in WIDE
    import numpy as np

    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(handle)
    check_shape(shape)
    head = handle.tell()
    there = handle.seek(0, io.SEEK_END) - head
    if not dtype.hasobject and prod((dtype.itemsize, *shape)) != there:  # before so much memory is taken
        raise Unreadable(f"{there:,} bytes of pixels, not those of {dtype} of shape {shape}")
    return ImageSize(*shape[:2]), channels_in(shape), dtype.itemsize > 1


def channels_in(shape: tuple[int, ...]) -> int:
    """How many channels an array has.

    Args:
        shape: (height, width), or (height, width, channels).

    Returns:
        Their number.
    """
    return shape[2] if len(shape) == 3 else 1


def check_shape(shape: tuple[int, ...]) -> None:
    """See that the shape of an array is that of an image.

    Args:
        shape: of the array.

    Raises:
        Unreadable: it is not (height, width) or (height, width, channels), or channels seem to come first.
    """
    if len(shape) not in (2, 3) or 0 in shape:
        raise Unreadable(f"an array of shape {shape}, and not (height, width) or (height, width, channels)")
    if channels_first(shape):
        raise Unreadable(f"an array of shape {shape}, whose channels come first: move them to the end")


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether the shape of an image is rather (channels, height, width) than (height, width, channels).

    Args:
        shape: of the array.

    Returns:
        True where the last axis is no likely number of channels, and the first is.
    """
    if len(shape) != 3 or shape[2] <= 4:
        return False
    return shape[0] <= 4 or shape[1] == shape[2] != shape[0]


def upright_size(raw: Raw) -> ImageSize:
    """The size that an image has when it is turned upright.

    Args:
        raw: a path, the bytes of a file, or pixels.

    Returns:
        Height and width in pixels.

    Raises:
        Unreadable, Exception: as :func:`size_of`.
    """
    if isinstance(raw, str):
        with open_regular(raw) as handle:
            return _upright_size(handle)
    return _upright_size(io.BytesIO(raw)) if isinstance(raw, bytes) else ImageSize(*raw.shape[:2])


def _upright_size(handle: BinaryIO) -> ImageSize:
    if is_npy(handle):
        return header_of(handle)[0]
    image = identified(handle)
    size = pixels_of(image)
    on_its_side = size.height != size.width and image.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE
    return ImageSize(size.width, size.height) if on_its_side else size


def read_npy(handle: BinaryIO, most: int = PIXELS) -> npt.NDArray[Any]:
    """The image that is in a file of NumPy's.

    Args:
        handle: of the file, see :func:`is_npy`.
        most: pixels that it may have.

    Returns:
        The array, (height, width) or (height, width, channels).

    Raises:
        TooLarge: it has more pixels.
        Unreadable: its shape is not that of an image, or bytes are missing.
    """
    size, _, _ = header_of(handle)
    check_most(size, most)
    handle.seek(0)
    import numpy as np

    return np.lib.format.read_array(handle, allow_pickle=False)


def is_npy(handle: BinaryIO) -> bool:
    """Whether a file is one of NumPy's arrays.

    Args:
        handle: of the file, at its beginning, where it is left.

    Returns:
        Whether it begins as those do.
    """
    found = handle.read(len(_NPY)) == _NPY
    handle.seek(0)
    return found


def check_most(size: ImageSize, most: int = PIXELS) -> None:
    """See that an image is not too large to be decoded.

    Args:
        size: of the image.
        most: pixels that it may have.

    Raises:
        TooLarge: it has more.
    """
    if size.pixels > most:
        raise TooLarge(
            f"too large: {size.width} x {size.height} are {size.pixels / 1e6:,.0f} million pixels, at most "
            f"{most / 1e6:,.0f} are decoded. Shrink it"
        )


def pixels_of(image: Image.Image) -> ImageSize:
    """The size of an image.

    Args:
        image: of Pillow, decoded or not.

    Returns:
        Height and width in pixels.
    """
    return ImageSize(image.height, image.width)


def identified(handle: BinaryIO) -> Image.Image:
    """The image in a file, not yet decoded: its header is read and no more.

    Args:
        handle: of the file.

    Returns:
        What Pillow makes of it.

    Raises:
        Exception: whatever PIL raises for a damaged file.
    """
    try:
        return Image.open(handle, formats=_QUICK_FORMATS)
    except Image.UnidentifiedImageError:
        Image.init()
        return Image.open(handle, formats=[kind for kind in _FORMATS if kind in Image.OPEN])


def pages_are_channels(image: Image.Image, channels: int) -> bool:
    """Whether a file has a grey page for each channel, all of one size.

    Pages in colours are images of their own; those of other sizes, as GeoTIFFs have, are the first one made smaller.

    Args:
        image: not yet decoded.
        channels: that are wanted.

    Returns:
        False also for one channel.
    """
    if channels == 1 or number_of_pages(image) != channels:
        return False
    found: set[tuple[bool, ImageSize]] = set()
    for page in range(channels):
        image.seek(page)
        found.add((image.mode in ("1", "L", *WIDE), pixels_of(image)))
    image.seek(0)
    return found == {(True, pixels_of(image))}


def number_of_pages(image: Image.Image) -> int:
    """How many pages a file has.

    Args:
        image: not yet decoded.

    Returns:
        1 but for TIFFs: frames of an animation, or other views of a photograph, are no pages.
    """
    if image.format != "TIFF":
        return 1
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # damaged files can raise anything; the first page is read as if it were alone
        image.seek(0)
        return 1


def drops_pages(raw: Raw, channels: int) -> bool:
    """Whether only the first of several pages of an image is used.

    Args:
        raw: a path, the bytes of a file, or pixels.
        channels: to which it is converted.

    Returns:
        True of a TIFF whose pages are not its channels; a file is known as one by its name.

    Raises:
        Unreadable, Exception: as :func:`size_of`.
    """
    if isinstance(raw, str):
        if not raw.lower().endswith(_TIFF_NAMES):
            return False
        with open_regular(raw) as handle:
            return _drops_pages(handle, channels)
    return isinstance(raw, bytes) and raw.startswith(_TIFF) and _drops_pages(io.BytesIO(raw), channels)


def _drops_pages(handle: BinaryIO, channels: int) -> bool:
    image = identified(handle)
    return number_of_pages(image) > 1 and not pages_are_channels(image, channels)
