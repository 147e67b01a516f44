"""A table of images: a file and its label or another target in each row, and if the user wants, part and group."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poolsearch.data.csv_rows import Row, heading_of, named, read_rows, shortened
from poolsearch.data.items import PARTS, FileItems, LabelledItems, Source, Targets, make_source
from poolsearch.data.names import EXTENSIONS, ending, entries, part_of
from poolsearch.data.table_targets import labels_of_cells, labels_of_columns, sorted_names, values_of_columns
from poolsearch.errors import PoolsearchError

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

_FILE = {
    "file": ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path"),
}
_OPTIONAL = {"split": ("split",), "group": ("group",)}
_TARGET: dict[TargetKind, dict[str, tuple[str, ...]]] = {
    "classes": {"label": ("label", "class", "class_name")},
    "labels": {"labels": ("labels", "tags", "label")},
    "values": {},
    "masks": {"mask": ("mask", "mask_file", "mask_path", "masks", "annotation", "segmentation")},
}
"""The columns that are read, and what each may be called. Labels and values may have a column each, of any other name.
"""

_EXPECTED: dict[TargetKind, str] = {
    "classes": "file,label and optionally split,group; file is the path below the table's folder",
    "labels": "file,labels (separated by |, ;, commas or spaces), or file and one of 0 and 1 for each label, and "
    "optionally split,group; file is the path below the table's folder",
    "values": "file, one of numbers for each value, and optionally split,group; file is the path below the table's "
    "folder",
    "masks": "file,mask and optionally split,group; file and mask are paths below the table's folder",
}

_LOOKED_AT = 100_000
"""So many files at most are looked at to find one that is not where the table says."""


def _expected(kind: TargetKind) -> str:
    return (
        "Expected: a table in UTF-8, separated by commas, semicolons or tabs, with a heading that has the columns "
        f"{_EXPECTED[kind]}, split is train, val or test"
    )


def table_source(path: Path, kind: TargetKind = "classes") -> Source:
    """The data set that a table lists.

    Args:
        path: the table. Columns of other names are passed over, which is told.
        kind: what there is to learn of each image.

    Returns:
        The data set, not yet decoded. Its classes are in the order of their names, of their numbers if all are numbers;
        its images in the order of the rows, train before val before test.

    Raises:
        PoolsearchError: the table cannot be read, or lacks a column; a row lacks a cell, is there twice, or names a
            part that is none; a file is not there or not below the table's folder; a cell is no target of this kind; or
            the checks of :func:`make_source` fail.
    """
    expected, columns = _expected(kind), _FILE | _TARGET[kind] | _OPTIONAL
    needed = ["file", *(name for name in _TARGET[kind] if name != "labels")]  # those may have a column each
    heading_and_rows = read_rows(path, "the table", expected, [columns[name] for name in needed])
    heading, rows = heading_of(heading_and_rows), heading_and_rows[1:]
    place = {name: _place(path, heading, names) for name, names in columns.items()}
    if any(place[name] is None for name in needed):
        raise PoolsearchError(f"{path} has the columns {named(heading) or '(none)'}.{_hint(kind, heading)} {expected}.")
    cells = _cells(path, rows, heading, place, expected)
    parts = _parts(path, rows, cells.get("split"))
    paths = _paths(path, rows, cells["file"])
    order = [i for part in PARTS for i, own in enumerate(parts) if own == part]
    if not order:
        raise PoolsearchError(f"no images found in {path}: it has no rows below its heading. {expected}.")
    each = _columns_each(kind, heading, place)
    classes = sorted_names(set(cells["label"])) if kind == "classes" else []
    number = {name: i for i, name in enumerate(classes)}
    label_N = np.array([number[label] for label in cells["label"]] if classes else [0] * len(rows), np.int64)
    pieces: list[LabelledItems] = []
    for part in sorted(set(parts), key=PARTS.index):
        of_part = [i for i in order if parts[i] == part]
        pieces.append(LabelledItems(part, FileItems([paths[i] for i in of_part], path.parent), label_N[of_part]))
    names = [heading_and_rows[0][1][at] for at in each]
    return make_source(
        str(path), pieces, classes,
        group_N=[cells["group"][i] for i in order] if "group" in cells else None,
        notes=[_columns_note(path, heading, place, cells, each)],
        targets=None if kind == "classes" else _targets(path, kind, rows, order, cells, each, names),
    )  # fmt: skip


def _hint(kind: TargetKind, heading: Sequence[str]) -> str:
    """Which task is probably meant, where the columns are those of another than classification."""
    for task, names in (("multi-label", _TARGET["labels"]["labels"]), ("dense", _TARGET["masks"]["mask"])):
        if kind == "classes" and (name := next((name for name in names if name in heading), None)):
            return f" To learn {name}, give --task {task}."
    return ""


def _targets(
    path: Path,
    kind: TargetKind,
    rows: Sequence[Row],
    order: Sequence[int],
    cells: dict[str, list[str]],
    each: Sequence[int],
    names: Sequence[str],
) -> Targets:
    """What there is to learn of the images, in their order; ``each`` are columns with one label or value, by name."""
    if kind == "masks":
        files = _paths(path, rows, cells["mask"], "mask")
        return Targets("masks", FileItems([files[i] for i in order], path.parent))
    if "labels" in cells:
        return labels_of_cells(path, [cells["labels"][i] for i in order])
    if not each:
        raise PoolsearchError(f"{path} has no column beside file, split and group. {_expected(kind)}.")
    of_kind = labels_of_columns if kind == "labels" else values_of_columns
    return of_kind(path, [(rows[i][0], [rows[i][1][at] for at in each]) for i in order], names)


def _columns_each(kind: TargetKind, heading: Sequence[str], place: dict[str, int | None]) -> list[int]:
    """Columns that have one label or value each: all that are not read as something else."""
    if kind in ("classes", "masks") or place.get("labels") is not None:
        return []
    return [at for at, name in enumerate(heading) if name and at not in place.values()]


def _place(path: Path, heading: Sequence[str], names: Sequence[str]) -> int | None:
    """Where a column stands; of several, the first of ``names``."""
    name = next((name for name in names if name in heading), None)
    if name is not None and heading.count(name) > 1:
        raise PoolsearchError(f"{path} has {heading.count(name)} columns named {name}. Leave one of them.")
    return None if name is None else heading.index(name)


def _cells(
    path: Path, rows: Sequence[Row], heading: Sequence[str], place: dict[str, int | None], expected: str
) -> dict[str, list[str]]:
    """The cells of each column that is there; of those that need not be, where one of them has anything in it."""
    for line, row in rows:
        if len(row) != len(heading):
            raise PoolsearchError(
                f"{path}, line {line}: {shortened(','.join(row))!r} has {len(row)} cells, the heading {len(heading)}. "
                f"{expected}."
            )
    found: dict[str, list[str]] = {}
    for name, at in place.items():
        cells = [] if at is None else [row[at] for _, row in rows]
        if at is None or (name in _OPTIONAL and not any(cells)):
            continue
        found[name] = cells
        empty = [line for (line, _), cell in zip(rows, cells, strict=True) if not cell]
        if empty and name != "labels":  # an image may have none
            raise PoolsearchError(
                f"{path}, line {empty[0]}: {heading[at]} is empty ({len(empty):,} of {len(rows):,} rows). Fill it in, "
                "or delete the row."
            )
    return found


def _parts(path: Path, rows: Sequence[Row], splits: Sequence[str] | None) -> list[str]:
    """The part of each row; all are "train" where the table has no division."""
    if splits is None:
        return ["train"] * len(rows)
    part = {split: part_of(split) for split in set(splits)}
    parts: list[str] = []
    for (line, _), split in zip(rows, splits, strict=True):
        own = part[split]
        if own is None:
            raise PoolsearchError(
                f"{path}, line {line}: split is {shortened(split)!r}; it must be train, val or test. Without the "
                "column, the images are divided by poolsearch."
            )
        parts.append(own)
    return parts


# --- files -----------------------------------------------------------------------------------------------------------


def _paths(path: Path, rows: Sequence[Row], texts: Sequence[str], what: str = "image") -> list[str]:
    """The file of each row, which must be there, below the table's folder, and of one row only."""
    root = os.path.abspath(path.parent)
    inside = os.path.join(root, "")
    paths: list[str] = []
    line_of: dict[str, int] = {}
    missing: list[str] = []
    for (line, _), text in zip(rows, texts, strict=True):
        if not _whole(root, text).startswith(inside):
            raise PoolsearchError(
                f"{path}, line {line}: {shortened(text)!r} leads out of the table's folder. Paths are relative to it: "
                "put the table into a folder that the images lie below, or a link to their folder beside it."
            )
        spelled = (_whole(root, one) for one in _spellings(text))
        found = next((one for one in spelled if one.startswith(inside) and _is_there(one)), None)
        if found is None:
            missing.append(text)
            continue
        if (before := line_of.setdefault(found, line)) != line:
            raise PoolsearchError(
                f"{path}, line {line}: {shortened(text)!r} is in line {before} already. "
                f"{'An image' if what == 'image' else 'A mask'} has one row: delete one of the two."
            )
        paths.append(os.path.join(path.parent, found[len(inside) :]))
    if missing:
        raise PoolsearchError(
            f"{path}: {len(missing):,} of {len(texts):,} files are not there: {named(missing)}. Paths are relative to "
            f"the table's folder, {root}.{_where(root, missing[0])} Correct these rows, or delete them."
        )
    return paths


def _whole(root: str, text: str) -> str:
    return os.path.normpath(os.path.join(root, text))


def _spellings(text: str) -> Iterator[str]:
    r"""A path as it is written, and as it may be meant: with backslashes, composed or not, with ``\xff`` for a byte."""
    yield text
    for other in (
        text.replace("\\", "/"),
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
        os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda hit: bytes.fromhex(hit[1].decode()), text.encode())),
    ):
        if other != text:
            yield other


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a zero in it
        return False


def _where(root: str, text: str) -> str:
    """Where a file of that name lies instead, as far as that is soon found."""
    name = text.replace("\\", "/").rpartition("/")[2]
    names = {name} if ending(name) in EXTENSIONS else {name, *(name + kind for kind in EXTENSIONS)}
    stack, left = [root], _LOOKED_AT
    while stack and left > 0:
        try:
            folders, others = entries(stack.pop())
        except OSError:
            continue
        left -= len(others)
        stack.extend(entry.path for entry in folders if not entry.is_symlink())
        for entry in others:
            if entry.name in names:
                return f" There is {os.path.relpath(entry.path, root)!r} for {shortened(text)!r}."
    return ""


def _columns_note(
    path: Path,
    heading: Sequence[str],
    place: dict[str, int | None],
    cells: dict[str, list[str]],
    each: Sequence[int],
) -> str:
    read = [heading[at] for name, at in place.items() if at is not None and name in cells]
    others = [name for at, name in enumerate(heading) if name and at not in place.values() and at not in each]
    empty = [name for name, at in place.items() if at is not None and name not in cells]
    passed = f"; not used: {', '.join(others)}" if others else ""
    passed += f"; empty: {', '.join(empty)}" if empty else ""
    return f"{path.name}: columns {', '.join(read)}{f' and {len(each):,} more' if each else ''}{passed}"
