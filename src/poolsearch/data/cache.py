"""Decoded images on disk: made once, then opened in no time by every later run.

``CACHE/KEY/`` holds ``pixels.u8`` (raw bytes N, side, side, 3), ``labels.npy``, ``parts.npy``, ``places.npy``,
``prints.npy``, ``files.json`` and ``meta.json``. It is built in a temporary folder and put in place by one rename, so
that a folder of that name is always whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from poolsearch import files
from poolsearch.data.build import LARGE_SIDE, Plan, make_plan, write_pixels
from poolsearch.data.checks import check_classes
from poolsearch.data.decode import OtherSize
from poolsearch.data.items import PARTS, Source
from poolsearch.data.prints import prints
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress

FORMAT = 2
"""Part of the key: raised when decoding or the files change, so that old caches are made again."""

CHECKED_BYTES = 1 << 30
"""Up to this size the checksum is verified at every opening (under a second); above, only the size is."""


_READ_LATER = ("files.json", "prints.npy")


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images.

    ``pixels_NHWC`` is uint8, read-only, on disk. ``part_N`` is "train", "val" or "test" as the data set is divided.
    ``place_N`` counts the images of the data set, the skipped ones among them, from 0. ``skipped`` lists {file,
    reason}. ``fingerprint`` is a SHA-256 of pixels and labels. ``folder`` is where they are kept.
    """

    name: str
    pixels_NHWC: npt.NDArray[np.uint8]
    label_N: npt.NDArray[np.int64]
    part_N: npt.NDArray[np.str_]
    class_names: tuple[str, ...]
    skipped: list[dict[str, str]]
    fingerprint: str
    flippable: bool
    place_N: npt.NDArray[np.int64]
    folder: Path

    @cached_property
    def files(self) -> list[str]:
        """What to call each image: its path below the data folder, or its place in an array.

        Raises:
            PoolsearchError: the list is damaged.
        """
        with self._whole():
            names = json.loads((self.folder / "files.json").read_text(encoding="utf-8"))
        assert len(names) == len(self.label_N), "one for each image"
        return names

    @cached_property
    def print_N2(self) -> npt.NDArray[np.uint64]:
        """Hashes of each image's bytes and look: see :mod:`poolsearch.data.prints`.

        Raises:
            PoolsearchError: they are damaged.
        """
        with self._whole():
            found = np.load(self.folder / "prints.npy", allow_pickle=False)
        assert found.shape == (len(self.label_N), 2), "two for each image"
        return found

    @contextmanager
    def _whole(self) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError, EOFError) as error:
            raise PoolsearchError(f"{self.folder} is damaged ({error}). Delete it: it is made again.") from None


def open_images(source: Source, store_size: int | None, cache_dir: Path, progress: Progress) -> Images:
    """The decoded images of ``source``, from the cache if they are there.

    Args:
        store_size: side in pixels at which they are stored; None: as they are if all have one common size with a
            side up to 64, otherwise 256.
        cache_dir: see :func:`default_cache_dir`.

    Raises:
        PoolsearchError: no image is readable, a class has too few, there is no space, or the size is not positive.
    """
    if store_size is not None and store_size < 1:
        raise PoolsearchError(f"store_size is {store_size}; it must be at least 1 pixel. Leave it out to choose it.")
    key = files.sha256(f"{source.fingerprint} {store_size} {FORMAT}".encode())[:32]
    folder = cache_dir / key
    images = _read(folder, source)
    if images is None:
        with _disk_errors(cache_dir), _alone(folder, progress):
            images = _read(folder, source) or _build(source, store_size, folder, progress)
    if images.skipped:
        first = images.skipped[0]
        progress.say(
            f"{source.name}: {len(images.skipped)} of {len(source.items)} images cannot be read and are left out, "
            f"the first is {first['file']} ({first['reason']})."
        )
    return images


def _build(source: Source, store_size: int | None, folder: Path, progress: Progress) -> Images:
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a process that was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        try:
            _write(source, make_plan(source, store_size), temporary, progress)
        except OtherSize:  # mostly seen at the second image
            _write(source, make_plan(source, LARGE_SIDE), temporary, progress)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one; whoever has it open keeps the old files
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    images = _read(folder, source)
    assert images is not None, f"{folder} was just written"
    return images


def _write(source: Source, plan: Plan, folder: Path, progress: Progress) -> None:
    side = plan.side
    _require_space(folder, len(source.items) * side * side * 3)
    digest = hashlib.sha256()
    found = [np.empty((0, 2), np.uint64)]

    def see(block: bytes) -> None:
        digest.update(block)
        found.append(prints(np.frombuffer(block, np.uint8).reshape(-1, side, side, 3)))

    decoded = write_pixels(source, plan, folder / "pixels.u8", progress, see)
    label_N, part_N = source.label_N[decoded.kept], source.part_N[decoded.kept]
    _check_kept(source, label_N, part_N, decoded.skipped)
    np.save(folder / "labels.npy", label_N)
    np.save(folder / "prints.npy", np.concatenate(found))
    np.save(folder / "places.npy", np.array(decoded.kept, np.int64))
    names = [source.items.label(index) for index in decoded.kept]
    (folder / "files.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    np.save(folder / "parts.npy", np.array([PARTS.index(part) for part in part_N], dtype=np.uint8))
    digest.update(label_N.astype("<i8").tobytes())
    meta = {
        "format": FORMAT,
        "name": source.name,
        "shape": [len(label_N), side, side, 3],
        "class_names": source.class_names,
        "skipped": decoded.skipped,
        "fingerprint": digest.hexdigest(),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _check_kept(source: Source, label_N: Any, part_N: Any, skipped: list[dict[str, str]]) -> None:
    if len(label_N) == 0:
        reasons = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise PoolsearchError(f"{source.name}: none of the {len(skipped)} images can be read ({reasons}).")
    try:
        check_classes(source.name, label_N, part_N, source.class_names)
    except PoolsearchError as error:
        reasons = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise PoolsearchError(
            f"{error} {len(skipped)} images were left out because they cannot be read ({reasons})."
        ) from None


def _read(folder: Path, source: Source) -> Images | None:
    """The cached images, or None where they are missing or damaged."""
    try:
        meta: Any = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        shape = tuple(int(n) for n in meta["shape"])
        label_N = np.load(folder / "labels.npy", allow_pickle=False)
        part_N = np.array(PARTS)[np.load(folder / "parts.npy", allow_pickle=False)]
        place_N = np.load(folder / "places.npy", allow_pickle=False)
        if not len(label_N) == len(part_N) == len(place_N) == shape[0] or not all(
            (folder / name).exists() for name in _READ_LATER
        ):
            return None
        if not _is_whole(folder / "pixels.u8", label_N, shape, meta["fingerprint"]):
            return None
        pixels = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r", shape=shape)
        skipped, fingerprint = list(meta["skipped"]), str(meta["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError):
        return None
    names = source.class_names
    return Images(source.name, pixels, label_N, part_N, names, skipped, fingerprint, source.flippable, place_N, folder)


def _is_whole(path: Path, label_N: npt.NDArray[np.int64], shape: tuple[int, ...], fingerprint: str) -> bool:
    size = int(np.prod(shape))
    if path.stat().st_size != size:
        return False
    if size > CHECKED_BYTES:
        return True
    pixels = np.memmap(path, dtype=np.uint8, mode="r")
    return files.sha256(pixels.data, label_N.astype("<i8").tobytes()) == fingerprint


@contextmanager
def _alone(folder: Path, progress: Progress) -> Generator[None]:
    """Hold this cache entry; two runs that start together decode once, and the second waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
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


@contextmanager
def _disk_errors(cache_dir: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PoolsearchError(
                f"no space left for the decoded images in {cache_dir} ({error.strerror}). Nothing half-made is "
                "left. Free some space, delete old folders in it (they are made again when needed), store smaller "
                "images with --image-size, or choose another place with --cache-dir."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise PoolsearchError(
                f"{cache_dir} cannot be written ({error}). Choose another place with --cache-dir."
            ) from error
        raise


def _require_space(folder: Path, needed: int) -> None:
    """Say at once what would otherwise show after an hour of decoding."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")
