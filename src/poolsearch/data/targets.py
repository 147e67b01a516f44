"""What there is to learn of each image, where that is not its class: kept beside the decoded images, as one array.

``CACHE/images-USER/KEY-TARGETS/`` holds ``targets.npy`` and ``meta.json``, which has the SHA-256 of each of its blocks.
It is made once, whole or not at all, and anew where it is damaged, as the images are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from poolsearch.data.build import in_order
from poolsearch.data.cache_folder import (
    BLOCK_BYTES,
    CHECKED_BYTES,
    DamagedCache,
    alone,
    in_place_of,
    read_meta,
    write_meta,
)
from poolsearch.data.form import Form
from poolsearch.data.gate import PASSING, Unreadable
from poolsearch.data.image_file import upright_size
from poolsearch.data.items import Source, Targets
from poolsearch.data.masks import fitted_mask, read_mask
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.resources import available_cores
from poolsearch.storage import files
from poolsearch.tasks.dense import IGNORED

FORMAT = 1
"""Part of the key: raised when what is kept changes, so that it is made again."""

_ARRAY = "targets.npy"
_BATCH = 64
_SAMPLE = 16  # masks that are looked at to see how all are numbered

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OpenTargets:
    """What there is to learn of each image, read-only, on disk.

    Attributes:
        target_N: as of :class:`~poolsearch.data.cache.Images`.
        names: of the labels, of the last axis of the values, or of the classes of pixels.
        fingerprint: changes with these.
    """

    target_N: npt.NDArray[Any]
    names: tuple[str, ...]
    fingerprint: str


def open_targets(source: Source, images: Path, place_N: Ints, form: Form, progress: Progress) -> OpenTargets:
    """The targets of the images that could be read, from the cache if they are there.

    Args:
        source: the data set, whose targets are no classes.
        images: the folder of its decoded images in the cache.
        place_N: which images those are, as indices into the source.
        form: to which they were fitted.
        progress: shows the reading.

    Returns:
        The targets in the order of the images.

    Raises:
        PoolsearchError: a target cannot be used, or does not fit its image or the others.
        OSError: the folder cannot be written.
    """
    targets = source.targets
    assert targets is not None
    of = f"{targets.kind} {targets.items.fingerprint()} {json.dumps(targets.names)} {FORMAT}"
    key = files.sha256(of.encode(), place_N.astype("<i8").tobytes())
    folder = images.with_name(f"{images.name}-{key[:32]}")
    found = _read(folder)
    if isinstance(found, DamagedCache):
        with alone(folder, progress):
            found = _read(folder)
            if isinstance(found, DamagedCache):
                if os.path.lexists(folder):
                    progress.say(f"the targets in {folder} are not used ({found}): they are made anew.")
                with in_place_of(folder) as temporary:
                    names = _write(source, targets, place_N.tolist(), form, temporary, progress)
                    write_meta(temporary, {
                        "format": FORMAT, "key": folder.name, "names": names,
                        "size": (temporary / _ARRAY).stat().st_size, "blocks": _block_digests(temporary / _ARRAY),
                    })  # fmt: skip
                found = _read(folder)
    if isinstance(found, DamagedCache):
        raise PoolsearchError(
            f"the targets of the images were written to {folder}, and are not there as they were written ({found}). "
            "Choose another place with --cache-dir."
        )
    return found


# --- the file --------------------------------------------------------------------------------------------------------


def _read(folder: Path) -> OpenTargets | DamagedCache:
    """The targets in a folder, or why they cannot be used."""
    path = folder / _ARRAY
    try:
        meta = read_meta(folder, [_ARRAY])
        if meta["key"] != folder.name:
            return DamagedCache("meta.json is of other targets")
        if path.stat().st_size != meta["size"]:
            return DamagedCache(f"{_ARRAY} has another length")
        numbers = list(range(len(meta["blocks"])))
        if meta["size"] > CHECKED_BYTES:  # not drawn by a seed of the run's: it decides nothing but what is looked at
            numbers = np.random.default_rng().choice(numbers, CHECKED_BYTES // BLOCK_BYTES, replace=False).tolist()
        if _block_digests(path, numbers) != [meta["blocks"][number] for number in numbers]:
            return DamagedCache(f"{_ARRAY} is not what was written")
        target_N: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        return DamagedCache(str(error))
    except DamagedCache as error:
        return error
    about = json.dumps([meta["names"], meta["blocks"]])
    return OpenTargets(target_N, tuple(meta["names"]), files.sha256(about.encode()))


def _block_digests(path: Path, numbers: list[int] | None = None) -> list[str]:
    """SHA-256 of the blocks of a file, by all cores; of some of them, or of all."""

    def digest(number: int) -> str:
        with open(path, "rb") as handle:
            handle.seek(number * BLOCK_BYTES)
            return hashlib.sha256(handle.read(BLOCK_BYTES)).hexdigest()

    if numbers is None:
        numbers = list(range(-(-path.stat().st_size // BLOCK_BYTES)))
    with ThreadPoolExecutor(available_cores()) as threads:
        return list(threads.map(digest, numbers))


def _write(
    source: Source, targets: Targets, places: list[int], form: Form, folder: Path, progress: Progress
) -> list[str]:
    """Write the targets of some images into a folder; gives the names of what there is to learn."""
    if targets.kind == "masks":
        return _write_masks(source, targets, places, form, folder / _ARRAY, progress)
    rows = (_row(source, targets, place) for place in places)
    first = next(rows)
    _write_rows(folder / _ARRAY, first.dtype, (len(places), *first.shape), _alike(source, places, first, rows))
    return list(targets.names)


def _write_rows(path: Path, dtype: Any, shape: tuple[int, ...], rows: Iterator[npt.NDArray[Any]]) -> None:
    with open(path, "wb") as handle:
        heading = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, heading)
        for row in rows:
            handle.write(row.tobytes())
        handle.flush()
        os.fsync(handle.fileno())


# --- labels and values -----------------------------------------------------------------------------------------------


def _row(source: Source, targets: Targets, place: int) -> npt.NDArray[Any]:
    """The labels or values of an image."""
    try:
        raw = targets.items.read(place)
        row = np.load(io.BytesIO(raw), allow_pickle=False) if isinstance(raw, bytes) else np.asarray(raw)
    except Exception as error:  # damaged files can raise anything
        raise _unusable(source, targets, place, error) from error
    return row.astype(np.uint8 if targets.kind == "labels" else np.float32, copy=False)


def _alike(
    source: Source, places: list[int], first: npt.NDArray[Any], rows: Iterator[npt.NDArray[Any]]
) -> Iterator[npt.NDArray[Any]]:
    """All rows, as long as they have the shape of the first."""
    yield first
    for place, row in zip(places[1:], rows, strict=True):
        if row.shape != first.shape:
            raise PoolsearchError(
                f"{source.name}: the target of {source.items.label(place)} has the shape {row.shape}, that of "
                f"{source.items.label(places[0])} {first.shape}. Give all images targets of one shape."
            )
        yield row


# --- masks -----------------------------------------------------------------------------------------------------------


def _write_masks(
    source: Source, targets: Targets, places: list[int], form: Form, path: Path, progress: Progress
) -> list[str]:
    """Masks, fitted as their images are; gives the names of the classes of pixels."""
    sample = places[:: -(-len(places) // _SAMPLE)]
    two = _are_two(sum(_counts(_mask(source, targets, place)) for place in sample))
    while True:  # twice at most: all masks say what some did, or they decide
        counts = np.zeros(IGNORED + 1, np.int64)
        rows = _masks(source, targets, places, form, two, counts, progress)
        _write_rows(path, np.uint8, (len(places), *form.size), rows)
        if _are_two(counts) == two:
            break
        two = not two
    if two:
        return _pixel_classes(source, targets, places, 1, IGNORED)
    highest = int(np.flatnonzero(counts[:IGNORED]).max(initial=-1))
    return _pixel_classes(source, targets, places, highest, highest)


def _masks(
    source: Source, targets: Targets, places: list[int], form: Form, two: bool, counts: Ints, progress: Progress
) -> Iterator[npt.NDArray[np.uint8]]:
    """Masks in their order, read by all cores; what their pixels are is added to ``counts``."""

    def read(batch: range) -> list[tuple[npt.NDArray[np.uint8], Ints]]:
        done: list[tuple[npt.NDArray[np.uint8], Ints]] = []
        for place in places[batch.start : batch.stop]:
            mask_HW = _mask(source, targets, place)
            fitted = fitted_mask(np.minimum(mask_HW, 1) if two else mask_HW, form)
            done.append((fitted, _counts(mask_HW)))
        return done

    batches = (range(start, min(start + _BATCH, len(places))) for start in range(0, len(places), _BATCH))
    workers, done = available_cores(), 0
    with (
        warnings.catch_warnings(),
        progress.bar(f"masks of {source.name}", len(places)) as update,
        ThreadPoolExecutor(workers) as threads,
    ):
        warnings.simplefilter("ignore")  # PIL's remarks on odd files
        for batch in in_order(lambda batch: threads.submit(read, batch), batches, workers):
            for mask_HW, own in batch:
                counts += own
                yield mask_HW
            done += len(batch)
            update(done, "")


def _mask(source: Source, targets: Targets, place: int) -> npt.NDArray[np.uint8]:
    """The mask of an image, which must have its size."""
    try:
        mask_HW = read_mask(targets.items.read(place))
        size = upright_size(source.items.read(place))
    except Exception as error:  # damaged files can raise anything
        raise _unusable(source, targets, place, error) from error
    if mask_HW.shape != size:
        high, wide = mask_HW.shape
        raise PoolsearchError(
            f"{_named(source, targets, place)} is {high} x {wide} pixels (height x width), and its image "
            f"{size.height} x {size.width}. A mask must have the size of its image, turned upright as that is."
        )
    return mask_HW


def _counts(mask_HW: npt.NDArray[np.uint8]) -> Ints:
    """How many pixels have each number, 0 to 255."""
    return np.array(Image.fromarray(mask_HW).histogram(), np.int64)


def _are_two(counts: Any) -> bool:
    """Whether nothing but 0 and 255 occurs: then 255 is the second class, and not what does not count."""
    return bool(counts[0] and counts[IGNORED] and not counts[1:IGNORED].any())


def _pixel_classes(source: Source, targets: Targets, places: list[int], highest: int, stored: int) -> list[str]:
    """The names of the classes of pixels, up to the highest, which is stored as another number where there are two."""
    if not targets.names:
        if highest < 1:
            raise PoolsearchError(
                f"{source.name}: all pixels of the {len(places):,} masks are of one class, or do not count. There must "
                "be two at least."
            )
        return [str(number) for number in range(highest + 1)]
    if highest >= len(targets.names):
        wrong = next(place for place in places if _counts(_mask(source, targets, place))[stored])
        raise PoolsearchError(
            f"{_named(source, targets, wrong)} holds the number {stored}, and there are {len(targets.names)} classes "
            f"of pixels ({', '.join(targets.names[:5])}{', ...' if len(targets.names) > 5 else ''}), numbered from 0. "
            f"Correct the mask, or name all classes; {IGNORED} is a pixel that does not count."
        )
    return list(targets.names)


# --- errors ----------------------------------------------------------------------------------------------------------


def _named(source: Source, targets: Targets, place: int) -> str:
    image, own = source.items.label(place), targets.items.label(place)
    what = "mask" if targets.kind == "masks" else "target"
    return f"{source.name}: the {what} of {image}" + ("" if own == image else f", {own},")


def _unusable(source: Source, targets: Targets, place: int, error: Exception) -> Exception:
    """What to raise instead of an error of reading."""
    if isinstance(error, PoolsearchError):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING):
        return PoolsearchError(
            f"{_named(source, targets, place)} could not be read now ({error or type(error).__name__}). Put the disk, "
            "the memory or the limits right and start again."
        )
    why = str(error) if isinstance(error, Unreadable) else f"damaged or unreadable: {error or type(error).__name__}"
    return PoolsearchError(f"{_named(source, targets, place)} cannot be used: it is {why}.")
