"""Where poolsearch keeps what it can make again, and who may have changed it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from poolsearch.errors import PoolsearchError


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/poolsearch``, or ``~/.cache/poolsearch`` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "poolsearch"


def private_folder(cache_dir: Path) -> Path:
    """The folder for decoded images in ``cache_dir``, made if need be: each user has one, and nobody else may read or
    change it. So several users, root among them, can share ``cache_dir``.

    Raises:
        PoolsearchError: there is one that others may have changed.
        OSError: it cannot be made.
    """
    folder = cache_dir / (f"images-{os.geteuid()}" if hasattr(os, "geteuid") else "images")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reason := why_not_ours(folder):
        raise PoolsearchError(
            f"{folder} is not used for decoded images: {reason}. Delete it, and it is made again; or choose another "
            "place with --cache-dir."
        )
    return folder


def why_not_ours(path: Path) -> str | None:
    """What speaks against taking what lies at ``path`` for our own work; None: nothing.

    Raises:
        OSError: nothing is there.
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link"
    if not hasattr(os, "geteuid"):  # a system with other ways to say who may write
        return None
    if status.st_uid != os.geteuid():
        return f"it belongs to another user (number {status.st_uid}, not {os.geteuid()})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write to it"
    return None
