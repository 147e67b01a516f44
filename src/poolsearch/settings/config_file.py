"""Settings in a TOML file: read with ``--config``, and left in each run's folder as what repeats it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, cast

import tomli_w

from poolsearch.errors import PoolsearchError
from poolsearch.settings.settings import DECLARED, Settings

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
        PoolsearchError: it cannot be read, or has what is no setting; nothing is said of values.
    """
    try:
        if path.stat().st_size > _MOST_BYTES or not path.is_file():
            raise PoolsearchError(f"--config {path} is no file of settings. Name a TOML file.")
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PoolsearchError(f"--config {path} cannot be read: {error.strerror}. Name a TOML file.") from None
    except (ValueError, RecursionError) as error:
        raise PoolsearchError(f"--config {path} is not a TOML file: {error}.") from None
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            if name not in Settings().groups():
                raise PoolsearchError(
                    f"--config {path}: there is no group [{name}]. Groups are {', '.join(Settings().groups())}; a "
                    "setting may also stand outside of any."
                )
            flat |= cast("dict[str, Any]", value)
        else:
            flat[name] = value
    named = {name.replace("-", "_"): value for name, value in flat.items()}
    try:
        Settings.of(**named)
    except PoolsearchError as error:
        raise PoolsearchError(f"--config {path}: {error}") from None
    return named


def config_text(settings: Settings) -> str:
    """The settings that differ from the defaults, as a TOML file that :func:`read_config` reads.

    Args:
        settings: as given.

    Returns:
        The text of the file, with a table for each group that has any.
    """
    given = {
        group: {
            name: list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != DECLARED[name].default
        }
        for group, values in Settings.to_dict(settings).items()
    }
    head = "# What this run was given; all else is left to the defaults. It is repeated by:\n"
    head += "#   poolsearch run --config config.toml\n\n"
    return head + tomli_w.dumps({group: values for group, values in given.items() if values})
