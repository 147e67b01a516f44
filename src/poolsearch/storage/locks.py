"""One process at a time in a folder, and clearing up after those that were killed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from poolsearch.errors import InUse, PoolsearchError
from poolsearch.storage.disk import check_place, owner, remove_workspaces
from poolsearch.storage.run_dir import RunDir

_LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold ``folder`` for this process alone; it is made if need be, and removed again if nothing was begun in it.

    Args:
        folder: of a run, a comparison or a recipe.

    Yields:
        Nothing; the folder is held until the block ends.

    Raises:
        InUse: another process works in it.
        PoolsearchError: it cannot be made or written.
    """
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InUse(
            f"another process is working in {folder}. Wait for it, or choose another folder with --out."
        ) from None
    except OSError as error:
        raise _not_locked(folder, error) from None
    try:
        yield
    finally:
        # Done while the lock is held, so that no one else can hold it
        if all(path.name == _LOCK for path in folder.iterdir()):
            (folder / _LOCK).unlink(missing_ok=True)
            for made in new:
                made.rmdir()
        lock.release()


@contextlib.contextmanager
def try_lock(folder: Path) -> Generator[bool]:
    """Hold a folder, unless another process does; it is made if need be.

    The system lets go of it when the process ends, however it ends. The lock's file stays: if it were deleted at the
    end, one who had opened it before and one who comes later could both hold the folder.

    Args:
        folder: of a training, or another one that several processes share.

    Yields:
        Whether it is held by this process now.

    Raises:
        PoolsearchError: it cannot be made or written, or is a link inside of a run.
    """
    check_place(folder)
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise _not_locked(folder, error) from None
    try:
        yield True
    finally:
        lock.release()


def _not_locked(folder: Path, error: OSError) -> PoolsearchError:
    if (folder / _LOCK).is_symlink():  # filelock follows none
        return PoolsearchError(f"{folder / _LOCK} is a link, and nothing is written through it. Delete it.")
    return PoolsearchError(
        f"the folder {folder} cannot be made or written ({error.strerror}). Choose another with --out."
    )


def is_held(folder: Path) -> bool:
    """Whether some process holds a folder, by :func:`locked` or :func:`try_lock`.

    Args:
        folder: any; it need not be there.

    Returns:
        True also where this process holds it.
    """
    if not (folder / _LOCK).exists():
        return False
    with try_lock(folder) as ours:
        return not ours


def remove_lock(folder: Path) -> None:
    """Delete the lock's file of a folder in which nothing is left to be done.

    Args:
        folder: one that no process will hold any more.
    """
    (folder / _LOCK).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed while writing left in a run folder, or in that of one of its trainings.

    Only what :func:`~poolsearch.storage.disk.workspace` makes, only in folders that a run has, and never through
    links. That of a training which another process holds is its own, and stays.

    Args:
        folder: of a run; nothing is done in any other.
    """
    if owner(folder, ("run.json",)) is None:
        return
    run = RunDir(folder)
    remove_workspaces(folder)
    trainings = (folder for root in (run.sweep, run.trials, run.retrain) for folder in _trials(root))
    for below in (run.checkpoint.parent, run.figures, *trainings):
        if below.is_symlink() or not below.is_dir():
            continue
        with try_lock(below) if (below / _LOCK).exists() else contextlib.nullcontext(True) as free:
            if free:
                remove_workspaces(below)


def _trials(folder: Path) -> Iterator[Path]:
    """The folders of trainings below ``sweep``, ``trials`` or ``retrain``."""
    for placement in folder.glob("*") if not folder.is_symlink() else ():
        if not placement.is_symlink():
            yield from placement.glob("*")
