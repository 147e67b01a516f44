"""Files that others may have touched: written whole and never through a link, appended to and read with care."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from poolsearch.errors import PoolsearchError

_UNFINISHED = re.compile(r"\.poolsearch-[a-z0-9_]{8}\.tmp")  # as tempfile names what :func:`workspace` makes

RECORDS = ("run.json", "compare.json", "recipe.json")
"""What marks the folder of a run, a comparison or a recipe."""

# the folders of a run
_PARTS = ("checkpoint", "sweep", "trials", "retrain", "figures", "tensorboard", "export", "scratch")
_DEPTH = 6  # of a comparison: runs/CASE/SEED/sweep/PLACEMENT/SEED


def owner(folder: Path, records: Sequence[str] = RECORDS) -> Path | None:
    """The run, comparison or recipe that a folder belongs to, the outermost where one holds another.

    By its place alone: where a link leads does not count, as it may lead into another run.

    Args:
        folder: of a run, or in it.
        records: files by which it is known, of :data:`RECORDS`.

    Returns:
        Its folder; None where this belongs to none.
    """
    for root in (*reversed(list(islice(folder.parents, _DEPTH))), folder):
        inside = folder.relative_to(root).parts
        for record in records:
            if (record != "run.json" or not inside or inside[0] in _PARTS) and os.path.lexists(root / record):
                return root
    return None


def check_place(folder: Path) -> None:
    """See that what is written into a folder stays in the run that it belongs to; the run itself may be a link.

    Args:
        folder: that is to be written into; it need not be there.

    Raises:
        PoolsearchError: the folder, or one of those between it and the run, is a link or no folder.
    """
    root = owner(folder)
    inside = () if root is None else folder.relative_to(root).parts
    place = root or folder
    for part in inside:
        place /= part
        if place.is_symlink():
            raise PoolsearchError(
                f"{place} is a link, and inside of a run nothing is written through links: one could lead to any file "
                "of yours. Put the folder itself there; a run as a whole may be a link."
            )
        if os.path.lexists(place) and not place.is_dir():
            raise PoolsearchError(f"{place} is no folder, but files are to be written into it. Move it away.")


@contextlib.contextmanager
def workspace(folder: Path) -> Generator[Path]:
    """Make a new folder for what is not finished; it is gone at the end.

    Nobody else may look into it, and its name is random: nothing can lie there already, and no library that writes into
    it can be led elsewhere.

    Args:
        folder: in which it is made.

    Yields:
        The new folder, empty.
    """
    made = Path(tempfile.mkdtemp(prefix=".poolsearch-", suffix=".tmp", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_workspaces(folder: Path) -> None:
    """Delete what processes that were killed left of :func:`workspace`, and nothing else.

    Args:
        folder: in which they were made; it need not be there. Folders below it are not looked at.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if _UNFINISHED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Write a file whole or not at all: when the block ends well what was written takes the place of ``path``, durably.

    A link that is at ``path`` is replaced, not followed. Folders above it are made where they are missing.

    Args:
        path: of the file.

    Yields:
        A temporary path to write to, with an empty file, in a folder of its own.

    Raises:
        PoolsearchError: no space is left, and ``path`` is as it was before; or there is a folder at ``path``, or the
            folder that it should be in is a link inside of a run.
    """
    check_place(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        raise PoolsearchError(f"{path} is a folder, but a file of this name is to be written. Move it away.")
    try:
        with workspace(path.parent) as folder:
            temporary = folder / path.name
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # some writers make a file of their own that others may not read
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PoolsearchError(
                f"no space left while writing {path}. What was saved before is intact: free some space, then go on "
                "with --resume."
            ) from error
        raise


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut, where the system has folders that can be opened for it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append(path: Path, text: str) -> None:
    """Add to the end of a file, durably; it is made where it is not there.

    Args:
        path: of the file.
        text: written in UTF-8 as it is; nothing is put after it.

    Raises:
        PoolsearchError: it is no regular file, as a link is none, or its folder is a link inside of a run.
    """
    check_place(path.parent)
    if os.path.lexists(path):
        _check_regular(path, os.lstat(path).st_mode)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def cut(path: Path, size: int) -> None:
    """Keep the first bytes of a file, in a new file of the same name.

    Args:
        path: of the file.
        size: bytes to keep.

    Raises:
        PoolsearchError: it is no regular file, or cannot be replaced.
    """
    with open_regular(path) as handle:
        kept = handle.read(size)
    with replacing(path) as temporary:
        temporary.write_bytes(kept)


@contextlib.contextmanager
def open_regular(path: Path) -> Generator[BinaryIO]:
    """Open a file for reading, if it is one: a FIFO would be waited for without end, and a device has no end.

    Args:
        path: of the file; a link to a regular file is followed.

    Yields:
        The file, open for reading bytes.

    Raises:
        PoolsearchError: it is something else.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(path, os.fstat(handle).st_mode)
    except PoolsearchError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as opened:
        yield opened


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}
    raise PoolsearchError(
        f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a regular file. Put the file itself there."
    )
