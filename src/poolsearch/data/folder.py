"""Image folders: one subfolder for each class, with or without a train/val/test level above."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from poolsearch.data.items import PARTS, FileItems, LabelledItems, Source, make_source
from poolsearch.errors import PoolsearchError

PART_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

# fmt: off
EXTENSIONS = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".jp2", ".tga",
])
# fmt: on

UNREAD = frozenset([".heic", ".heif", ".svg", ".psd", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".exr", ".jxl"])

LAYOUT = "FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with optional FOLDER/val and FOLDER/test"


def folder_source(root: Path) -> Source:
    """An image folder in one of the two layouts of :data:`LAYOUT`.

    Args:
        root: the folder.

    Returns:
        The data set, not yet decoded; its classes are in the order of their names.

    Raises:
        PoolsearchError: the folder has another layout, or fails the checks of :func:`make_source`.
    """
    part_folders = _part_folders(root)
    listed = {part: _class_files(folder) for part, folder in part_folders.items()}
    names = sorted(set().union(*listed.values()))
    if not names:
        raise PoolsearchError(f"{_what_is_wrong(root)} Expected: {LAYOUT}.")
    return make_source(str(root), _pieces(root, listed, names), names)


def class_pieces(root: Path, part: str, leave_out: Sequence[str] = ()) -> tuple[list[LabelledItems], list[str]]:
    """The images of one folder of class folders.

    Args:
        root: the folder.
        part: what they are: "train", "val" or "test".
        leave_out: names of folders that are no classes.

    Returns:
        One piece with all images and their labels; and the names of the classes, sorted, that the labels number.
    """
    listed = {name: paths for name, paths in _class_files(root).items() if name not in leave_out}
    names = sorted(listed)
    return _pieces(root, {part: listed}, names), names


def _part_folders(root: Path) -> dict[str, Path]:
    """The folder of each part; the whole folder is "train" when there is no such level."""
    folders = _subfolders(root)
    found: dict[str, Path] = {}
    others: list[Path] = []
    for folder in folders:
        part = PART_NAMES.get(folder.name.lower())
        if part is None:
            others.append(folder)
        elif part in found:
            raise PoolsearchError(
                f"{root} has both '{found[part].name}' and '{folder.name}'. Keep one folder for {part}."
            )
        else:
            found[part] = folder
    if not found or ("train" not in found and len(found) == 1 and others):
        return {"train": root}  # one folder of such a name among others is a class
    if "train" not in found:
        raise PoolsearchError(
            f"{root} has {', '.join(f.name for f in found.values())} but no train folder. Expected: {LAYOUT}."
        )
    _refuse_classes_beside_parts(root, found, others)
    return {part: found[part] for part in PARTS if part in found}


def _refuse_classes_beside_parts(root: Path, found: Mapping[str, Path], others: Sequence[Path]) -> None:
    for folder in others:
        if any(_is_image(name) for name in os.listdir(folder)):
            raise PoolsearchError(
                f"{root} has '{found['train'].name}' and beside it '{folder.name}' with images in it, so it is not "
                f"clear which are the classes. Expected: {LAYOUT}."
            )


def _class_files(root: Path) -> dict[str, list[str]]:
    return {folder.name: _image_files(folder) for folder in _subfolders(root)}


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def _image_files(root: Path) -> list[str]:
    """Image files at any depth, sorted. Links are followed, each folder is entered once.

    Raises:
        OSError: a folder may not be read.
    """
    entered: set[str] = set()
    found: list[str] = []
    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        found.extend(os.path.join(folder, name) for name in names if _is_image(name))
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS


def unread_kinds(root: Path) -> dict[str, int]:
    """How many pictures of kinds that cannot be read lie under a folder.

    Args:
        root: the folder.

    Returns:
        Number of files by ending, such as ``{".heic": 12}``; none of other kinds.
    """
    endings = (os.path.splitext(name)[1].lower() for _, _, names in os.walk(root) for name in names)
    return dict(Counter(ending for ending in endings if ending in UNREAD))


def _pieces(root: Path, listed: Mapping[str, Mapping[str, list[str]]], names: Sequence[str]) -> list[LabelledItems]:
    number = {name: i for i, name in enumerate(names)}
    pieces: list[LabelledItems] = []
    for part, of_class in listed.items():
        paths = [path for name in sorted(of_class) for path in of_class[name]]
        label_N = np.repeat([number[name] for name in sorted(of_class)], [len(of_class[n]) for n in sorted(of_class)])
        pieces.append(LabelledItems(part, FileItems(paths, root), label_N.astype(np.int64)))
    return pieces


def _what_is_wrong(root: Path) -> str:
    if any(_is_image(name) for name in os.listdir(root)):
        return f"the images lie directly in {root}, without a subfolder for each class."
    return f"no images found in {root}: it has no class folders."
