"""Decoding once: reuse, rebuilding, damaged images, two processes, a full disk, a killed process."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poolsearch.data import build, cache_folder, find_source, open_images
from poolsearch.data import cache as cache_module
from poolsearch.data.items import Source
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.progress import SilentProgress
from poolsearch.storage import files


class Told(SilentProgress):
    """Remembers what was said and how far the bar went."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: list[int] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int, str], None]]:
        yield lambda done, _: self.done.append(done)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("images-*/*") if not path.name.endswith(".lock"))


def the_entry(cache: Path) -> Path:
    (folder,) = [path for path in cache.glob("images-*/*") if path.is_dir()]
    return folder


def test_pixels_and_labels_are_those_of_the_files(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder()
    told = Told()
    images = open_images(find_source(str(root)), None, tmp_path / "cache", told)
    assert images.pixels_NHWC.shape == (10, 12, 12, 3) and images.pixels_NHWC.dtype == np.uint8
    assert images.label_N.tolist() == [0] * 5 + [1] * 5 and set(images.part_N) == {"train"}
    for index, file in ((0, "cat/000.png"), (9, "dog/004.png")):
        np.testing.assert_array_equal(images.pixels_NHWC[index], np.asarray(Image.open(root / file)))
    assert images.skipped == [] and images.class_names == ("cat", "dog") and images.flippable
    assert told.done[-1] == 10
    with pytest.raises(ValueError, match="read-only"):
        images.pixels_NHWC[0] = 0


def test_second_opening_decodes_nothing(write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = find_source(str(write_folder()))
    first = open_images(source, None, tmp_path / "cache", SilentProgress())
    monkeypatch.setattr(cache_module, "write_pixels", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(cache_module, "make_plan", lambda *_: pytest.fail("looked at an image again"))
    second = open_images(source, None, tmp_path / "cache", SilentProgress())
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.pixels_NHWC, first.pixels_NHWC)


def test_a_changed_file_and_another_size_are_made_anew(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder()
    first = open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    Image.new("RGB", (12, 12), "white").save(root / "cat" / "002.png")
    second = open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    assert second.fingerprint != first.fingerprint and second.pixels_NHWC[2].min() == 255
    assert open_images(find_source(str(root)), 6, tmp_path / "cache", SilentProgress()).pixels_NHWC.shape == (
        10,
        6,
        6,
        3,
    )
    assert len(entries(tmp_path / "cache")) == 3


PARTS_OF_AN_ENTRY = ["pixels.u8", "labels.npy", "parts.npy", "places.npy", "prints.npy", "files.json", "meta.json"]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit flipped": flip_a_bit,
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "other JSON": lambda path: path.write_text("[1, null]"),
    "deep JSON": lambda path: path.write_text("[" * 100_000),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link": lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
    "others may write": lambda path: path.chmod(0o666),
    "another's": lambda path: os.chown(path, 12345, -1),
}


@pytest.mark.parametrize("part", PARTS_OF_AN_ENTRY)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_anew(write_folder: Any, tmp_path: Path, damage: str, part: str) -> None:
    if damage == "another's" and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    write_folder("data/train", count=6)
    root = write_folder("data/test", count=2).parent
    (root / "train" / "cat" / "003.png").write_bytes(b"no image")
    whole = open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    expected = [np.array(whole.pixels_NHWC), whole.label_N, whole.part_N, whole.place_N, whole.print_N2]
    names, skipped, folder = whole.files, whole.skipped, the_entry(tmp_path / "cache")
    DAMAGE[damage](folder / part)
    told = Told()
    again = open_images(find_source(str(root)), None, tmp_path / "cache", told)
    found = [again.pixels_NHWC, again.label_N, again.part_N, again.place_N, again.print_N2]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.files, again.skipped, again.fingerprint) == (names, skipped, whole.fingerprint)
    assert told.said[0].startswith(f"the decoded images in {folder} are not used ({part}") or damage == "gone"
    assert told.said[0].endswith("they are made anew.") and told.done
    assert entries(tmp_path / "cache") == [folder.name] and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_entry_of_other_images_is_not_taken(write_folder: Any, tmp_path: Path) -> None:
    one, other = (find_source(str(write_folder(name))) for name in ("one", "three"))
    open_images(one, None, tmp_path / "cache", SilentProgress())
    folder = the_entry(tmp_path / "cache")
    pixels = np.array(open_images(other, None, tmp_path / "cache", SilentProgress()).pixels_NHWC)
    (second,) = [path for path in folder.parent.iterdir() if path.is_dir() and path != folder]
    shutil.rmtree(second)
    shutil.copytree(folder, second)
    told = Told()
    np.testing.assert_array_equal(open_images(other, None, tmp_path / "cache", told).pixels_NHWC, pixels)
    assert "is of other images" in told.said[0]


def test_of_many_pixels_some_blocks_are_compared(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_source(str(write_folder(count=20)))
    open_images(source, None, tmp_path / "cache", SilentProgress())
    compared: list[int] = []
    exact = cache_module.byte_hashes
    monkeypatch.setattr(cache_module, "byte_hashes", lambda x: (compared.append(len(x)), exact(x))[1])
    open_images(source, None, tmp_path / "cache", SilentProgress())
    assert sum(compared) == 40
    compared.clear()
    monkeypatch.setattr(cache_module, "BLOCK_BYTES", 2 * 12 * 12 * 3)
    monkeypatch.setattr(cache_module, "CHECKED_BYTES", 12 * 12 * 12 * 3)
    open_images(source, None, tmp_path / "cache", SilentProgress())
    assert compared == [2] * 6


# --- who may have changed it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a link", "others may write", "another's"])
def test_a_folder_that_others_may_have_changed_is_refused(write_folder: Any, tmp_path: Path, how: str) -> None:
    source, cache, victim = find_source(str(write_folder())), tmp_path / "cache", tmp_path / "victim"
    cache.mkdir()
    victim.mkdir()
    folder = cache / f"images-{os.geteuid()}"
    if how == "a link":
        folder.symlink_to(victim)
    elif how == "others may write":
        folder.mkdir()
        folder.chmod(0o777)
    elif os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    else:
        folder.mkdir()
        os.chown(folder, 12345, -1)
    with pytest.raises(PoolsearchError, match=r"images-\d+ is not used for decoded images: .*--cache-dir"):
        open_images(source, None, cache, SilentProgress())
    assert list(victim.iterdir()) == [] and list(folder.iterdir()) == []


def test_it_is_private_whatever_the_umask(write_folder: Any, tmp_path: Path) -> None:
    source, before = find_source(str(write_folder())), os.umask(0)
    try:
        open_images(source, None, tmp_path / "cache", SilentProgress())
    finally:
        os.umask(before)
    folder, told = the_entry(tmp_path / "cache"), Told()
    for path in (folder.parent, folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    open_images(source, None, tmp_path / "cache", told)
    assert told.said == [] and told.done == []


def test_nothing_is_written_through_links_in_the_folder(write_folder: Any, tmp_path: Path) -> None:
    source, cache, victim = find_source(str(write_folder())), tmp_path / "cache", tmp_path / "victim"
    images = open_images(source, None, cache, SilentProgress())
    folder = the_entry(cache)
    victim.mkdir()
    (victim / "kept").write_text("kept")
    shutil.rmtree(folder)
    folder.symlink_to(victim)
    folder.with_name(f".{folder.name}.{os.getpid()}.tmp").symlink_to(victim)
    again = open_images(source, None, cache, SilentProgress())
    assert again.fingerprint == images.fingerprint
    assert [path.name for path in victim.iterdir()] == ["kept"] and the_entry(cache) == folder
    assert not folder.is_symlink()


def test_stored_size_is_native_for_small_images_of_one_size(write_folder: Any, tmp_path: Path) -> None:
    def side(name: str, **options: Any) -> int:
        source = find_source(str(write_folder(name, **options)))
        return open_images(source, None, tmp_path / "cache", SilentProgress()).pixels_NHWC.shape[1]

    assert side("a", side=64) == 64
    assert side("b", side=65) == 256
    write_folder("c", side=20)
    assert side("c", classes=("cat",), count=1, side=21) == 256


def lines(root: Path, size: tuple[int, int] = (40, 10), count: int = 5) -> Source:
    """Images of one shape, width first, whose values grow from left to right."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            ramp = np.broadcast_to(np.linspace(0, 255, size[0], dtype=np.uint8)[None, :, None], (size[1], size[0], 3))
            Image.fromarray(np.ascontiguousarray(ramp)).save(root / name / f"{number}.png")
    return find_source(str(root))


def test_small_images_of_one_size_keep_their_shape(tmp_path: Path) -> None:
    source, cache = lines(tmp_path / "data"), tmp_path / "cache"
    own = open_images(source, None, cache, SilentProgress())
    assert own.size == (10, 40) and own.cut == 0
    assert own.pixels_NHWC[0, 0, 0, 0] == 0 and own.pixels_NHWC[0, 0, -1, 0] == 255
    cropped = open_images(source, None, cache, SilentProgress(), fit="crop")  # as versions did that knew squares alone
    assert cropped.size == (10, 10) and cropped.cut == 0.75
    assert open_images(source, 10, cache, SilentProgress()).fingerprint == cropped.fingerprint
    squeezed = open_images(source, 10, cache, SilentProgress(), fit="squeeze")
    assert squeezed.size == (10, 10) and squeezed.cut == 0
    assert squeezed.pixels_NHWC[0, 0, 0, 0] < 20 and squeezed.pixels_NHWC[0, 0, -1, 0] > 235
    assert open_images(source, ImageSize(5, 40), cache, SilentProgress(), fit="pad").pixels_NHWC[..., :10, :].max() == 0
    assert len(entries(cache)) == 5


def test_grey_and_many_channels_are_stored_as_they_are(write_folder: Any, tmp_path: Path) -> None:
    source = find_source(str(write_folder(side=40)))
    grey = open_images(source, None, tmp_path / "cache", SilentProgress(), channels=1)
    first = sorted((tmp_path / "data").rglob("*.png"))[0]
    np.testing.assert_array_equal(grey.pixels_NHWC[0, ..., 0], np.asarray(Image.open(first).convert("L")))
    assert grey.channels == 1 and (grey.print_N2[:, 1] != 0).all()
    bands = np.random.default_rng(0).integers(0, 256, (12, 40, 40, 5), dtype=np.uint8)
    for number, array in enumerate(bands):
        folder = tmp_path / "arrays" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number:02d}.npy", array)
    arrays = find_source(str(tmp_path / "arrays"))
    assert build.array_channels(arrays) == 5 and build.array_channels(source) is None
    images = open_images(arrays, None, tmp_path / "cache", SilentProgress(), channels=5)
    np.testing.assert_array_equal(images.pixels_NHWC, bands[[*range(0, 12, 2), *range(1, 12, 2)]])
    with pytest.raises(PoolsearchError, match=r"none of the 12.*5 channels, which are not converted to 3"):
        open_images(arrays, None, tmp_path / "cache", SilentProgress())


def sixteen_bits(root: Path, tops: list[int]) -> Source:
    """Grey images in 16-bit files, each from 0 to its top."""
    for number, top in enumerate(tops):
        folder = root / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.linspace(0, top, 144).astype(np.uint16).reshape(12, 12)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return find_source(str(root))


def test_twelve_bits_in_files_of_sixteen_keep_their_levels(tmp_path: Path) -> None:
    source = sixteen_bits(tmp_path / "data", [4095] * 5 + [900] * 5)
    images = open_images(source, None, tmp_path / "cache", SilentProgress())
    assert images.values == (0, 4095) and len(np.unique(images.pixels_NHWC[0])) > 130
    assert sorted({int(image.max()) for image in images.pixels_NHWC}) == [56, 255], "brighter and darker stay apart"
    again = open_images(source, None, tmp_path / "cache", SilentProgress())
    assert again.values == (0, 4095) and again.fingerprint == images.fingerprint
    window = open_images(source, None, tmp_path / "cache", SilentProgress(), values="0,900")
    assert window.values == (0, 900) and set(window.pixels_NHWC.max((1, 2, 3))) == {255}
    before = open_images(source, None, tmp_path / "cache", SilentProgress(), values="each-file")
    assert before.values is None and len(np.unique(before.pixels_NHWC[0])) == 17
    assert open_images(source, None, tmp_path / "cache", SilentProgress()).fingerprint == images.fingerprint
    assert len(entries(tmp_path / "cache")) == 3


def test_ranges_that_differ_in_the_seventh_digit_have_pixels_of_their_own(tmp_path: Path) -> None:
    source = sixteen_bits(tmp_path / "data", [4095] * 10)
    for values in ("0,1048575", "0,1048580"):
        images = open_images(source, 8, tmp_path / "cache", SilentProgress(), values=values)
        assert str(images.values) == values
    assert len(entries(tmp_path / "cache")) == 2


def test_values_that_only_images_have_that_were_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_SAMPLE", 2)
    source = sixteen_bits(tmp_path / "data", [900] * 4 + [2000, 900, 4000, 9000, 20_000, 40_000])
    assert build.sampled_range(source) == (0, 1023)
    begun: list[object] = []
    monkeypatch.setattr(cache_module, "write_pixels", lambda *args: begun.append(0) or build.write_pixels(*args))
    assert open_images(source, None, tmp_path / "cache", SilentProgress()).values == (0, 65535)
    assert len(begun) == 2, "after the first of them all images are looked at, so that decoding begins once more"


def test_a_given_range_is_that_of_images_of_more_than_8_bits_alone(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache = find_source(str(write_folder())), tmp_path / "cache"
    images = open_images(source, None, cache, SilentProgress(), values="0,4095")
    assert (
        images.values is None and images.fingerprint == open_images(source, None, cache, SilentProgress()).fingerprint
    )
    monkeypatch.setattr(build, "_SAMPLE", 2)
    wide = Image.fromarray(np.full((12, 12), 4000, np.uint16))
    wide.save(tmp_path / "data" / "cat" / "002.png")  # not among those that are looked at before
    source = find_source(str(tmp_path / "data"))
    assert build.sampled_range(source) is None
    images = open_images(source, None, cache, SilentProgress(), values="0,900")
    assert images.values == (0, 900) and (images.pixels_NHWC[2] == 255).all()


def test_that_only_first_pages_are_used_is_told(tmp_path: Path) -> None:
    for number in range(10):
        folder = tmp_path / "data" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        grey = [Image.new("L", (8, 8), 10 * page) for page in range(1, 3 if number < 2 else 4)]
        grey[0].save(folder / f"{number:02d}.tif", save_all=True, append_images=grey[1:])
    source, cache = find_source(str(tmp_path / "data")), tmp_path / "cache"
    for _ in ("decoded", "from the cache"):
        images = open_images(source, None, cache, SilentProgress())
        (warning,) = images.warnings
        assert warning.startswith("2 TIFF files have several pages, of which only the first is used.")
        assert [image[0, 0].tolist() for image in images.pixels_NHWC[[0, 1]]] == [[10] * 3, [10, 20, 30]]
    path = the_entry(cache) / "meta.json"  # of a version that read first pages alone
    meta = json.loads(path.read_text())
    del meta["values"], meta["first_pages"]
    meta["sum"] = cache_folder.digest_of(meta)
    path.write_text(json.dumps(meta))
    assert not open_images(source, None, cache, SilentProgress(), values="each-file").warnings, (
        "a resumed run has its own"
    )
    assert open_images(source, None, cache, SilentProgress()).warnings == images.warnings


def test_an_entry_of_a_version_that_guessed_each_files_range(tmp_path: Path) -> None:
    source = sixteen_bits(tmp_path / "data", [4095] * 10)
    wanted = open_images(source, None, tmp_path / "cache", SilentProgress())
    before = open_images(source, None, tmp_path / "other", SilentProgress(), values="each-file")
    usual = wanted.folder
    shutil.rmtree(usual)
    shutil.copytree(before.folder, usual)
    meta = json.loads((usual / "meta.json").read_text())
    del meta["values"]
    meta["key"] = usual.name
    meta["sum"] = cache_folder.digest_of(meta)
    (usual / "meta.json").write_text(json.dumps(meta))
    same = open_images(source, None, tmp_path / "cache", SilentProgress(), values="each-file")
    assert same.folder == usual and same.fingerprint == before.fingerprint
    assert open_images(source, None, tmp_path / "cache", SilentProgress()).fingerprint == wanted.fingerprint


def test_entries_of_squares_are_found_under_the_keys_that_they_always_had(write_folder: Any, tmp_path: Path) -> None:
    source = find_source(str(write_folder()))
    for size, fit in ((None, None), (None, "crop"), (8, None), (8, "crop")):
        open_images(source, size, tmp_path / "cache", SilentProgress(), fit=fit)
    keys = {files.sha256(f"{source.fingerprint} {size} 3".encode())[:32] for size in (None, 8)}
    assert set(entries(tmp_path / "cache")) == keys


def test_an_entry_that_does_not_say_what_was_cut_away(tmp_path: Path) -> None:
    source = lines(tmp_path / "data")
    open_images(source, 10, tmp_path / "cache", SilentProgress())
    path = the_entry(tmp_path / "cache") / "meta.json"
    meta = json.loads(path.read_text())
    del meta["cut"]
    meta["sum"] = cache_folder.digest_of(meta)
    path.write_text(json.dumps(meta))
    assert open_images(source, 10, tmp_path / "cache", SilentProgress()).cut == 0.75


def test_large_images_are_decoded_by_threads_in_order(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "BATCH_BYTES", 1)  # the least batches, so that many are under way
    monkeypatch.setattr(build, "available_cores", lambda: 3)
    threads: set[int] = set()
    decode = build.decode

    def noted(*args: Any) -> Any:
        threads.add(threading.get_ident())
        time.sleep(0.001 * (len(threads) % 3))  # batches do not end in the order in which they were begun
        return decode(*args)

    monkeypatch.setattr(build, "decode", noted)
    root = write_folder(count=40, side=100)
    images = open_images(find_source(str(root)), 100, tmp_path / "cache", SilentProgress())
    expected = [np.asarray(Image.open(path)) for path in sorted(root.rglob("*.png"))]
    np.testing.assert_array_equal(images.pixels_NHWC, np.stack(expected))
    assert len(threads) == 3


def test_bad_images_are_left_out_and_listed(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder(count=8, suffix="jpg")
    (root / "cat" / "001.jpg").write_bytes(b"")
    (root / "cat" / "003.jpg").write_bytes(b"this is no image")
    whole = (root / "dog" / "002.jpg").read_bytes()
    (root / "dog" / "002.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "005.jpg").unlink()
    (root / "dog" / "005.jpg").symlink_to(root / "nowhere")
    told = Told()
    images = open_images(find_source(str(root)), None, tmp_path / "cache", told)
    assert [entry["file"] for entry in images.skipped] == ["cat/001.jpg", "cat/003.jpg", "dog/002.jpg", "dog/005.jpg"]
    assert "truncated" in images.skipped[2]["reason"].lower() and "No such file" in images.skipped[3]["reason"]
    assert images.label_N.tolist() == [0] * 6 + [1] * 6 and len(images.pixels_NHWC) == 12
    np.testing.assert_array_equal(images.pixels_NHWC[1], np.asarray(Image.open(root / "cat" / "002.jpg")))
    assert "4 of 16 images cannot be read" in told.said[0]
    assert open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress()).skipped == images.skipped


def test_system_errors_do_not_drop_images(write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(build, "decode", fail)
    with pytest.raises(PoolsearchError, match=r"cat/000\.png could not be read now"):
        open_images(find_source(str(write_folder())), None, tmp_path / "cache", SilentProgress())
    assert entries(tmp_path / "cache") == []


def test_decompression_bomb_is_left_out(write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(count=6)
    Image.new("RGB", (40, 40)).save(root / "cat" / "002.png")
    Image.new("RGB", (30, 30)).save(root / "cat" / "003.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # twice as much is an error, more than once a warning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = open_images(find_source(str(root)), 12, tmp_path / "cache", SilentProgress())
    assert [entry["file"] for entry in images.skipped] == ["cat/002.png"]
    assert images.skipped[0]["reason"].startswith("too large")


def test_too_little_left_after_leaving_out(write_folder: Any, tmp_path: Path) -> None:
    root = write_folder(count=4)
    (root / "cat" / "001.png").write_bytes(b"")
    with pytest.raises(PoolsearchError, match=r"class 'cat' has 3.*1 images were left out.*cat/001\.png"):
        open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    for file in (root / "cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(PoolsearchError, match="class 'cat' has no readable image"):
        open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    for file in (root / "dog").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(PoolsearchError, match="none of the 8 images can be read"):
        open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    assert entries(tmp_path / "cache") == []


def test_nonsense_size(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match="size of images is 0x0"):
        open_images(find_source("digits"), 0, tmp_path, SilentProgress())


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PoolsearchError, match="cannot be written"):
        open_images(find_source("digits"), None, tmp_path / "file", SilentProgress())


# --- the disk is full ------------------------------------------------------------------------------------------------


def test_too_little_space_is_seen_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1797 * 8 * 8 * 3 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    told = Told()
    with pytest.raises(PoolsearchError, match=r"no space left.*are needed.*Free some space"):
        open_images(find_source("digits"), None, tmp_path, told)
    assert told.done == [] and entries(tmp_path) == []


FULL = """
    import resource, shutil, signal, sys
    from pathlib import Path
    from poolsearch.data import find_source, open_images
    from poolsearch.errors import PoolsearchError
    from poolsearch.progress import SilentProgress

    source, cache = find_source("digits"), Path(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        open_images(source, None, cache, SilentProgress())
    except PoolsearchError as error:
        print(error)
"""


def test_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path)]
    result = subprocess.run(script, capture_output=True, text=True, check=True)
    assert "no space left for the decoded images" in result.stdout
    assert entries(tmp_path) == []


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(full)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        roomy = shutil.disk_usage(full)._replace(free=1 << 40)  # as if another process filled it afterwards
        monkeypatch.setattr(shutil, "disk_usage", lambda _: roomy)
        with pytest.raises(PoolsearchError, match="no space left") as caught:
            open_images(find_source("digits"), None, full, SilentProgress())
        assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.ENOSPC
        assert entries(full) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)


# --- other processes -------------------------------------------------------------------------------------------------


def _open_digits(cache: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    told = Told()
    images = open_images(find_source("digits"), None, Path(cache), told)
    results.put((images.fingerprint, len(told.done) > 0))


def test_two_processes_at_once_decode_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_open_digits, args=(str(tmp_path), barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    outcome = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert len({fingerprint for fingerprint, _ in outcome}) == 1
    assert sorted(decoded for _, decoded in outcome) == [False, True]
    assert len(entries(tmp_path)) == 1


def test_the_second_process_says_that_it_waits(tmp_path: Path) -> None:
    from filelock import FileLock

    source = find_source("digits")
    open_images(source, None, tmp_path, SilentProgress())
    folder = the_entry(tmp_path)
    shutil.rmtree(folder)
    held = FileLock(folder.with_name(f".{folder.name}.lock"))
    held.acquire()

    class ReleasesWhenTold(Told):
        def say(self, text: str) -> None:
            super().say(text)
            held.release()

    told = ReleasesWhenTold()
    open_images(source, None, tmp_path, told)
    assert told.said == ["another process is decoding the same images; waiting for it."]


KILLED = """
    import sys, time
    from pathlib import Path
    from poolsearch.data import build, find_source, open_images
    from poolsearch.progress import SilentProgress

    decode = build.decode
    build.decode = lambda *args: (time.sleep(0.01), decode(*args))[1]
    open_images(find_source("digits"), None, Path(sys.argv[1]), SilentProgress())
"""


def test_kill_while_decoding_leaves_no_broken_cache(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)])
    started = time.monotonic()
    while not (list(tmp_path.glob("images-*/.*.tmp/pixels.u8"))):
        assert time.monotonic() - started < 60 and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert len(entries(tmp_path)) == 1 and entries(tmp_path)[0].endswith(".tmp")
    images = open_images(find_source("digits"), None, tmp_path, SilentProgress())
    assert len(images.pixels_NHWC) == 1797
    assert len(entries(tmp_path)) == 1 and not entries(tmp_path)[0].endswith(".tmp")


def test_meta_is_readable_without_us(tmp_path: Path) -> None:
    images = open_images(find_source("digits"), None, tmp_path, SilentProgress())
    folder = the_entry(tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["shape"] == [1797, 8, 8, 3] and meta["fingerprint"] == images.fingerprint
