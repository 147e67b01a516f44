"""Targets other than classes: from objects to batches, aligned with their images, kept whole in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from poolsearch.data import Images, Loader, find_source, make_split, open_images, targets
from poolsearch.data.groups import groups_of
from poolsearch.data.objects import write_images
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.progress import SilentProgress

COUNT, HIGH, WIDE = 12, 6, 5
DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (COUNT, HIGH, WIDE, 3), dtype=np.uint8)
ONES = np.array([[number % 2, number % 3 == 0, 0] for number in range(COUNT)])
VALUES = DRAW.normal(size=(COUNT, 2)).astype(np.float32)
MASKS = DRAW.integers(0, 4, (COUNT, HIGH, WIDE))
MASKS[:, 0, 0] = 255
OF_KIND: dict[str, Any] = {"labels": ONES, "values": VALUES, "masks": MASKS}


class Told(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Images]:
    """Writes objects with targets of a kind, and opens them."""

    def open_(kind: Any, given: Any, pixels: Any = PIXELS, collate: Any = None, **options: Any) -> Images:
        train = given if hasattr(given, "classes") else (pixels, given)
        written = write_images({"train": train}, tmp_path, SilentProgress(), kind, collate)
        return open_images(find_source(str(written), None, kind), None, tmp_path, SilentProgress(), **options)

    return open_


def stored(kind: str, side: int = 16, count: int = 60) -> Images:
    """Images of random pixels with targets of a kind, as if from the cache."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    target_N = {
        "labels": draw.integers(0, 2, (count, 5), dtype=np.uint8),
        "values": draw.normal(size=(count, 2, 3)).astype(np.float32),
        "masks": draw.integers(0, 7, (count, side, side), dtype=np.uint8),
    }[kind]
    return of_pixels(pixels, target_N)


def of_pixels(pixels: Any, target_N: Any) -> Images:
    count = len(pixels)
    zeros, part_N, place_N = np.zeros(count, np.int64), np.full(count, "train"), np.arange(count)
    return Images(
        "made", pixels, zeros, part_N, ("a", "b"), [], "", True, place_N, Path(), target_N=target_N
    )  # fmt: skip


def loader(images: Images, size: Any, augment: Any, feed: Any = "direct", **options: Any) -> Loader:
    everything = np.arange(len(images.label_N))
    return Loader(images, everything, 8, 3, "search", "cpu", size, augment, [0.0] * 3, [1 / 255] * 3, feed, **options)


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_KIND)
@pytest.mark.parametrize("feed", ["direct", "resident", "ahead"])
def test_every_feed_gives_the_targets_of_the_images(kind: str, feed: str) -> None:
    images = stored(kind)
    one, other = loader(images, 14, "crop-flip"), loader(images, 14, "crop-flip", feed)
    for step in (0, 3, 1):
        for expected, ours in zip(one.batch(step), other.batch(step), strict=True):
            assert torch.equal(ours, expected) and ours.dtype == expected.dtype
    plain = loader(images, 16, "none", feed, view=16)
    x_BCHW, target_B = plain.batch(2)
    rows = [
        int((np.asarray(images.pixels_NHWC) == x.permute(1, 2, 0).round().numpy()).all((1, 2, 3)).argmax())
        for x in x_BCHW
    ]
    assert images.target_N is not None
    assert target_B.dtype == {"labels": torch.uint8, "values": torch.float32, "masks": torch.uint8}[kind]
    np.testing.assert_array_equal(target_B, images.target_N[rows])
    np.testing.assert_array_equal(torch.cat([target for _, target in plain.chunks(7)]), images.target_N)


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
def test_a_mask_that_copies_its_image_still_does_when_both_are_shifted_and_mirrored(augment: str) -> None:
    """What is added around them is black in the image, and does not count in the mask."""
    pixels = np.random.default_rng(1).integers(1, 255, (24, 16, 12, 1), dtype=np.uint8)
    images = of_pixels(np.repeat(pixels, 3, 3), pixels[..., 0])
    seen = 0
    for step in range(3):
        x_BCHW, mask_BHW = loader(images, ImageSize(14, 11), augment).batch(step)
        assert mask_BHW.shape == (8, 14, 11) and mask_BHW.is_contiguous()
        added = mask_BHW == 255
        np.testing.assert_array_equal(x_BCHW[:, 0].round()[~added], mask_BHW[~added].float())
        assert not x_BCHW[:, 0][added].any()
        seen += int(added.sum())
    assert (seen > 0) == (augment != "none")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [24, 11])  # 11: sampled twice as finely, and averaged
def test_a_part_of_a_mask_is_that_of_its_image(axis: int, size: int) -> None:
    """Pixels are their own row or column: what is interpolated differs from the nearest by half a pixel at most."""
    where = np.indices((24, 24))[axis].astype(np.uint8)
    images = of_pixels(
        np.broadcast_to((8 * where)[None, ..., None], (16, 24, 24, 3)).copy(), np.repeat(4 * where[None], 16, 0)
    )
    for step in range(2):
        x_BCHW, mask_BHW = loader(images, size, "resized-crop-flip").batch(step)
        assert mask_BHW.dtype == torch.uint8 and mask_BHW.shape == (8, size, size)
        assert (x_BCHW[:, 0] / 8 - mask_BHW / 4).abs().max() <= 0.51 and not (mask_BHW % 4).any()


@pytest.mark.parametrize(("size", "view"), [(16, None), (60, 30)], ids=["reduced", "enlarged"])
def test_evaluation_sees_the_same_part_of_a_mask(size: int, view: int | None) -> None:
    where = np.arange(48, dtype=np.uint8)
    pixels = np.broadcast_to((5 * where)[None, None, :, None], (8, 48, 48, 3)).copy()
    masks = np.broadcast_to(4 * where, (8, 48, 48)).copy()
    ((x_BCHW, mask_BHW),) = loader(of_pixels(pixels, masks), size, "none", view=view).chunks(8)
    assert mask_BHW.shape == (8, size, size)
    inside = slice(2, -2)  # at the edge, antialiasing sees one side only
    assert (x_BCHW[:, 0] / 5 - mask_BHW / 4)[:, inside, inside].abs().max() <= 0.6  # rounded to whole numbers before
    assert not (mask_BHW % 4).any(), "numbers of classes are not blended"


# --- from objects ----------------------------------------------------------------------------------------------------


class Dataset:
    def __init__(self, items: list[Any], classes: list[str]) -> None:
        self._items, self.classes = items, classes

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._items[index]


TAGS = [["sea", "sun"], ["sun"], []] * 4
NUMBERS = [{0, 2}, [1], ()] * 4
GIVEN: dict[str, tuple[str, Any, Any, tuple[str, ...]]] = {
    "arrays of 0 and 1": ("labels", ONES, ONES, ("0", "1", "2")),
    "tensors of bool": ("labels", torch.tensor(ONES) > 0, ONES, ("0", "1", "2")),
    "names of labels": ("labels", TAGS, [[1, 1], [0, 1], [0, 0]] * 4, ("sea", "sun")),
    "numbers of labels": ("labels", NUMBERS, [[1, 0, 1], [0, 1, 0], [0, 0, 0]] * 4, ("0", "1", "2")),
    "named numbers": (
        "labels",
        Dataset(list(zip(PIXELS, NUMBERS, strict=True)), ["sky", "sea", "sun", "fog"]),
        [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]] * 4,
        ("sky", "sea", "sun", "fog"),
    ),
    "numbers": ("values", VALUES[:, 0].tolist(), VALUES[:, 0], ("value",)),
    "vectors": ("values", VALUES, VALUES, ("0", "1")),
    "lists": ("values", VALUES.tolist(), VALUES, ("0", "1")),
    "maps": ("values", np.repeat(VALUES[:, :, None], 3, 2), np.repeat(VALUES[:, :, None], 3, 2), ("0", "1", "2")),
    "masks": ("masks", MASKS, MASKS, ("0", "1", "2", "3")),
    "masks of PIL": ("masks", [Image.fromarray(m.astype(np.uint8)) for m in MASKS], MASKS, ("0", "1", "2", "3")),
    "masks as tensors": ("masks", torch.tensor(MASKS)[:, None], MASKS, ("0", "1", "2", "3")),
    "masks of 0 and 255": ("masks", np.where(MASKS == 1, 255, 0), MASKS == 1, ("0", "1")),
    "masks of true and false": ("masks", MASKS == 1, MASKS == 1, ("0", "1")),
}  # fmt: skip


@pytest.mark.parametrize("case", GIVEN)
def test_objects_have_the_targets_that_they_were_given_with(opened: Callable[..., Images], case: str) -> None:
    kind, given, expected, names = GIVEN[case]
    images = opened(kind, given)
    assert images.kind == kind and images.class_names == names and images.target_N is not None
    assert images.target_N.dtype == (np.float32 if kind == "values" else np.uint8)
    np.testing.assert_array_equal(images.target_N, expected)
    np.testing.assert_array_equal(images.pixels_NHWC, PIXELS)
    assert images.label_N.tolist() == [0] * COUNT and images.class_N.tolist() == [""] * COUNT


def test_parts_keep_their_targets(tmp_path: Path) -> None:
    given = {"train": (PIXELS[:6], ONES[:6]), "val": (PIXELS[6:8], ONES[6:8]), "test": (PIXELS[8:], ONES[8:])}
    written = write_images(given, tmp_path, SilentProgress(), "labels")
    images = open_images(find_source(str(written), None, "labels"), None, tmp_path, SilentProgress())
    np.testing.assert_array_equal(images.target_N, ONES)
    assert images.part_N.tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    split = make_split(images.label_N, images.part_N, seed=0)
    assert split.test.tolist() == [8, 9, 10, 11] and groups_of(None, images) is None


def test_collate_is_applied_when_targets_are_written(opened: Callable[..., Images]) -> None:
    boxes = [{"box": [0.0, 0.0, float(n), 2.0 * n]} for n in range(COUNT)]
    images = opened("values", boxes, collate=lambda some: torch.tensor([one["box"][2:] for one in some]))
    np.testing.assert_array_equal(images.target_N, [[n, 2 * n] for n in range(COUNT)])
    assert opened("classes", [n % 2 for n in range(COUNT)], collate=lambda some: 1 - np.array(some)).label_N[0] == 1


def test_other_targets_are_other_data(opened: Callable[..., Images]) -> None:
    """Of the same pixels; the same ones are the same."""
    found = {kind: opened(kind, given).fingerprint for kind, given in OF_KIND.items()}
    changed = VALUES.copy()
    changed[3, 1] += 1
    assert len({*found.values(), opened("values", changed).fingerprint}) == 4
    assert opened("values", VALUES.copy()).fingerprint == found["values"]


ONE = PIXELS[0]
LABEL_VECTOR, MASK = ONES[0], MASKS[0]
WRONG: dict[str, tuple[str, Any, str]] = {
    "a label that is no 0 or 1": ("labels", np.full((COUNT, 3), 2), "item 0 of train has the target [2 2 2]"),
    "labels twice, as of a list of 0 and 1": ("labels", ONES.tolist(), "give an array: numpy.array(labels)"),
    "more labels in one item": ("labels", [*ONES[:-1], np.ones(4)], "item 11 of train has 4 labels, and items before"),
    "a text for labels": ("labels", ["sea sun"] * COUNT, "or a list of the names or numbers"),
    "a label out of range": (
        "labels", Dataset([(ONE, [0]), (ONE, [2])] * 6, ["a", "b"]), "item 1 of train has a label 2; labels are"
    ),
    "a label that is none": (
        "labels", Dataset([(ONE, ["a"]), (ONE, ["c"])] * 6, ["a", "b"]), "the label 'c', which is none of those"
    ),
    "names and numbers of labels": ("labels", [["a"], [1]] * 6, "item 1 of train has numbers of labels"),
    "the same labels everywhere": ("labels", [["a"]] * COUNT, "all 12 images have the same labels (a)"),
    "no labels": ("labels", [[]] * COUNT, "all 12 images have no labels"),
    "NaN": ("values", [*VALUES[:-1], [1.0, np.nan]], "item 11 of train has a target that is NaN or infinite"),
    "too large a number": ("values", [1e40] * COUNT, "NaN or infinite"),
    "values of two shapes": (
        "values", [*VALUES[:-1], [1.0]], "item 11 of train has a target of shape (1,), and items before of (2,)"
    ),
    "a ragged value": ("values", [[[1.0], [1.0, 2.0]]] * COUNT, "Give a number, or an array of numbers"),
    "a text for a value": ("values", ["3"] * COUNT, "Give a number, or an array of numbers"),
    "a mask of another size": (
        "masks", MASKS[:, 1:], "item 0 of train has a mask of 5 x 5 pixels (height x width), and an image of 6 x 5"
    ),
    "a mask of fractions": ("masks", MASKS + 0.5, "has a mask not of whole numbers"),
    "a class of pixels out of range": ("masks", MASKS - 1, "with the number -1: classes of pixels are 0 to 254"),
    "a mask in colours": ("masks", np.stack([MASKS, MASKS, 0 * MASKS], 3), "has a mask in colours"),
    "a text for a mask": ("masks", ["mask.png"] * COUNT, "Give a mask: a PIL image"),
    "masks of one class": ("masks", 0 * MASKS, "all pixels of the 12 masks are of one class"),
    "too few images": ("values", (PIXELS[:3], VALUES[:3]), "too few training images: 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_target_that_cannot_be_used_is_named(case: str, opened: Callable[..., Images]) -> None:
    kind, given, expected = WRONG[case]
    with pytest.raises(PoolsearchError) as error:
        opened(kind, given[1], given[0]) if isinstance(given, tuple) else opened(kind, given)
    assert expected in str(error.value)


def fails(_: Any) -> Any:
    raise ValueError("no key 'box'")


@pytest.mark.parametrize(
    ("collate", "expected"),
    [
        (fails, "item 0 of train: the task's collate failed: ValueError: no key 'box'"),
        (lambda _: torch.zeros(2, 3), "here of shape (1, ...)"),
        (list, "makes a list of a list of one target"),
    ],
)
def test_a_collate_that_fails_is_told(collate: Any, expected: str, opened: Callable[..., Images]) -> None:
    with pytest.raises(PoolsearchError) as error:
        opened("values", VALUES, collate=collate)
    assert expected in str(error.value)


@pytest.mark.parametrize("there", ["classes", *OF_KIND])
def test_objects_of_another_kind_than_the_task_are_refused(there: Any, tmp_path: Path) -> None:
    written = write_images({"train": (PIXELS, OF_KIND.get(there, [0, 1] * 6))}, tmp_path, SilentProgress(), there)
    kinds: list[Any] = ["classes", *OF_KIND]
    for kind in kinds:
        if kind != there:
            with pytest.raises(PoolsearchError, match=r"should be learned \(--task\)"):
                find_source(str(written), None, kind)
    assert find_source(str(written), None, there).name == str(written)


# --- the cache -------------------------------------------------------------------------------------------------------


def folder_of_targets(cache: Path) -> Path:
    (folder,) = [path for path in cache.glob("images-*/*-*") if path.is_dir()]
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a bit": lambda folder: flip(folder / "targets.npy"),
    "a byte less": lambda folder: cut(folder / "targets.npy"),
    "no array": lambda folder: (folder / "targets.npy").unlink(),
    "no meta": lambda folder: (folder / "meta.json").unlink(),
    "half of meta": lambda folder: cut(folder / "meta.json") or cut(folder / "meta.json"),
    "a link": lambda folder: (shutil.move(folder, f"{folder}.moved"), folder.symlink_to(f"{folder}.moved")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_targets_are_made_anew(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = find_source(
        str(write_images({"train": (PIXELS, MASKS)}, tmp_path, SilentProgress(), "masks")), None, "masks"
    )
    first = open_images(source, None, tmp_path, SilentProgress())
    with monkeypatch.context() as patched:
        patched.setattr(targets, "read_mask", lambda _: pytest.fail("read again"))
        assert open_images(source, None, tmp_path, SilentProgress()).fingerprint == first.fingerprint
    DAMAGES[damage](folder_of_targets(tmp_path))
    told = Told()
    images = open_images(source, None, tmp_path, told)
    assert images.fingerprint == first.fingerprint and any("they are made anew" in said for said in told.said)
    np.testing.assert_array_equal(images.target_N, MASKS)
    assert not list(tmp_path.rglob("*.tmp"))
    with pytest.raises(ValueError, match="read-only"):
        images.target_N[0] = 0  # pyright: ignore[reportOptionalSubscript]


def test_all_blocks_of_a_large_array_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "BLOCK_BYTES", 32)
    written = write_images({"train": (PIXELS, VALUES)}, tmp_path, SilentProgress(), "values")
    open_images(find_source(str(written), None, "values"), None, tmp_path, SilentProgress())
    folder = folder_of_targets(tmp_path)
    monkeypatch.setattr(targets, "CHECKED_BYTES", 64)  # then two blocks of seven, drawn at random
    flip(folder / "targets.npy")
    found = [isinstance(targets._read(folder), targets.DamagedCache) for _ in range(60)]  # pyright: ignore[reportPrivateUsage]
    assert any(found) and not all(found)


def test_targets_that_cannot_be_used_leave_nothing(tmp_path: Path) -> None:
    written = write_images({"train": (PIXELS, 0 * MASKS)}, tmp_path, SilentProgress(), "masks")
    with pytest.raises(PoolsearchError, match="of one class"):
        open_images(find_source(str(written), None, "masks"), None, tmp_path, SilentProgress())
    assert not [path for path in tmp_path.glob("images-*/*-*") if path.is_dir()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", OF_KIND)
@pytest.mark.parametrize("feed", ["resident", "ahead"])
@pytest.mark.parametrize("augment", ["none", "crop-flip", "resized-crop-flip"])
def test_a_gpu_gets_the_same_targets_and_nobody_waits_for_it(kind: str, feed: str, augment: str) -> None:
    images = stored(kind)
    options: dict[str, Any] = {"mean_C": [0.0] * 3, "std_C": [1.0] * 3, "image_size": 14, "augment": augment}
    ours = Loader(images, np.arange(60), 8, 3, "search", "cuda", feed=feed, **options)  # pyright: ignore[reportArgumentType]
    expected = Loader(images, np.arange(60), 8, 3, "search", "cpu", feed="direct", **options)
    ours.batch(0)  # the upload may wait
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [ours.batch(step)[1] for step in range(1, 7)]
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    for step, found in enumerate(batches, 1):
        equal = (found.cpu() == expected.batch(step)[1]).float().mean()
        assert equal == 1 or (augment == "resized-crop-flip" and equal > 0.99)  # rounded otherwise, at half a pixel
