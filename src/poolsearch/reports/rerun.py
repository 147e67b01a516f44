"""The command that makes a run again."""

from __future__ import annotations

from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.parse import Json
from poolsearch.settings import Settings
from poolsearch.storage.run_record import typed
from poolsearch.texts import command


def rerun_command(run: Json) -> str | None:
    """The command that makes the run again: what was given and is not the default; None when that cannot be told."""
    try:
        given = Settings.from_record(run.get("given") or run.get("settings") or {})
    except (PoolsearchError, AttributeError, TypeError):
        return None  # settings of another version of this package
    return command("run", *typed(given))
