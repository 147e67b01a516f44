"""A ranking as a list of rows that prints as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

from poolsearch.space import Placement

Row = TypeVar("Row")

_SHOWN = 20


class Ranking(Sequence[Row], Generic[Row]):
    """Rows, best first; printed it is a table of the first 20.

    Args:
        rows: dataclasses of one kind, in their order.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Ranking[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Ranking[Row]:
        return Ranking(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranking) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain values, for a CSV file or a data frame: ``pandas.DataFrame(ranking.to_dicts())``.

        Returns:
            A dictionary for each row, by the names of its fields; placements as files write them.
        """
        return [{name: _plain(value) for name, value in _fields(row)} for row in self._rows]

    def __repr__(self) -> str:
        if not self._rows:
            return "no placements"
        named = [dict(_fields(row)) for row in self._rows[:_SHOWN]]
        names = [name for name in named[0] if any(row[name] is not None for row in named)]
        cells = [names, *([_cell(row[name]) for name in names] for row in named)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
        lines = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
        more = len(self._rows) - len(named)
        return "\n".join([*lines, *([f"and {more} more"] if more else [])])


def _fields(row: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(row, field.name)) for field in dataclasses.fields(row)]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Placement) else value


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else ""
        case Placement():
            return value.shown
        case float():
            return f"{value:.4f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
