"""Decoding a whole source once, on all cores, into one file of bytes."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

from PIL import Image

from poolsearch.data.decode import UnexpectedSize, decode, range_of
from poolsearch.data.form import Form, OutOfRange, central_box
from poolsearch.data.gate import PASSING, PIXELS_AT_ONCE, TooLarge, Unreadable
from poolsearch.data.image_file import Raw, channels_of_array, drops_pages, size_of
from poolsearch.data.items import Source
from poolsearch.data.processes import DecoderPool, DecoderProcess
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import Fit, ImageSize
from poolsearch.progress import Progress
from poolsearch.resources import available_cores
from poolsearch.texts import writable
from poolsearch.value_range import EACH_FILE, ValueRange

LARGE, LARGE_WHOLE = ImageSize(256, 256), ImageSize(224, 224)
"""The size at which images are stored that are not small and of one size, unless the user says otherwise: cropped, from
which a network sees the centre; or whole, squeezed or padded."""

QUICK = 96
"""Up to this side an image is decoded in so little time that threads are held up by the Python around it."""

WORTH_A_PROCESS = 2000
"""So many quick images take longer than a process takes to start."""

BATCH_BYTES = 4 << 20


_SAMPLE = 32  # images whose shapes stand for those of all


@dataclass(frozen=True)
class Wanted:
    """The form in which images are asked for.

    Attributes:
        size: at which they are stored; None: as they are if all have one size and are small, otherwise large.
        fit: how others get into it; None: by cropping.
        channels: to which they are converted.
        values: which become black and white in images of more than 8 bits: those of a range, the same in all, or as
            each file has them by itself; None: of the least usual range that holds those of all images.
        own_shape: without a size, small images of one size keep their shape; else they are cropped to squares.
    """

    size: ImageSize | None = None
    fit: Fit | None = None
    channels: int = 3
    values: ValueRange | Literal["each-file"] | None = None
    own_shape: bool = False


@dataclass(frozen=True)
class DecodePlan:
    """How a source is decoded: to which form, and by how many threads or processes.

    ``size``: what all images are taken to measure; None if that does not matter. ``cut``: the share of their area that
    is cut away, on the mean.
    """

    form: Form
    size: ImageSize | None
    cut: float
    workers: int
    processes: bool


@dataclass(frozen=True)
class DecodeResult:
    """What was written: which images (as indices into the source), and which not and why.

    ``first_pages``: of which images only the first of several pages was taken, in no order.
    """

    kept: list[int] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    first_pages: list[int] = field(default_factory=list)


Result = TypeVar("Result")
Batch = list[bytes | str]
"""Of each image its pixels, or the reason why there are none."""


def wanted_form(source: Source, size: ImageSize | None, fit: Fit | None, channels: int, values: str | None) -> Wanted:
    """The form that settings ask for; opens the first image where nothing is said of its shape.

    Args:
        source: what is to be decoded.
        size: at which images are stored; None: see :class:`Wanted`.
        fit: how images of another shape get into it; None: by cropping, but small images of one size stay whole.
        channels: to which they are converted.
        values: as the setting ``value_range`` has it.

    Returns:
        The form.
    """
    first = _first(source)[0] if size is None and fit != "crop" else None
    own_shape = first is not None and first.small and first.height != first.width
    chosen = None if values is None else EACH_FILE if values == EACH_FILE else ValueRange.of(values)
    return Wanted(size, fit, channels, chosen, own_shape)


def make_plan(source: Source, wanted: Wanted) -> DecodePlan:
    """Choose at which size a source is stored, and by how many threads or processes it is decoded.

    Opens the first image, and some more where a part may be cut away. That the others are as large shows when they are
    decoded (:class:`UnexpectedSize`).

    Args:
        source: what is to be decoded.
        wanted: the form that is asked for.

    Returns:
        The plan.
    """
    first, encoded = _first(source)
    common = first if wanted.size is None and first and first.small else None
    form = Form(wanted.size or _usual(common, wanted), wanted.fit or "crop", wanted.channels, wanted.values, clip=True)
    if wanted.values is None:
        form = replace(form, values=sampled_range(source, wanted.channels), clip=False)
    elif wanted.values != EACH_FILE and sampled_range(source, wanted.channels) is None:
        form = replace(form, values=None)  # that an image has more than 8 bits shows when it is decoded (OutOfRange)
    cut = cut_share(source, form.size) if form.fit == "crop" and form.size != common else 0.0
    if max(*form.size, *(first or form.size)) > QUICK:
        return DecodePlan(form, common, cut, available_cores(), processes=False)
    workers = min(available_cores(), len(source.items) // WORTH_A_PROCESS) if encoded else 1
    return DecodePlan(form, common, cut, max(1, workers), processes=True)


def large(fit: Fit | None) -> ImageSize:
    """The size at which images are stored that are not small and of one size.

    Args:
        fit: how they get into it.

    Returns:
        A square.
    """
    return LARGE if fit in (None, "crop") else LARGE_WHOLE


def _usual(common: ImageSize | None, wanted: Wanted) -> ImageSize:
    if common is None:
        return large(wanted.fit)
    return common if wanted.own_shape else ImageSize(min(common), min(common))


def cut_share(source: Source, shape: ImageSize) -> float:
    """The share of their area that images lose when they are cropped to a shape.

    Args:
        source: the data set.
        shape: whose ratio of height to width they are to have.

    Returns:
        The mean over an even choice of images, 0..1, by their headers, as they are before any turning.
    """
    shares: list[float] = []
    for raw in _sample(source):
        try:
            size = size_of(raw)
        except Exception:  # as in _first
            continue
        left, upper, right, lower = central_box(size, shape)
        shares.append(1 - (right - left) * (lower - upper) / size.pixels)
    return sum(shares) / len(shares) if shares else 0.0


def sampled_range(source: Source, channels: int = 1) -> ValueRange | None:
    """The least usual range that holds the values of an even choice of images.

    Args:
        source: the data set.
        channels: to which images are converted.

    Returns:
        The range; None where all of them have 8 bits.
    """
    found: ValueRange | None = None
    for raw in _sample(source):
        try:
            one = range_of(raw, channels)
        except Exception:  # as in _first
            continue
        found = found if one is None else one if found is None else found.with_(one)
    return found


def whole_range(source: Source, channels: int, progress: Progress) -> ValueRange | None:
    """The least usual range that holds the values of all images.

    Args:
        source: the data set.
        channels: to which images are converted.
        progress: shows how many images have been looked at.

    Returns:
        The range; None where all images that can be read have 8 bits.
    """
    one_large, number = Lock(), len(source.items)

    def look(indices: range) -> list[ValueRange]:
        return [one for index in indices if (one := _range_or_none(source, index, channels, one_large)) is not None]

    found: ValueRange | None = None
    batches = [range(start, min(start + _SAMPLE, number)) for start in range(0, number, _SAMPLE)]
    with (
        warnings.catch_warnings(),
        progress.bar(f"range of values of {source.name}", len(batches)) as update,
        ThreadPoolExecutor(available_cores()) as threads,
    ):
        warnings.simplefilter("ignore")
        for done, ranges in enumerate(threads.map(look, batches), 1):
            for one in ranges:
                found = one if found is None else found.with_(one)
            update(done, "")
    return found


def _range_or_none(source: Source, index: int, channels: int, one_large: Lock) -> ValueRange | None:
    """As :func:`range_of`; of an image that cannot be read, None. ``one_large`` is as of :func:`_decode_batch`."""
    try:
        raw = source.items.read(index)
        try:
            return range_of(raw, channels, PIXELS_AT_ONCE)
        except TooLarge:
            with one_large:
                return range_of(raw, channels)
    except Exception:  # as in _first
        return None


def has_pages(source: Source) -> bool:
    """Whether an even choice of images has one with several pages.

    Args:
        source: the data set.

    Returns:
        True where a file is such a TIFF.
    """
    return any(_drops_pages(raw, channels=1) for raw in _sample(source))


def _sample(source: Source) -> Iterator[Raw]:
    """An even choice of images; those that cannot be read are passed over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in range(0, len(source.items), -(-len(source.items) // _SAMPLE)):
            try:
                yield source.items.read(index)
            except Exception:  # damaged files can raise anything; decoding will list them
                continue


def array_channels(source: Source) -> int | None:
    """How many channels the images of a source have, where they are arrays.

    Args:
        source: the data set.

    Returns:
        Those of the first image that can be read; None where it is no array.
    """
    for index in range(min(len(source.items), _SAMPLE)):
        try:
            return channels_of_array(source.items.read(index))
        except Exception:  # as in _first
            continue
    return None


def _first(source: Source) -> tuple[ImageSize | None, bool]:
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
        path: the file, made anew: raw uint8 of shape (N, height, width, channels).
        progress: shows how many images are done.
        see: gets every block of bytes that is written, in order, to take its checksum.

    Returns:
        Which images were written, and which were not and why.

    Raises:
        UnexpectedSize: an image has not the size of the plan.
        OutOfRange: an image has values beyond those of the plan.
        OSError: the file cannot be written.
    """
    done = DecodeResult()
    label = f"decoding {source.name}"
    with (
        open(path, "wb", buffering=0) as handle,
        progress.bar(label, len(source.items)) as update,
        closing(_decoded(source, plan, done.first_pages)) as batches,
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


def _decoded(source: Source, plan: DecodePlan, first_pages: list[int]) -> Generator[Batch]:
    """Batches in the order of the source, the same whatever decodes them; adds to ``first_pages``."""
    size = max(8, min(512, BATCH_BYTES // (plan.form.size.pixels * plan.form.channels)))
    number = len(source.items)
    batches = (range(start, min(start + size, number)) for start in range(0, number, size))
    here = partial(_decode_batch, source, plan, Lock(), first_pages)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's remarks on odd files; a file that cannot be used is listed instead
        if plan.workers == 1:
            yield from map(here, batches)
        elif plan.processes:
            with DecoderPool(plan.workers) as processes:
                yield from in_order(lambda batch: processes.submit(partial(here, batch)), batches, plan.workers)
        else:
            with ThreadPoolExecutor(plan.workers) as threads:
                yield from in_order(lambda batch: threads.submit(here, batch), batches, plan.workers)


def in_order(submit: Callable[[range], Future[Result]], batches: Iterable[range], workers: int) -> Iterator[Result]:
    """Have batches made in the background. A bounded number is made ahead, so memory does not grow with the data.

    Args:
        submit: begins a batch.
        batches: what is in each.
        workers: how many work at once.

    Yields:
        What is made of each batch, in their order.
    """
    ahead: deque[Future[Result]] = deque()
    for batch in batches:
        ahead.append(submit(batch))
        if len(ahead) > 2 * workers:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _decode_batch(
    source: Source,
    plan: DecodePlan,
    one_large: Lock,
    first_pages: list[int],
    indices: range,
    worker: DecoderProcess | None = None,
) -> Batch:
    """What the worker cannot decode is tried again here, where the reason is seen.

    ``one_large`` is held while a large image is decoded, so that it is the only one.
    """
    found: Sequence[bytes | None] = [None] * len(indices)
    if worker is not None:
        raws = [_read_or_none(source, index) for index in indices]
        found = worker.decode(raws, plan.form, plan.size)
        decoded = (pair for pair, pixels in zip(zip(indices, raws, strict=True), found, strict=True) if pixels)
        first_pages.extend(index for index, raw in decoded if raw is not None and _drops_pages(raw, plan.form.channels))
    return [
        _decode_or_reason(source, index, plan, one_large, first_pages) if pixels is None else pixels
        for index, pixels in zip(indices, found, strict=True)
    ]


def _read_or_none(source: Source, index: int) -> Raw | None:
    try:
        return source.items.read(index)
    except Exception:  # as when it is decoded, see below
        return None


def _drops_pages(raw: Raw, channels: int) -> bool:
    try:
        return drops_pages(raw, channels)
    except Exception:  # damaged after the first page, which was decoded
        return False


def _decode_or_reason(
    source: Source, index: int, plan: DecodePlan, one_large: Lock, first_pages: list[int]
) -> bytes | str:
    try:
        raw = source.items.read(index)
        try:
            pixels = decode(raw, plan.form, plan.size, PIXELS_AT_ONCE)
        except TooLarge:
            with one_large:
                pixels = decode(raw, plan.form, plan.size)
        if _drops_pages(raw, plan.form.channels):
            first_pages.append(index)
        return pixels
    except (UnexpectedSize, OutOfRange, PoolsearchError):
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
