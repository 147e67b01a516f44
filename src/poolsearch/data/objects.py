"""Images that the user has as Python objects: written once as parquet files, which everything else reads.

So a run that was begun with objects is resumed, joined and looked at like any other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from poolsearch.data.gate import PASSING, Unreadable
from poolsearch.data.image_file import check_shape
from poolsearch.data.items import PARTS
from poolsearch.data.object_targets import Collate, Encoded, ObjectTargets, target_keys
from poolsearch.data.parquet import TARGETS_FILE
from poolsearch.data.source import OBJECTS, private_folder
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.storage.disk import workspace

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

IMAGE_KEYS = ("image", "images", "img", "pixel_values", "x")
"""Where an item that is a dictionary has its image; the first that is there is taken."""

_GROUP_BYTES = 32 << 20
"""So much of the images is held at once, and stands together in a file."""

_READ_TWICE = 32
"""So many items, from all over, are read twice, to see that they stay the same."""

_EXPECTED = "Give a map-style dataset of (image, target) or of dictionaries with these, or a pair (images, targets)"


def write_images(
    parts: Mapping[str, Any],
    cache_dir: Path,
    progress: Progress,
    kind: TargetKind = "classes",
    collate: Collate | None = None,
) -> Path:
    """Write a data set of objects as a folder of parquet files, of which there is one for the same images.

    Images are PIL's, NumPy arrays of shape (H, W) or (H, W, C), or tensors of shape (H, W) or (C, H, W); they may
    differ in size. PIL's are kept without loss, arrays and tensors as they are.

    Args:
        parts: under "train", "val" and "test" what there is: a dataset with a length whose items are (image, target) or
            dictionaries with these under :data:`IMAGE_KEYS` and :func:`~poolsearch.data.object_targets.target_keys`; or
            a pair of (N, ...) images and (N, ...) targets, as arrays or tensors.
        cache_dir: in whose folder for objects it is put.
        progress: where reading shows itself.
        kind: what targets are. "classes": class numbers or class names; "labels": arrays of 0 and 1, (K,), or lists of
            the names or numbers of the labels that an image has; "values": numbers, or arrays of one shape; "masks":
            of the size of the image, PIL's or arrays, with the number of the class of each pixel, where 255 does not
            count.
        collate: from a list of one target, as the dataset gives it, to an array of a batch of one; None: targets are
            taken as they are.

    Returns:
        The folder.

    Raises:
        PoolsearchError: a dataset has no length, an item is no image with such a target or cannot be read, or the items
            are not the same when read again.
    """
    datasets = {part: _dataset(part, parts[part]) for part in PARTS if parts.get(part) is not None}
    if "train" not in datasets:
        raise PoolsearchError(f"no training images were given. {_EXPECTED} as train.")
    root = private_folder(cache_dir, OBJECTS)
    names = _class_names(parts["train"], target_keys(kind))
    targets = ObjectTargets(kind, names, collate)
    digest = hashlib.sha256(json.dumps(names).encode())
    try:
        with workspace(root) as unfinished:
            for part, dataset in datasets.items():
                _write(unfinished / f"{part}-00000.parquet", part, dataset, targets, digest.update, progress)
            if kind != "classes":
                about = json.dumps(targets.about)
                digest.update(about.encode())
                (unfinished / TARGETS_FILE).write_text(about, encoding="utf-8")
            for path in unfinished.iterdir():
                _stamp(path, digest.hexdigest())
            folder = root / f"{_name(parts['train'])}-{digest.hexdigest()[:16]}"
            if not folder.is_dir():
                unfinished.rename(folder)
                unfinished.mkdir()  # for the workspace to remove
    except OSError as error:
        if error.errno in PASSING:
            raise
        raise PoolsearchError(
            f"the images cannot be written to {root} ({error.strerror or error}). Choose another place with cache_dir."
        ) from error
    return folder


# --- datasets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pairs:
    """Images and targets that are given apart."""

    images: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], self.targets[index]


def _dataset(part: str, given: Any) -> Any:
    """What was given for a part as something with a length and items."""
    if isinstance(given, Mapping):
        names = ", ".join(map(str, cast("Mapping[Any, Any]", given)))
        raise PoolsearchError(f"{part} is a dictionary with {names}. {_EXPECTED}, such as train=given['train'].")
    if isinstance(given, list) and len(cast("list[Any]", given)) == 2 and hasattr(given[0], "shape"):
        raise PoolsearchError(f"{part} is a list of two. Give a tuple: {part}=(images, targets).")
    if isinstance(given, tuple):
        if len(given) != 2:
            raise PoolsearchError(f"{part} is a tuple of {len(given)}. {_EXPECTED}.")
        given = _Pairs(*given)
        lengths = [_length(part, one) for one in (given.images, given.targets)]
        if lengths[0] != lengths[1]:
            raise PoolsearchError(
                f"{part} has {lengths[0]:,} images but {lengths[1]:,} targets; one is needed for each."
            )
    if not _length(part, given):
        raise PoolsearchError(f"{part} has no images.")
    if not hasattr(given, "__getitem__"):
        raise PoolsearchError(f"{part} is a {type(given).__name__}, whose items cannot be had by number. {_EXPECTED}.")
    return given


def _length(part: str, given: Any) -> int:
    if hasattr(given, "dataset") and hasattr(given, "batch_size"):
        raise PoolsearchError(f"{part} is a {type(given).__name__}: give its dataset, without loader.")
    try:
        return len(given)
    except TypeError:
        raise PoolsearchError(
            f"{part} is a {type(given).__name__} without a length. {_EXPECTED}; of a stream of items that fits into "
            "memory, list(dataset)."
        ) from None


def _class_names(dataset: Any, keys: Sequence[str]) -> list[str] | None:
    """What a dataset of torchvision or of Hugging Face says that its classes are called."""
    while True:
        found = getattr(dataset, "classes", None)
        if found is None and isinstance(features := getattr(dataset, "features", None), Mapping):
            of_keys = [features.get(key) for key in keys]  # a list of labels has what it is of in ``feature``
            named = [getattr(getattr(one, "feature", one), "names", None) for one in of_keys]
            found = next((names for names in named if names), None)
        if isinstance(found, Sequence) and not isinstance(found, str):
            return [str(name) for name in cast("Sequence[Any]", found)]
        if (inner := _inside(dataset)) is None:
            return None
        dataset = inner


def _inside(dataset: Any) -> Any:
    """What a Subset is of, or the first part of a ConcatDataset; None where it is neither."""
    if hasattr(dataset, "dataset"):
        return dataset.dataset
    parts = getattr(dataset, "datasets", None)
    return parts[0] if isinstance(parts, list) and parts else None


def _name(dataset: Any) -> str:
    """Of the folder: the kind of the dataset inside of all subsets."""
    while (inner := _inside(dataset)) is not None:
        dataset = inner
    return "arrays" if isinstance(dataset, (tuple, list)) else type(dataset).__name__


# --- files -----------------------------------------------------------------------------------------------------------


def _write(
    path: Path,
    part: str,
    dataset: Any,
    targets: ObjectTargets,
    see: Callable[[bytes], object],
    progress: Progress,
) -> None:
    """One part as a parquet file; ``see`` gets everything that is in it."""
    for index in range(0, len(dataset), -(-len(dataset) // _READ_TWICE)):
        if _encoded(part, dataset, index, targets) != _encoded(part, dataset, index, targets):
            raise PoolsearchError(
                f"item {index} of {part} is not the same when it is read again: the dataset varies its images. "
                "Images are read once and varied by poolsearch (augment=...): give the dataset without random "
                "transforms."
            )
    writer: pq.ParquetWriter | None = None
    try:
        with progress.bar(f"reading {part}", len(dataset)) as update:
            for images, encoded, done in _groups(part, dataset, targets):
                update(done, "")
                for image, target in zip(images, encoded, strict=True):
                    see(f"{part} {len(image)} {target!r} ".encode())
                    see(image)
                group = _table(part, images, encoded, targets)
                if writer is None:
                    writer = pq.ParquetWriter(path, group.schema, compression="NONE", use_dictionary=False)
                if group.schema != writer.schema:
                    raise PoolsearchError(f"targets of {part} are numbers in some items and names in others.")
                writer.write_table(group)
    finally:
        if writer is not None:
            writer.close()


def _stamp(path: Path, digest: str) -> None:
    """Give a file a time that follows from the content of all: the fingerprint of a data set in files rests on it.

    So the same images have the same one however often they are written, and others have another.
    """
    seconds, nanoseconds = int(digest[:16], 16) % (1 << 31), int(digest[16:32], 16) % 10**9
    os.utime(path, ns=(0, seconds * 10**9 + nanoseconds))


def _groups(part: str, dataset: Any, targets: ObjectTargets) -> Iterator[tuple[list[bytes], list[Encoded], int]]:
    """Encoded images and their targets, so many that they stay small, and how many there were so far."""
    images, encoded, held = list[bytes](), list[Encoded](), 0
    for index in range(len(dataset)):
        image, target = _encoded(part, dataset, index, targets)
        images.append(image)
        encoded.append(target)
        held += len(image) + (len(target) if isinstance(target, bytes) else 0)
        if held >= _GROUP_BYTES or index == len(dataset) - 1:
            yield images, encoded, index + 1
            images, encoded, held = [], [], 0


def _table(part: str, images: list[bytes], encoded: list[Encoded], targets: ObjectTargets) -> pa.Table:
    column = targets.array(part, encoded)
    return pa.table({"image": pa.array(images, pa.binary()), "label": column}).replace_schema_metadata({
        "huggingface": targets.metadata(column)
    })  # fmt: skip


# --- items -----------------------------------------------------------------------------------------------------------


def _encoded(part: str, dataset: Any, index: int, targets: ObjectTargets) -> tuple[bytes, Encoded]:
    """An image as the content of a file, and its target."""
    where = f"item {index} of {part}"
    try:
        item = dataset[index]
    except Exception as error:  # the dataset is the user's
        raise PoolsearchError(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    image, target = _image_and_target(where, item, targets.kind)
    file = _file_of(where, image)
    return file, targets.encoded(where, target, file)


def _image_and_target(where: str, item: Any, kind: TargetKind) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        target_names = target_keys(kind)
        keys = [next((key for key in wanted if key in item), None) for wanted in (IMAGE_KEYS, target_names)]
        if None in keys:
            what = "class" if kind == "classes" else "target"
            raise PoolsearchError(
                f"{where} has the keys {', '.join(map(str, item))}. An image is looked for under "
                f"{', '.join(IMAGE_KEYS)}; its {what} under {', '.join(target_names)}."
            )
        return item[keys[0]], item[keys[1]]
    if isinstance(item, (tuple, list)) and len(cast("Sequence[Any]", item)) == 2:
        return cast("tuple[Any, Any]", tuple(cast("Sequence[Any]", item)))
    count = f" of {len(cast('Sequence[Any]', item))}" if isinstance(item, (tuple, list)) else ""
    raise PoolsearchError(f"{where} is a {type(item).__name__}{count}. {_EXPECTED}.")


def _file_of(where: str, image: Any) -> bytes:
    """What a file of this image would hold: a PNG, or of an array NumPy's form."""
    held = io.BytesIO()
    if isinstance(image, Image.Image):
        for form, options in (("PNG", {"compress_level": 1}), ("TIFF", {})):
            try:
                image.save(held, form, **options)
                return held.getvalue()
            except OSError:  # a mode that files of this kind do not have
                held = io.BytesIO()
        image.convert("RGB").save(held, "PNG", compress_level=1)
        return held.getvalue()
    array = _array_of(where, image)
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def _array_of(where: str, image: Any) -> np.ndarray[Any, Any]:
    """The pixels of an image, channels last."""
    if hasattr(image, "detach"):  # a tensor of torch, whose channels come first
        tensor = image.detach().cpu()
        if tensor.ndim == 3 and tensor.shape[0] > 4 >= tensor.shape[-1]:
            raise PoolsearchError(
                f"{where} has a tensor of shape {tuple(tensor.shape)}, whose channels come last. Those of tensors come "
                "first: image.permute(2, 0, 1). Or give a NumPy array."
            )
        try:
            array = tensor.numpy()
        except TypeError:  # of a kind that NumPy does not have, such as bfloat16
            array = tensor.float().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        array = cast("np.ndarray[Any, Any]", image)
    else:
        raise PoolsearchError(
            f"{where} has a {type(image).__name__} for an image. Give PIL images, NumPy arrays of shape (H, W) or "
            "(H, W, C), or tensors of shape (H, W) or (C, H, W)."
        )
    if array.dtype.kind not in "buif":
        raise PoolsearchError(f"{where} has an image of {array.dtype}. Give numbers.")
    try:
        check_shape(array.shape)
    except Unreadable as error:
        raise PoolsearchError(f"{where} has {error}.") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PoolsearchError(f"{where} has pixels that are NaN or infinite.")
    return np.ascontiguousarray(array)
