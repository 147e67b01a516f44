"""torchvision's sets by name, laid out as their archives unpack."""

from __future__ import annotations

import bz2
import json
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from poolsearch.data import find_source, make_split
from poolsearch.data.torchvision_sets import SETS
from poolsearch.errors import PoolsearchError


def save(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (value, 0, 0)).save(path)


def counts(source: Any) -> dict[str, int]:
    parts, numbers = np.unique(source.part_N, return_counts=True)
    return dict(zip(parts.tolist(), numbers.tolist(), strict=True))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_food101(tmp_path: Path) -> None:
    base = tmp_path / "food-101"
    for part, number in (("train", 4), ("test", 1)):
        listing = {name: [f"{name}/{part}{i}" for i in range(number)] for name in ("pizza", "apple_pie")}
        (base / "meta").mkdir(parents=True, exist_ok=True)
        (base / "meta" / f"{part}.json").write_text(json.dumps(listing))
        for files in listing.values():
            for file in files:
                save(base / "images" / f"{file}.jpg")
    source = find_source("food101", data_root=tmp_path)
    assert source.class_names == ("apple_pie", "pizza") and counts(source) == {"train": 8, "test": 2}
    of_label = {source.items.label(i).split("/")[2]: int(source.label_N[i]) for i in range(10)}
    assert of_label == {"apple_pie": 0, "pizza": 1}


def test_dtd_uses_its_val_part_as_search_val(tmp_path: Path) -> None:
    base = tmp_path / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for part in ("train", "val", "test"):
        files = [f"{name}/{name}_{part}{i}.jpg" for name in ("banded", "dotted") for i in range(3)]
        (base / "labels" / f"{part}1.txt").write_text("\n".join(files))
        for file in files:
            save(base / "images" / file)
    source = find_source("dtd", data_root=tmp_path)
    split = make_split(source.label_N, source.part_N, seed=0)
    assert source.class_names == ("banded", "dotted")
    assert all("_val" in source.items.label(i) for i in split.search_val) and len(split.search_val) == 6
    assert all("_test" in source.items.label(i) for i in split.test)


def test_imagenette_val_is_the_test_and_classes_have_one_name(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n03445777"):
        for part, number in (("train", 4), ("val", 2)):
            for i in range(number):
                save(tmp_path / "imagenette2" / part / wnid / f"{wnid}_{i}.JPEG")
    source = find_source("imagenette", data_root=tmp_path)
    assert source.class_names == ("tench", "golf ball")
    assert len(make_split(source.label_N, source.part_N, seed=0).test) == 4


def test_eurosat_has_no_parts(tmp_path: Path) -> None:
    for name in ("Forest", "River"):
        for i in range(5):
            save(tmp_path / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
    source = find_source("eurosat", data_root=tmp_path)
    assert counts(source) == {"train": 10} and source.class_names == ("Forest", "River")


def test_gtsrb_reads_its_csv(tmp_path: Path, decoded: Any) -> None:
    base = tmp_path / "gtsrb"
    for number in (0, 1):
        for i in range(4):
            save(base / "GTSRB" / "Training" / f"{number:05d}" / f"{i}.ppm", value=100 * number)
    save(base / "GTSRB" / "Final_Test" / "Images" / "00000.ppm", value=100)
    (base / "GT-final_test.csv").write_text("Filename;Width;Height;ClassId\n00000.ppm;9;9;1\n")
    source = find_source("gtsrb", data_root=tmp_path)
    assert counts(source) == {"train": 8, "test": 1} and not source.flippable
    assert source.label_N[source.part_N == "test"].tolist() == [1]
    assert all(decoded(source.items.read(i), 9)[0, 0, 0] == 100 * source.label_N[i] for i in range(9))


def test_oxford_pets(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for part, number in (("trainval", 4), ("test", 1)):
        rows = [(f"{name}_{part}{i}", k) for k, name in ((1, "Bengal"), (2, "shiba_inu")) for i in range(number)]
        (base / "annotations" / f"{part}.txt").write_text("\n".join(f"{image} {k} 1 1" for image, k in rows))
        for image, _ in rows:
            save(base / "images" / f"{image}.jpg")
    source = find_source("oxfordiiitpet", data_root=tmp_path)
    assert source.class_names == ("Bengal", "Shiba Inu") and counts(source) == {"train": 8, "test": 2}


def test_caltech101_leaves_its_clutter_out(tmp_path: Path) -> None:
    base = tmp_path / "caltech101"
    (base / "Annotations").mkdir(parents=True)
    for name in ("BACKGROUND_Google", "ant", "lotus"):
        for i in range(1, 6):
            save(base / "101_ObjectCategories" / name / f"image_{i:04d}.jpg")
    source = find_source("caltech101", data_root=tmp_path)
    assert source.class_names == ("ant", "lotus") and len(source.items) == 10


def test_sun397_order_does_not_hang_on_the_file_system(tmp_path: Path) -> None:
    base = tmp_path / "SUN397"
    for name in ("b/beach", "a/abbey"):
        for i in (4, 0, 3, 1, 2):
            save(base / name / f"sun_{i}.jpg")
    (base / "ClassName.txt").write_text("/a/abbey\n/b/beach\n")
    source = find_source("sun397", data_root=tmp_path)
    assert source.class_names == ("abbey", "beach")
    assert [source.items.label(i) for i in (0, 9)] == ["SUN397/a/abbey/sun_0.jpg", "SUN397/b/beach/sun_4.jpg"]
    assert source.label_N.tolist() == [0] * 5 + [1] * 5


def test_stanford_cars(tmp_path: Path) -> None:
    base = tmp_path / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(["Audi", "BMW"], dtype=object)})
    kind = [("fname", object), ("class", int)]
    for part, number, file in (
        ("train", 8, "devkit/cars_train_annos.mat"),
        ("test", 2, "cars_test_annos_withlabels.mat"),
    ):
        savemat(base / file, {"annotations": np.array([(f"{i}.jpg", 1 + i % 2) for i in range(number)], dtype=kind)})
        for i in range(number):
            save(base / f"cars_{part}" / f"{i}.jpg")
    source = find_source("stanfordcars", data_root=tmp_path)
    assert source.class_names == ("Audi", "BMW") and counts(source) == {"train": 8, "test": 2}


def test_mnist_files(tmp_path: Path, decoded: Any) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, number in (("train", 40), ("t10k", 10)):
        pixels = np.arange(number, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, number, 28, 28) + pixels.tobytes())
        labels = (np.arange(number) % 10).astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, number) + labels.tobytes())
    source = find_source("mnist", data_root=tmp_path)
    assert counts(source) == {"train": 40, "test": 10} and not source.flippable
    assert decoded(source.items.read(13), 28)[5, 5].tolist() == [13, 13, 13]
    assert source.class_names[3] == "3 - three" and source.label_N[13] == 3


def test_usps_has_numbers_for_names(tmp_path: Path, decoded: Any) -> None:
    for file, number in (("usps.bz2", 40), ("usps.t.bz2", 10)):
        rows = [
            f"{1 + i % 10} " + " ".join(f"{k}:{1.0 if k == 1 else -1.0}" for k in range(1, 257)) for i in range(number)
        ]
        (tmp_path / file).write_bytes(bz2.compress(("\n".join(rows) + "\n").encode()))
    source = find_source("usps", data_root=tmp_path)
    assert source.class_names == tuple("0123456789")
    assert decoded(source.items.read(0), 16)[0, :2, 0].tolist() == [255, 0]


def test_colour_arrays_with_channels_first_are_turned() -> None:
    from poolsearch.data.torchvision_sets import _arrays

    class Svhn:
        data = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
        labels = np.array([0, 1])

    (piece,), _ = _arrays(Svhn(), "train")
    assert np.asarray(piece.items.read(1))[2, 3].tolist() == Svhn.data[1, :, 2, 3].tolist()


@pytest.mark.parametrize("name", ["cifar10", "mnist", "dtd", "svhn", "flowers102"])
def test_no_network_says_which_files_to_put_where(tmp_path: Path, offline: None, name: str) -> None:
    with pytest.raises(PoolsearchError) as caught:
        find_source(name, data_root=tmp_path)
    text = str(caught.value)
    assert str(tmp_path) in text and SETS[name].files in text and "could not be downloaded" in text


def test_imagenet_must_be_put_there_by_hand(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"cannot download it.*ILSVRC2012_img_train\.tar.*into imagenet/"):
        find_source("imagenet", data_root=tmp_path)


def test_half_unpacked_set_is_no_traceback(tmp_path: Path, offline: None) -> None:
    (tmp_path / "dtd" / "dtd" / "images").mkdir(parents=True)
    with pytest.raises(PoolsearchError, match="or not whole"):
        find_source("dtd", data_root=tmp_path)


def test_default_root_honours_xdg(tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PoolsearchError, match=str(tmp_path / "poolsearch" / "torchvision")):
        find_source("svhn")


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_entry_has_a_training_part_and_fitting_arguments(tmp_path: Path, offline: None, name: str) -> None:
    """Arguments that a constructor does not know raise TypeError, which would be hidden in the error for users."""
    for part, construct in SETS[name].parts.items():
        with pytest.raises(Exception) as caught:
            construct(tmp_path, False)
        assert not isinstance(caught.value, TypeError | AttributeError | NameError), (part, caught.value)
        verified = "Unknown value" not in str(caught.value)
        assert verified, f"torchvision has no split of this name: {caught.value}"
    assert "train" in SETS[name].parts
