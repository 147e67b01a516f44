"""A method and its settings in one word: ``bse:warm-up=0.5``, ``mine.py:make_sampler:epochs=10``. Imports no torch."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings.methods import METHODS, flag, is_own
from poolsearch.settings.settings import DECLARED

FORM = "NAME[:setting=value]..., such as bse:warm-up=0.5:beta=0.8"
OWN = "FILE.py:FACTORY"

_NEXT_SETTING = re.compile(r":(?=[A-Za-z][A-Za-z0-9_-]*=)")
_MISFIT = object()
_WORDS = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path", type(None): "none",
}  # fmt: skip


def parse_spec(text: str, methods: Iterable[str] = METHODS) -> tuple[str, dict[str, Any]]:
    """The method and the settings that differ from the defaults.

    A colon ends a value only where ``setting=`` follows, so that ``net=timm:regnety_002`` is one value. A setting of
    several values has a plus between them: ``answer-at=1.0+1.5``; ``none`` is the value of one that is left to us.

    Args:
        text: ``NAME[:setting=value]*``; the name of a method, or ``FILE.py:FACTORY`` for a sampler of the user's own.
            Settings are those of the command line, with dashes or underscores.
        methods: the names allowed beside ``FILE.py:FACTORY``.

    Returns:
        The method, and values by field, as :meth:`poolsearch.settings.settings.Settings.of` takes them.

    Raises:
        PoolsearchError: there is no such method or setting, one is given twice, or a value does not fit it.
    """
    method, *pairs = _NEXT_SETTING.split(text)
    if not is_own(method) and method not in (allowed := tuple(methods)):
        raise unknown(f"method (a method is given as {FORM})", method, [*allowed, OWN])
    hints = setting_types()
    values: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        field = name.replace("-", "_")
        if field not in hints:
            raise unknown(f"setting in '{text}':", name, (hint.replace("_", "-") for hint in hints))
        if field in values:
            raise PoolsearchError(f"'{text}' gives {name} twice: leave out one.")
        values[field] = read_value(pair, value, hints[field])
    return method, values


def spec_of(method: str, values: Mapping[str, Any]) -> str:
    """Undo of :func:`parse_spec`; epochs come last.

    Args:
        method: its name.
        values: settings that differ from the defaults, by field.

    Returns:
        ``NAME[:setting=value]*``.
    """
    ordered = {name: value for name, value in values.items() if name != "epochs"}
    ordered |= {"epochs": values["epochs"]} if "epochs" in values else {}
    return ":".join([method, *(f"{flag(name)}={_text(value)}" for name, value in ordered.items())])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_text, cast("tuple[Any, ...]", value)))
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_types() -> dict[str, Any]:
    """The type of every setting by its field, but for ``method``, which the word before the settings says.

    Returns:
        Types as they were declared, by field.
    """
    return {name: one.hint for name, one in DECLARED.items() if name != "method"}


def read_value(said: str, text: str, hint: Any) -> Any:
    """The value of a setting from its text.

    Args:
        said: the setting and the text as they were typed, for the error.
        text: as it was typed.
        hint: the type of the setting.

    Returns:
        A value of that type.

    Raises:
        PoolsearchError: the text is none of what the type allows.
    """
    value = _read(text, hint)
    if value is _MISFIT:
        raise PoolsearchError(f"{said}: give {described(hint)}.")
    return value


def described(hint: Any) -> str:
    """What a type allows, in words.

    Args:
        hint: the type of a setting.

    Returns:
        Such as "a whole number or none".
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return " or ".join(map(str, inner))
    if kind in (Union, types.UnionType):
        return " or ".join(described(one) for one in inner)
    if kind is tuple:
        return f"{described(inner[0])}, several of them with a plus between"
    return _WORDS[hint]


def _read(text: str, hint: Any) -> Any:
    """The value, or ``_MISFIT``; of several types the first that fits, a text last."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return next((one for one in inner if str(one) == text), _MISFIT)
    if kind in (Union, types.UnionType):
        found = (_read(text, one) for one in sorted(inner, key=lambda one: one is str))
        return next((value for value in found if value is not _MISFIT), _MISFIT)
    if kind is tuple:
        values = tuple(_read(one, inner[0]) for one in text.split("+")) if text else ()
        return _MISFIT if _MISFIT in values else values
    return _plain(text, hint)


def _plain(text: str, kind: type[Any]) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(text, _MISFIT)
    if kind is type(None):
        return None if text.lower() == "none" else _MISFIT
    try:
        return kind(text)
    except ValueError:
        return _MISFIT
