"""A table of images: a file and a label in each row, and if the user wants, its part and its group."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from poolsearch.data.csv_rows import Row, heading_of, named, read_rows, shortened
from poolsearch.data.items import PARTS, FileItems, LabelledItems, Source, make_source
from poolsearch.data.names import EXTENSIONS, ending, entries, part_of
from poolsearch.errors import PoolsearchError

COLUMNS = {
    "file": ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path"),
    "label": ("label", "class", "class_name"),
    "split": ("split",),
    "group": ("group",),
}
"""The columns that are read, and what each may be called; the last two need not be there."""

EXPECTED = (
    "Expected: a table in UTF-8, separated by commas, semicolons or tabs, with a heading that has the columns "
    "file,label and optionally split,group; file is the path below the table's folder, split is train, val or test"
)

_LOOKED_AT = 100_000
"""So many files at most are looked at to find one that is not where the table says."""


def table_source(path: Path) -> Source:
    """The data set that a table lists.

    Args:
        path: the table, see :data:`EXPECTED`. Columns of other names are passed over, which is told.

    Returns:
        The data set, not yet decoded. Its classes are in the order of their names, of their numbers if all are numbers;
        its images in the order of the rows, train before val before test.

    Raises:
        PoolsearchError: the table cannot be read, or lacks a column; a row lacks a cell, is there twice, or names a
            part that is none; a file is not there or not below the table's folder; or the checks of
            :func:`make_source` fail.
    """
    needed = (COLUMNS["file"], COLUMNS["label"])
    rows = read_rows(path, "the table", EXPECTED, needed)
    heading = heading_of(rows)
    place = {name: _place(path, heading, names) for name, names in COLUMNS.items()}
    if place["file"] is None or place["label"] is None:
        raise PoolsearchError(f"{path} has the columns {named(heading) or '(none)'}. {EXPECTED}.")
    column = {
        name: _column(path, rows[1:], heading, at, optional=name in ("split", "group")) for name, at in place.items()
    }
    texts, labels = column["file"] or [], column["label"] or []
    parts = _parts(path, rows[1:], column["split"])
    paths = _paths(path, rows[1:], texts)
    names = _sorted(labels)
    number = {name: i for i, name in enumerate(names)}
    pieces: list[LabelledItems] = []
    order: list[int] = []
    for part in PARTS:
        of_part = [i for i, own in enumerate(parts) if own == part]
        order += of_part
        if of_part:
            items = FileItems([paths[i] for i in of_part], path.parent)
            pieces.append(LabelledItems(part, items, np.array([number[labels[i]] for i in of_part], np.int64)))
    if not pieces:
        raise PoolsearchError(f"no images found in {path}: it has no rows below its heading. {EXPECTED}.")
    group_N = column["group"] and [column["group"][i] for i in order]
    return make_source(str(path), pieces, names, group_N=group_N, notes=[_columns_note(path, heading, place, column)])


def _place(path: Path, heading: Sequence[str], names: Sequence[str]) -> int | None:
    """Where a column stands; of several, the first of ``names``."""
    name = next((name for name in names if name in heading), None)
    if name is not None and heading.count(name) > 1:
        raise PoolsearchError(f"{path} has {heading.count(name)} columns named {name}. Leave one of them.")
    return None if name is None else heading.index(name)


def _column(
    path: Path, rows: Sequence[Row], heading: Sequence[str], at: int | None, optional: bool
) -> list[str] | None:
    """The cells of a column; None where there is none, or none of its cells, if it is optional, has anything in it."""
    if at is None:
        return None
    for line, row in rows:
        if len(row) != len(heading):
            raise PoolsearchError(
                f"{path}, line {line}: {shortened(','.join(row))!r} has {len(row)} cells, the heading {len(heading)}. "
                f"{EXPECTED}."
            )
    cells = [row[at] for _, row in rows]
    if optional and not any(cells):
        return None
    if empty := [line for (line, _), cell in zip(rows, cells, strict=True) if not cell]:
        raise PoolsearchError(
            f"{path}, line {empty[0]}: {heading[at]} is empty ({len(empty):,} of {len(rows):,} rows). Fill it in, or "
            "delete the row."
        )
    return cells


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


def _sorted(labels: Iterable[str]) -> list[str]:
    """Labels in order: 2 before 10 where all are numbers."""
    labels = sorted(set(labels))
    return sorted(labels, key=int) if all(re.fullmatch(r"[0-9]{1,18}", label) for label in labels) else labels


# --- files -----------------------------------------------------------------------------------------------------------


def _paths(path: Path, rows: Sequence[Row], texts: Sequence[str]) -> list[str]:
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
                f"{path}, line {line}: {shortened(text)!r} is in line {before} already. An image has one row: delete "
                "one of the two."
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
    path: Path, heading: Sequence[str], place: dict[str, int | None], column: dict[str, list[str] | None]
) -> str:
    read = [heading[at] for name, at in place.items() if at is not None and column[name] is not None]
    others = [name for at, name in enumerate(heading) if name and at not in place.values()]
    empty = [name for name, at in place.items() if at is not None and column[name] is None]
    passed = f"; not used: {', '.join(others)}" if others else ""
    passed += f"; empty: {', '.join(empty)}" if empty else ""
    return f"{path.name}: columns {', '.join(read)}{passed}"
