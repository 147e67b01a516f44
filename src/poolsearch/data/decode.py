"""One image, whatever its file holds, as bytes of the form in which all are stored.

Decoding processes import this module: it takes only what they need, and NumPy, which takes longer to import than all
the rest, when an image calls for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from PIL import ExifTags, Image, ImageOps

from poolsearch.data.gate import PIXELS, TooLarge, Unreadable, open_regular
from poolsearch.image_size import Fit, ImageSize
from poolsearch.value_range import EACH_FILE, ValueRange

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Raw: TypeAlias = "str | bytes | npt.NDArray[Any]"
"""One image as its source has it: the path of a file, what is in one, or pixels HW or HWC."""


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


_QUICK_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000", "TGA")
"""What is looked for in a file, whatever its name: Pillow knows others, and hands PostScript to Ghostscript to be run.
The quick ones are tried first, since for the others Pillow imports all that it has."""

_STRIP = 8_000_000
"""So many pixels are converted at once where that takes several copies."""

_WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations by which height and width change places
_MAY_TURN = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}


_NPY = b"\x93NUMPY"
_TIFF = (b"II", b"MM")
_TIFF_NAMES = (".tif", ".tiff")


class OutOfRange(Exception):
    """An image has values beyond those that all were taken to have.

    Args:
        values: a range that holds those of this image.
    """

    def __init__(self, values: ValueRange) -> None:
        super().__init__(values)
        self.values = values


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
            return _header(handle)[0]
    return _header(io.BytesIO(raw))[0] if isinstance(raw, bytes) else ImageSize(*raw.shape[:2])


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
            return _header(handle)[1]
    return _header(io.BytesIO(raw))[1] if isinstance(raw, bytes) else _channels(raw.shape)


def _header(handle: BinaryIO) -> tuple[ImageSize, int | None, bool]:
    """The size of what is in a file, the channels of an array, and whether it has more than 8 bits."""
    if not is_npy(handle):
        image = identified(handle)
        return _size_of(image), None, image.mode in _WIDE
    import numpy as np

    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(handle)
    check_shape(shape)
    head = handle.tell()
    there = handle.seek(0, io.SEEK_END) - head
    if not dtype.hasobject and prod((dtype.itemsize, *shape)) != there:  # before so much memory is taken
        raise Unreadable(f"{there:,} bytes of pixels, not those of {dtype} of shape {shape}")
    return ImageSize(*shape[:2]), _channels(shape), dtype.itemsize > 1


def _channels(shape: tuple[int, ...]) -> int:
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
        return _header(handle)[0]
    image = identified(handle)
    size = _size_of(image)
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
    size, _, _ = _header(handle)
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


def _from_file(handle: BinaryIO, form: Form, size: ImageSize | None, most: int) -> bytes:
    if is_npy(handle):
        return _array(read_npy(handle, most), form, size, most)
    return _decoded(identified(handle), form, size, most)


def _array(pixels: npt.NDArray[Any], form: Form, size: ImageSize | None, most: int) -> bytes:
    """An image that is an array."""
    check_shape(pixels.shape)
    found, channels = ImageSize(*pixels.shape[:2]), _channels(pixels.shape)
    if size is not None and found != size:
        raise UnexpectedSize
    check_most(found, most)
    if pixels.dtype.kind == "b":
        pixels = pixels.astype("u1") * 255
    elif pixels.dtype.str != "|u1":
        pixels = _eight_bits(pixels, form)
    if found == form.size and channels == form.channels:
        return pixels.tobytes()
    if channels > 4 or (channels == 2 and form.channels == 2):
        if channels != form.channels:
            raise _wrong(channels, form)
        return _bytes([Image.fromarray(pixels[:, :, band].copy()) for band in range(channels)], form)
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
    return _bytes(_parts(image, form), form)


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


def _wrong(channels: int, form: Form) -> WrongChannels:
    return WrongChannels(f"it has {channels} channels, which are not converted to {form.channels} (--channels)")


def _size_of(image: Image.Image) -> ImageSize:
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


def _decoded(image: Image.Image, form: Form, size: ImageSize | None, most: int) -> bytes:
    if size is not None and _size_of(image) != size:
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
        case wanted if _pages_are_channels(image, wanted):
            return [_grey(page, form) for page in _pages(image, wanted)]
        case 3:
            return [_rgb(upright(image), form)]
        case 2 | 4 as wanted:
            image = upright(image)
            if "transparency" in image.info:
                image = image.convert("RGBA")
            if len(image.getbands()) != wanted:
                image = _wide(image, form) if image.mode in _WIDE else image
                image = image.convert("LA" if wanted == 2 else "RGBA")
            return [*image.split()]
        case _:
            raise _wrong(_number_of_pages(image) * len(image.getbands()), form)


def _pages_are_channels(image: Image.Image, channels: int) -> bool:
    """Whether a file has a grey page for each channel, all of one size.

    Pages in colours are images of their own; those of other sizes, as GeoTIFFs have, are the first one made smaller.
    """
    if channels == 1 or _number_of_pages(image) != channels:
        return False
    found: set[tuple[bool, ImageSize]] = set()
    for page in range(channels):
        image.seek(page)
        found.add((image.mode in ("1", "L", *_WIDE), _size_of(image)))
    image.seek(0)
    return found == {(True, _size_of(image))}


def _number_of_pages(image: Image.Image) -> int:
    """1 but for TIFFs: frames of an animation, or other views of a photograph, are no pages."""
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
    return _number_of_pages(image) > 1 and not _pages_are_channels(image, channels)


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
    may_turn = not _MAY_TURN.isdisjoint(image.info) or hasattr(image, "tag_v2")
    if may_turn and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image, form: Form) -> Image.Image:
    """Any mode to RGB. Transparent images are laid on white: the colour under a transparent pixel is arbitrary."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _WIDE:
        return _wide(image, form).convert("RGB")
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _grey(image: Image.Image, form: Form) -> Image.Image:
    """Any mode to grey, transparent images as in :func:`_rgb`; colours by their luminance (ITU-R 601-2)."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode in _WIDE:
        return _wide(image, form)
    return (_on_white(image) if image.has_transparency_data else image).convert("L")


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


def _wide(image: Image.Image, form: Form) -> Image.Image:
    """Grey of more than 8 bits as grey of 8 bits."""
    import numpy as np

    return Image.fromarray(_eight_bits(np.asarray(image), form))


def _eight_bits(values: npt.NDArray[Any], form: Form) -> npt.NDArray[np.uint8]:
    """Values of more than 8 bits, or floating-point, as 8 bits; those of whole 16 bits are divided by 257 exactly."""
    import numpy as np

    black, white = _black_and_white(values, form)
    eight = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP // values[0].size)
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
            wide = _header(handle)[2]
    else:
        wide = _header(io.BytesIO(raw))[2] if isinstance(raw, bytes) else raw.dtype.itemsize > 1
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
    if _size_of(image) == form.size:
        return image
    if form.fit == "squeeze":
        return image.resize((width, height), resample)
    if form.fit == "pad":
        inner = padded_size(_size_of(image), form.size)
        whole = Image.new(image.mode, (width, height), padding)
        resized = image.resize((inner.width, inner.height), resample)
        whole.paste(resized, ((width - inner.width) // 2, (height - inner.height) // 2))
        return whole
    box = central_box(_size_of(image), form.size)
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
