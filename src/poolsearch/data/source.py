"""From what the user wrote to a data set: an embedded one, one of torchvision's by name, or a path."""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poolsearch.data.archives import is_archive, unpack_advice
from poolsearch.data.folder import LAYOUT, folder_source
from poolsearch.data.items import TARGET_WORDS, ArrayItems, LabelledItems, Source, make_source
from poolsearch.data.mask_folder import are_images_and_masks, mask_folder_source
from poolsearch.data.names import TABLES, ending, entries
from poolsearch.data.npz import npz_source
from poolsearch.data.parquet import parquet_files, parquet_source
from poolsearch.data.table import table_source
from poolsearch.errors import PoolsearchError, unknown

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

DIGITS = "digits"
OBJECTS = "objects"
"""The kind of a user's folder for images that were given as Python objects."""


def find_source(data: str, data_root: Path | None = None, kind: TargetKind = "classes") -> Source:
    """The data set that ``data`` stands for.

    Args:
        data: ``digits``, a name in ``torchvision_sets.SETS``, or the path of an image folder, of a table of images, of
            a folder of parquet files or of an ``.npz``. It is a path when it exists, contains a path separator or ends
            as one of these files does.
        data_root: where torchvision's sets lie; ``~/.cache/poolsearch/torchvision`` when not given.
        kind: what there is to learn of each image.

    Returns:
        What images there are, with labels or other targets, and parts; none is decoded.

    Raises:
        PoolsearchError: nothing is there, it has an unknown layout, its classes cannot be trained on, or it has no
            targets of this kind.
    """
    path = Path(data).expanduser()
    if path.exists() or ending(path.name) in _FILES or "/" in data or os.sep in data:
        return _from_path(path, kind)
    if data == DIGITS and kind == "classes":
        return _digits()
    from poolsearch.data.torchvision_sets import SETS, torchvision_source  # a second to import, for those who need it

    if kind != "classes" and data in (DIGITS, *SETS):
        raise PoolsearchError(
            f"{data} has {TARGET_WORDS['classes']}, and {TARGET_WORDS[kind]} should be learned (--task). Give a path "
            "to images with these, or --task classification."
        )
    if data in SETS:
        return torchvision_source(data, data_root or default_cache_dir() / "torchvision")
    error = unknown("data set", data, [DIGITS, *SETS])
    raise PoolsearchError(f"{error} Or give a path: nothing of that name is in this folder.{_nearest(path)}")


def _digits() -> Source:
    """scikit-learn's 1797 digits of 8x8: small, and always there."""
    from sklearn.datasets import load_digits  # as above

    bunch: Any = load_digits()
    grey_NHW = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # the values are 0 to 16
    items = ArrayItems(np.repeat(grey_NHW[..., None], 3, axis=3), DIGITS)
    names = [str(name) for name in bunch.target_names]
    return make_source(DIGITS, [LabelledItems("train", items, bunch.target.astype(np.int64))], names, flippable=False)


def _from_path(path: Path, kind: TargetKind) -> Source:
    if not path.exists() and path.parent.name.startswith(f"{OBJECTS}-"):
        raise PoolsearchError(
            f"{path} is gone, where images that were given as Python objects were kept. Give them again, and they are "
            "written anew: poolsearch.run(FOLDER, resume=True, train=..., test=...)."
        )
    if not path.exists():
        raise PoolsearchError(f"{path} does not exist.{_nearest(path)} Give {_ALLOWED}.")
    try:
        if path.is_dir():
            return parquet_source(path, kind) if any(parquet_files(path)) else _from_folder(path, kind)
        if ending(path.name) in _FILES:
            return _FILES[ending(path.name)](path, kind)
        if is_archive(path.name):
            raise PoolsearchError(f"{path} cannot be read as a data set. {unpack_advice(path)}.")
        raise PoolsearchError(f"{path} cannot be read as a data set. Give {_ALLOWED}.")
    except OSError as error:
        raise PoolsearchError(
            f"{error.filename or path} cannot be read ({error.strerror or error}). Give yourself the right to read all "
            f"of {path}."
        ) from None


def _from_folder(path: Path, kind: TargetKind) -> Source:
    if kind == "classes":
        source = folder_source(path)
        if not are_images_and_masks(source.class_names):
            return source
        first, second = source.class_names
        warning = f"the classes are '{first}' and '{second}'. If these are images and their masks, give --task dense."
        return replace(source, warnings=[*source.warnings, warning])
    if kind == "masks":
        return mask_folder_source(path)
    tables = [entry.name for entry in entries(path)[1] if ending(entry.name) in TABLES]
    hint = f"--data {path / tables[0]}" if tables else "labels.csv, with a row for each image (docs/data.md)"
    raise PoolsearchError(
        f"{path} is a folder, which does not say {TARGET_WORDS[kind]} (--task). Give a table of the images: {hint}."
    )


def _nearest(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean '{path.parent / near[0]}'?" if near else ""


_FILES = {".npz": npz_source, ".parquet": parquet_source, **dict.fromkeys(TABLES, table_source)}


_ALLOWED = (
    f"an image folder ({LAYOUT}), a table of images (labels.csv with the columns file,label), a folder of "
    "train-*.parquet files, an .npz, or a name without a slash such as digits"
)


def default_cache_dir() -> Path:
    """The folder for decoded images and downloads, where ``--cache-dir`` does not say.

    Returns:
        ``$XDG_CACHE_HOME/poolsearch``, or ``~/.cache/poolsearch`` where that is not set; it need not be there.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "poolsearch"


def private_folder(cache_dir: Path, kind: str = "images") -> Path:
    """The folder for the user's decoded images, or something alike, made if need be; nobody else may read or change it.

    Each user has one, so that several users, root among them, can share ``cache_dir``.

    Args:
        cache_dir: the folder that it lies in, made if need be.
        kind: of what it is for.

    Returns:
        ``cache_dir/KIND-USER``, with the user's number.

    Raises:
        PoolsearchError: there is one that others may have changed.
        OSError: it cannot be made.
    """
    folder = cache_dir / (f"{kind}-{os.geteuid()}" if hasattr(os, "geteuid") else kind)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reason := why_not_private(folder):
        raise PoolsearchError(
            f"{folder} is not used for decoded {kind}: {reason}. Delete it, and it is made again; or choose another "
            "place with --cache-dir."
        )
    return folder


def why_not_private(path: Path) -> str | None:
    """What speaks against taking what lies at ``path`` for our own work.

    Args:
        path: a file or folder; a link is not followed.

    Returns:
        The reason, in words; None: nothing.

    Raises:
        OSError: nothing is there.
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link"
    if not hasattr(os, "geteuid"):  # a system with other ways to say who may write
        return None
    if status.st_uid != os.geteuid():
        return f"it belongs to another user (number {status.st_uid}, not {os.geteuid()})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write to it"
    return None
