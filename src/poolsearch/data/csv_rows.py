"""Tables as text: rows separated by commas, semicolons or tabs, in UTF-8 with or without a byte order mark."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from poolsearch.data.gate import TABLE_BYTES, Unreadable, open_regular
from poolsearch.errors import PoolsearchError

SHOWN = 200
"""Letters of a cell that an error shows."""

NAMED = 3
"""So many rows, cells or images are named in an error."""

_DELIMITERS = ",;\t"
_HEADING_BYTES = 1 << 16

Row = tuple[int, list[str]]
"""The number of the line that it ends in, from 1, and its cells without white space around them."""


def read_rows(path: Path, what: str, expected: str, columns: Sequence[Collection[str]]) -> list[Row]:
    """All rows of a table that are not empty, the heading among them if there is one.

    The delimiter is the one by which the first line is a heading with all columns that are needed; the comma if none
    is.

    Args:
        path: the file.
        what: it is, for the error.
        expected: what it should be, for the error.
        columns: that are needed, each by the names that it may have.

    Returns:
        The rows in order.

    Raises:
        PoolsearchError: it cannot be read, or is not in UTF-8.
    """
    try:
        with open_regular(path, TABLE_BYTES) as handle:
            delimiter = _delimiter(handle.readline(_HEADING_BYTES), columns)
            handle.seek(0)
            reader = csv.reader(io.TextIOWrapper(handle, "utf-8-sig", newline=""), delimiter=delimiter)
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error, Unreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PoolsearchError(f"{what} {path} cannot be read ({reason}). {expected}.") from None


def heading_of(rows: Sequence[Row]) -> list[str]:
    """The names of the columns, if the first row is a heading.

    Args:
        rows: of the table.

    Returns:
        Its cells in small letters; empty where there are no rows.
    """
    return [cell.lower() for cell in rows[0][1]] if rows else []


def named(texts: Sequence[str]) -> str:
    """The first of several texts, for an error.

    Args:
        texts: of a table that may be damaged: they can be anything.

    Returns:
        Up to :data:`NAMED` of them, none of more than :data:`SHOWN` letters.
    """
    return ", ".join(map(shortened, texts[:NAMED])) + (", ..." if len(texts) > NAMED else "")


def shortened(text: str) -> str:
    """A text of a table, for an error.

    Args:
        text: which can be anything.

    Returns:
        Its first :data:`SHOWN` letters.
    """
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _delimiter(first_line: bytes, columns: Sequence[Collection[str]]) -> str:
    line = first_line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    for delimiter in _DELIMITERS:
        cells = [cell.strip().lower() for row in csv.reader([line], delimiter=delimiter) for cell in row]
        if all(any(name in cells for name in names) for names in columns):
            return delimiter
    return ","
