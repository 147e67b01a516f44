"""What all folders of the cache have in common: one process makes them, whole or not at all, and damage is seen."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poolsearch.data.gate import Unreadable, open_regular
from poolsearch.data.source import why_not_private
from poolsearch.progress import Progress
from poolsearch.storage import files

META = "meta.json"

CHECKED_BYTES = 8 << 30
"""So much of a large file is compared with its hashes at every opening, by all cores: a second for each GB and core. Of
more, it is blocks drawn at random, others each time."""

BLOCK_BYTES = 16 << 20
"""So much of it is compared by one thread at a time."""

_SMALL_BYTES = 1 << 32


class DamagedCache(Exception):
    """A folder of the cache is not what was written; the message says what is wrong."""


def read_meta(folder: Path, others: list[str]) -> dict[str, Any]:
    """What a folder says of itself.

    Args:
        folder: of the cache.
        others: files in it that are read later.

    Returns:
        The content of its meta.json.

    Raises:
        DamagedCache: that is not what was written, or others may have written there.
        OSError: the folder, or a file, is not there.
    """
    for path in (folder, *(folder / name for name in (META, *others))):
        if reason := why_not_private(path):
            raise DamagedCache(f"{path.name}: {reason}")
    try:
        meta: Any = json.loads(content(folder / META))
        if meta["sum"] != digest_of(meta):
            raise DamagedCache(f"{META} is not what was written")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DamagedCache(f"{META} is not what was written ({error})") from None
    return meta


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write what a folder says of itself, and close it to other users.

    Args:
        folder: of the cache, with all else that is to be in it.
        meta: JSON values; ``sum`` is added.
    """
    text = json.dumps(meta | {"sum": digest_of(meta)}, indent=1)
    (folder / META).write_text(text + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o600)  # whatever the user's umask lets others do elsewhere


def digest_of(meta: dict[str, Any]) -> str:
    """The SHA-256 of all that is in a meta.json but itself.

    Args:
        meta: its content.

    Returns:
        In hexadecimal.
    """
    return files.sha256(json.dumps({k: v for k, v in meta.items() if k != "sum"}, sort_keys=True).encode())


def content(path: Path) -> bytes:
    """The whole of a small file.

    Args:
        path: in a folder of the cache.

    Returns:
        Its bytes.

    Raises:
        DamagedCache: it is no file.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path, _SMALL_BYTES) as handle:
            return handle.read()
    except Unreadable as error:
        raise DamagedCache(f"{path.name} is {error}") from None


@contextmanager
def in_place_of(folder: Path) -> Generator[Path]:
    """Make a folder of the cache: what the block wrote takes the place of what is there, whole or not at all.

    Args:
        folder: which this process alone may make, see :func:`alone`.

    Yields:
        An empty folder to write to.
    """
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a process that was killed: the lock is ours
        _remove(left)
    temporary = Path(tempfile.mkdtemp(".tmp", f".{folder.name}.", folder.parent))
    try:
        yield temporary
        _remove(folder)  # a damaged one; whoever has it open keeps the old files
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, progress: Progress) -> Generator[None]:
    """Hold a folder of the cache; two runs that start together make it once, and the second waits.

    Args:
        folder: that is to be made.
        progress: where waiting is told.

    Yields:
        Nothing.
    """
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say("another process is decoding the same images; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
