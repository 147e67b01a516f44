"""What a JSON value must look like for the code that reads it: written down as a value of the same look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

Shape = Any
"""``str``, ``int``, ``bool``; ``float``, which an int is, too; None; a tuple of shapes, one of which must fit;
``[shape]``, a list of such values; ``{"key": shape}``, an object with these keys and any others, where ``"key?"`` may
be missing."""


def misfit(value: Any, shape: Shape, where: str = "the value") -> str | None:
    """What is wrong with a JSON value.

    Args:
        value: as read.
        shape: what it must look like, see :data:`Shape`.
        where: what to call the value in the answer.

    Returns:
        The first thing that is wrong, in words; None where the value has the shape.
    """
    if isinstance(shape, tuple):
        found = [misfit(value, one, where) for one in cast("tuple[Shape, ...]", shape)]
        return None if None in found else found[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _not(value, "a list", where)
        items = enumerate(cast("list[Any]", value), 1)
        return _first(misfit(item, shape[0], f"{where}, item {number}") for number, item in items)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _not(value, "an object", where)
        return _first(
            _misfit_of(cast("dict[str, Any]", value), key, one, where)
            for key, one in cast("dict[str, Shape]", shape).items()
        )
    if shape is None:
        return None if value is None else _not(value, "null", where)
    if isinstance(value, bool) != (shape is bool):
        return _not(value, _NAMES[shape], where)
    return None if isinstance(value, (int, float) if shape is float else shape) else _not(value, _NAMES[shape], where)


_NAMES: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _misfit_of(value: dict[str, Any], key: str, shape: Shape, where: str) -> str | None:
    name = key.removesuffix("?")
    if name in value:
        return misfit(value[name], shape, name if where == "the value" else f"{where}, {name}")
    return None if key.endswith("?") else f"{where} lacks {name}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)


def _not(value: Any, wanted: str, where: str) -> str:
    kinds = {dict: "an object", list: "a list", type(None): "null"} | _NAMES
    return f"{where} is {kinds.get(type(value), type(value).__name__)}, not {wanted}"
