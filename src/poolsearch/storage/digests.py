"""``SHA256SUMS``: the digests of a folder's files, kept as they are written and compared when they are read.

Anyone can check a folder by ``sha256sum --check SHA256SUMS``. There is one in every folder of a run that one process
writes at a time, and none in runs of before there were any, whose files are read as they are. It tells damage and
mistakes, not forgery: who can write the files can write their digests.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from poolsearch.errors import PoolsearchError
from poolsearch.storage.disk import open_regular, owner, replacing

NAME = "SHA256SUMS"

_KEPT = ("checkpoint", "sweep", "trials", "retrain")  # figures and what was exported are read by no stage
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_BLOCK = 1 << 20
_MOST_BYTES = 1 << 20  # a folder has a dozen files
_TRIES = 100  # a file that changes so often while it is read is not one of ours

Lines = list[tuple[str, str]]
"""(digest, name of the file). While a file is being replaced, there are two of it."""


def begin(folder: Path) -> None:
    """Keep digests of a folder's files from now on; files that are there are listed as they are.

    Args:
        folder: of a run, or in it; where it has a list already, nothing is done.
    """
    if not (folder / NAME).exists():
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        _write(folder, [(digest_of(folder / name), name) for name in names])


def are_kept(folder: Path) -> bool:
    """Whether digests are kept of what lies in a folder.

    Args:
        folder: any.

    Returns:
        True where the run that it belongs to keeps them, and the folder is one of those that a later stage reads.
    """
    run = owner(folder, ("run.json",))
    if run is None or not os.path.lexists(run / NAME):
        return False
    inside = folder.relative_to(run).parts
    return not inside or inside[0] in _KEPT


@contextmanager
def keeping(path: Path) -> Generator[Path]:
    """As :func:`~poolsearch.storage.disk.replacing`; where digests are kept, that of the file is, too.

    The new digest is listed before the file takes its place, and the old one goes after: whenever the process is
    killed, the file has a digest that is listed.

    Args:
        path: of the file that is to be written.

    Yields:
        A path to write to, in a folder of its own.
    """
    if not are_kept(path.parent):
        with replacing(path) as temporary:
            yield temporary
        return
    with replacing(path) as temporary:
        yield temporary
        line = digest_of(temporary), path.name
        _write(path.parent, [*(before for before in read(path.parent) if before != line), line])
    _write(path.parent, [*_without(path), line])


def seal(path: Path) -> None:
    """List a file that was not replaced but grew, now that it is whole.

    Args:
        path: of the file; where no digests are kept of its folder, nothing is done.

    Raises:
        PoolsearchError: the list is damaged.
    """
    if are_kept(path.parent):
        _write(path.parent, [*_without(path), (digest_of(path), path.name)])


def drop(path: Path) -> None:
    """Take a file off the list: it is about to grow, or is gone.

    Args:
        path: of the file; it need not be listed.

    Raises:
        PoolsearchError: the list is damaged.
    """
    lines = read(path.parent)
    if any(name == path.name for _, name in lines):
        _write(path.parent, _without(path))


def read(folder: Path) -> Lines:
    """Read the list of a folder.

    Args:
        folder: with or without a list.

    Returns:
        (digest, name) of each line, in its order; empty where there is no list.

    Raises:
        PoolsearchError: it is damaged.
    """
    path = folder / NAME
    try:
        with open_regular(path) as handle:
            text = handle.read(_MOST_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from None
    found = [_LINE.fullmatch(line) for line in text.splitlines()]
    if len(text) > _MOST_BYTES or not all(found):
        raise _damaged(path, "not lines of a SHA-256 and a name")
    return [(match[1], match[2]) for match in found if match]


@contextmanager
def open_verified(path: Path, remedy: str, growing: bool = False) -> Generator[BinaryIO]:
    """Open a file for reading that is as it was written.

    Args:
        path: of the file.
        remedy: what to do when it is not.
        growing: it may be written at this moment, and is then not listed.

    Yields:
        The file, open for reading from its first byte.

    Raises:
        FileNotFoundError: it is not there.
        PoolsearchError: it is no regular file, or has changed since.
    """
    wrong = ""
    for _ in range(_TRIES):
        with open_regular(path) as handle:
            # the digest first: a process that now replaces the file has listed both before
            wrong = _wrong(path, _digest(handle), growing) if are_kept(path.parent) else None
            handle.seek(0)
            if wrong is None:
                yield handle
                return
            if os.path.samestat(os.stat(path), os.fstat(handle.fileno())):  # else it was replaced meanwhile
                break
    raise PoolsearchError(f"{path} is damaged: {wrong}. {remedy}")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file.

    Args:
        path: of a regular file.

    Returns:
        64 hexadecimal digits.

    Raises:
        PoolsearchError: it is no regular file.
    """
    with open_regular(path) as handle:
        return _digest(handle)


def _digest(handle: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := handle.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _without(path: Path) -> Lines:
    return [line for line in read(path.parent) if line[1] != path.name]


def _write(folder: Path, lines: Lines) -> None:
    with replacing(folder / NAME) as temporary:
        ordered = sorted(lines, key=lambda line: line[1])
        temporary.write_text("".join(f"{digest}  {name}\n" for digest, name in ordered), encoding="utf-8")


def _damaged(path: Path, why: str) -> PoolsearchError:
    return PoolsearchError(
        f"{path} is damaged ({why}). Restore it. If you know that the files beside it are right, make it anew: "
        f"sha256sum FILES > {NAME}"
    )


def _wrong(path: Path, digest: str, growing: bool) -> str | None:
    digests = [before for before, name in read(path.parent) if name == path.name]
    if digest in digests or (growing and not digests):
        return None
    sums = path.parent / NAME
    if not sums.exists():
        return f"{sums}, which has its digest, is missing"
    return f"it is not as it was written, by {NAME} beside it" if digests else f"{NAME} beside it does not list it"
