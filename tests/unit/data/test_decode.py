"""Image modes against pixels worked out by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from poolsearch.data.decode import UnexpectedSize, WrongChannels, decode, range_of
from poolsearch.data.form import Form, OutOfRange, central_box
from poolsearch.data.gate import Unreadable
from poolsearch.data.image_file import Raw, channels_of_array, drops_pages, size_of
from poolsearch.image_size import Fit, ImageSize
from poolsearch.value_range import ValueRange

FOUR = Form(ImageSize(4, 4), values="each-file")


def through_file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def one_pixel(raw: Raw) -> list[int]:
    """Row 1, column 2 of 4 by 4."""
    at = 3 * (1 * 4 + 2)
    return list(decode(raw, FOUR)[at : at + 3])


def test_grey_and_bilevel() -> None:
    assert one_pixel(through_file(Image.new("L", (4, 4), 77))) == [77, 77, 77]
    assert one_pixel(through_file(Image.new("1", (4, 4), 1))) == [255, 255, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (200, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),  # a fifth of black on white
        ("LA", (0, 51), [204, 204, 204]),
        ("LA", (40, 255), [40, 40, 40]),
    ],
)
def test_transparent_images_are_laid_on_white(mode: str, colour: tuple[int, ...], expected: list[int]) -> None:
    assert one_pixel(through_file(Image.new(mode, (4, 4), colour))) == expected


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert one_pixel(through_file(image)) == [40, 50, 60]
    assert one_pixel(through_file(image, transparency=1)) == [255, 255, 255]
    assert one_pixel(through_file(image, transparency=0)) == [40, 50, 60]
    assert one_pixel(through_file(image, "GIF")) == [40, 50, 60]


def test_cmyk_jpeg() -> None:
    pixel = one_pixel(through_file(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "JPEG", quality=100))
    assert pixel[0] < 5 and pixel[1] > 250 and pixel[2] > 250, "full cyan ink is no red"


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (128, 0), (129, 1), (65535, 255), (32896, 128)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257_and_rounded(value: int, expected: int, kind: str) -> None:
    image = through_file(Image.fromarray(np.full((4, 4), value, np.uint16)), kind)
    assert one_pixel(image) == [expected] * 3


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 4), 200, np.int32), 200),
        (np.full((4, 4), 51400, np.int32), 200),
        (np.full((4, 4), 0.5, np.float32), 128),
        (np.full((4, 4), 200.0, np.float32), 200),
        (np.full((4, 4), -3.0, np.float32), 0),
    ],
)
def test_wide_modes_are_scaled_by_what_they_hold(pixels: Any, expected: int) -> None:
    assert one_pixel(through_file(Image.fromarray(pixels), "TIFF")) == [expected] * 3


def test_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        decode(through_file(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), FOUR)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_applied(decoded: Any, kind: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it upright"
    upright = decoded(through_file(Image.fromarray(pixels), kind, exif=exif), 8)
    assert upright[:, 5:].min() > 250 and upright[:, :3].max() < 5, "the upper half is now the right one"


def test_arrays_of_every_number_of_channels(decoded: Any) -> None:
    assert decoded(np.full((4, 4), 9, np.uint8), 4)[0, 0].tolist() == [9, 9, 9]
    assert decoded(np.full((4, 4, 1), 9, np.uint8), 4)[0, 0].tolist() == [9, 9, 9]
    assert decoded(np.full((4, 4, 2), (0, 51), np.uint8), 4)[0, 0].tolist() == [204, 204, 204]
    assert decoded(np.full((4, 4, 4), (7, 8, 9, 255), np.uint8), 4)[0, 0].tolist() == [7, 8, 9]


def test_centre_is_cut_without_resampling_when_the_shorter_side_fits(decoded: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(pixels, 4), pixels[:, 3:7])
    tall = pixels.transpose(1, 0, 2)
    np.testing.assert_array_equal(decoded(np.ascontiguousarray(tall), 4), tall[3:7])


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (37, 41), (5, 900)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_any_size_becomes_the_stored_size(decoded: Any, size: tuple[int, int], kind: str) -> None:
    pixels = decoded(through_file(Image.new("RGB", size, (50, 100, 150)), kind), 64)
    assert np.abs(pixels.astype(int) - [50, 100, 150]).max() <= 2


def test_reducing_is_antialiased_and_keeps_the_content(decoded: Any) -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    reduced = decoded(stripes, 64).astype(int)
    assert np.abs(reduced[:, 2:-2] - 128).max() <= 2  # at the rim the stripes end, and do not balance
    halves = np.zeros((1024, 1024, 3), np.uint8)
    halves[:, 512:] = 255
    from_jpeg = decoded(through_file(Image.fromarray(halves), "JPEG", quality=95), 64)
    assert from_jpeg[:, :28].max() < 12 and from_jpeg[:, 36:].min() > 243


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_found_wherever_pillow_finds_it(decoded: Any, kind: str) -> None:
    """In XMP alone; what Pillow itself makes of the file is the measure."""
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp, "lossless": True}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": text}
    raw = through_file(image, kind, **options)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
    np.testing.assert_array_equal(decoded(raw, 8), np.asarray(turned))
    assert not np.array_equal(decoded(raw, 8), np.asarray(Image.open(io.BytesIO(raw)))), "it is turned"


def test_another_size_than_all_were_taken_to_have() -> None:
    wide = Image.new("RGB", (6, 4))
    for raw in (through_file(wide), np.asarray(wide)):
        assert len(decode(raw, FOUR, ImageSize(4, 6))) == 48
    for raw in (through_file(wide), np.asarray(wide), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(UnexpectedSize):
            decode(raw, FOUR, ImageSize(6, 4))


def grey_row(kind: Fit, values: list[int], size: ImageSize) -> np.ndarray:
    """An image of one row of 4 pixels for each value, made into a form."""
    row = np.repeat(np.array(values, np.uint8), 4)[None, :, None]
    pixels = np.broadcast_to(row, (4, 4 * len(values), 3)).copy()
    return np.frombuffer(decode(pixels, Form(size, kind)), np.uint8).reshape(*size, 3)[..., 0]


def test_a_line_of_text_is_cropped_squeezed_or_padded() -> None:
    values = [10, 50, 90, 130, 170, 210, 250, 30]
    np.testing.assert_array_equal(grey_row("crop", values, ImageSize(4, 32)), [np.repeat(values, 4)] * 4)
    np.testing.assert_array_equal(grey_row("crop", values, ImageSize(4, 8)), [np.repeat([130, 170], 4)] * 4)
    squeezed = grey_row("squeeze", values, ImageSize(4, 8))
    assert np.abs(squeezed[0].astype(int) - values).max() < 25 and (squeezed == squeezed[0]).all()
    padded = grey_row("pad", values, ImageSize(32, 32))
    assert (padded[:14] == 0).all() and (padded[18:] == 0).all()
    np.testing.assert_array_equal(padded[14:18], [np.repeat(values, 4)] * 4)


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_any_image_gets_into_any_form(fit: Fit, kind: str) -> None:
    for width, height in ((300, 200), (31, 7), (10, 50), (96, 48)):
        raw = through_file(Image.new("RGB", (width, height), (200, 200, 200)), kind)
        pixels = np.frombuffer(decode(raw, Form(ImageSize(48, 96), fit)), np.uint8).reshape(48, 96, 3)
        assert set(np.unique(pixels[24, 48])) <= {199, 200, 201}
        assert (pixels.min() < 10) == (fit == "pad" and (width, height) != (96, 48) and width != 2 * height)


def test_a_crop_has_the_shape_that_is_asked_for() -> None:
    assert central_box(ImageSize(100, 100), ImageSize(48, 96)) == (0, 25, 100, 75)
    assert central_box(ImageSize(48, 100), ImageSize(48, 96)) == (2, 0, 98, 48)
    assert central_box(ImageSize(20, 90), ImageSize(7, 7)) == (35, 0, 55, 20)


# --- channels --------------------------------------------------------------------------------------------------------


def as_channels(raw: Raw, channels: int) -> list[int]:
    """The first pixel of 4 by 4."""
    return list(decode(raw, Form(ImageSize(4, 4), channels=channels, values="each-file"))[:channels])


@pytest.mark.parametrize(
    ("mode", "colour", "channels", "expected"),
    [
        ("L", 77, 1, [77]),
        ("1", 1, 1, [255]),
        ("RGB", (255, 0, 0), 1, [76]),  # its luminance
        ("LA", (0, 51), 1, [204]),  # on white
        ("RGBA", (200, 0, 0, 51), 4, [200, 0, 0, 51]),  # as it is
        ("RGB", (1, 2, 3), 4, [1, 2, 3, 255]),
        ("CMYK", (9, 8, 7, 6), 4, [9, 8, 7, 6]),
        ("LA", (40, 7), 2, [40, 7]),
        ("L", 40, 2, [40, 255]),
        ("I;16", 257 * 40, 1, [40]),
        ("I;16", 257 * 40, 4, [40, 40, 40, 255]),
    ],
)
def test_images_are_converted_to_the_channels_of_the_network(
    mode: str, colour: Any, channels: int, expected: list[int]
) -> None:
    raw = through_file(Image.new(mode, (4, 4), colour), "TIFF")
    assert as_channels(raw, channels) == expected


def test_transparency_does_not_change_the_colours_under_it_when_it_is_a_channel() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = 200, 100, 50, 0
    pixels[:, 4:] = 200, 100, 50, 255
    found = np.frombuffer(decode(pixels, Form(ImageSize(4, 4), channels=4)), np.uint8).reshape(4, 4, 4)
    assert (found[..., :3] == [200, 100, 50]).all() and found[0, 0, 3] < 10 and found[0, 3, 3] > 245


def test_pages_are_channels() -> None:
    pages = [Image.new("L", (8, 4), 10 * number) for number in range(1, 6)]
    raw = through_file(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert as_channels(raw, 5) == [10, 20, 30, 40, 50]
    with pytest.raises(WrongChannels, match="it has 5 channels, which are not converted to 13"):
        as_channels(raw, 13)


def pages(kind: str, mode: str, number: int) -> bytes:
    """Images in one file, the first of value 10, the second of 20 and so on."""
    first, *rest = (
        Image.new(mode, (4, 4), (n * 10,) * len(Image.new(mode, (1, 1)).getbands())) for n in range(1, number + 1)
    )
    return through_file(
        first, kind, save_all=True, append_images=rest, **({"lossless": True} if kind == "WEBP" else {})
    )


def test_three_grey_pages_are_three_channels_and_others_are_dropped_and_told(tmp_path: Path) -> None:
    grey = pages("TIFF", "L", 3)
    assert as_channels(grey, 3) == [10, 20, 30] and not drops_pages(grey, 3)
    assert as_channels(grey, 1) == [10] and drops_pages(grey, 1)
    for number in (2, 4):
        assert as_channels(pages("TIFF", "L", number), 3) == [10] * 3 and drops_pages(pages("TIFF", "L", number), 3)
    colours = pages("TIFF", "RGB", 3)
    assert as_channels(colours, 3) == [10] * 3 and drops_pages(colours, 3), "each page is an image of its own"
    smaller = [Image.new("L", (side, side), 10) for side in (8, 4, 2)]
    overviews = through_file(smaller[0], "TIFF", save_all=True, append_images=smaller[1:])
    assert as_channels(overviews, 3) == [10] * 3 and drops_pages(overviews, 3)
    path = tmp_path / "image.TIF"
    path.write_bytes(grey)
    assert drops_pages(str(path), 1) and not drops_pages(str(path), 3)
    for other in (through_file(Image.new("L", (4, 4)), "TIFF"), np.zeros((4, 4), np.uint8)):
        assert not drops_pages(other, 3)


@pytest.mark.parametrize(("kind", "mode"), [("GIF", "L"), ("PNG", "L"), ("WEBP", "RGB"), ("MPO", "RGB")])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_frames_are_no_channels(kind: str, mode: str, channels: int) -> None:
    raw = pages(kind, mode, channels)
    assert Image.open(io.BytesIO(raw)).n_frames == channels  # type: ignore[attr-defined]
    found = as_channels(raw, channels)
    assert np.abs(np.array(found) - ([10, 255] if channels == 2 else [10, 10, 10, 255][:channels])).max() <= 2
    assert not drops_pages(raw, channels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_tiff_that_is_damaged_after_its_first_page() -> None:
    raw = bytearray(through_file(Image.new("L", (4, 4), 9), "TIFF"))
    at = int.from_bytes(raw[4:8], "little")
    following = at + 2 + 12 * int.from_bytes(raw[at : at + 2], "little")
    for wrong in (len(raw) + 1000, 3, len(raw) - 1):
        raw[following : following + 4] = wrong.to_bytes(4, "little")
        assert as_channels(bytes(raw), 3) == [9] * 3 and as_channels(bytes(raw), 2) == [9, 255]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_arrays_of_any_number_of_channels_alone_and_in_files() -> None:
    bands = np.broadcast_to(np.arange(13, dtype=np.uint8), (5, 6, 13)).copy()
    for raw in (bands, npy(bands)):
        assert as_channels(raw, 13) == list(range(13))
        assert size_of(raw) == (5, 6) and channels_of_array(raw) == 13
        with pytest.raises(WrongChannels, match="13 channels"):
            as_channels(raw, 3)
    grey = np.full((5, 5), 9, np.uint8)
    assert as_channels(npy(grey), 1) == [9] and as_channels(npy(grey), 3) == [9, 9, 9]
    assert as_channels(npy(grey.astype(np.float32) / 255), 1) == [9]
    assert as_channels(npy(np.full((4, 4), True)), 1) == [255]
    assert channels_of_array(through_file(Image.new("RGB", (4, 4)))) is None


@pytest.mark.parametrize("shape", [(3, 32, 32), (13, 64, 64), (1, 28, 30), (4,), (2, 2, 2, 2), (0, 4)])
def test_arrays_that_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unreadable, match=r"channels come first|not \(height, width"):
        as_channels(npy(np.zeros(shape, np.uint8)), 3)


def test_an_array_of_objects_is_not_unpickled() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        as_channels(npy(np.full((4, 4), None)), 3)


def test_an_array_that_is_not_as_large_as_it_says() -> None:
    whole = npy(np.zeros((64, 64, 3), np.uint8))
    for raw in (whole[:-1], whole + b"x", whole.replace(b"(64, 64, 3)", b"(64, 64, 9)")):
        with pytest.raises(Unreadable, match="bytes of pixels"):
            as_channels(raw, 3)


# --- values of more than 8 bits --------------------------------------------------------------------------------------

TWELVE_BITS = ValueRange(0, 4095)


def in_range(values: list[int], kind: str, wanted: ValueRange, clip: bool = False) -> list[int]:
    pixels = np.array([values], np.uint16)
    raw = npy(pixels) if kind == "NPY" else through_file(Image.fromarray(pixels), kind)
    return list(decode(raw, Form(ImageSize(1, len(values)), channels=1, values=wanted, clip=clip)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "NPY"])
def test_one_range_holds_for_all_images(kind: str) -> None:
    assert in_range([0, 8, 9, 2048, 4095], kind, TWELVE_BITS) == [0, 0, 1, 128, 255]
    assert len(set(in_range([*range(0, 4096, 8)], kind, TWELVE_BITS))) == 256, "of 12 bits 8 are kept"
    assert in_range([0, 100, 200], kind, ValueRange(100, 200), clip=True) == [0, 0, 255]
    with pytest.raises(OutOfRange) as caught:
        in_range([0, 4096], kind, TWELVE_BITS)
    assert caught.value.values == (0, 8191)


def test_the_range_of_pages_that_are_channels_is_that_of_all_pages() -> None:
    first, *rest = (Image.fromarray(np.full((2, 2), top, np.uint16)) for top in (100, 3000, 900))
    raw = through_file(first, "TIFF", save_all=True, append_images=rest)
    assert [range_of(raw, channels) for channels in (1, 3)] == [(0, 255), (0, 4095)]


def test_the_range_of_all_sixteen_bits_divides_by_257() -> None:
    values = [*range(0, 65536, 37), 65535]
    assert in_range(values, "NPY", ValueRange(0, 65535)) == np.rint(np.array(values) / 257).tolist()


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.array([[0, 3000]], np.uint16), (0, 4095)),
        (np.array([[0, 30]], np.uint16), (0, 255)),
        (np.array([[-1000, 3000]], np.int32), (-1024, 4095)),
        (np.array([[0, 0.9]], np.float32), (0, 1)),
        (np.array([[-0.8, 1]], np.float32), (-1, 1)),
        (np.array([[0, 200]], np.float32), (0, 255)),
        (np.zeros((1, 2), np.float32), (0, 1)),
        (np.array([[0, 200]], np.uint8), None),
    ],
)
def test_the_least_usual_range_is_found(pixels: Any, found: tuple[float, float] | None) -> None:
    for raw in (pixels, npy(pixels), through_file(Image.fromarray(pixels), "TIFF")):
        assert range_of(raw) == found
    assert range_of(through_file(Image.new("RGB", (4, 4)))) is None
