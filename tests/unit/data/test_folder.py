"""Image folders as people have them: how they are named, what lies beside the images, and where links lead.

Nothing is decoded, so the images are empty files.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsearch.data import Source, find_source, unread_kinds
from poolsearch.data.names import part_of
from poolsearch.errors import PoolsearchError

CLASSES = ("cat", "dog")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes folders below the data folder, each with some images in it; gives the data folder."""

    def make(*folders: str, count: int = 4) -> Path:
        for folder in folders:
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (tmp_path / "data" / folder / f"{number}.jpg").touch()
        return tmp_path / "data"

    return make


def of_classes(*folders: str) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in CLASSES]


def counted(source: Source) -> dict[str, int]:
    return {part: int((source.part_N == part).sum()) for part in ("train", "val", "test")}


def files_of(source: Source) -> list[str]:
    return [source.items.label(i) for i in range(len(source.items))]


# --- names of parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train Train TRAINING training_set train_images seg_train trainset TrainSet images_train train2017"),
        ("val", "val valid validation Val_Set dev devset eval evaluation validation-images val_224"),
        ("test", "test testing Test test_set seg_test test1 TestImages holdout"),
        (None, "cat latest invalid contest training_wheels set data images pred attest retrain dev_board unit_test_x"),
    ],
)
def test_names_of_parts(part: str | None, names: str) -> None:
    assert {name: part_of(name) for name in names.split()} == dict.fromkeys(names.split(), part)


def test_a_long_name_is_not_tried_in_all_ways() -> None:
    assert part_of("dataset" * 2000) is None and part_of("dataset" * 2000 + "cat") is None
    assert part_of("datasets" * 2000 + "_train") == "train" == part_of("train_" + "dataset" * 2000)


@pytest.mark.parametrize(
    "folders",
    [
        ("training_set", "test_set"),
        ("train_images", "test_images"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("archive/Training", "archive/Testing"),
        ("a/b/training_set/training_set", "a/b/test_set/test_set"),
    ],
)
def test_folders_of_parts_are_found(make: Make, folders: tuple[str, str]) -> None:
    source = find_source(str(make(*of_classes(*folders))))
    assert source.class_names == CLASSES and counted(source) == {"train": 8, "val": 0, "test": 8}
    assert source.notes == [f"folders are taken as train: '{folders[0]}', test: '{folders[1]}'"]
    assert not source.warnings
    assert files_of(source)[0] == f"{folders[0]}/cat/0.jpg", "named from the folder that was given"


def test_usual_names_need_no_word(make: Make) -> None:
    source = find_source(str(make(*of_classes("train", "val", "test"))))
    assert counted(source) == {"train": 8, "val": 8, "test": 8} and not source.notes and not source.warnings


def test_dev_and_eval_are_val(make: Make) -> None:
    assert counted(find_source(str(make(*of_classes("train", "dev", "test")))))["val"] == 8
    with pytest.raises(PoolsearchError, match=r"has both 'dev' and 'eval'\. Keep one folder for val"):
        find_source(str(make(*of_classes("eval"))))


def test_a_folder_with_nothing_beside_it_is_entered(make: Make) -> None:
    root = make(*of_classes("archive/photos"))
    source = find_source(str(root))
    assert source.class_names == CLASSES and source.notes == [
        f"the class folders are those in {root / 'archive/photos'}"
    ]


def test_a_class_may_have_the_name_of_a_part(make: Make) -> None:
    source = find_source(str(make("train", "bus", "car")))
    assert source.class_names == ("bus", "car", "train") and not source.warnings


def test_parquet_files_of_parts(tmp_path: Path) -> None:
    for name in ("dev-0", "training_set/0", "test_0000"):
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": [b""] * 8, "label": [0, 1] * 4}), path)
    assert counted(find_source(str(tmp_path))) == {"train": 8, "val": 8, "test": 8}


# --- a division taken for classes ------------------------------------------------------------------------------------


def test_classes_that_hold_the_same_folders_are_refused(make: Make) -> None:
    with pytest.raises(PoolsearchError, match=r"'fold1', 'fold2'.*hold the same folders \('cat', 'dog'\).*labels\.csv"):
        find_source(str(make(*of_classes("fold1", "fold2"))))


def test_a_division_below_the_classes_is_refused(make: Make) -> None:
    with pytest.raises(PoolsearchError, match="the division lies below the classes"):
        find_source(str(make("cat/train", "cat/test", "dog/train", "dog/test")))


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/images", "dog/images"),
        ("cat/2019", "cat/2020", "dog/2019", "dog/2021"),
        ("cat/left", "cat/right", "dog/left", "dog/right", "dog"),
    ],
)
def test_classes_may_have_folders(make: Make, folders: tuple[str, ...]) -> None:
    source = find_source(str(make(*folders)))
    assert source.class_names == CLASSES and len(source.items) == 4 * len(folders)


# --- images that are not used ----------------------------------------------------------------------------------------


def test_every_place_of_images_that_are_not_used_is_named(make: Make) -> None:
    root = make(*of_classes("train"), "test", "more/cat", "more/dog", "seg_pred", "deep/in/side")
    (root / "cover.png").touch()
    source = find_source(str(root))
    assert counted(source) == {"train": 8, "val": 0, "test": 0}
    (warning,) = source.warnings
    assert warning.startswith(f"21 images of {root} are not used")
    for place in ("'more' (8)", "directly in 'test' (4)", "'seg_pred' (4)", "'deep' (4)"):
        assert place in warning
    assert f"directly in '{root}' (1)" in warning


def test_images_that_lie_in_no_class_folder(make: Make) -> None:
    root = make("train", "test")
    (root / "train" / "labels.csv").touch()
    with pytest.raises(PoolsearchError, match=r"lie directly in .*train, without.*--data .*train/labels\.csv"):
        find_source(str(root))


def test_what_systems_and_editors_leave_is_passed_over_at_every_depth(make: Make) -> None:
    left = (".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found", "__pycache__")
    root = make(*of_classes("train", "test"), *left, *(f"train/{name}" for name in left))
    make(*(f"train/cat/{name}/x" for name in left), *(f"train/cat/{name}" for name in left))
    for name in ("._0.jpg", ".hidden.jpg"):
        (root / "train" / "cat" / name).touch()
    (root / "__MACOSX" / "._train-0.parquet").touch()
    (root / "@eaDir" / "old.heic").touch()
    source = find_source(str(root))
    assert source.class_names == CLASSES and counted(source) == {"train": 8, "val": 0, "test": 8}
    assert not source.warnings and not unread_kinds(root)


# --- links -----------------------------------------------------------------------------------------------------------


def linked(root: Path, link: str, to: str) -> None:
    (root / link).symlink_to(os.path.relpath(root / to, (root / link).parent))


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("cat/more", "dog"),
        ("dog/more", "cat"),
        ("cat/more", "dog/puppies"),
        ("cat/more", "."),
        ("cat/x.jpg", "dog/0.jpg"),
        ("ape", "dog"),
        ("zebra", "dog/puppies"),
    ],
)
def test_a_link_into_another_class_is_not_followed(make: Make, link: str, to: str) -> None:
    root = make("cat", "dog", "dog/puppies")
    linked(root, link, to)
    source = find_source(str(root))
    assert source.class_names == CLASSES and source.label_N.tolist() == [0] * 4 + [1] * 8
    assert source.warnings == [
        f"links into another class, or to images that are counted already, are not followed: '{link}'."
    ]


def test_a_part_that_is_a_link_to_another_one_is_not_followed(make: Make) -> None:
    root = make(*of_classes("train"))
    linked(root, "val", "train")
    source = find_source(str(root))
    assert counted(source) == {"train": 8, "val": 0, "test": 0}
    assert "not followed: 'val/cat', 'val/dog'" in source.warnings[0]


def test_links_to_images_elsewhere_are_followed_once(make: Make, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    for name in ("a", "b", "c"):
        (pool / name).mkdir(parents=True)
        (pool / name / "0.jpg").touch()
    root = make("cat", "dog")
    (root / "cat" / "a").symlink_to(pool / "a")
    (root / "cat" / "one.jpg").symlink_to(pool / "c" / "0.jpg")
    (root / "dog" / "all").symlink_to(pool)
    (root / "fox").symlink_to(pool / "b")
    (pool / "b" / "round").symlink_to(pool / "b")
    for number in range(1, 4):
        (pool / "b" / f"{number}.jpg").touch()
    source = find_source(str(root))
    assert source.class_names == ("cat", "dog", "fox")
    assert files_of(source)[4:6] == ["cat/a/0.jpg", "cat/one.jpg"]
    assert source.label_N.tolist() == [0] * 6 + [1] * 4 + [2] * 4
    assert source.warnings == [
        "links into another class, or to images that are counted already, are not followed: 'dog/all'."
    ]


# --- archives --------------------------------------------------------------------------------------------------------


def zipped(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


IMAGES = [f"photos/{part}/{name}/{n}.jpg" for part in ("train", "test") for name in CLASSES for n in range(3)]


def test_an_archive_as_data(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a b.zip", *IMAGES, "__MACOSX/photos/._x.jpg", "photos/")
    with pytest.raises(PoolsearchError) as caught:
        find_source(str(path))
    said = str(caught.value)
    assert "Its 12 images lie in 'photos/test/cat', 'photos/test/dog', 'photos/train/cat' and 1 more." in said
    assert f"unzip -d '{tmp_path}/a b' '{path}'; then give --data '{tmp_path}/a b/photos'" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.tar.gz", r"mkdir \S*/a && tar -C \S*/a -xf \S*/a\.tar\.gz; then give --data \S*/a"),
        ("a.tgz", r"tar -C \S*/a -xf"),
        ("a.7z", r"Unpack it; then give --data \S*/a"),
        ("a.zip", r"Archives are not read\. Unpack it: unzip"),
    ],
)
def test_archives_that_are_not_looked_into(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(PoolsearchError, match=said):
        find_source(str(tmp_path / name))


def test_a_folder_of_archives(tmp_path: Path) -> None:
    zipped(tmp_path / "data" / "all.zip", "train.zip", "test.zip")
    with pytest.raises(
        PoolsearchError, match=r"no images found in .*, but 'all\.zip'.*more archives \(train\.zip, test"
    ):
        find_source(str(tmp_path / "data"))
    (tmp_path / "data" / "all.zip").rename(tmp_path / "data" / "all.rar")
    with pytest.raises(PoolsearchError, match=r"but 'all\.rar'. Archives are not read"):
        find_source(str(tmp_path / "data"))


def test_archives_beside_images_are_told(make: Make) -> None:
    root = make(*CLASSES)
    zipped(root / "cat" / "more.zip", "0.jpg")
    zipped(root / "data.zip", "0.jpg")
    (warning,) = find_source(str(root)).warnings
    assert warning.startswith("archives are not read: 'cat/more.zip', 'data.zip'.")


def test_only_images_of_kinds_that_cannot_be_read(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.HEIC").touch()
    with pytest.raises(PoolsearchError, match=r"can be read, but 2 \.heic: convert them"):
        find_source(str(tmp_path))
