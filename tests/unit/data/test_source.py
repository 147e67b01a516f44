"""Every kind of source, on small files in their real layout."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from poolsearch.data import find_source
from poolsearch.errors import PoolsearchError

SHARED_CIFAR = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cifar10"


def image_bytes(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 6), (value, value, value)).save(buffer, kind)
    return buffer.getvalue()


# --- names -----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_scaled_to_eight_bits() -> None:
    source = find_source("digits")
    raw = load_digits()
    assert len(source.items) == 1797
    pixels = np.asarray(source.items.read(7))
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 1], np.rint(raw.images[7] * 255 / 16))
    np.testing.assert_array_equal(source.label_N, raw.target)
    assert not source.flippable and set(source.part_N) == {"train"}


def test_unknown_name_says_the_nearest() -> None:
    with pytest.raises(PoolsearchError, match=r"unknown data set 'cifar11'.*Did you mean 'cifar10'"):
        find_source("cifar11")


def test_missing_path_says_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    with pytest.raises(PoolsearchError, match=r"flowrs does not exist. Did you mean '.*flowers'"):
        find_source(str(tmp_path / "flowrs"))
    with pytest.raises(PoolsearchError, match=r"nothing\.npz does not exist"):
        find_source("nothing.npz")


def test_a_file_that_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(PoolsearchError, match="cannot be read as a data set"):
        find_source(str(tmp_path / "a.zip"))


# --- image folders ---------------------------------------------------------------------------------------------------


def test_folder_of_classes(write_folder: Any, decoded: Any) -> None:
    root = write_folder(classes=("dog", "cat"))
    nested = root / "cat" / "more"
    nested.mkdir()
    Image.new("RGB", (4, 4)).save(nested / "z.JPG")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    source = find_source(str(root))
    assert source.class_names == ("cat", "dog")
    assert source.label_N.tolist() == [0] * 6 + [1] * 5
    assert source.items.label(5) == "cat/more/z.JPG"
    np.testing.assert_array_equal(decoded(source.items.read(6), 12), np.asarray(Image.open(root / "dog" / "000.png")))


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("training", "validation"), ("Train", "valid")])
def test_folder_with_parts(write_folder: Any, train: str, val: str) -> None:
    write_folder(f"data/{train}")
    write_folder(f"data/{val}", count=2)
    root = write_folder("data/test", count=3, classes=("dog",)).parent
    (root / "annotations").mkdir()
    source = find_source(str(root))
    parts, counts = np.unique(source.part_N, return_counts=True)
    assert dict(zip(parts.tolist(), counts.tolist(), strict=True)) == {"test": 3, "train": 10, "val": 4}
    assert source.label_N[source.part_N == "test"].tolist() == [1, 1, 1], "numbered by the classes of all parts"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"val": ("cat", "dog"), "test": ("cat", "dog")}, "no train folder"),
        ({"val": ("cat", "dog"), "test": ("cat", "dog"), "more": ("cat", "dog")}, "no train folder"),
        ({"train": ("cat", "dog"), "training": ("cat", "dog")}, "both 'train' and 'training'"),
        ({"train": ("cat", "dog"), "test": ("cat", "emu")}, "class 'emu' is in test but not in train"),
        ({"train": ("cat",)}, "at least 2 classes"),
    ],
)
def test_folder_parts_that_do_not_fit(write_folder: Any, parts: dict[str, tuple[str, ...]], message: str) -> None:
    roots = [write_folder(f"data/{part}", classes=classes) for part, classes in parts.items()]
    with pytest.raises(PoolsearchError, match=message):
        find_source(str(roots[0].parent))


def test_folder_errors_name_the_class(write_folder: Any) -> None:
    root = write_folder()
    (root / "emu").mkdir()
    with pytest.raises(PoolsearchError, match="class 'emu' has no readable image"):
        find_source(str(root))
    write_folder(classes=("emu",), count=3)
    with pytest.raises(PoolsearchError, match=r"class 'emu' has 3.*at least 4"):
        find_source(str(root))


def test_folder_without_class_folders(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match="no images found"):
        find_source(str(tmp_path))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(PoolsearchError, match="lie directly in"):
        find_source(str(tmp_path))


def test_folder_classes_beside_train(write_folder: Any) -> None:
    write_folder("data/train")
    root = write_folder("data", classes=("emu",))
    with pytest.raises(PoolsearchError, match="beside it 'emu' with images"):
        find_source(str(root))


def test_a_class_may_be_called_test(write_folder: Any) -> None:
    assert find_source(str(write_folder(classes=("cat", "test")))).class_names == ("cat", "test")


def test_folder_links_in_a_circle_end(write_folder: Any) -> None:
    root = write_folder()
    (root / "cat" / "again").symlink_to(root / "cat")
    assert len(find_source(str(root)).items) == 10


def test_folder_fingerprint_follows_the_files(write_folder: Any) -> None:
    root = write_folder()
    before = find_source(str(root)).fingerprint
    assert find_source(str(root)).fingerprint == before
    Image.new("RGB", (12, 12)).save(root / "cat" / "000.png")
    changed = find_source(str(root)).fingerprint
    (root / "cat" / "000.png").rename(root / "cat" / "00.png")
    assert len({before, changed, find_source(str(root)).fingerprint}) == 3


# --- npz -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("x_train", "y_train")])
@pytest.mark.parametrize("shape", [(8, 5, 5), (8, 5, 5, 1), (8, 5, 5, 3), (8, 5, 5, 4)])
def test_npz(tmp_path: Path, keys: tuple[str, str], shape: tuple[int, ...], decoded: Any) -> None:
    pixels = np.full(shape, 255, dtype=np.uint8)
    pixels[3, 0, 0] = 0 if len(shape) == 3 or shape[3] < 4 else (0, 0, 0, 255)
    label_N = np.array([0, 1] * 4)
    np.savez(tmp_path / "a.npz", **{keys[0]: pixels, keys[1]: label_N[:, None]})
    source = find_source(str(tmp_path / "a.npz"))
    assert source.label_N.tolist() == label_N.tolist()
    image = decoded(source.items.read(3), 5)
    assert image[0, 0].tolist() == [0, 0, 0] and image[1, 1].tolist() == [255, 255, 255]


def test_npz_with_all_parts(tmp_path: Path) -> None:
    x, y = np.zeros((8, 4, 4), np.uint8), np.array([0, 1] * 4)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_val=x[:2], y_val=y[:2], x_test=x[:4], y_test=y[:4])
    source = find_source(str(tmp_path / "a.npz"))
    assert source.part_N.tolist() == ["train"] * 8 + ["val"] * 2 + ["test"] * 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((8, 4, 4), np.uint8), "y": np.zeros(7, int)}, "8 images but y has 7 labels"),
        ({"x": np.zeros((8, 4, 4), np.uint8), "y": np.array([0, 1, -1, 0, 0, 1, 1, 1])}, r"first is -1 of x\[2\]"),
        ({"x": np.zeros((8, 4, 4), np.uint8), "y": np.array([0.0, 1.0] * 4)}, "must be integers"),
        ({"x": np.zeros((8, 4, 4), np.complex64), "y": np.array([0, 1] * 4)}, "must be uint8"),
        ({"x": np.zeros((8, 3, 4, 5), np.uint8), "y": np.array([0, 1] * 4)}, "channels last"),
        ({"x": np.zeros((8, 13, 9, 9), np.uint8), "y": np.array([0, 1] * 4)}, "channels last"),
        ({"pictures": np.zeros((8, 4, 4), np.uint8)}, "has the keys pictures"),
        ({"x": np.zeros((0, 4, 4), np.uint8), "y": np.zeros(0, int)}, "no images found"),
        (
            {"x": np.zeros((8, 4, 4), np.uint8), "y": np.array([0, 2] * 4)},
            "labels go up to 2, but only 2 different ones",
        ),
        ({"x": np.array([None] * 8), "y": np.array([0, 1] * 4)}, "plain arrays"),
    ],
)
def test_npz_errors(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(PoolsearchError, match=message):
        find_source(str(tmp_path / "a.npz"))


def test_npz_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"not a zip archive")
    with pytest.raises(PoolsearchError, match=r"cannot be read as an \.npz"):
        find_source(str(tmp_path / "a.npz"))


# --- parquet ---------------------------------------------------------------------------------------------------------


def write_parquet(path: Path, labels: Any, features: Any = None, rows_per_group: int = 3, **columns: Any) -> None:
    cells = [{"bytes": image_bytes(20 * i), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({"image": columns.pop("image", cells), "label": labels, **columns})
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)


NAMED = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


def test_parquet_reads_across_files_and_row_groups_in_any_order(tmp_path: Path, decoded: Any) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1] * 4, NAMED)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [1, 0] * 4, NAMED)
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", [0, 1], NAMED)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [1, 1], NAMED)
    source = find_source(str(tmp_path))
    assert source.class_names == ("cat", "dog")
    assert source.label_N.tolist() == [0, 1] * 4 + [1, 0] * 4 + [0, 1] + [1, 1]
    assert source.part_N.tolist() == ["train"] * 16 + ["val"] * 2 + ["test"] * 2
    for index in (15, 0, 7, 8, 3, 2):
        assert decoded(source.items.read(index), 6)[0, 0, 0] == 20 * (index % 8)
    assert source.items.label(12) == "train-00001-of-00002.parquet row 4"


def test_parquet_in_folders_of_parts_with_text_labels_and_files_beside(tmp_path: Path, decoded: Any) -> None:
    (tmp_path / "default" / "train").mkdir(parents=True)
    for i in range(8):
        (tmp_path / "default" / "train" / f"{i}.png").write_bytes(image_bytes(10 * i))
    cells = [{"bytes": None, "path": f"{i}.png"} for i in range(8)]
    write_parquet(tmp_path / "default" / "train" / "0000.parquet", ["dog", "cat"] * 4, image=cells)
    source = find_source(str(tmp_path))
    assert source.class_names == ("cat", "dog") and source.label_N.tolist() == [1, 0] * 4
    assert decoded(source.items.read(5), 6)[0, 0, 0] == 50


def test_parquet_takes_the_fine_labels_of_several(tmp_path: Path) -> None:
    fine = {"_type": "ClassLabel", "names": ["a", "b"]}
    features = {"image": NAMED["image"], "fine_label": fine, "label_coarse": fine}
    table = {"fine_label": [0, 1] * 4, "label_coarse": [0] * 8}
    write_parquet(tmp_path / "train-0.parquet", ["-"] * 8, features, **table)
    assert find_source(str(tmp_path)).label_N.tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    ("labels", "features", "message"),
    [
        ([0, 1, 2, 1, 0, 1, 0, 1], NAMED, r"first is 2 of train-0.parquet row 2.*Allowed are 0 to 1"),
        ([0, 1, -1, 1, 0, 1, 0, 1], None, "first is -1"),
        ([0, 1, None, 1, 0, 1, 0, 1], None, "row 2 has no label"),
        ([0.5] * 8, None, "must be integers"),
    ],
)
def test_parquet_label_errors(tmp_path: Path, labels: Any, features: Any, message: str) -> None:
    write_parquet(tmp_path / "train-0.parquet", labels, features)
    with pytest.raises(PoolsearchError, match=message):
        find_source(str(tmp_path))


def test_parquet_column_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(PoolsearchError, match="one column of images"):
        find_source(str(tmp_path))
    pq.write_table(pa.table({"image": [b"x"], "kind": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(PoolsearchError, match="none is named one of label"):
        find_source(str(tmp_path))
    (tmp_path / "train-0.parquet").write_bytes(b"damaged")
    with pytest.raises(PoolsearchError, match="cannot be read as a parquet file"):
        find_source(str(tmp_path))
    (tmp_path / "train-0.parquet").rename(tmp_path / "test-0.parquet")
    with pytest.raises(PoolsearchError, match="none named train"):
        find_source(str(tmp_path))


@pytest.mark.skipif(not SHARED_CIFAR.exists(), reason="needs the shared CIFAR-10")
def test_parquet_real_cifar10_rows(tmp_path: Path, decoded: Any) -> None:
    for part in ("train", "test"):
        name = f"{part}-00000-of-00001.parquet"
        rows = next(pq.ParquetFile(SHARED_CIFAR / name).iter_batches(batch_size=300))
        pq.write_table(pa.Table.from_batches([rows]), tmp_path / name, row_group_size=100)
    source = find_source(str(tmp_path))
    assert source.class_names[:2] == ("airplane", "automobile") and len(source.class_names) == 10
    table = pq.read_table(tmp_path / "train-00000-of-00001.parquet").to_pylist()
    assert source.label_N[:300].tolist() == [row["label"] for row in table]
    expected = np.asarray(Image.open(io.BytesIO(table[250]["img"]["bytes"])).convert("RGB"))
    np.testing.assert_array_equal(decoded(source.items.read(250), 32), expected)
