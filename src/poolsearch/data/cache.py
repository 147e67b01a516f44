"""Decoded images on disk: made once, then opened in no time by every later run.

``CACHE/images-USER/KEY/`` holds ``pixels.u8`` (raw bytes N, height, width, channels), ``labels.npy``, ``parts.npy``,
``places.npy``, ``prints.npy``, ``files.json`` and ``meta.json``, which has the SHA-256 of the small ones and of itself.
It is built in a temporary folder and put in place by one rename, so that a folder of that name is always whole; that it
still is what was written is seen whenever it is opened.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from poolsearch.data.build import (
    DecodePlan,
    Wanted,
    cut_share,
    has_pages,
    large,
    make_plan,
    sampled_range,
    wanted_form,
    whole_range,
    write_pixels,
)
from poolsearch.data.cache_folder import (
    BLOCK_BYTES,
    CHECKED_BYTES,
    META,
    DamagedCache,
    alone,
    content,
    in_place_of,
    read_meta,
    write_meta,
)
from poolsearch.data.checks import check_classes, check_number
from poolsearch.data.decode import UnexpectedSize
from poolsearch.data.form import Form, OutOfRange
from poolsearch.data.gate import size_text
from poolsearch.data.image_hash import byte_hashes, image_hashes
from poolsearch.data.items import PARTS, Source
from poolsearch.data.source import private_folder
from poolsearch.data.targets import open_targets
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import Fit, ImageSize
from poolsearch.progress import Progress
from poolsearch.resources import available_cores
from poolsearch.storage import files
from poolsearch.value_range import EACH_FILE, ValueRange

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

FORMAT = 3
"""Part of the key: raised when decoding or the files change, so that old caches are made again."""

_PIXELS = "pixels.u8"
_SMALL = ("labels.npy", "parts.npy", "places.npy", "prints.npy", "files.json")


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images.

    ``pixels_NHWC`` is uint8, read-only, on disk. ``part_N`` is "train", "val" or "test" as the data set is divided.
    ``place_N`` counts the images of the data set, the skipped ones among them, from 0. ``skipped`` lists {file,
    reason}. ``fingerprint`` is a SHA-256 of pixels and labels. ``folder`` is where they are kept. ``group_N`` names
    the group of each image, where the data set says so; ``warnings`` are those of the source, and that pages of images
    are not used. ``cut`` is the share of their area that was cut away to make them of one shape, and ``values`` are
    those that became black and white in images of more than 8 bits (None where there are none).

    ``target_N`` is what there is to learn of each image where that is not its class: uint8 (N, K) of 0 and 1 for each
    label, float32 (N, ...), or uint8 (N, height, width), the class of each pixel, where 255 does not count.
    ``class_names`` are then those of the labels, of the last axis of the values, or of the classes of pixels;
    ``label_N`` is 0, and the targets count in the fingerprint.
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
    group_N: Sequence[str] | None = None
    warnings: Sequence[str] = ()
    cut: float = 0.0
    values: ValueRange | None = None
    target_N: npt.NDArray[Any] | None = None

    @property
    def kind(self) -> TargetKind:
        """What there is to learn of each image."""
        if self.target_N is None:
            return "classes"
        return "values" if self.target_N.dtype.kind == "f" else "labels" if self.target_N.ndim == 2 else "masks"

    @property
    def class_N(self) -> npt.NDArray[Any]:
        """The name of the class of each image; empty where it has another target."""
        names = self.class_names if self.target_N is None else ("",)
        return np.array(names, object)[self.label_N]

    @property
    def size(self) -> ImageSize:
        """At which they are stored."""
        return ImageSize(*self.pixels_NHWC.shape[1:3])

    @property
    def channels(self) -> int:
        """Of each."""
        return self.pixels_NHWC.shape[3]

    @cached_property
    def files(self) -> list[str]:
        """What to call each image: its path below the data folder, or its place in an array.

        Raises:
            PoolsearchError: the list is damaged, since the images were opened.
        """
        with self._damage_told():
            return _entry(self.folder).names()

    @cached_property
    def print_N2(self) -> npt.NDArray[np.uint64]:
        """Hashes of each image's bytes and look: see :mod:`poolsearch.data.image_hash`.

        Raises:
            PoolsearchError: they are damaged, since the images were opened.
        """
        with self._damage_told():
            return _entry(self.folder).array("prints.npy", np.uint64, (len(self.label_N), 2))

    @contextmanager
    def _damage_told(self) -> Generator[None]:
        try:
            yield
        except (OSError, DamagedCache) as error:
            raise PoolsearchError(f"{self.folder} is damaged ({error}). Start again: it is made anew.") from None


@dataclass(frozen=True)
class _Entry:
    """What a cache entry says of itself, and its small files, read only where they are as they were written."""

    folder: Path
    shape: tuple[int, int, int, int]
    skipped: list[dict[str, str]]
    fingerprint: str
    sums: dict[str, str]
    cut: float | None
    values: ValueRange | None
    knows_values: bool
    first_pages: int

    def content(self, name: str) -> bytes:
        found = content(self.folder / name)
        if files.sha256(found) != self.sums[name]:
            raise DamagedCache(f"{name} is not what was written")
        return found

    def array(self, name: str, kind: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        try:
            found = np.load(io.BytesIO(self.content(name)), allow_pickle=False)
        except ValueError as error:
            raise DamagedCache(f"{name}: {error}") from None
        if found.dtype != kind or found.shape != shape:
            raise DamagedCache(f"{name} is {found.dtype} of shape {found.shape}, expected {kind.__name__} of {shape}")
        return found

    def names(self) -> list[str]:
        return json.loads(self.content("files.json"))


def open_images(
    source: Source,
    store_size: ImageSize | int | None,
    cache_dir: Path,
    progress: Progress,
    fit: Fit | None = None,
    channels: int = 3,
    values: str | None = None,
) -> Images:
    """The decoded images of ``source``, from the cache if they are there.

    Args:
        source: the data set.
        store_size: at which they are stored, the side of a square or a size; None: as they are if all have one common
            size with a shorter side up to 64, otherwise at 256x256 (224x224 where they are squeezed or padded).
        cache_dir: see :func:`default_cache_dir`.
        progress: shows the decoding, and tells which images are left out.
        fit: how images of another shape get into the size: "crop", "squeeze" or "pad". None: as "crop", but small
            images of one size keep their shape.
        channels: to which they are converted.
        values: which become black and white in images of more than 8 bits, such as "0,4095"; None: found, one range for
            all images; "each-file": guessed for each by itself.

    Returns:
        The images that can be read, in the source's order, with their targets.

    Raises:
        PoolsearchError: no image is readable, a class has too few, a target cannot be used, there is no space, or the
            size is not positive.
    """
    wanted = wanted_form(source, None if store_size is None else ImageSize.of(store_size), fit, channels, values)
    with _disk_errors(cache_dir):
        folder = _folder(private_folder(cache_dir), source, wanted)
        images = _read(folder, source, wanted)
        if isinstance(images, DamagedCache):
            with alone(folder, progress):
                images = _read(folder, source, wanted)
                if isinstance(images, DamagedCache):
                    if os.path.lexists(folder):
                        progress.say(f"the decoded images in {folder} are not used ({images}): they are made anew.")
                    images = _build(source, wanted, folder, progress)
    if images.skipped:
        first = images.skipped[0]
        kinds = Counter(entry["reason"].partition(":")[0] for entry in images.skipped).most_common(5)
        progress.say(
            f"{source.name}: {len(images.skipped)} of {len(source.items)} images cannot be read and are left out "
            f"({'; '.join(f'{count} {kind}' for kind, count in kinds)}). The first is {first['file']} "
            f"({first['reason']})."
        )
    return images if source.targets is None else _with_targets(images, source, wanted, progress)


def _with_targets(images: Images, source: Source, wanted: Wanted, progress: Progress) -> Images:
    """Images with what there is to learn of them, which is fitted as they are."""
    with _disk_errors(images.folder.parent.parent):
        found = open_targets(source, images.folder, images.place_N, Form(images.size, wanted.fit or "crop"), progress)
    fingerprint = files.sha256(f"{images.fingerprint} {found.fingerprint}".encode())
    return replace(images, target_N=found.target_N, class_names=found.names, fingerprint=fingerprint)


def _folder(parent: Path, source: Source, wanted: Wanted) -> Path:
    """Where the entry is, or is to be."""

    def of(form: str) -> Path:
        return parent / files.sha256(f"{source.fingerprint} {form} {FORMAT}".encode())[:32]

    usual, key = of(_key(wanted)), _key(wanted)
    if wanted.values is None:
        return usual
    if wanted.values == EACH_FILE:
        try:
            if _entry(usual).values is None:  # of an older version, or of images of 8 bits alone
                return usual
        except (OSError, DamagedCache):
            pass
    return of(f"{key} {wanted.values}")


def _key(wanted: Wanted) -> str:
    """The form as a part of the cache's key; that of squares is as it was when there was no other form."""
    size = "None" if wanted.size is None else str(wanted.size.plain)
    fit = "" if wanted.fit in (None, "crop") else f" {wanted.fit}"
    channels = "" if wanted.channels == 3 else f" {wanted.channels} channels"
    return f"{size}{fit}{channels}{' own shape' if wanted.own_shape else ''}"


def _build(source: Source, wanted: Wanted, folder: Path, progress: Progress) -> Images:
    with in_place_of(folder) as temporary:
        plan = make_plan(source, wanted)
        while True:
            try:
                _write(source, folder.name, plan, temporary, progress)
                break
            except UnexpectedSize:  # mostly seen at the second image
                plan = make_plan(source, replace(wanted, size=large(wanted.fit)))
            except OutOfRange as error:  # some images were looked at before; now it is all of them, so that it ends
                plan = replace(plan, form=replace(plan.form, values=_wider(source, wanted, plan, error, progress)))
    images = _read(folder, source, wanted)
    if isinstance(images, DamagedCache):
        raise PoolsearchError(
            f"the decoded images were written to {folder}, and are not there as they were written ({images}). Choose "
            "another place with --cache-dir."
        )
    return images


def _wider(source: Source, wanted: Wanted, plan: DecodePlan, error: OutOfRange, progress: Progress) -> ValueRange:
    """The range to decode with, after an image with values beyond those of the plan."""
    if isinstance(wanted.values, ValueRange):
        return wanted.values
    found = [plan.form.values, whole_range(source, wanted.channels, progress)]
    return reduce(ValueRange.with_, [one for one in found if isinstance(one, ValueRange)], error.values)


def _write(source: Source, key: str, plan: DecodePlan, folder: Path, progress: Progress) -> None:
    shape = (*plan.form.size, plan.form.channels)
    _require_space(folder, len(source.items) * int(np.prod(shape)))
    digest = hashlib.sha256()
    found = [np.empty((0, 2), np.uint64)]

    def see(block: bytes) -> None:
        digest.update(block)
        found.append(image_hashes(np.frombuffer(block, np.uint8).reshape(-1, *shape)))

    decoded = write_pixels(source, plan, folder / _PIXELS, progress, see)
    label_N, part_N = source.label_N[decoded.kept], source.part_N[decoded.kept]
    _check_kept(source, label_N, part_N, decoded.skipped)
    np.save(folder / "labels.npy", label_N)
    np.save(folder / "prints.npy", np.concatenate(found))
    np.save(folder / "places.npy", np.array(decoded.kept, np.int64))
    names = [source.items.label(index) for index in decoded.kept]
    (folder / "files.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    np.save(folder / "parts.npy", np.array([PARTS.index(part) for part in part_N], dtype=np.uint8))
    digest.update(label_N.astype("<i8").tobytes())
    meta: dict[str, Any] = {
        "format": FORMAT,
        "key": key,
        "name": source.name,
        "shape": [len(label_N), *shape],
        "cut": plan.cut,
        "values": None if plan.form.values == EACH_FILE else plan.form.values,
        "first_pages": len(decoded.first_pages),
        "class_names": source.class_names,
        "skipped": decoded.skipped,
        "fingerprint": digest.hexdigest(),
        "sums": {name: files.sha256((folder / name).read_bytes()) for name in _SMALL},
    }
    write_meta(folder, meta)


def _check_kept(source: Source, label_N: Any, part_N: Any, skipped: list[dict[str, str]]) -> None:
    if len(label_N) == 0:
        reasons = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise PoolsearchError(f"{source.name}: none of the {len(skipped)} images can be read ({reasons}).")
    try:
        if source.targets is None:
            check_classes(source.name, label_N, part_N, source.class_names)
        else:
            check_number(source.name, part_N)
    except PoolsearchError as error:
        reasons = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise PoolsearchError(
            f"{error} {len(skipped)} images were left out because they cannot be read ({reasons})."
        ) from None


def _read(folder: Path, source: Source, wanted: Wanted) -> Images | DamagedCache:
    """The cached images, or why they cannot be used."""
    try:
        entry = _entry(folder)
        if wanted.values is None and not entry.knows_values:  # of an older version
            if sampled_range(source) is not None:
                return DamagedCache("its images of more than 8 bits are not of one range")
            if has_pages(source):
                return DamagedCache("of images with several pages only the first was read")
        number = entry.shape[0]
        label_N = entry.array("labels.npy", np.int64, (number,))
        part_N = np.array(PARTS)[entry.array("parts.npy", np.uint8, (number,))]
        place_N = entry.array("places.npy", np.int64, (number,))
        print_N2 = entry.array("prints.npy", np.uint64, (number, 2))
        entry.content("files.json")
        pixels_NHWC = _pixels(folder / _PIXELS, entry.shape, print_N2[:, 0])
    except OSError as error:
        return DamagedCache(f"{error.strerror or error}: {error.filename or folder}")
    except DamagedCache as error:
        return error
    return Images(
        source.name, pixels_NHWC, label_N, part_N, source.class_names, entry.skipped, entry.fingerprint,
        source.flippable, place_N, folder,
        None if source.group_N is None else [source.group_N[int(place)] for place in place_N],
        [*source.warnings, *_first_pages(entry)], _cut(entry, source), entry.values,
    )  # fmt: skip


def _first_pages(entry: _Entry) -> list[str]:
    """Whether pages are not used."""
    if not entry.first_pages:
        return []
    one, channels = entry.first_pages == 1, entry.shape[3]
    return [
        f"{entry.first_pages:,} TIFF file{' has' if one else 's have'} several pages, of which only the first is used. "
        f"Pages are read as channels where they are grey, of one size, and as many as --channels ({channels}); if they "
        "are images of their own, save each as a file."
    ]


def _cut(entry: _Entry, source: Source) -> float:
    """What was cut away; entries of older versions do not say."""
    return cut_share(source, ImageSize(*entry.shape[1:3])) if entry.cut is None else entry.cut


def _entry(folder: Path) -> _Entry:
    """The entry in ``folder``.

    Raises:
        DamagedCache: its meta.json is not what was written, or others may have written there.
        OSError: there is none.
    """
    meta = read_meta(folder, [_PIXELS, *_SMALL])
    if meta["key"] != folder.name:
        raise DamagedCache(f"{META} is of other images")
    values = meta.get("values")
    return _Entry(
        folder, tuple(meta["shape"]), meta["skipped"], meta["fingerprint"], meta["sums"], meta.get("cut"),
        values and ValueRange(*values), "values" in meta, meta.get("first_pages", 0),
    )  # fmt: skip


def _pixels(path: Path, shape: tuple[int, int, int, int], print_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """The pixels, as they were written by the hash of each image: all of them, or as many as are compared."""
    size, there = int(np.prod(shape)), path.stat().st_size
    if there != size:
        raise DamagedCache(f"{path.name} has {size_text(there)} and not {size_text(size)}")
    pixels_NHWC = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
    rows = max(1, BLOCK_BYTES * shape[0] // size)
    starts = range(0, shape[0], rows)
    if size > CHECKED_BYTES:  # not drawn by a seed of the run's: it decides nothing but what is looked at
        starts = np.random.default_rng().choice(starts, CHECKED_BYTES // BLOCK_BYTES, replace=False).tolist()

    def differing(start: int) -> int:
        block = np.asarray(pixels_NHWC)[start : start + rows]
        return int(np.sum(byte_hashes(block) != print_N[start : start + rows]))

    with ThreadPoolExecutor(available_cores()) as threads:
        bad = sum(threads.map(differing, starts))
    if bad:
        raise DamagedCache(f"{path.name}: the pixels of {bad} images are not what was written")
    return pixels_NHWC


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
