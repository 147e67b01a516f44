"""Decoding a whole source once, on all cores, into one file of bytes."""

from __future__ import annotations

import errno
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from poolsearch.cores import available_cores
from poolsearch.data.decode import Bytes, decode, header_size
from poolsearch.data.items import Source
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress

SMALL = 64
"""Images of one common size up to this side are stored as they are."""

LARGE_SIDE = 256
"""The side at which all others are stored unless the user says otherwise."""

BATCH_BYTES = 4 << 20

PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Failures of the system, not of a file: an image must not be missing from the cache for good because of them."""


@dataclass(frozen=True)
class Decoded:
    """What was written: which images (as indices into the source), and which not and why."""

    kept: list[int]
    skipped: list[dict[str, str]]


Batch = list[tuple[int, Bytes | str]]
"""Of each image its index, and its pixels or the reason why there are none."""


def choose_side(source: Source) -> int:
    """The native side if all images have one common size with a shorter side up to 64, otherwise 256.

    Looks at headers only, and at no more of them than it must.
    """
    common: tuple[int, int] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in range(len(source.items)):
            try:
                size = header_size(source.items.read(index))
            except Exception:  # damaged files can raise anything; decoding will list them
                continue
            if min(size) > SMALL or (common is not None and size != common):
                return LARGE_SIDE
            common = size
    return min(common) if common else LARGE_SIDE


def write_pixels(source: Source, side: int, path: Path, progress: Progress, see: Callable[[bytes], object]) -> Decoded:
    """Decode every image and append it to ``path``: raw bytes N, side, side, 3. What cannot be read is left out.

    ``see`` gets every block of bytes that is written, in order, to take its checksum.

    Raises:
        OSError: the file cannot be written.
    """
    done = Decoded([], [])
    label = f"decoding {source.name}"
    with open(path, "wb", buffering=0) as handle, progress.bar(label, len(source.items)) as update:
        for batch in _decoded(source, side):
            block = b"".join(pixels.tobytes() for _, pixels in batch if not isinstance(pixels, str))
            _write_all(handle.write, block)
            see(block)
            for index, pixels in batch:
                if isinstance(pixels, str):
                    done.skipped.append({"file": source.items.label(index), "reason": pixels})
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


def _decoded(source: Source, side: int) -> Iterator[Batch]:
    """Batches in the order of the source. A bounded number is decoded ahead, so memory does not grow with the data."""
    size = max(8, min(512, BATCH_BYTES // (side * side * 3)))
    starts = range(0, len(source.items), size)
    workers = _workers(source)
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # PIL's remarks on odd files; a file that cannot be used is listed instead
        ahead: deque[Future[Batch]] = deque()
        for start in starts:
            ahead.append(pool.submit(_decode_batch, source, range(start, min(start + size, len(source.items))), side))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _workers(source: Source) -> int:
    """Threads share the interpreter lock.

    PIL lets go of it while it decodes, which pays only for images that take longer than the Python around them. With
    32x32 JPEGs two threads were slower than one (13,000 images/s, 20,000/s), with photographs two use both cores.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            small = max(header_size(source.items.read(0))) <= SMALL
        except Exception:  # a damaged first image; decoding will list it
            small = False
    return 1 if small else available_cores()


def _decode_batch(source: Source, indices: range, side: int) -> Batch:
    return [(index, _decode_or_reason(source, index, side)) for index in indices]


def _decode_or_reason(source: Source, index: int, side: int) -> Bytes | str:
    try:
        return decode(source.items.read(index), side)
    except Image.DecompressionBombError as error:
        return f"too large: {error}"
    except Image.UnidentifiedImageError:
        return "not an image, or of a kind that cannot be read"
    except Exception as error:  # damaged files make decoders raise anything
        if isinstance(error, OSError) and error.errno in PASSING:
            raise PoolsearchError(
                f"{source.items.label(index)} could not be read now ({error}). That says nothing about the image, so "
                "it is not left out: put the disk or the limits right and start again."
            ) from error
        return f"damaged or unreadable: {str(error) or type(error).__name__}"
