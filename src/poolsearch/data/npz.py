"""NumPy ``.npz`` archives of images and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from poolsearch.data.checks import as_labels, class_numbers
from poolsearch.data.items import ArrayItems, Piece, Source, make_source, stamp
from poolsearch.errors import PoolsearchError

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


def npz_source(path: Path) -> Source:
    """An archive of uint8 images (NHW, or NHWC with 1, 2, 3 or 4 channels) and integer labels.

    Raises:
        PoolsearchError: the file is no such archive, or fails the checks of :func:`make_source`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            pieces = _pieces(path, archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, PoolsearchError):
            raise
        raise PoolsearchError(f"{path} cannot be read as an .npz archive of plain arrays: {error}") from None
    return make_source(str(path), pieces, class_numbers(str(path), [piece.label_N for piece in pieces]))


def _pieces(path: Path, archive: Any) -> list[Piece]:
    names = set(archive.files)
    for naming in KEYS:
        if set(naming["train"]) <= names:
            parts = {part: keys for part, keys in naming.items() if set(keys) <= names}
            return [_piece(path, archive, part, *keys) for part, keys in parts.items()]
    raise PoolsearchError(f"{path} has the keys {', '.join(sorted(names)) or '(none)'}. Expected: {EXPECTED}.")


def _piece(path: Path, archive: Any, part: str, image_key: str, label_key: str) -> Piece:
    pixels = np.asarray(archive[image_key])
    label_N = as_labels(f"{path}: {label_key}", archive[label_key])
    channels = pixels.shape[3] if pixels.ndim == 4 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or channels not in (1, 2, 3, 4):
        raise PoolsearchError(
            f"{path}: {image_key} is {pixels.dtype} of shape {pixels.shape}; images must be uint8 (0 to 255) of "
            "shape NHW or NHWC with 1 to 4 channels, channels last. Scale, transpose and cast them before saving."
        )
    if len(pixels) != len(label_N):
        raise PoolsearchError(
            f"{path}: {image_key} has {len(pixels)} images but {label_key} has {len(label_N)} labels; there must "
            "be one for each."
        )
    return Piece(part, ArrayItems(pixels, image_key, f"{image_key} {stamp(path)}"), label_N)
