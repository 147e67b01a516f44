"""Decoding a whole source once, on all cores, into one file of bytes."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from PIL import Image

from poolsearch.data.decode import Raw, Size, UnexpectedSize, decode, size_of
from poolsearch.data.gate import PASSING, PIXELS_AT_ONCE, TooLarge, Unreadable
from poolsearch.data.items import Source
from poolsearch.data.processes import DecoderPool, DecoderProcess
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.resources import available_cores
from poolsearch.texts import writable

SMALL = 64
"""Images of one common size up to this side are stored as they are."""

LARGE_SIDE = 256
"""The side at which all others are stored unless the user says otherwise."""

QUICK = 96
"""Up to this side an image is decoded in so little time that threads are held up by the Python around it."""

WORTH_A_PROCESS = 2000
"""So many quick images take longer than a process takes to start."""

BATCH_BYTES = 4 << 20


@dataclass(frozen=True)
class DecodePlan:
    """How a source is decoded: at which side, and by how many threads or processes.

    ``size``: what all images are taken to measure; None if that does not matter.
    """

    side: int
    size: Size | None
    workers: int
    processes: bool


@dataclass(frozen=True)
class DecodeResult:
    """What was written: which images (as indices into the source), and which not and why."""

    kept: list[int]
    skipped: list[dict[str, str]]


Batch = list[bytes | str]
"""Of each image its pixels, or the reason why there are none."""


def make_plan(source: Source, store_size: int | None) -> DecodePlan:
    """Choose at which side a source is stored, and by how many threads or processes it is decoded.

    Opens the first image alone. That the others are as large shows when they are decoded (:class:`UnexpectedSize`).

    Args:
        source: what is to be decoded.
        store_size: the side in pixels; None: the images' own if all are as large as the first and that has a shorter
            side up to 64, otherwise 256.

    Returns:
        The plan.
    """
    size, encoded = _first(source)
    common = size if store_size is None and size and min(size) <= SMALL else None
    side = store_size or (min(common) if common else LARGE_SIDE)
    if max(side, *(size or (side,))) > QUICK:
        return DecodePlan(side, common, available_cores(), processes=False)
    workers = min(available_cores(), len(source.items) // WORTH_A_PROCESS) if encoded else 1
    return DecodePlan(side, common, max(1, workers), processes=True)


def _first(source: Source) -> tuple[Size | None, bool]:
    """The size of the first image whose header can be read, and whether it must be decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in range(len(source.items)):
            try:
                raw = source.items.read(index)
                return size_of(raw), isinstance(raw, (str, bytes))
            except Exception:  # damaged files can raise anything; decoding will list them
                continue
    return None, False


def write_pixels(
    source: Source, plan: DecodePlan, path: Path, progress: Progress, see: Callable[[bytes], object]
) -> DecodeResult:
    """Decode every image into one file; what cannot be read is left out.

    Args:
        source: what is decoded, in its order.
        plan: from :func:`make_plan`.
        path: the file, made anew: raw uint8 of shape (N, side, side, 3).
        progress: shows how many images are done.
        see: gets every block of bytes that is written, in order, to take its checksum.

    Returns:
        Which images were written, and which were not and why.

    Raises:
        UnexpectedSize: an image has not the size of the plan.
        OSError: the file cannot be written.
    """
    done = DecodeResult([], [])
    label = f"decoding {source.name}"
    with (
        open(path, "wb", buffering=0) as handle,
        progress.bar(label, len(source.items)) as update,
        closing(_decoded(source, plan)) as batches,
    ):
        for batch in batches:
            block = b"".join(pixels for pixels in batch if not isinstance(pixels, str))
            _write_all(handle.write, block)
            see(block)
            for index, pixels in enumerate(batch, len(done.kept) + len(done.skipped)):
                if isinstance(pixels, str):
                    done.skipped.append({"file": source.items.label(index), "reason": writable(pixels)})
                else:
                    done.kept.append(index)
            update(len(done.kept) + len(done.skipped), f"{len(done.skipped)} left out" if done.skipped else "")
        os.fsync(handle.fileno())
    return done


def _write_all(write: Callable[[memoryview], int | None], block: bytes) -> None:
    """An unbuffered write may take only a part; the next one then says why."""
    rest = memoryview(block)
    while rest:
        rest = rest[write(rest) or 0 :]


def _decoded(source: Source, plan: DecodePlan) -> Generator[Batch]:
    """Batches in the order of the source, the same whatever decodes them."""
    size = max(8, min(512, BATCH_BYTES // (plan.side * plan.side * 3)))
    number = len(source.items)
    batches = (range(start, min(start + size, number)) for start in range(0, number, size))
    here = partial(_decode_batch, source, plan, Lock())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's remarks on odd files; a file that cannot be used is listed instead
        if plan.workers == 1:
            yield from map(here, batches)
        elif plan.processes:
            with DecoderPool(plan.workers) as processes:
                yield from _in_order(lambda batch: processes.submit(partial(here, batch)), batches, plan.workers)
        else:
            with ThreadPoolExecutor(plan.workers) as threads:
                yield from _in_order(lambda batch: threads.submit(here, batch), batches, plan.workers)


def _in_order(submit: Callable[[range], Future[Batch]], batches: Iterable[range], workers: int) -> Iterator[Batch]:
    """A bounded number is decoded ahead, so memory does not grow with the data."""
    ahead: deque[Future[Batch]] = deque()
    for batch in batches:
        ahead.append(submit(batch))
        if len(ahead) > 2 * workers:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _decode_batch(
    source: Source, plan: DecodePlan, one_large: Lock, indices: range, worker: DecoderProcess | None = None
) -> Batch:
    """What the worker cannot decode is tried again here, where the reason is seen.

    ``one_large`` is held while a large image is decoded, so that it is the only one.
    """
    found: Sequence[bytes | None] = [None] * len(indices)
    if worker is not None:
        found = worker.decode([_read_or_none(source, index) for index in indices], plan.side, plan.size)
    return [
        _decode_or_reason(source, index, plan, one_large) if pixels is None else pixels
        for index, pixels in zip(indices, found, strict=True)
    ]


def _read_or_none(source: Source, index: int) -> Raw | None:
    try:
        return source.items.read(index)
    except Exception:  # as when it is decoded, see below
        return None


def _decode_or_reason(source: Source, index: int, plan: DecodePlan, one_large: Lock) -> bytes | str:
    try:
        raw = source.items.read(index)
        try:
            return decode(raw, plan.side, plan.size, PIXELS_AT_ONCE)
        except TooLarge:
            with one_large:
                return decode(raw, plan.side, plan.size)
    except (UnexpectedSize, PoolsearchError):
        raise
    except Unreadable as error:
        return str(error)
    except Image.DecompressionBombError as error:
        return f"too large: {error}"
    except Image.UnidentifiedImageError:
        return "not an image, or of a kind that cannot be read"
    except Exception as error:  # damaged files make decoders raise anything
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING):
            raise PoolsearchError(
                f"{source.items.label(index)} could not be read now ({error or type(error).__name__}). That says "
                "nothing about the image, so it is not left out: put the disk, the memory or the limits right and "
                "start again."
            ) from error
        return f"damaged or unreadable: {str(error) or type(error).__name__}"
