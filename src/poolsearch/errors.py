"""What a user can do wrong, said so that they can put it right."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence


class PoolsearchError(ValueError):
    """A mistake in what was asked for (data, settings, a path).

    The message says what was given, what is allowed and how to fix it. The command line prints it without a
    traceback; any other exception is a bug and keeps its traceback.
    """


class Interrupted(Exception):
    """The work was stopped on request (Ctrl-C, SIGTERM) and everything done so far is saved."""


def unknown(kind: str, given: str, allowed: Iterable[str], near: Sequence[str] = ()) -> PoolsearchError:
    """The error for a name that does not exist.

    Args:
        kind: what it should be a name of, such as "network".
        given: the name as the user wrote it.
        allowed: all names there are.
        near: names that were probably meant; none: the nearest one of ``allowed`` is found.

    Returns:
        An error to raise, which names the nearest one and lists what is allowed.
    """
    names = sorted(allowed)
    near = near or difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return PoolsearchError(f"unknown {kind} '{given}'.{hint} Allowed: {', '.join(names)}.")


def add_note(error: BaseException, text: str) -> None:
    """Say more about an exception of the user's own, which is raised on as it is.

    Args:
        error: to be raised again.
        text: what a traceback shows below it, from Python 3.11 on; before, nothing is added.
    """
    if sys.version_info >= (3, 11):
        error.add_note(text)


class InUse(PoolsearchError):
    """Another process works in a folder: later it may be free."""
