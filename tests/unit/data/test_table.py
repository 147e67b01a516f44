"""Tables of images: every way in which people write them, what is refused, and that their division is kept."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poolsearch.data import Images, Source, find_source, make_split, open_images
from poolsearch.data.groups import groups_of, read_groups
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress

Write = Callable[..., Path]

NAMES = [f"images/{number}.png" for number in range(12)]
LABELS = ["cat", "dog"] * 6


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table beside a folder of twelve empty images; gives its path."""

    def write(*lines: str, name: str = "labels.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        for image in NAMES:
            if not (tmp_path / image).exists():
                (tmp_path / image).touch()
        (tmp_path / name).write_bytes((end.join(lines) + end).encode(encoding))
        return tmp_path / name

    return write


def rows(*columns: list[str], heading: str = "file,label", delimiter: str = ",") -> list[str]:
    return [heading.replace(",", delimiter), *map(delimiter.join, zip(*columns, strict=True))]


PLAIN = rows(NAMES, LABELS)


def files_of(source: Source) -> list[str]:
    return [source.items.label(i) for i in range(len(source.items))]


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("end", "name"), [("\n", "labels.csv"), ("\r\n", "Labels.TSV"), ("\n", "list.txt")])
def test_delimiters_and_encodings(write: Write, delimiter: str, encoding: str, end: str, name: str) -> None:
    labels = ["chat, \u00e9t\u00e9" if label == "cat" else label for label in LABELS]
    quoted = [f'"{label}"' for label in labels]
    lines = rows(NAMES, quoted, delimiter=delimiter)
    source = find_source(str(write(*lines, name=name, encoding=encoding, end=end)))
    assert source.class_names == ("chat, \u00e9t\u00e9", "dog")
    assert source.label_N.tolist() == [0, 1] * 6 and set(source.part_N) == {"train"}
    assert files_of(source) == NAMES and source.group_N is None
    assert source.notes == [f"{name}: columns file, label"]


def test_columns_in_any_order_and_others(write: Write) -> None:
    lines = rows([str(n) for n in range(12)], LABELS, ["7"] * 12, NAMES, [""] * 12, heading=",Class,Width,Image,Split")
    source = find_source(str(write(*lines)))
    assert files_of(source) == NAMES and source.class_names == ("cat", "dog")
    assert source.notes == ["labels.csv: columns image, class; not used: width; empty: split"]


def test_label_comes_before_its_synonym(write: Write) -> None:
    source = find_source(str(write(*rows(NAMES, ["1"] * 12, LABELS, heading="file,class,label"))))
    assert source.class_names == ("cat", "dog") and "not used: class" in source.notes[0]


def test_numbers_are_in_their_order(write: Write) -> None:
    source = find_source(str(write(*rows(NAMES, ["10", "9", "2"] * 4))))
    assert source.class_names == ("2", "9", "10") and source.label_N.tolist() == [2, 1, 0] * 4


def test_division_and_groups_are_those_of_the_table(write: Write) -> None:
    splits = ["test", "Train"] * 2 + ["train", "dev"] + ["training", "train_set"] * 3
    groups = [f"p{n // 2}" for n in range(12)]
    labels = ["cat", "dog", "dog", "cat", "cat", "dog", "cat", "dog", "dog", "cat", "dog", "cat"]
    columns = (NAMES, labels, splits, groups)
    source = find_source(str(write(*rows(*columns, heading="file,label,split,group"))))
    order = [1, 3, 4, *range(6, 12), 5, 0, 2]
    assert files_of(source) == [NAMES[i] for i in order]
    assert source.part_N.tolist() == ["train"] * 9 + ["val"] + ["test"] * 2
    assert source.group_N == [groups[i] for i in order]
    assert source.label_N.tolist() == [["cat", "dog"].index(labels[i]) for i in order]


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [
        ("images/a.png", "./images//a.png"),
        ("images/a.png", "images\\a.png"),
        (unicodedata.normalize("NFD", "images/\u00e9.png"), unicodedata.normalize("NFC", "images/\u00e9.png")),
        (unicodedata.normalize("NFC", "images/\u00e9.png"), unicodedata.normalize("NFD", "images/\u00e9.png")),
        (os.fsdecode(b"images/\xe9.png"), "images/\\xe9.png"),
        ("images/a, b.png", '"images/a, b.png"'),
    ],
)
def test_spellings_of_paths(write: Write, on_disk: str, in_table: str) -> None:
    path = write(*PLAIN, f"{in_table},dog")
    (path.parent / on_disk).touch()
    source = find_source(str(path))
    assert os.path.samefile(str(source.items.read(12)), path.parent / on_disk)
    files_of(source)[12].encode()


def test_whole_paths_below_the_tables_folder(write: Write, tmp_path: Path) -> None:
    assert files_of(find_source(str(write(*rows([str(tmp_path / n) for n in NAMES], LABELS))))) == NAMES


def test_fingerprint_follows_the_rows(write: Write) -> None:
    before = find_source(str(write(*PLAIN))).fingerprint
    assert find_source(str(write(*PLAIN, "", ""))).fingerprint == before
    splits = find_source(str(write(*rows(NAMES, LABELS, ["train"] * 10 + ["test"] * 2, heading="file,label,split"))))
    assert len({before, splits.fingerprint, find_source(str(write(*rows(NAMES, LABELS[::-1])))).fingerprint}) == 3


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], r"has the columns \(none\)\. Expected"),
        (["file,label"], "no images found in .*no rows below its heading"),
        (["name,kind", "a,b"], r"has the columns name, kind\. Expected: .*file,label"),
        (PLAIN[1:], r"has the columns images/0\.png, cat"),
        (["file,label,label", *(f"{line},x" for line in PLAIN[1:])], "has 2 columns named label"),
        ([*PLAIN, "images/3.png"], r"line 14: 'images/3\.png' has 1 cells, the heading 2"),
        ([*PLAIN, "images/3.png,dog,x"], r"line 14: .* has 3 cells"),
        ([*PLAIN, "images/3.png,"], r"line 14: label is empty \(1 of 13 rows\)"),
        ([*PLAIN, ",dog"], "line 14: file is empty"),
        ([*PLAIN, "images/3.png,cat"], r"line 14: 'images/3\.png' is in line 5 already"),
        ([*PLAIN, "images/../images/3.png,cat"], "is in line 5 already"),
        ([*PLAIN, "../images/3.png,cat"], r"line 14: .*leads out of the table's folder"),
        ([*PLAIN, "/etc/passwd,cat"], r"line 14: '/etc/passwd' leads out"),
        ([*PLAIN, "..\\..\\etc\\passwd,cat"], "1 of 13 files are not there"),
        ([*PLAIN, "images/x.png,cat"], r"1 of 13 files are not there: images/x\.png\. .* Correct these rows"),
        ([*PLAIN, "3.png,cat"], r"There is 'images/3\.png' for '3\.png'"),
        ([*PLAIN, "images/3,cat"], r"There is 'images/3\.png' for 'images/3'"),
        ([*PLAIN, "a\0b,cat"], "cannot be read|files are not there"),
        (rows(NAMES, ["cat"] * 12), r"has 1 class \(cat\)"),
        (rows(NAMES, ["cat"] * 9 + ["dog"] * 3), "'dog' has 3"),
        (rows(NAMES, LABELS, ["train", "other"] * 6, heading="file,label,split"), "line 3: split is 'other'"),
        (rows(NAMES, LABELS, ["train", ""] * 6, heading="file,label,split"), r"line 3: split is empty \(6 of 12"),
        (rows(NAMES, LABELS, ["train", "test"] * 6, heading="file,label,split"), "'dog' is in test but not in train"),
        (rows(NAMES, LABELS, ["p", ""] * 6, heading="file,label,group"), "line 3: group is empty"),
    ],
)
def test_says_what_is_wrong(write: Write, lines: list[str], said: str) -> None:
    with pytest.raises(PoolsearchError, match=said) as caught:
        find_source(str(write(*lines)))
    assert "labels.csv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(write: Write, encoding: str) -> None:
    with pytest.raises(PoolsearchError, match=r"the table .*labels\.csv cannot be read .*Expected: a table in UTF-8"):
        find_source(str(write(*PLAIN, "images/x.png,\u00e9t\u00e9", encoding=encoding)))


def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(PoolsearchError, match="named pipe"):
        find_source(str(tmp_path / "labels.csv"))


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(PoolsearchError, match=r"no-such\.csv does not exist"):
        find_source("no-such.csv")


# --- the division of a run -------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Images]:
    """Opens a table of real images, of which the fourth is damaged."""

    def opened(*lines: str) -> Images:
        (tmp_path / "images").mkdir()
        for number, name in enumerate(NAMES):
            Image.new("RGB", (6, 6), (20 * number, 0, 0)).save(tmp_path / name)
        (tmp_path / NAMES[3]).write_bytes(b"damaged")
        (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
        source = find_source(str(tmp_path / "labels.csv"))
        return open_images(source, None, tmp_path / "cache", SilentProgress())

    return opened


def test_train_val_and_test_are_kept(opened: Callable[..., Images]) -> None:
    splits = ["train", "train", "val", "val", "test", "test"] + ["train"] * 6
    images = opened(*rows(NAMES, LABELS, splits, heading="file,label,split"))
    split = make_split(images.label_N, images.part_N, 0)
    named = {part: [images.files[i] for i in getattr(split, part)] for part in ("search_train", "search_val", "test")}
    assert named == {
        "search_train": [NAMES[i] for i in (0, 1, *range(6, 12))],
        "search_val": [NAMES[2]],
        "test": [NAMES[4], NAMES[5]],
    }


def test_groups_stay_together_though_an_image_is_left_out(opened: Callable[..., Images], tmp_path: Path) -> None:
    groups = [f"p{n // 2}" for n in range(12)]
    images = opened(*rows(NAMES, LABELS, groups, heading="file,label,group"))
    assert images.group_N == [group for n, group in enumerate(groups) if n != 3]
    told = groups_of(None, images)
    assert told is not None and told.hash == read_groups(tmp_path / "labels.csv", images).hash
    split = make_split(images.label_N, images.part_N, 0, groups=told)
    sides = [set(told.number_N[part].tolist()) for part in (split.search_train, split.search_val, split.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6 and all(sides)
    assert json.dumps(split.to_json()["groups"])
    with pytest.raises(PoolsearchError, match=r"has a column group, and --groups .* Leave out one"):
        groups_of(tmp_path / "groups.csv", images)


def test_too_few_groups_are_those_of_the_column(opened: Callable[..., Images]) -> None:
    images = opened(*rows(NAMES, LABELS, ["a"] * 6 + ["b"] * 6, heading="file,label,group"))
    with pytest.raises(PoolsearchError, match="the 2 groups of the column group are too few"):
        make_split(images.label_N, images.part_N, 0, groups=groups_of(None, images))


def test_groups_with_semicolons(opened: Callable[..., Images], tmp_path: Path) -> None:
    images = opened(*PLAIN)
    groups = np.arange(12) // 2
    (tmp_path / "groups.csv").write_text(
        "\n".join(rows(NAMES, list(map(str, groups)), heading="file;group", delimiter=";"))
    )
    assert read_groups(tmp_path / "groups.csv", images).number_N.tolist() == np.delete(groups, 3).tolist()
