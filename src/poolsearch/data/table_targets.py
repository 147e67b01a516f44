"""Labels and values of images in the cells of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from poolsearch.data.csv_rows import Row, shortened
from poolsearch.data.items import ArrayItems, Targets
from poolsearch.data.labels import checked_labels, label_targets
from poolsearch.errors import PoolsearchError

_SEPARATORS = ("|", ";", ",")
"""Between the labels of a cell; the first that occurs in the column, else they are separated by spaces."""

_ONES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def labels_of_cells(path: Path, cells: Sequence[str]) -> Targets:
    """Labels that stand together in a cell, separated by ``|``, ``;``, commas or spaces.

    Args:
        path: of the table, for errors.
        cells: of each image; an empty one is that of an image without labels.

    Returns:
        The targets, their labels in the order of their names, of their numbers if all are numbers.

    Raises:
        PoolsearchError: cells are lists as Python writes them; there are no labels, or all images have the same.
    """
    if written := next((cell for cell in cells if cell.startswith(("[", "{")) and cell.endswith(("]", "}"))), None):
        raise PoolsearchError(
            f"{path}: labels are written as {shortened(written)}. Write them without brackets and quotes, separated by "
            "|, such as cat|dog."
        )
    separator = next((one for one in _SEPARATORS if any(one in cell for cell in cells)), None)
    listed = [[label for one in cell.split(separator) if (label := one.strip())] for cell in cells]
    names = sorted_names({label for labels in listed for label in labels})
    return label_targets(str(path), listed, names, names)


def labels_of_columns(path: Path, rows: Sequence[Row], names: Sequence[str]) -> Targets:
    """Labels of which each has a column of 0 and 1.

    Args:
        path: of the table, for errors.
        rows: of each image the line, and the cell of each label.
        names: of the labels.

    Returns:
        The targets.

    Raises:
        PoolsearchError: a cell is no 0 or 1, a label is there twice, or all images have the same.
    """
    _check_names(path, names)
    label_NK = np.zeros((len(rows), len(names)), np.uint8)
    for row_K, (line, cells) in zip(label_NK, rows, strict=True):
        for number, cell in enumerate(cells):
            one = _ONES.get(cell.lower())
            if one is None:
                raise PoolsearchError(
                    f"{path}, line {line}: {names[number]} is {shortened(cell)!r}. Every column beside file, split and "
                    "group is a label, with 0 or 1 for each image: correct it, delete the column if it is none, or "
                    "give all labels in one column, labels."
                )
            row_K[number] = one
    return checked_labels(str(path), label_NK, names)


def values_of_columns(path: Path, rows: Sequence[Row], names: Sequence[str]) -> Targets:
    """Values of which each has a column.

    Args:
        path: of the table, for errors.
        rows: of each image the line, and the cell of each value.
        names: of the values.

    Returns:
        The targets.

    Raises:
        PoolsearchError: a cell is no number, or a value is there twice.
    """
    _check_names(path, names)
    value_NK = np.zeros((len(rows), len(names)), np.float32)
    with np.errstate(over="ignore"):
        for row_K, (line, cells) in zip(value_NK, rows, strict=True):
            for number, cell in enumerate(cells):
                row_K[number] = value = _number(cell)
                if not np.isfinite(row_K[number]):
                    what = "no number" if np.isnan(value) else "not finite, or too large"
                    hint = " Write it with a point." if re.fullmatch(r"[-+]?\d+,\d+", cell) else ""
                    raise PoolsearchError(
                        f"{path}, line {line}: {names[number]} is {shortened(cell)!r}, which is {what}.{hint} Every "
                        "column beside file, split and group is a value to be learned: correct the cell, delete the "
                        "row, or the column if it is none."
                    )
    return Targets("values", ArrayItems(value_NK, "values"), tuple(names))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _check_names(path: Path, names: Sequence[str]) -> None:
    """No two columns of one name."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise PoolsearchError(f"{path} has {names.count(twice[0])} columns named {twice[0]}. Leave one of them.")


def sorted_names(names: set[str]) -> list[str]:
    """Names of classes or labels in order: 2 before 10 where all are numbers.

    Args:
        names: as they are written.

    Returns:
        All of them.
    """
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in names):
        return sorted(sorted(names), key=int)
    return sorted(names)
