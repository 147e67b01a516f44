"""The run directory: its paths, and writing that leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from poolsearch.disk import check_place, owner, remove_workspaces, replacing
from poolsearch.errors import InUse, PoolsearchError

_LOCK = ".lock"


@dataclass(frozen=True)
class RunDir:
    """Where things lie in ``runs/NAME/``. Everything is readable without this package."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.json"

    @property
    def split(self) -> Path:
        return self.root / "split.json"

    @property
    def images(self) -> Path:
        return self.root / "images.parquet"

    @property
    def duplicates(self) -> Path:
        return self.root / "duplicates.json"

    @property
    def skipped(self) -> Path:
        return self.root / "skipped.json"

    @property
    def costs(self) -> Path:
        return self.root / "costs.parquet"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def scores(self) -> Path:
        return self.root / "scores.parquet"

    @property
    def filters(self) -> Path:
        return self.root / "filters.csv"

    @property
    def relaxed(self) -> Path:
        return self.root / "relaxed.json"

    @property
    def ranking(self) -> Path:
        return self.root / "ranking.csv"

    @property
    def ranking_summary(self) -> Path:
        return self.root / "ranking.json"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint" / "search.safetensors"

    @property
    def ranking_progress(self) -> Path:
        return self.root / "checkpoint" / "rank.safetensors"

    @property
    def sweep(self) -> Path:
        return self.root / "sweep"

    @property
    def sweep_table(self) -> Path:
        return self.root / "sweep.csv"

    @property
    def retrain(self) -> Path:
        return self.root / "retrain"

    @property
    def test(self) -> Path:
        return self.root / "test.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def export(self) -> Path:
        return self.root / "export"

    def remove_record(self) -> None:
        """Remove what is written before any work begins."""
        for path in (self.run, self.split, self.images, self.duplicates, self.skipped, self.costs):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Give a temporary path; when the block ends well it takes the place of ``path``, durably.

    Raises:
        PoolsearchError: see :func:`~poolsearch.disk.replacing`.
    """
    with replacing(path) as temporary:
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; see :func:`finite`."""
    write_text(path, json.dumps(finite(value), indent=1) + "\n")


def finite(value: Any) -> Any:
    """The same value with None for numbers that JSON does not have (NaN, infinity)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("list[Any]", value)]
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        PoolsearchError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PoolsearchError(
            f"{path} does not exist. Is '{path.parent}' a run folder? Such a folder has a run.json."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PoolsearchError(
            f"{path} is damaged ({error}). Restore it, or start again in a new folder with --out."
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold ``folder`` for this process alone; it is made if need be, and removed again if nothing was begun in it.

    Raises:
        PoolsearchError: another process works in it, or it cannot be made or written.
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
def held(folder: Path) -> Generator[bool]:
    """Hold ``folder``, which is made if need be, unless another process does; gives whether it is ours now.

    The system lets go of it when the process ends, however it ends. The lock's file stays: if it were deleted at
    the end, one who had opened it before and one who comes later could both hold the folder.

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
    """Whether some process holds ``folder``, by :func:`locked` or :func:`held`; this one counts, too."""
    if not (folder / _LOCK).exists():
        return False
    with held(folder) as ours:
        return not ours


def remove_lock(folder: Path) -> None:
    """Delete the lock's file of a folder in which nothing is left to be done."""
    (folder / _LOCK).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed while writing left in a run folder, or in that of one of its trainings.

    Only what :func:`~poolsearch.disk.workspace` makes, only in folders that a run has, and never through links. That
    of a training which another process holds is its own, and stays.
    """
    if owner(folder, ("run.json",)) is None:
        return
    run = RunDir(folder)
    remove_workspaces(folder)
    for below in (run.checkpoint.parent, run.figures, *_trials(run.sweep), *_trials(run.retrain)):
        if below.is_symlink() or not below.is_dir():
            continue
        with held(below) if (below / _LOCK).exists() else contextlib.nullcontext(True) as free:
            if free:
                remove_workspaces(below)


def _trials(folder: Path) -> Iterator[Path]:
    """The folders of trainings below ``sweep`` or ``retrain``."""
    for placement in folder.glob("*") if not folder.is_symlink() else ():
        if not placement.is_symlink():
            yield from placement.glob("*")


def sha256(*parts: bytes | memoryview) -> str:
    """Hex digest of the parts, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
