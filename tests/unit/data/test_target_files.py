"""Targets other than classes in files: tables of labels and of values, masks in folders and tables, archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poolsearch.data import Images, find_source, open_images
from poolsearch.data.gate import Unreadable
from poolsearch.data.masks import as_mask, read_mask
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.progress import SilentProgress

COUNT, HIGH, WIDE = 6, 8, 6
Open = Callable[..., Images]


@pytest.fixture
def read(tmp_path: Path) -> Open:
    """Opens what lies at a path below the temporary folder, of a kind."""

    def read(name: str, kind: Any, size: Any = None, fit: Any = None) -> Images:
        return open_images(
            find_source(str(tmp_path / name), None, kind), size, tmp_path / "cache", SilentProgress(), fit
        )

    return read


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a table beside six images; gives its path."""

    def write(*lines: str, name: str = "labels.csv") -> Path:
        for number in range(COUNT):
            Image.new("RGB", (WIDE, HIGH), (number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return write


# --- tables of labels and values -------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str, list[str], Any, tuple[str, ...]]] = {
    "bars": ("labels", ["file,labels", "0.png,b|a", "1.png,", "2.png,a", "3.png, b | c", "4.png,c", "5.png,"],
             [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], ("a", "b", "c")),
    "semicolons": ("labels", ["file,tags", "0.png,fire truck;sea", "1.png,sea", *(f"{n}.png," for n in range(2, 6))],
                   [[1, 1], [0, 1], *[[0, 0]] * 4], ("fire truck", "sea")),
    "spaces": ("labels", ["file;label", "0.png;10 2", "1.png;2", *(f"{n}.png;10" for n in range(2, 6))],
               [[1, 1], [1, 0], *[[0, 1]] * 4], ("2", "10")),
    "a column each": ("labels", ["file,Sea,sun", "0.png,1,0", "1.png,0,1", "2.png,True,1.0",
                                 *(f"{n}.png,0,0" for n in (3, 4, 5))],
                      [[1, 0], [0, 1], [1, 1], *[[0, 0]] * 3], ("Sea", "sun")),
    "commas": ("labels", ["file;labels", "0.png;a b,c", "1.png;c", *(f"{n}.png;" for n in range(2, 6))],
               [[1, 1], [0, 1], *[[0, 0]] * 4], ("a b", "c")),
    "values": ("values", ["file\tX\ty", *(f"{n}.png\t{n}\t{-n / 4}" for n in range(6))],
               [[n, -n / 4] for n in range(6)], ("X", "y")),
    "one value": ("values", ["age,file", *(f"{n}e1,{n}.png" for n in range(6))], [[10 * n] for n in range(6)],
                  ("age",)),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_by_hand(case: str, write: Callable[..., Path], read: Open) -> None:
    kind, lines, expected, names = TABLES[case]
    images = read(write(*lines).name, kind)
    assert images.kind == kind and images.class_names == names
    np.testing.assert_array_equal(images.target_N, expected)


def test_targets_stay_with_their_images_when_a_table_divides(write: Callable[..., Path], read: Open) -> None:
    """Parts come one after the other, whatever the order of the rows; what is unused is told."""
    split = ["test", "train", "val", "train", "train", "train"]
    path = write("file,split,value,group,", *(f"{n}.png,{split[n]},{n},g{n % 2},7" for n in range(6)))
    source = find_source(str(path), None, "values")
    images = read(path.name, "values")
    assert images.pixels_NHWC[:, 0, 0, 0].tolist() == [1, 3, 4, 5, 2, 0]
    assert images.target_N is not None and images.target_N[:, 0].tolist() == [1, 3, 4, 5, 2, 0]
    assert images.group_N == ["g1", "g1", "g0", "g1", "g0", "g0"]
    assert source.notes == ["labels.csv: columns file, split, group and 1 more"]


def test_a_cell_that_changed_is_other_data_and_the_same_pixels(write: Callable[..., Path], read: Open) -> None:
    lines = [f"{n}.png,{n}" for n in range(6)]
    path = write("file,x", *lines)
    one = read(path.name, "values")
    path.write_text("\n".join(["file,x", *lines[:-1], "5.png,6"]))
    other = read(path.name, "values")
    assert one.fingerprint != other.fingerprint and one.folder == other.folder


BAD_TABLES: dict[str, tuple[str, list[str], str]] = {
    "no 0 or 1": ("labels", ["file,a", "0.png,1", "1.png,2"], "line 3: a is '2'. Every column beside file"),
    "a label twice": ("labels", ["file,a,a", "0.png,1,0"], "has 2 columns named a"),
    "all alike": ("labels", ["file,labels", *(f"{n}.png,a" for n in range(6))], "have the same labels (a)"),
    "no labels": ("labels", ["file,labels", *(f"{n}.png," for n in range(6))], "all 6 images have no labels"),
    "no column of labels": ("labels", ["file,split", *(f"{n}.png,train" for n in range(6))], "has no column beside"),
    "a list": ("labels", ["file;labels", "0.png;['a', 'b']"], "Write them without brackets and quotes"),
    "no number": ("values", ["file,x", "0.png,1", "1.png,n/a"], "line 3: x is 'n/a', which is no number."),
    "a comma": ("values", ["file;x", "0.png;1,5"], "line 2: x is '1,5', which is no number. Write it with a point."),
    "NaN": ("values", ["file,x", "0.png,nan"], "line 2: x is 'nan', which is no number"),
    "too large": ("values", ["file,x", "0.png,1e39"], "line 2: x is '1e39', which is not finite, or too large"),
    "an empty cell": ("values", ["file,x", "0.png,"], "line 2: x is '', which is no number"),
    "a cell too few": ("values", ["file,x", "0.png"], "line 2: '0.png' has 1 cells, the heading 2"),
    "no mask column": ("masks", ["file,x", "0.png,1"], "has the columns file, x. Expected: a table in UTF-8"),
    "no mask": ("masks", ["file,mask", "0.png,m.png"], "1 of 1 files are not there: m.png"),
    "a mask of two": ("masks", ["file,mask", "0.png,2.png", "1.png,2.png"], "A mask has one row"),
    "too few": ("values", ["file,x", "0.png,1"], "too few training images: 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_what_is_wrong_with_a_table_is_said(case: str, write: Callable[..., Path]) -> None:
    kind, lines, expected = BAD_TABLES[case]
    with pytest.raises(PoolsearchError) as error:
        find_source(str(write(*lines)), None, kind)  # pyright: ignore[reportArgumentType]
    assert expected in str(error.value)


# --- masks: files ----------------------------------------------------------------------------------------------------

NUMBERS = np.arange(HIGH * WIDE, dtype=np.uint8).reshape(HIGH, WIDE) % 4


def palette(array: Any) -> Image.Image:
    image = Image.fromarray(array, "L").convert("P")
    image = Image.frombytes("P", image.size, array.tobytes())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return image


FILES: dict[str, Callable[[Path], Any]] = {
    "grey.png": lambda path: Image.fromarray(NUMBERS).save(path),
    "palette.png": lambda path: palette(NUMBERS).save(path),
    "palette of 2 bits.png": lambda path: palette(NUMBERS).save(path, bits=2),
    "grey of 16 bits.png": lambda path: Image.fromarray(NUMBERS.astype(np.uint16)).save(path),
    "the same in all colours.png": lambda path: Image.fromarray(np.stack([NUMBERS] * 3, 2)).save(path),
    "palette.gif": lambda path: palette(NUMBERS).save(path),
    "grey.tif": lambda path: Image.fromarray(NUMBERS).save(path),
    "whole.npy": lambda path: np.save(path, NUMBERS.astype(np.int64)),
    "floats.npy": lambda path: np.save(path, NUMBERS.astype(float)[..., None]),
    "turned.tif": lambda path: Image.fromarray(NUMBERS.T).save(path, exif=exif(5)),
}


def exif(orientation: int) -> Any:
    found = Image.Exif()
    found[274] = orientation
    return found


@pytest.mark.parametrize("name", FILES)
def test_masks_are_read_as_they_are_stored(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    np.testing.assert_array_equal(read_mask(str(tmp_path / name)), NUMBERS)


@pytest.mark.parametrize(("bits", "count"), [(1, 2), (2, 4), (4, 16)])
def test_grey_of_few_bits_is_not_made_brighter(bits: int, count: int, tmp_path: Path) -> None:
    """Pillow multiplies what it reads to 0..255."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    numbers = np.arange(16, dtype=np.uint8).reshape(2, 8) % count
    bit_rows = np.unpackbits(numbers[..., None], axis=2)[..., 8 - bits :].reshape(2, -1)
    data = b"".join(b"\0" + np.packbits(row).tobytes() for row in bit_rows)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0))
    np.testing.assert_array_equal(
        read_mask(content + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")), numbers
    )


# --- masks: fitted ---------------------------------------------------------------------------------------------------


def write_pairs(root: Path, images: Any, masks: Any, image_folder: str = "images", mask_folder: str = "masks") -> None:
    """PNGs of images and masks of the same names."""
    for folder, arrays in ((image_folder, images), (mask_folder, masks)):
        (root / folder).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(root / folder / f"{number}.png")


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("size", [ImageSize(40, 30), ImageSize(21, 33), ImageSize(60, 60)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_is_fitted_as_its_image_is(fit: str, size: ImageSize, axis: int, tmp_path: Path, read: Open) -> None:
    """Pixels are their own row or column, so that what is resampled says where it comes from."""
    where = np.indices((40, 50), dtype=np.uint8)[axis]
    write_pairs(tmp_path / "data", [5 * where] * 4, [4 * where] * 4)
    images = read("data", "masks", size, fit)
    masks = np.asarray(images.target_N)
    assert masks.shape == (4, *size)
    counts = masks[0] != 255
    rows, columns = np.flatnonzero(counts.any(1)), np.flatnonzero(counts.any(0))
    assert counts.sum() == len(rows) * len(columns) and (fit == "pad" or counts.all())
    assert not images.pixels_NHWC[0][~counts].any()
    inner = slice(rows[0] + 2, rows[-1] - 1), slice(columns[0] + 2, columns[-1] - 1)  # bicubic looks beyond the edge
    seen = images.pixels_NHWC[0][inner][..., 0] / 5
    assert np.abs(seen - masks[0][inner] / 4).max() <= 0.75
    assert not (masks[0][counts] % 4).any(), "numbers of classes are not blended"


def test_an_image_that_is_turned_has_a_mask_of_its_upright_size(tmp_path: Path, read: Open) -> None:
    upright = np.arange(20 * 12, dtype=np.uint8).reshape(20, 12)
    lying = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    write_pairs(tmp_path / "data", [upright] * 4, [upright] * 4)
    for number in range(3):
        lying.save(tmp_path / "data" / "images" / f"{number}.png", exif=exif(6))
    images = read("data", "masks", ImageSize(20, 12))
    np.testing.assert_array_equal(images.target_N, images.pixels_NHWC[..., 0])
    np.testing.assert_array_equal(images.target_N, [upright] * 4)
    lying.save(tmp_path / "data" / "masks" / "1.png")
    with pytest.raises(PoolsearchError, match=r"images/1\.png, masks/1\.png, is 12 x 20 pixels .* its image 20 x 12"):
        read("data", "masks", ImageSize(20, 12))


def test_255_is_a_class_only_where_there_is_nothing_but_0_beside_it(tmp_path: Path, read: Open) -> None:
    """In the whole data set, whatever a mask alone looks like; and not what is added when images are padded."""
    two = np.where(NUMBERS > 1, 255, 0).astype(np.uint8)
    other = two.copy()
    other[0, 0] = 1
    write_pairs(tmp_path / "two", [NUMBERS] * 40, [two] * 40)
    images = read("two", "masks", ImageSize(8, 8), "pad")
    assert images.class_names == ("0", "1") and images.target_N is not None
    np.testing.assert_array_equal(images.target_N[3], np.pad(two // 255, ((0, 0), (1, 1)), constant_values=255))
    write_pairs(tmp_path / "more", [NUMBERS] * 40, [two] * 38 + [other, two])  # not looked at first
    images = read("more", "masks", ImageSize(8, 8), "pad")
    assert images.class_names == ("0", "1") and images.target_N is not None
    np.testing.assert_array_equal(images.target_N[3][:, 1:-1], two)


# --- masks: folders --------------------------------------------------------------------------------------------------

PICTURES = np.repeat(np.arange(4, dtype=np.uint8)[:, None, None], HIGH, 1).repeat(WIDE, 2)


@pytest.mark.parametrize("top", ["", "archive/set"])
@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("imgs", "Annotations"), ("Image", "labels"), ("images/train", "masks/train")],
)
def test_folders_of_images_and_masks(images: str, masks: str, top: str, tmp_path: Path, read: Open) -> None:
    write_pairs(tmp_path / "data" / top, PICTURES, [NUMBERS + n for n in range(4)], images, masks)
    found = read("data", "masks")
    assert found.files == [f"{top}{'/' if top else ''}{images}/{number}.png" for number in range(4)]
    np.testing.assert_array_equal(found.target_N, [NUMBERS + n for n in range(4)])
    assert found.class_names == tuple("0123456") and found.kind == "masks" and set(found.part_N) == {"train"}


@pytest.mark.parametrize("layout", ["{part}/images {part}/masks", "images/{part} masks/{part}"])
def test_folders_of_parts(layout: str, tmp_path: Path, read: Open) -> None:
    for part in ("training", "val", "Test"):
        write_pairs(tmp_path / "data", PICTURES, [NUMBERS] * 4, *layout.format(part=part).split())
    assert read("data", "masks").part_N.tolist() == ["train"] * 4 + ["val"] * 4 + ["test"] * 4


def test_names_of_the_classes_of_pixels(tmp_path: Path, read: Open) -> None:
    write_pairs(tmp_path / "data", PICTURES, [NUMBERS] * 4)
    (tmp_path / "data" / "classes.txt").write_text("ground\nroad\nhouse\ntree\nwater\n")
    assert read("data", "masks").class_names == ("ground", "road", "house", "tree", "water")
    (tmp_path / "data" / "classes.txt").write_text("ground\nroad\nhouse\n")
    with pytest.raises(PoolsearchError, match=r"masks/0\.png, holds the number 3, and there are 3 classes"):
        read("data", "masks")
    (tmp_path / "data" / "classes.txt").write_text("ground\n\nhouse\n")
    with pytest.raises(PoolsearchError, match=r"classes\.txt has no name on line 2"):
        read("data", "masks")


def test_masks_in_a_table(write: Callable[..., Path], tmp_path: Path, read: Open) -> None:
    for number in range(COUNT):
        np.save(tmp_path / f"of{number}.npy", (NUMBERS + number) % 5)
    path = write(
        "file,segmentation,split", *(f"{n}.png,of{n}.npy,{'test' if n == 1 else 'train'}" for n in range(COUNT))
    )
    expected = [(NUMBERS + number) % 5 for number in (0, 2, 3, 4, 5, 1)]
    np.testing.assert_array_equal(read(path.name, "masks").target_N, expected)


def damage(root: Path, what: str) -> None:
    mask = root / "masks" / "2.png"
    match what:
        case "missing":
            mask.unlink()
        case "called otherwise":
            mask.rename(mask.with_name("2_mask.png"))
        case "damaged":
            mask.write_bytes(mask.read_bytes()[:60])
        case "no image":
            mask.write_text("mask")
        case "JPEG":
            Image.fromarray(NUMBERS).save(mask.with_suffix(".jpg"))
        case "JPEG as PNG":
            Image.fromarray(NUMBERS).save(mask, "JPEG")
        case "colours":
            Image.new("RGB", (WIDE, HIGH), (1, 2, 3)).save(mask)
        case "two":
            np.save(mask.with_suffix(".npy"), NUMBERS)
        case "300":
            mask.unlink()
            np.save(mask.with_suffix(".npy"), NUMBERS.astype(int) + 300)
        case "half":
            mask.unlink()
            np.save(mask.with_suffix(".npy"), NUMBERS + 0.5)
        case "another size":
            Image.fromarray(NUMBERS[1:]).save(mask)
        case "two folders":
            (root / "labels").mkdir()
        case _:
            raise ValueError(what)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("missing", "1 of 4 images have no mask: images/2.png. The mask of the first is looked for as masks/2.png"),
        ("called otherwise", "There is masks/2_mask.png."),
        ("damaged", "the mask of images/2.png, masks/2.png, cannot be used: it is damaged or unreadable"),
        ("no image", "masks/2.png, cannot be used"),
        ("JPEG", "masks/2.jpg is a mask, and .jpg files change the numbers of classes"),
        ("JPEG as PNG", "masks/2.png, cannot be used: it is of the format JPEG, which changes numbers"),
        ("colours", "masks/2.png, cannot be used: it is in colours"),
        ("two", "are two masks of one image"),
        ("300", "with the number 303: classes of pixels are 0 to 254"),
        ("half", "not of whole numbers: it holds 0.5"),
        ("another size", "masks/2.png, is 7 x 6 pixels (height x width), and its image 8 x 6"),
        ("two folders", "has both 'labels' and 'masks'"),
    ],
)
def test_what_is_wrong_with_a_mask_is_said(what: str, expected: str, tmp_path: Path, read: Open) -> None:
    write_pairs(tmp_path / "data", PICTURES, [NUMBERS] * 4)
    damage(tmp_path / "data", what)
    with pytest.raises(PoolsearchError) as error:
        read("data", "masks")
    assert expected in str(error.value)


def test_masks_of_no_image_are_told_and_other_layouts_refused(tmp_path: Path, write_folder: Any, read: Open) -> None:
    write_pairs(tmp_path / "data", PICTURES, [NUMBERS] * 4)
    np.save(tmp_path / "data" / "masks" / "9.npy", NUMBERS)
    (warning,) = read("data", "masks").warnings
    assert warning.startswith("1 masks of ") and "masks/9.npy" in warning
    root = write_folder("classes")
    with pytest.raises(PoolsearchError, match="has no folder of images beside one of masks, but 'cat', 'dog'"):
        find_source(str(root), None, "masks")
    with pytest.raises(PoolsearchError, match="does not say numbers of each image"):
        find_source(str(root), None, "values")
    with pytest.raises(PoolsearchError, match="digits has a class of each image, and a mask"):
        find_source("digits", None, "masks")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 8, 6), "of shape (3, 8, 6)"), ((4,), "of shape (4,)"), ((0, 4), "of shape (0, 4)")],
)
def test_shapes_of_masks(shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(Unreadable) as error:
        as_mask(np.ones(shape, int))
    assert expected in str(error.value)


# --- archives of arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("labels", np.eye(4, dtype=int)),
        ("values", np.arange(4.0)),
        ("values", np.ones((4, 2, 3))),
        ("masks", [NUMBERS] * 4),
    ],
)
def test_archives(kind: str, targets: Any, tmp_path: Path, read: Open) -> None:
    np.savez(tmp_path / "a.npz", x_train=PICTURES, y_train=targets, x_test=PICTURES[:1], y_test=targets[:1])
    images = read("a.npz", kind)
    np.testing.assert_array_equal(images.target_N, [*targets, targets[0]])
    assert images.part_N.tolist() == ["train"] * 4 + ["test"]


@pytest.mark.parametrize(
    ("kind", "targets", "expected"),
    [
        ("labels", np.arange(4), "y is int64 of shape (4,); it must be 0 or 1"),
        ("labels", np.full((4, 2), 2), "it must be 0 or 1 for each image and label"),
        ("values", np.array([1, 2, np.nan, 4]), "y[2] is nan"),
        ("values", np.array(list("abcd")), "it must be numbers"),
        ("masks", np.ones((4, 2, 2), int), "the mask of x[0], y[0], is 2 x 2 pixels"),
    ],
)
def test_what_is_wrong_with_an_archive_is_said(
    kind: str, targets: Any, expected: str, tmp_path: Path, read: Open
) -> None:
    np.savez(tmp_path / "a.npz", x=PICTURES, y=targets)
    with pytest.raises(PoolsearchError) as error:
        read("a.npz", kind)
    assert expected in str(error.value)


def test_a_classification_of_what_has_other_targets_says_which_task_is_meant(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(PoolsearchError, match="To learn labels, give --task multi-label"):
        find_source(str(write("file,labels", "0.png,a|b")))
    with pytest.raises(PoolsearchError, match="To learn annotation, give --task dense"):
        find_source(str(write("file,annotation", "0.png,1.png")))
    write_pairs(tmp_path / "data", PICTURES, [NUMBERS] * 4)
    (warning,) = find_source(str(tmp_path / "data")).warnings
    assert warning.endswith("If these are images and their masks, give --task dense.")
