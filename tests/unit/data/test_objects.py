"""Images that are given as Python objects."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from poolsearch.data import open_images
from poolsearch.data.objects import write_images
from poolsearch.data.source import find_source
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress

LABELS = [0, 1] * 6
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)


class Items:
    """A map-style dataset of what it is given."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self._items = items
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._items[index]


def items_of(convert: Callable[[Any], Any]) -> Items:
    return Items([(convert(image), label) for image, label in zip(PIXELS, LABELS, strict=True)])


def write(folder: Path, **parts: Any) -> Path:
    return write_images(parts, folder, SilentProgress())


def pixels_of(written: Path, cache: Path) -> Any:
    return open_images(find_source(str(written)), None, cache, SilentProgress(), None, 3, None).pixels_NHWC


FORMS: dict[str, Callable[[Any], Any]] = {
    "array": lambda image: image,
    "bytes as a tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1),
    "0 to 1 as a tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1).float() / 255,
    "0 to 1 as a wide tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1).double() / 255,
    "PIL": Image.fromarray,
}


@pytest.mark.parametrize("form", FORMS)
def test_pixels_stay_what_they_are(form: str, tmp_path: Path) -> None:
    """Also of tensors that were divided by 255: the nearest of 256 values is the one that they were."""
    found = pixels_of(write(tmp_path, train=items_of(FORMS[form])), tmp_path)
    assert np.array_equal(np.asarray(found), PIXELS)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "HSV", "1", "I;16"])
def test_every_kind_of_picture_is_kept(mode: str, tmp_path: Path) -> None:
    """It is then decoded as a file of this kind would be."""
    if mode == "I;16":
        pictures = [Image.fromarray(image[..., 0].astype(np.uint16) * 257) for image in PIXELS]
        expected = np.repeat(PIXELS[..., :1], 3, axis=3)
    else:
        pictures = [Image.fromarray(image).convert(mode) for image in PIXELS]
        expected = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    found = pixels_of(write(tmp_path, train=Items(list(zip(pictures, LABELS, strict=True)))), tmp_path)
    assert np.array_equal(np.asarray(found), expected)


def test_parts_targets_and_names(tmp_path: Path) -> None:
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    train = Subset(Items(list(zip(PIXELS, LABELS, strict=True)), classes=["cat", "dog"]), range(8))  # pyright: ignore[reportArgumentType]
    val, test = (images[:4], torch.tensor([1, 0, 1, 0])), (PIXELS, np.array(LABELS))
    written = write(tmp_path, train=train, val=val, test=test)
    source = find_source(str(written))
    assert source.class_names == ("cat", "dog")
    assert source.part_N.tolist() == ["train"] * 8 + ["val"] * 4 + ["test"] * 12
    assert source.label_N.tolist() == [*LABELS[:8], 1, 0, 1, 0, *LABELS]
    assert written.name.startswith("Items-")


def test_dictionaries_as_of_hugging_face(tmp_path: Path) -> None:
    class Label:
        names = ("no", "yes")

    items = [{"image": Image.fromarray(image), "label": label} for image, label in zip(PIXELS, LABELS, strict=True)]
    source = find_source(str(write(tmp_path, train=Items(items, features={"image": None, "label": Label()}))))
    assert source.class_names == ("no", "yes") and source.label_N.tolist() == LABELS


def test_names_for_targets(tmp_path: Path) -> None:
    named = [(image, "ab"[label]) for image, label in zip(PIXELS, LABELS, strict=True)]
    assert find_source(str(write(tmp_path, train=named))).class_names == ("a", "b")


def test_the_same_images_are_the_same_data_set(tmp_path: Path) -> None:
    """Also when they were written anew, so that a run can be resumed after its cache was emptied."""
    written = write(tmp_path, train=(PIXELS, LABELS))
    fingerprint = find_source(str(written)).fingerprint
    assert write(tmp_path, train=items_of(FORMS["array"])).name.partition("-")[2] == written.name.partition("-")[2]
    shutil.rmtree(written)
    assert find_source(str(write(tmp_path, train=(PIXELS, LABELS)))).fingerprint == fingerprint
    assert write(tmp_path, train=(PIXELS, LABELS[::-1])) != written
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_images_of_the_same_size_are_another_data_set(tmp_path: Path) -> None:
    """In the cache of decoded images, too: to the byte as large, and written in the same moment."""
    changed = PIXELS.copy()
    changed[3, 2, 1, 0] ^= 1
    one, other = (write(tmp_path, train=(pixels, LABELS)) for pixels in (PIXELS, changed))
    assert find_source(str(one)).fingerprint != find_source(str(other)).fingerprint
    assert np.array_equal(np.asarray(pixels_of(one, tmp_path)), PIXELS)
    assert np.array_equal(np.asarray(pixels_of(other, tmp_path)), changed)


def test_what_is_gone_is_said_to_be_given_again(tmp_path: Path) -> None:
    written = write(tmp_path, train=(PIXELS, LABELS))
    shutil.rmtree(written)
    with pytest.raises(PoolsearchError, match="resume=True, train="):
        find_source(str(written))


def test_names_of_classes_of_joined_sets(tmp_path: Path) -> None:
    half = list(zip(PIXELS, LABELS, strict=True))
    joined = ConcatDataset([Items(half, classes=["cat", "dog"]), Items(half)])  # pyright: ignore[reportArgumentType]
    written = write(tmp_path, train=joined)
    assert find_source(str(written)).class_names == ("cat", "dog") and written.name.startswith("Items-")


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


class _Varied(Items):
    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return np.random.default_rng().permutation(image.ravel()).reshape(image.shape), label


class _Broken(Items):
    def __getitem__(self, index: int) -> Any:
        raise ValueError("no such file")


ONE = PIXELS[0]
WRONG: dict[str, tuple[Any, str]] = {
    "a stream": (_Stream(), "without a length"),
    "a loader": (DataLoader(Items([(ONE, 0)])), "give its dataset"),  # pyright: ignore[reportArgumentType]
    "nothing in it": (Items([]), "has no images"),
    "three arrays": ((PIXELS, LABELS, LABELS), "tuple of 3"),
    "fewer targets": ((PIXELS, LABELS[:5]), "12 images but 5 targets"),
    "random transforms": (_Varied(list(zip(PIXELS, LABELS, strict=True))), "without random transforms"),
    "an item that fails": (_Broken([1]), "item 0 of train cannot be read: ValueError: no such file"),
    "items of three": (Items([(ONE, 0, 1)]), "tuple of 3"),
    "an image alone": (Items([ONE]), "is a ndarray"),
    "other keys": (Items([{"picture": ONE, "label": 0}]), "has the keys picture, label"),
    "a path": (Items([("a.png", 0)]), "has a str for an image"),
    "one-hot": (Items([(ONE, np.array([0, 1]))]), "target.argmax()"),
    "several labels": (Items([(ONE, ["cat", "dog"])]), "task='multi-label'"),
    "a mask": (Items([(ONE, np.zeros((6, 5), int))]), "task='dense'"),
    "a fraction": (Items([(ONE, 0.5)]), "has the target 0.5 (float)"),
    "a number": (Items([(ONE, np.float64(0.5))]), "task='regression'"),
    "channels first": (Items([(np.moveaxis(ONE, -1, 0), 0)]), "whose channels come first"),
    "not finite": (Items([(np.full((4, 4), np.nan), 0)]), "NaN"),
    "texts for pixels": (Items([(np.full((4, 4), "a"), 0)]), "Give numbers"),
    "a dictionary of parts": ({"train": (PIXELS, LABELS)}, "such as train=given['train']"),
    "a list of arrays": ([PIXELS, LABELS], "train=(images, targets)"),
    "a tensor with channels last": (Items([(torch.from_numpy(ONE), 0)]), "whose channels come last"),
    "names and numbers": (Items([(ONE, 0), (ONE, "cat")]), "numbers in some items and names in others"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_taken_is_said(case: str, tmp_path: Path) -> None:
    given, expected = WRONG[case]
    with pytest.raises(PoolsearchError) as error:
        write(tmp_path, train=given)
    assert expected in str(error.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_training_images_are_needed(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match="no training images"):
        write(tmp_path, test=(PIXELS, LABELS))
