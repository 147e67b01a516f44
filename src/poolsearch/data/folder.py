"""Image folders: one subfolder for each class, with or without a train/val/test level above.

What systems and editors leave is passed over at every depth. A link is followed where it leads out of all class
folders, and each folder once, so that no image has two classes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poolsearch.data.archives import is_archive, unpack_advice
from poolsearch.data.items import PARTS, FileItems, LabelledItems, Source, make_source
from poolsearch.data.names import TABLES, UNREAD, ending, entries, is_image, is_unlabelled, part_of
from poolsearch.errors import PoolsearchError

LAYOUT = "FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with optional FOLDER/val and FOLDER/test"

TABLE = "a table of the images (--data FOLDER/labels.csv, with the columns file,label)"

NAMED = 5
"""So many folders or files are named in a sentence."""


@dataclass
class _Listing:
    """What lies in the class folders of a data set.

    Attributes:
        images: paths, sorted, by part and class.
        homes: part and class of each class folder, by its real path.
        above: real paths of all folders that have a class folder in them.
        entered: real paths of the folders whose images are counted.
        crossing: links that are not followed, since what they lead to is another class's or counted already.
        archives: that lie in class folders.
    """

    images: dict[str, dict[str, list[str]]] = field(default_factory=dict[str, dict[str, list[str]]])
    homes: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    above: set[str] = field(default_factory=set[str])
    entered: set[str] = field(default_factory=set[str])
    crossing: list[str] = field(default_factory=list[str])
    archives: list[str] = field(default_factory=list[str])


def folder_source(root: Path) -> Source:
    """An image folder in one of the two layouts of :data:`LAYOUT`, or in a folder with nothing beside it.

    Args:
        root: the folder.

    Returns:
        The data set, not yet decoded; its classes are in the order of their names.

    Raises:
        PoolsearchError: the folder has another layout, or fails the checks of :func:`make_source`.
    """
    top = root
    while (only := _only_folder(top)) is not None and part_of(only.name) is None:
        top = only
    part_folders = _part_folders(top)
    found = _list(root, part_folders)
    if not any(paths for of_class in found.images.values() for paths in of_class.values()):
        raise PoolsearchError(f"{_what_is_wrong(root, part_folders)} Expected: {LAYOUT}; or {TABLE}.")
    for part, folder in part_folders.items():
        _refuse_same_subfolders(folder, found.images[part])
    names = sorted({name for of_class in found.images.values() for name in of_class})
    return make_source(
        str(root),
        _pieces(root, found.images, names),
        names,
        notes=_layout_notes(root, part_folders),
        warnings=_warnings(root, part_folders, found),
    )


def class_pieces(root: Path, part: str, leave_out: Sequence[str] = ()) -> tuple[list[LabelledItems], list[str]]:
    """The images of one folder of class folders.

    Args:
        root: the folder.
        part: what they are: "train", "val" or "test".
        leave_out: names of folders that are no classes.

    Returns:
        One piece with all images and their labels; and the names of the classes, sorted, that the labels number.
    """
    listed = {name: paths for name, paths in _list(root, {part: root}).images[part].items() if name not in leave_out}
    names = sorted(listed)
    return _pieces(root, {part: listed}, names), names


def unread_kinds(root: Path) -> dict[str, int]:
    """How many pictures of kinds that cannot be read lie under a folder.

    Args:
        root: the folder.

    Returns:
        Number of files by ending, such as ``{".heic": 12}``; none of other kinds.
    """
    found = Counter[str]()
    stack = [str(root)]
    while stack:
        try:
            folders, others = entries(stack.pop())
        except OSError:  # it is no class folder, or was refused before
            continue
        stack.extend(entry.path for entry in folders if not entry.is_symlink())
        found.update(kind for entry in others if (kind := ending(entry.name)) in UNREAD)
    return dict(found)


# --- which folder is what --------------------------------------------------------------------------------------------


def _part_folders(root: Path) -> dict[str, Path]:
    """The folder of each part; the whole folder is "train" when there is no such level."""
    found: dict[str, Path] = {}
    others: list[Path] = []
    for folder in _subfolders(root):
        part = part_of(folder.name)
        if part is None:
            others.append(folder)
        elif part in found:
            raise PoolsearchError(
                f"{root} has both '{found[part].name}' and '{folder.name}'. Keep one folder for {part}."
            )
        else:
            found[part] = folder
    divided = {part: folder for part, folder in found.items() if _has_class_folders(folder)}
    if not found or (others and (not divided or ("train" not in found and len(found) == 1))):
        return {"train": root}  # among others, a folder of such a name is a class: trains beside cars
    if "train" not in found:
        raise PoolsearchError(
            f"{root} has {', '.join(f.name for f in found.values())} but no train folder. Expected: {LAYOUT}."
        )
    _refuse_classes_beside_parts(root, found, others)
    return {part: _innermost(found[part]) for part in PARTS if part in found}


def _innermost(folder: Path) -> Path:
    """Where the class folders of a part lie: often it is ``train/train`` or ``train/images``."""
    while (only := _only_folder(folder)) is not None:
        folder = only
    return folder


def _only_folder(folder: Path) -> Path | None:
    """The folder in a folder without images, where it is the only one, and has folders and no images in it itself."""
    inner = _subfolders(folder)
    if len(inner) != 1 or _has_images(folder) or _has_images(inner[0]) or not _subfolders(inner[0]):
        return None
    return inner[0]


def _refuse_classes_beside_parts(root: Path, found: Mapping[str, Path], others: Sequence[Path]) -> None:
    for folder in others:
        if _has_images(folder) and not is_unlabelled(folder.name):
            raise PoolsearchError(
                f"{root} has '{found['train'].name}' and beside it '{folder.name}' with images in it, so it is not "
                f"clear which are the classes. Expected: {LAYOUT}."
            )


def _refuse_same_subfolders(folder: Path, images: Mapping[str, Sequence[str]]) -> None:
    """Where all classes are divided alike, and have no images beside, it is mostly a division taken for classes."""
    below: set[str] | None = None
    for name, paths in images.items():
        skip = len(os.path.join(folder, name, ""))
        own = {before for before, _, after in (path[skip:].partition(os.sep) for path in paths) if after}
        if len(own) < 2 or own != (below or own) or any(os.sep not in path[skip:] for path in paths):
            return
        below = own
    if below is None or len(images) < 2:
        return
    upper, lower = _quoted(sorted(images)), _quoted(sorted(below))
    if any(part_of(name) for name in below):
        raise PoolsearchError(
            f"all class folders of {folder} ({upper}) hold the same folders ({lower}): the division lies below the "
            f"classes. Move it above them (train/CLASS/image.jpg, test/CLASS/image.jpg), or give {TABLE}, with a "
            "third column split."
        )
    raise PoolsearchError(
        f"all class folders of {folder} ({upper}) hold the same folders ({lower}) and no other images. If these are "
        f"the classes, and {upper} a division, name its folders train, val and test, or give one of them: --data "
        f"{folder / min(images)}. If {upper} are the classes, give {TABLE}."
    )


def _subfolders(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in entries(folder)[0]]


def _has_images(folder: Path) -> bool:
    return any(is_image(entry.name) for entry in entries(folder)[1])


def _has_class_folders(folder: Path) -> bool:
    """Whether there are images at any depth, but not beside each other in ``folder`` itself."""
    stack = [entry.path for entry in entries(folder)[0]]
    entered: set[str] = set()
    while stack:
        real = os.path.realpath(stack.pop())
        if real not in entered:
            entered.add(real)
            folders, others = entries(real)
            if any(is_image(entry.name) for entry in others):
                return True
            stack.extend(entry.path for entry in folders)
    return False


# --- what lies in the class folders ----------------------------------------------------------------------------------


def _list(root: Path, part_folders: Mapping[str, Path]) -> _Listing:
    found = _Listing({part: {} for part in part_folders})
    base = os.path.realpath(root)
    places = [
        (part, folder, os.path.realpath(folder)) for part in part_folders for folder in _subfolders(part_folders[part])
    ]
    # those that are no links first: what a link leads to belongs to the class in whose folder it lies
    places.sort(key=lambda place: place[2] != os.path.normpath(os.path.join(base, place[1].relative_to(root))))
    for part, folder, real in places:
        if _home(real, found.homes) is not None or real in found.above:
            found.crossing.append(str(folder))
            continue
        found.homes[real] = (part, folder.name)
        found.above.update(_parents(real))
        found.images[part][folder.name] = []
    for part, folder, real in places:
        if found.homes.get(real) == (part, folder.name):
            found.images[part][folder.name] = _images_in(folder, real, found)
    return found


def _images_in(folder: Path, home: str, found: _Listing) -> list[str]:
    """Image files at any depth, sorted.

    Raises:
        OSError: a folder may not be read.
    """
    paths: list[str] = []
    stack = [(str(folder), home)]
    while stack:
        path, real = stack.pop()
        if real in found.entered:
            if real != home:
                found.crossing.append(path)
            continue
        found.entered.add(real)
        folders, others = entries(path)
        for entry in folders:
            if not entry.is_symlink():
                stack.append((entry.path, os.path.join(real, entry.name)))
            elif _may_follow(entry, target := os.path.realpath(entry.path), home, found):
                stack.append((entry.path, target))
        for entry in others:
            if is_image(entry.name):
                if not entry.is_symlink() or _own_or_outside(entry, home, found):
                    paths.append(entry.path)
            elif is_archive(entry.name):
                found.archives.append(entry.path)
    return sorted(paths)


def _may_follow(entry: os.DirEntry[str], target: str, home: str, found: _Listing) -> bool:
    """Whether a link to a folder leads out of all class folders; into another one, or above one, is told."""
    other = _home(target, found.homes)
    if other is not None and other == found.homes[home]:
        return False  # it is entered without the link
    if other is not None or target in found.above:
        found.crossing.append(entry.path)
        return False
    return True


def _own_or_outside(entry: os.DirEntry[str], home: str, found: _Listing) -> bool:
    other = _home(os.path.dirname(os.path.realpath(entry.path)), found.homes)
    if other is None or other == found.homes[home]:
        return True
    found.crossing.append(entry.path)
    return False


def _home(path: str, homes: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """The part and class of the class folder that a real path is or lies in."""
    return next((homes[place] for place in (path, *_parents(path)) if place in homes), None)


def _parents(path: str) -> Iterable[str]:
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _pieces(root: Path, listed: Mapping[str, Mapping[str, list[str]]], names: Sequence[str]) -> list[LabelledItems]:
    number = {name: i for i, name in enumerate(names)}
    pieces: list[LabelledItems] = []
    for part, of_class in listed.items():
        paths = [path for name in sorted(of_class) for path in of_class[name]]
        label_N = np.repeat([number[name] for name in sorted(of_class)], [len(of_class[n]) for n in sorted(of_class)])
        pieces.append(LabelledItems(part, FileItems(paths, root), label_N.astype(np.int64)))
    return pieces


# --- what there is to tell -------------------------------------------------------------------------------------------


def _layout_notes(root: Path, part_folders: Mapping[str, Path]) -> list[str]:
    """Which folder is taken for what, where that is not plain."""
    if all(folder in (root, root / part) for part, folder in part_folders.items()):
        return []
    if len(part_folders) == 1:
        return [f"the class folders are those in {part_folders['train']}"]
    named = ", ".join(f"{part}: '{folder.relative_to(root)}'" for part, folder in part_folders.items())
    return [f"folders are taken as {named}"]


def _warnings(root: Path, part_folders: Mapping[str, Path], found: _Listing) -> list[str]:
    """Images that are there and not used, whatever the reason."""
    unused, archives = _unused(root, part_folders, found)
    warnings: list[str] = []
    if unused:
        named = ", ".join(f"{place} ({count:,})" for place, count in unused.most_common(NAMED))
        more = f" and {len(unused) - NAMED:,} more places" if len(unused) > NAMED else ""
        warnings.append(
            f"{unused.total():,} images of {root} are not used, since they lie in no class folder of train, val or "
            f"test: {named}{more}."
        )
    if found.crossing:
        warnings.append(
            f"links into another class, or to images that are counted already, are not followed: "
            f"{_below(root, found.crossing)}."
        )
    if archives := [*archives, *found.archives]:
        warnings.append(
            f"archives are not read: {_below(root, archives)}. If images in them are missing, unpack them and begin "
            "a new run."
        )
    return warnings


def _unused(root: Path, part_folders: Mapping[str, Path], found: _Listing) -> tuple[Counter[str], list[str]]:
    """How many images lie where outside of the class folders; and the archives there."""
    unused, archives = Counter[str](), list[str]()
    stack: list[tuple[Path, str, str | None]] = [(root, os.path.realpath(root), None)]
    while stack:
        folder, real, place = stack.pop()
        if real in found.homes:
            continue
        folders, others = entries(folder)
        if count := sum(is_image(entry.name) for entry in others):
            unused[place or f"directly in '{_shown(folder, root)}'"] += count
        archives.extend(entry.path for entry in others if is_archive(entry.name))
        for entry in folders:
            inner = os.path.join(real, entry.name)
            if not entry.is_symlink():
                known = inner in found.above or inner in found.homes or Path(entry.path) in part_folders.values()
                stack.append((Path(entry.path), inner, None if known else place or f"'{_shown(entry.path, root)}'"))
    return unused, archives


def _shown(path: str | Path, root: Path) -> str:
    below = os.path.relpath(path, root)
    return str(root) if below == "." else below


def _below(root: Path, paths: Sequence[str]) -> str:
    named = ", ".join(f"'{os.path.relpath(path, root)}'" for path in sorted(paths)[:NAMED])
    return named + (f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else "")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _what_is_wrong(root: Path, part_folders: Mapping[str, Path]) -> str:
    """Why there are no images in class folders."""
    for folder in (root, *part_folders.values()):
        if _has_images(folder):
            tables = [entry.name for entry in entries(folder)[1] if ending(entry.name) in TABLES]
            table = f" (If their classes are in {tables[0]}: --data {folder / tables[0]}.)" if tables else ""
            return f"the images lie directly in {folder}, without a subfolder for each class.{table}"
    archives = _unused(root, part_folders, _Listing())[1]
    if archives:
        return f"no images found in {root}, but {_below(root, archives)}. {unpack_advice(Path(archives[0]))}."
    if unread := unread_kinds(root):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(unread.items()))
        return f"no images found in {root} that can be read, but {kinds}: convert them to JPEG or PNG."
    if not _subfolders(root):
        return f"no images found in {root}: it has no class folders."
    return f"no images found in the folders of {root}."
