"""JSON that knows where it stands in its file, so that what is wrong with a value can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.parse import Json


@dataclass(frozen=True)
class JsonObject:
    """An object of a JSON file.

    All methods raise a PoolsearchError where a value is of another kind than it should be.

    Attributes:
        path: of the file.
        where: the way to the object within it; empty for the whole.
        value: its entries.
    """

    path: Path
    where: str
    value: Json

    def text(self, key: str) -> str:
        """A text that has to be there."""
        found = self.value.get(key)
        if not isinstance(found, str):
            raise self._damaged(key, "a text", found)
        return found

    def text_or(self, key: str, other: str) -> str:
        """A text, or ``other`` where it is not known."""
        return other if self.value.get(key) is None else self.text(key)

    def number(self, key: str) -> float | None:
        """A number; None where it is not known, which JSON without infinities says with null."""
        found = self.value.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise self._damaged(key, "a number", found)
        return float(found) if math.isfinite(found) else None

    def count(self, key: str) -> int | None:
        """A whole number; None where it is not known."""
        found = self.number(key)
        if found is not None and found != int(found):
            raise self._damaged(key, "a whole number", found)
        return None if found is None else int(found)

    def flag(self, key: str, unknown: bool) -> bool:
        """Yes or no; ``unknown`` where it is not known."""
        found = self.value.get(key)
        if found is not None and not isinstance(found, bool):
            raise self._damaged(key, "true or false", found)
        return unknown if found is None else found

    def part(self, key: str) -> JsonObject | None:
        """An object within this one; None where it is not known."""
        found = self.value.get(key)
        return None if found is None else self._node(key, found)

    def parts(self, key: str) -> list[JsonObject]:
        """A list of objects, which has to be there."""
        return [self._node(f"{key}[{i}]", entry) for i, entry in enumerate(self._list(key))]

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty where there is none."""
        if self.value.get(key) is None:
            return []
        found = self._list(key)
        if wrong := [entry for entry in found if not isinstance(entry, str)]:
            raise self._damaged(key, "a list of texts", wrong[0])
        return cast("list[str]", found)

    def _list(self, key: str) -> list[object]:
        found = self.value.get(key)
        if not isinstance(found, list):
            raise self._damaged(key, "a list", found)
        return cast("list[object]", found)

    def _node(self, key: str, found: object) -> JsonObject:
        if not isinstance(found, dict):
            raise self._damaged(key, "an object", found)
        return JsonObject(self.path, self._at(key), cast("Json", found))

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _damaged(self, key: str, wanted: str, found: object) -> PoolsearchError:
        given = "nothing" if found is None else f"{found!r:.40}"
        return PoolsearchError(
            f"{self.path} is damaged: {self._at(key)} should be {wanted} and is {given}. Write the file anew with "
            "poolsearch compare."
        )
