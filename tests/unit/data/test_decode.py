"""Image modes against pixels worked out by hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from poolsearch.data.decode import Raw, UnexpectedSize, decode


def through_file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def one_pixel(raw: Raw) -> list[int]:
    """Row 1, column 2 of 4 by 4."""
    at = 3 * (1 * 4 + 2)
    return list(decode(raw, 4)[at : at + 3])


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
        decode(through_file(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), 4)


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
    assert len(decode(through_file(wide), 4, (4, 6))) == len(decode(np.asarray(wide), 4, (4, 6))) == 48
    for raw in (through_file(wide), np.asarray(wide), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(UnexpectedSize):
            decode(raw, 4, (6, 4))
