"""Settings in a TOML file: read with ``--config``, and left in each run's folder as what repeats it."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import tomli_w

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings.check import check_values
from poolsearch.settings.settings import DECLARED, Settings
from poolsearch.texts import writable

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_MOST_BYTES = 1 << 20


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a file, by their flat names.

    Names have underscores or dashes. They may stand in tables named as the groups of settings, or outside of any.

    Args:
        path: a TOML file.

    Returns:
        Values by their flat names, as :meth:`Settings.of` takes them.

    Raises:
        PoolsearchError: it cannot be read, has what is no setting, or a value that is not allowed.
    """
    named: dict[str, Any] = {}
    for group, name, value in _entries(path, _read(path)):
        if name not in DECLARED:
            raise PoolsearchError(f"--config {path}: {unknown('setting', name, DECLARED)}")
        if name in named:
            raise PoolsearchError(f"--config {path} gives {name} twice. Leave one of them out.")
        if group is not None and name not in {item.name for item in dataclasses.fields(Settings().groups()[group])}:
            raise PoolsearchError(f"--config {path}: {name} does not belong to [{group}].")
        named[name] = value
    try:
        check_values(Settings.of(**named))
    except PoolsearchError as error:
        raise PoolsearchError(f"--config {path}: {error}") from None
    return named


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() and path.exists():
            raise PoolsearchError(f"--config {path} is no file. Name a TOML file of settings.")
        if path.stat().st_size > _MOST_BYTES:
            raise PoolsearchError(f"--config {path} is larger than 1 MB. Name a TOML file of settings.")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise PoolsearchError(f"--config {path} cannot be read: {error.strerror}. Name a TOML file.") from None
    except UnicodeDecodeError as error:
        raise PoolsearchError(f"--config {path} is not a TOML file: {error}.") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PoolsearchError(f"--config {path} is not a TOML file: {error}.") from None


def _entries(path: Path, table: dict[str, Any]) -> Iterator[tuple[str | None, str, Any]]:
    """(group, setting, value) of each entry; no group where it stands outside of any."""
    for name, value in table.items():
        if not isinstance(value, dict):
            yield None, name.replace("-", "_"), value
            continue
        if name not in Settings().groups():
            raise PoolsearchError(
                f"--config {path}: there is no group [{name}]. Groups are {', '.join(Settings().groups())}; a setting "
                "may also stand outside of any."
            )
        yield from ((name, key.replace("-", "_"), one) for key, one in cast("dict[str, Any]", value).items())


def _plain(value: Any) -> Any:
    """What TOML has: lists, and texts in UTF-8."""
    if isinstance(value, tuple):
        return list(cast("tuple[Any, ...]", value))
    return writable(value) if isinstance(value, str) else value


def config_text(settings: Settings) -> str:
    """The settings that differ from the defaults, as a TOML file that :func:`read_config` reads.

    Args:
        settings: as given.

    Returns:
        The text of the file, with a table for each group that has any.
    """
    given = {
        group: {name: _plain(value) for name, value in values.items() if value != DECLARED[name].default}
        for group, values in Settings.to_dict(settings).items()
    }
    head = "# What this run was given; all else is left to the defaults. poolsearch run --config FILE repeats it.\n\n"
    return head + tomli_w.dumps({group: values for group, values in given.items() if values})
