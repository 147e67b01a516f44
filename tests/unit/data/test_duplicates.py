"""Copies on two sides: planted ones are found, different images are not taken for copies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from poolsearch.data import Images, Split, find_source, make_split, open_images, write_duplicates
from poolsearch.data.duplicates import MOST_BITS, Duplicate, _close, duplicates
from poolsearch.data.image_hash import averages, image_hashes
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.storage.run_dir import RunDir


def scene(seed: int, side: int = 48) -> Image.Image:
    """Something smooth with a few colours, as photographs are."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side, 3))
    smooth = sum(gaussian_filter(noise, (side / d, side / d, 0)) * side / d for d in (6, 12, 24))
    return Image.fromarray((128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8))


def as_jpeg(image: Image.Image) -> Image.Image:
    coded = io.BytesIO()
    image.save(coded, "JPEG", quality=50)
    return Image.open(coded)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": as_jpeg,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "rescaled": lambda image: image.resize((40, 40)).resize(image.size),
    "grainy": lambda image: Image.fromarray(
        (np.asarray(image) + np.random.default_rng(0).normal(0, 6, (image.height, image.width, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    ),
}


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Images]:
    """Images in the cache, in the order given, labels 0 and 1 in turn."""

    def write(pixels_NHWC: np.ndarray, name: str = "set") -> Images:
        np.savez(tmp_path / f"{name}.npz", x=pixels_NHWC, y=np.arange(len(pixels_NHWC)) % 2)
        return open_images(find_source(str(tmp_path / f"{name}.npz")), None, tmp_path / "cache", SilentProgress())

    return write


def stack(*images: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(image.convert("RGB")) for image in images])


def test_planted_copies_are_found_and_nothing_else(opened: Callable[..., Images]) -> None:
    """Images 0 to 39 on one side; on the other 40 new ones, then a copy of 7 and changed ones of 10, 11, ..."""
    scenes = [scene(seed) for seed in range(80)]
    changed = [change(scenes[10 + k]) for k, change in enumerate(CHANGES.values())]
    images = opened(stack(*scenes, scenes[7], *changed))
    found = duplicates(images, np.arange(40, 81 + len(changed)), np.arange(40))
    assert [(d.index, d.of) for d in found] == [(80, 7), *((81 + k, 10 + k) for k in range(len(changed)))]
    assert [d.kind for d in found] == ["exact"] + ["near"] * len(changed)
    assert found[0] == Duplicate(80, 7, "exact", 0, 1.0)
    assert all(0 <= d.bits <= MOST_BITS and 0.9 <= d.correlation <= 1 for d in found[1:])


@pytest.mark.parametrize("change", ["mirrored", "upside down", "inverted", "other colours"])
def test_what_only_resembles_is_no_copy(opened: Callable[..., Images], change: str) -> None:
    pixels = stack(scene(0), scene(1), scene(2), scene(3))
    other = {
        "mirrored": pixels[:, :, ::-1],
        "upside down": pixels[:, ::-1],
        "inverted": 255 - pixels,
        "other colours": pixels[..., [2, 0, 1]],
    }[change]
    images = opened(np.concatenate([pixels, other, stack(*(scene(9 + k) for k in range(2)))]))
    assert duplicates(images, np.arange(4, 8), np.arange(4)) == []


def test_of_several_the_nearest_is_named(opened: Callable[..., Images]) -> None:
    one = scene(0)
    rough = Image.fromarray(
        (np.asarray(one) + np.random.default_rng(1).normal(0, 20, (48, 48, 3))).clip(0, 255).astype(np.uint8)
    )
    images = opened(stack(rough, scene(5), as_jpeg(one), scene(6), one, scene(7), one, scene(8)))
    assert [(d.index, d.of, d.kind) for d in duplicates(images, np.array([4]), np.arange(4))] == [(4, 2, "near")]
    assert [(d.index, d.of, d.kind) for d in duplicates(images, np.array([4]), np.array([0, 2, 6]))] == [
        (4, 6, "exact")
    ]


def test_blank_images_are_no_near_copies(opened: Callable[..., Images]) -> None:
    """A thousand of one grey, and one of another grey: equal ones are copies, the others have nothing in common."""
    pixels = np.full((1004, 32, 32, 3), 90, np.uint8)
    pixels[1000:] = [[[[95] * 3]], [[[96] * 3]], [[[97] * 3]], [[[90] * 3]]]
    images = opened(pixels)
    assert [(d.index, d.of, d.kind) for d in duplicates(images, np.arange(1000, 1004), np.arange(1000))] == [
        (1003, 0, "exact")
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 60))
def test_close_pairs_are_all_and_only_those_within_the_bits(seed: int, n: int, m: int) -> None:
    draw = np.random.default_rng(seed)
    a_N = draw.integers(0, 2**64, n, np.uint64)
    flips = np.array(
        [sum(1 << int(bit) for bit in draw.choice(64, draw.integers(0, 10), replace=False)) for _ in range(m)]
    )
    b_M = a_N[draw.integers(0, n, m)] ^ flips.astype(np.uint64)
    expected = {(i, j) for i, j in product(range(n), range(m)) if (int(a_N[i]) ^ int(b_M[j])).bit_count() <= MOST_BITS}
    found = _close(a_N, b_M)
    assert {tuple(pair) for pair in found.tolist()} == expected and len(found) == len(expected)


def test_looks_are_the_signs_of_the_lowest_frequencies() -> None:
    pixels = stack(scene(3, 32), scene(4, 32))
    for image, (_, look) in zip(pixels, image_hashes(pixels), strict=True):
        wave = dctn(image @ [0.299, 0.587, 0.114])[:8, :8]
        wave[0, 0] = 0
        bits = np.unpackbits(np.array([look], "<u8").view(np.uint8))
        assert bits.reshape(8, 8).tolist() == (wave > 0).astype(int).tolist()


def test_digests_differ_with_a_single_pixel_value() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    pixels[1] = pixels[0]
    pixels[2] = pixels[0]
    pixels[2, 4, 4, 1] ^= 1
    exact, look = image_hashes(pixels).T
    assert exact[0] == exact[1] != exact[2]
    assert look.tolist() == [0, 0, 0], "8 x 8 pixels have no look"


def test_averages_by_hand() -> None:
    """Of 3 pixels in 2 parts, each part is one pixel and half of the middle one."""
    assert averages(3, 2) == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]))
    assert averages(8, 8) == pytest.approx(np.eye(8))


def test_what_is_written(opened: Callable[..., Images], tmp_path: Path) -> None:
    scenes = [scene(seed) for seed in range(12)]
    images = opened(stack(*scenes, scenes[3], as_jpeg(scenes[4]), scenes[5], scene(40)))
    split = Split(np.arange(6), np.array([6, 7, 8, 14]), np.array([12, 13, 15]), "", None)
    counts = write_duplicates(RunDir(tmp_path), images, split)
    assert counts == {"test": {"exact": 1, "near": 1}, "search_val": {"exact": 1, "near": 0}}
    written = json.loads((tmp_path / "duplicates.json").read_text())
    assert [(row["index"], row["file"], row["of"], row["of_file"]) for row in written["test"]] == [
        (12, "x[12]", 3, "x[3]"),
        (13, "x[13]", 4, "x[4]"),
    ]
    assert [(row["class"], row["of_class"]) for row in written["test"]] == [("0", "1"), ("1", "0")]
    assert [(row["index"], row["of"], row["kind"]) for row in written["search_val"]] == [(14, 5, "exact")]


def test_digits_have_no_copies(tmp_path: Path) -> None:
    """Of these small images, many look alike, but no two are equal."""
    images = open_images(find_source("digits"), None, tmp_path, SilentProgress())
    assert len(np.unique(images.pixels_NHWC.reshape(len(images.label_N), -1), axis=0)) == len(images.label_N)
    split = make_split(images.label_N, images.part_N, 0)
    assert duplicates(images, split.test, split.train_all) == []


@pytest.mark.parametrize("name", ["prints.npy", "files.json"])
def test_a_cache_that_lost_a_list_is_made_again(opened: Callable[..., Images], tmp_path: Path, name: str) -> None:
    folder = opened(stack(*(scene(seed) for seed in range(10)))).folder

    def again() -> Images:
        return open_images(find_source(str(tmp_path / "set.npz")), None, tmp_path / "cache", SilentProgress())

    (folder / name).unlink()
    images = again()
    assert images.folder == folder
    assert images.files == [f"x[{i}]" for i in range(10)] and images.print_N2.shape == (10, 2)
    held = again()
    (folder / name).write_bytes(b"\x00")
    with pytest.raises(PoolsearchError, match=rf"is damaged \({name} is not what was written\)\. Start again"):
        _ = held.print_N2, held.files
    assert len(again().files) == len(again().print_N2) == 10
