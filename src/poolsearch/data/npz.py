"""NumPy ``.npz`` archives of images and labels."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from poolsearch.data.checks import as_labels, class_numbers
from poolsearch.data.gate import ARRAY_BYTES, open_regular, size_text
from poolsearch.data.image_file import channels_first
from poolsearch.data.items import ArrayItems, JoinedItems, LabelledItems, Source, Targets, make_source, stamp
from poolsearch.data.labels import checked_labels
from poolsearch.errors import PoolsearchError

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

KEYS = (
    {"train": ("x_train", "y_train"), "val": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "val": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("x", "y")},
    {"train": ("images", "labels")},
)
"""The key names that are understood, one naming after the other; only the training part must be there."""

EXPECTED = "x_train, y_train and optionally x_val, y_val, x_test, y_test; or x, y; or images, labels"

MOST_UNPACKED = 100
"""An archive may be unpacked to so many times its size, where that is more than :data:`ARRAY_BYTES`. Drawings are
packed to a twentieth; a thousandth is what nothing but zeros can be packed to."""

_NPZ_BYTES = 1 << 40  # the arrays have limits of their own


def npz_source(path: Path, kind: TargetKind = "classes") -> Source:
    """An archive of images and integer labels, or other targets.

    Args:
        path: the file, with arrays named as in one of :data:`KEYS`: images NHW, or NHWC with any number of channels.
        kind: what there is to learn of each image: (N,) classes, (N, K) of 0 and 1 for each label, (N, ...) values, or
            (N, H, W) masks.

    Returns:
        The data set; its classes are named by their numbers.

    Raises:
        PoolsearchError: the file is no such archive, is too large when unpacked, or fails the checks of
            :func:`make_source`.
    """
    try:
        with open_regular(path, _NPZ_BYTES) as handle, zipfile.ZipFile(handle) as archive:
            pieces, targets = _pieces(path, archive, kind)
    except PoolsearchError:
        raise
    except Exception as error:  # damaged archives make zipfile, zlib and NumPy raise anything
        raise PoolsearchError(
            f"{path} cannot be read as an .npz archive of plain arrays: {str(error) or type(error).__name__}"
        ) from None
    if kind != "classes":
        return make_source(str(path), pieces, (), targets=_targets(path, kind, targets))
    return make_source(str(path), pieces, class_numbers(str(path), [piece.label_N for piece in pieces]))


def _targets(path: Path, kind: TargetKind, arrays: dict[str, Any]) -> Targets:
    """Targets that are no classes, by the key of their array."""
    if kind == "masks":
        items = [ArrayItems(array, key, f"{key} {stamp(path)}") for key, array in arrays.items()]
        return Targets("masks", JoinedItems(items))
    for key, array in arrays.items():
        allowed = {0, 1} if kind == "labels" else None
        if array.dtype.kind not in "buif" or (allowed and (array.ndim != 2 or not np.isin(array, (0, 1)).all())):
            raise PoolsearchError(
                f"{path}: {key} is {array.dtype} of shape {array.shape}; it must be "
                f"{'0 or 1 for each image and label (shape NK)' if allowed else 'numbers, for each image as many'}."
            )
        if bad := np.argwhere(~np.isfinite(array)).tolist():
            raise PoolsearchError(f"{path}: {key}{bad[0]} is {array[tuple(bad[0])]}. Give numbers.")
    shapes = {key: array.shape[1:] for key, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise PoolsearchError(f"{path}: targets have other shapes in other parts ({told}). Make them alike.")
    joined = np.concatenate([array.astype(np.uint8 if kind == "labels" else np.float32) for array in arrays.values()])
    names = [str(number) for number in range(joined.shape[-1])] if joined.ndim > 1 else ["value"]
    if kind == "labels":
        return checked_labels(str(path), joined, names)
    return Targets(kind, ArrayItems(joined, "targets"), tuple(names))


def _pieces(
    path: Path, archive: zipfile.ZipFile, kind: TargetKind
) -> tuple[list[LabelledItems], dict[str, npt.NDArray[Any]]]:
    """The images, and targets that are no classes by the key of their array."""
    member_of = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    for naming in KEYS:
        if set(naming["train"]) <= member_of.keys():
            parts = {part: keys for part, keys in naming.items() if set(keys) <= member_of.keys()}
            _check_size(path, {key: member_of[key] for keys in parts.values() for key in keys})
            pieces: list[LabelledItems] = []
            targets: dict[str, npt.NDArray[Any]] = {}
            for part, keys in parts.items():
                arrays = {key: _array(path, archive, member_of[key], key) for key in keys}
                pieces.append(_piece(path, part, arrays, *keys, kind))
                targets[keys[1]] = arrays[keys[1]]
            return pieces, targets
    raise PoolsearchError(f"{path} has the keys {', '.join(sorted(member_of)) or '(none)'}. Expected: {EXPECTED}.")


def _check_size(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """What is unpacked is kept in memory; seen before any of it is."""
    unpacked = sum(info.file_size for info in members.values())
    most = max(ARRAY_BYTES, MOST_UNPACKED * path.stat().st_size)
    if unpacked > most:
        raise PoolsearchError(
            f"{path} is {size_text(path.stat().st_size)} and would be unpacked to {size_text(unpacked)}; at most "
            f"{size_text(most)} are. If that is what it holds, save it with np.savez, which does not compress."
        )


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str) -> Any:
    """One array. What its heading promises must be what the archive's directory says that there is."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        heading = member.tell()
    promised = dtype.itemsize
    for length in shape:  # not by NumPy, which would count beyond 64 bits
        promised *= length
    if dtype.hasobject or promised != info.file_size - heading:
        raise PoolsearchError(
            f"{path}: {key} is said to be {dtype} of shape {shape}, and {info.file_size - heading:,} bytes of it are "
            "there. The file is damaged, or does not hold plain arrays: make it anew with np.savez."
        )
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _piece(
    path: Path, part: str, arrays: Mapping[str, Any], image_key: str, label_key: str, kind: TargetKind
) -> LabelledItems:
    pixels = arrays[image_key]
    known = arrays[label_key]
    label_N = as_labels(f"{path}: {label_key}", known) if kind == "classes" else np.zeros(len(known), np.int64)
    if pixels.dtype.kind not in "uif" or pixels.ndim not in (3, 4) or channels_first(pixels.shape[1:]):
        raise PoolsearchError(
            f"{path}: {image_key} is {pixels.dtype} of shape {pixels.shape}; images must be uint8 (0 to 255) or "
            "other numbers (see --value-range), of shape NHW or NHWC, channels last. Scale, transpose and cast them "
            "before saving."
        )
    if 0 in pixels.shape[1:]:
        raise PoolsearchError(f"{path}: {image_key} is of shape {pixels.shape}: its images have no pixels.")
    if len(pixels) != len(label_N):
        raise PoolsearchError(
            f"{path}: {image_key} has {len(pixels)} images but {label_key} has {len(label_N)} labels; there must "
            "be one for each."
        )
    return LabelledItems(part, ArrayItems(pixels, image_key, f"{image_key} {stamp(path)}"), label_N)
