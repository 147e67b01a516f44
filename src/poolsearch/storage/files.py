"""Writing that leaves either the old file or the new one, never half of one; JSON and hashes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from poolsearch.errors import PoolsearchError
from poolsearch.storage.digests import NAME, drop, keeping, open_verified
from poolsearch.storage.disk import owner
from poolsearch.storage.run_dir import RunDir
from poolsearch.texts import command, writable

MOST_BYTES = 1 << 28
"""Of a file that is read whole: 256 MB, which the ranking of a million placements does not have."""


@contextlib.contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Write a file whole or not at all: when the block ends well what was written takes the place of ``path``, durably.

    In a folder of a run its digest is kept (:mod:`poolsearch.storage.digests`), and the functions here that read
    compare it.

    Args:
        path: of the file; missing folders above it are made.

    Yields:
        A temporary path to write to.

    Raises:
        PoolsearchError: see :func:`~poolsearch.storage.disk.replacing`.
    """
    with keeping(path) as temporary:
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically.

    Args:
        path: of the file.
        text: written in UTF-8; names of files that are not UTF-8 with an escape, as of
            :func:`~poolsearch.texts.writable`.

    Raises:
        PoolsearchError: see :func:`~poolsearch.storage.disk.replacing`.
    """
    with atomic(path) as temporary:
        temporary.write_text(writable(text), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically.

    Args:
        path: of the file.
        value: of dicts, lists, tuples, texts and numbers; those that are not finite become null, see :func:`finite`.

    Raises:
        PoolsearchError: see :func:`~poolsearch.storage.disk.replacing`.
    """
    write_text(path, json.dumps(finite(value), indent=1) + "\n")


def finite(value: Any) -> Any:
    """Replace numbers that JSON does not have (NaN, infinity) by None.

    Args:
        value: of dicts, lists, tuples, texts and numbers.

    Returns:
        A copy; tuples become lists.
    """
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
    """Delete a file that is not needed any more, and take it off the list of digests.

    Args:
        path: of the file; it need not be there.
    """
    path.unlink(missing_ok=True)
    drop(path)


def read_bytes(path: Path, most: int = MOST_BYTES, growing: bool = False) -> bytes:
    """The whole of a file, as it was written.

    Args:
        path: of the file.
        most: it is refused when it has more bytes.
        growing: it may be written at this moment.

    Returns:
        Its bytes.

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

    Args:
        path: of the file.

    Returns:
        The value, as of :func:`parse_json`.

    Raises:
        PoolsearchError: as :func:`read_bytes`, or it is not JSON, or holds numbers that JSON does not have.
    """
    data = read_bytes(path)
    try:
        return parse_json(data)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def parse_json(data: bytes) -> Any:
    """Read JSON.

    Args:
        data: text in UTF-8.

    Returns:
        Of dicts, lists, texts, finite numbers, booleans and None.

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
    """Read a CSV file of ours.

    Args:
        path: of the file.
        columns: names that its first line must have; it may have others.

    Returns:
        Its rows in their order, each with a text for every column of the file, and no cells beyond.

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

    Args:
        path: of the file.

    Raises:
        PoolsearchError: it is missing, no regular file, or changed since.
    """
    try:
        with open_verified(path, remedy(path)):
            pass
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None


def is_whole(path: Path) -> bool:
    """Whether a file is as it was written, as far as is known.

    Args:
        path: of the file.

    Returns:
        False also where it is missing.
    """
    try:
        verify(path)
    except PoolsearchError:
        return False
    return True


def damaged(path: Path, why: object) -> PoolsearchError:
    """The error for a file that is not as it was written.

    Args:
        path: of the file.
        why: what is wrong with it, a text or an exception.

    Returns:
        An error to raise, which also says what to do.
    """
    return PoolsearchError(f"{path} is damaged ({why}). {remedy(path)}")


def remedy(path: Path) -> str:
    """What to do about a file that is damaged.

    Args:
        path: of the file, in a run folder or elsewhere.

    Returns:
        A sentence: which command makes it again, or what else there is to do.
    """
    run = owner(path.parent, ("run.json",))
    name = "" if run is None else str(path.relative_to(run))
    if name.startswith(("sweep/", "trials/", "retrain/")):
        return f"Delete the folder {path.parent}, and that training is made again."
    if name in _MADE_BY:
        return f"Delete it, and it is written again: {command(*_MADE_BY[name], '--out', run)}"
    return _REMEDIES.get(name, "Restore it, or start again in a new folder with --out.")


_SEARCH, _RANK = ("search", "--resume"), ("rank",)


_MADE_BY = {
    "ranking.csv": _RANK, "ranking.json": _RANK, "scores.parquet": _SEARCH, "filters.csv": _SEARCH,
    "relaxed.json": _SEARCH, "trials.json": _RANK, "sweep.csv": _SEARCH, "members.csv": _RANK,
}  # fmt: skip


_REMEDIES = {
    "test.json": "Restore it: the test split is opened once. Or start again in a new folder with --out.",
    "checkpoint/search.safetensors": "Restore it, or delete it to begin this stage again; finished stages stay.",
    "checkpoint/rank.safetensors": "Delete it to begin the ranking again.",
}


def sha256(*parts: bytes | memoryview) -> str:
    """The SHA-256 of bytes.

    Args:
        parts: taken as one, in their order.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
