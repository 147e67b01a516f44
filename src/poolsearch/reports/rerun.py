"""The command that makes a run again."""

from __future__ import annotations

import shlex
from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.record import differences
from poolsearch.reports.parse import Json
from poolsearch.settings import Settings


def rerun_command(run: Json) -> str | None:
    """The command that makes the run again: what was given and is not the default; None when that cannot be told."""
    try:
        given = Settings.from_dict(run.get("given") or run.get("settings") or {})
    except (PoolsearchError, AttributeError, TypeError):
        return None  # settings of another version of this package
    words = ["poolsearch", "run"]
    for _, name, _, value in differences(Settings(), given):
        if name != "cache_dir":
            words += option(name, value)
    return shlex.join(words)


def option(name: str, value: object) -> list[str]:
    """A setting that is not its default, as words of the command line."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag]  # every switch is off by default, so that one that differs is on
    values = cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)
    return [flag, *map(str, values)]
