"""The run directory: its paths, and writing that leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from filelock import FileLock, Timeout

from poolsearch.errors import InUse, PoolsearchError
from poolsearch.storage.digests import NAME, drop, keeping, open_verified
from poolsearch.storage.disk import check_place, owner, remove_workspaces
from poolsearch.texts import command

MOST_BYTES = 1 << 28
"""Of a file that is read whole: 256 MB, which the ranking of a million placements does not have."""

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
        for path in (self.run, self.split, self.images, self.duplicates, self.skipped, self.costs, self.root / NAME):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Give a temporary path; when the block ends well it takes the place of ``path``, durably.

    In a folder of a run its digest is kept (:mod:`poolsearch.storage.digests`), and the functions here that read
    compare it.

    Raises:
        PoolsearchError: see :func:`~poolsearch.storage.disk.replacing`.
    """
    with keeping(path) as temporary:
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


def check_digests(run_dir: RunDir, record: Mapping[str, Any]) -> None:
    """See that a run which keeps digests of its files has them.

    Args:
        run_dir: its folder.
        record: its run.json, which says so.

    Raises:
        PoolsearchError: they are gone.
    """
    sums = run_dir.root / NAME
    if record.get("digests") is not None and not sums.exists():
        raise PoolsearchError(
            f"{sums} is missing: it has the digests of the files in this run, so that none is used that was damaged. "
            f"Restore it. If you know that they are right, make it anew: sha256sum FILES > {NAME}"
        )


def remove(path: Path) -> None:
    """Delete a file that is not needed any more, where it is there."""
    path.unlink(missing_ok=True)
    drop(path)


def read_bytes(path: Path, most: int = MOST_BYTES, growing: bool = False) -> bytes:
    """The whole of a file, as it was written.

    Args:
        path: of the file.
        most: it is refused when it has more bytes.
        growing: it may be written at this moment.

    Raises:
        PoolsearchError: it is missing, too large, no regular file, or changed since.
    """
    try:
        with open_verified(path, remedy(path), growing) as handle:
            found = handle.read(most + 1)
    except FileNotFoundError:
        raise PoolsearchError(
            f"{path} does not exist. Is '{path.parent}' a run folder? Such a folder has a run.json."
        ) from None
    if len(found) > most:
        raise damaged(path, f"it has more than {most >> 20:,} MB")
    return found


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        PoolsearchError: as :func:`read_bytes`, or it is not JSON, or holds numbers that JSON does not have.
    """
    data = read_bytes(path)
    try:
        return parse_json(data)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def parse_json(data: bytes) -> Any:
    """The value of JSON text.

    Raises:
        ValueError, RecursionError: it is none, has numbers that are not finite, or is nested too deeply.
    """
    return json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"the number {text} is too large")


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file of ours: its rows, which have all of these columns, and no cells beyond.

    Raises:
        PoolsearchError: as :func:`read_bytes`, or it is no such table.
    """
    data = read_bytes(path)
    try:
        lines = list(csv.reader(data.decode("utf-8").splitlines(keepends=True), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, error) from None
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    if missing := [name for name in columns if name not in header]:
        raise damaged(path, f"it has no column {', '.join(missing)}")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise damaged(path, f"line {number} has {len(row)} cells, the first line {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def verify(path: Path) -> None:
    """See that a file is as it was written, before a library reads it.

    Raises:
        PoolsearchError: it is missing, no regular file, or changed since.
    """
    try:
        with open_verified(path, remedy(path)):
            pass
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None


def is_whole(path: Path) -> bool:
    """Whether a file that is there is as it was written, as far as is known; else it can be written again."""
    try:
        verify(path)
    except PoolsearchError:
        return False
    return True


def damaged(path: Path, why: object) -> PoolsearchError:
    """The error for a file that is not as it was written."""
    return PoolsearchError(f"{path} is damaged ({why}). {remedy(path)}")


def remedy(path: Path) -> str:
    """What to do about a file that is damaged."""
    run = owner(path.parent, ("run.json",))
    name = "" if run is None else str(path.relative_to(run))
    if name.startswith(("sweep", "retrain")) and name != "sweep.csv":
        return f"Delete the folder {path.parent}, and that training is made again."
    if name in _MADE_BY:
        return f"Delete it, and it is written again: {command(*_MADE_BY[name], '--out', run)}"
    return _REMEDIES.get(name, "Restore it, or start again in a new folder with --out.")


_SEARCH, _RANK = ("search", "--resume"), ("rank",)
_MADE_BY = {
    "ranking.csv": _RANK, "ranking.json": _RANK, "scores.parquet": _SEARCH, "filters.csv": _SEARCH,
    "relaxed.json": _SEARCH, "sweep.csv": _SEARCH,
}  # fmt: skip
_REMEDIES = {
    "test.json": "Restore it: the test split is opened once. Or start again in a new folder with --out.",
    "checkpoint/search.safetensors": "Restore it, or delete it to begin this stage again; finished stages stay.",
    "checkpoint/rank.safetensors": "Delete it to begin the ranking again.",
}


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

    Only what :func:`~poolsearch.storage.disk.workspace` makes, only in folders that a run has, and never through
    links. That of a training which another process holds is its own, and stays.
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
