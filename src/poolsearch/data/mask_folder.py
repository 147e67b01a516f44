"""Folders of images with a mask each: a folder of images beside one of masks, with or without train, val and test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poolsearch.data.csv_rows import named
from poolsearch.data.gate import Unreadable, open_regular
from poolsearch.data.items import PARTS, FileItems, JoinedItems, LabelledItems, Source, Targets, make_source
from poolsearch.data.masks import MASK_KINDS
from poolsearch.data.names import ending, entries, is_image, part_of
from poolsearch.errors import PoolsearchError

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation")
"""What the two folders may be called, in any case of letters."""

CLASSES = "classes.txt"
"""The names of the classes of pixels, one a line, the first that of 0."""

LAYOUT = (
    "FOLDER/images/1.jpg with FOLDER/masks/1.png, or FOLDER/train/images and FOLDER/train/masks with optional "
    "FOLDER/val and FOLDER/test; a mask is called as its image is, and is a PNG, a .npy or another file without loss"
)

_CLASSES_BYTES = 1 << 20


@dataclass(frozen=True)
class _Pair:
    """A folder of images and the one of their masks."""

    images: Path
    masks: Path


def mask_folder_source(root: Path) -> Source:
    """Images with a mask each, in one of the two layouts of :data:`LAYOUT`, or in a folder with nothing beside it.

    Args:
        root: the folder.

    Returns:
        The data set, not yet decoded.

    Raises:
        PoolsearchError: the folder has another layout, an image has no mask, or there are too few.
    """
    top = root
    while _pair(top) is None and len(inner := _subfolders(top)) == 1 and part_of(inner[0].name) is None:
        top = inner[0]
    images: dict[str, list[str]] = {part: [] for part in PARTS}
    masks: dict[str, list[str]] = {part: [] for part in PARTS}
    warnings: list[str] = []
    for part, pair in _pairs(root, top):
        own_images, own_masks = _files(pair.images, root), _files(pair.masks, root, masks=True)
        _check_all_have_one(root, pair, own_images, own_masks)
        if spare := sorted(own_masks.keys() - own_images.keys()):
            shown = named([os.path.relpath(own_masks[stem], root) for stem in spare])
            warnings.append(f"{len(spare):,} masks of {root} belong to no image, and are not used: {shown}.")
        within = part is None and _is_divided(pair.images)
        for stem in sorted(own_images):
            its_part = (part_of(stem.partition("/")[0]) if within else part) or "train"
            images[its_part].append(own_images[stem])
            masks[its_part].append(own_masks[stem])
    parts = [part for part in PARTS if images[part]]
    if not parts:
        raise PoolsearchError(f"no images found in {root}. Expected: {LAYOUT}.")
    pieces = [LabelledItems.without_classes(part, FileItems(images[part], root)) for part in parts]
    targets = Targets("masks", JoinedItems([FileItems(masks[part], root) for part in parts]), _class_names(root, top))
    return make_source(str(root), pieces, (), targets=targets, notes=_notes(root, top), warnings=warnings)


def are_images_and_masks(names: Sequence[str]) -> bool:
    """Whether folders of these names are rather images and masks than classes.

    Args:
        names: of all folders beside each other.

    Returns:
        True where there are two, called so.
    """
    first, *others = sorted(names, key=lambda name: name.lower() in MASKS) or [""]
    return len(others) == 1 and first.lower() in IMAGES and others[0].lower() in MASKS


# --- which folder is what --------------------------------------------------------------------------------------------


def _pairs(root: Path, top: Path) -> list[tuple[str | None, _Pair]]:
    """The folders of images and masks of each part; None is a pair without a part above it."""
    if (whole := _pair(top)) is not None:
        return [(None, whole)]
    found: dict[str, Path] = {}
    for folder in _subfolders(top):
        part = part_of(folder.name)
        if part in found:
            raise PoolsearchError(
                f"{top} has both '{found[part].name}' and '{folder.name}'. Keep one folder for {part}."
            )
        if part is not None:
            found[part] = folder
    if "train" not in found:
        there = ", ".join(f"'{folder.name}'" for folder in _subfolders(top)[:5])
        raise PoolsearchError(
            f"{root} has no folder of images beside one of masks{f', but {there}' if there else ''}. Expected: "
            f"{LAYOUT}; or a table with the columns file,mask."
        )
    pairs: list[tuple[str | None, _Pair]] = []
    for part, folder in found.items():
        pair = _pair(folder)
        if pair is None:
            raise PoolsearchError(f"{folder} has no folder of images beside one of masks. Expected: {LAYOUT}.")
        pairs.append((part, pair))
    return pairs


def _pair(folder: Path) -> _Pair | None:
    """A folder of images and one of masks in a folder; None where it lacks one."""
    found: list[Path] = []
    for names in (IMAGES, MASKS):
        called = [one for one in _subfolders(folder) if one.name.lower() in names]
        if len(called) > 1:
            raise PoolsearchError(
                f"{folder} has both '{called[0].name}' and '{called[1].name}'. Keep one of them, or give a table with "
                "the columns file,mask."
            )
        found += called
    return _Pair(*found) if len(found) == 2 and found[0].name.lower() in IMAGES else None


def _subfolders(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in entries(folder)[0]]


def _is_divided(folder: Path) -> bool:
    """Whether a folder of images holds nothing but folders of parts."""
    folders, others = entries(folder)
    return all(part_of(one.name) for one in folders) and not any(is_image(one.name) for one in others)


def _notes(root: Path, top: Path) -> list[str]:
    pair = _pair(top)
    shown = "the folders of each part" if pair is None else f"'{pair.images.name}' and '{pair.masks.name}'"
    below = "" if top == root else f" of '{top.relative_to(root)}'"
    return [f"images and masks are those in {shown}{below}"]


# --- what lies in them -----------------------------------------------------------------------------------------------


def _files(folder: Path, root: Path, masks: bool = False) -> dict[str, str]:
    """Images or masks at any depth, by their path below the folder without its ending."""
    found: dict[str, str] = {}
    for path in _walk(folder):
        kind = ending(path)
        if masks and is_image(os.path.basename(path)) and kind not in MASK_KINDS:
            raise PoolsearchError(
                f"{os.path.relpath(path, root)} is a mask, and {kind} files change the numbers of classes. Save masks "
                "as PNG."
            )
        if kind not in MASK_KINDS if masks else not is_image(os.path.basename(path)):
            continue
        stem = os.path.splitext(os.path.relpath(path, folder))[0].replace(os.sep, "/")
        if stem in found:
            what = "masks of one image" if masks else "images of one name, which would have one mask"
            pair = f"'{os.path.relpath(found[stem], root)}' and '{os.path.relpath(path, root)}'"
            raise PoolsearchError(f"{root}: {pair} are two {what}. Rename or delete one.")
        found[stem] = path
    return found


def _walk(folder: Path) -> Iterator[str]:
    """All files at any depth, each folder once."""
    stack, entered = [str(folder)], set[str]()
    while stack:
        path = stack.pop()
        if (real := os.path.realpath(path)) in entered:
            continue
        entered.add(real)
        folders, others = entries(path)
        stack.extend(entry.path for entry in folders)
        yield from (entry.path for entry in others)


def _check_all_have_one(root: Path, pair: _Pair, images: Mapping[str, str], masks: Mapping[str, str]) -> None:
    missing = sorted(images.keys() - masks.keys())
    if not missing:
        return
    shown = named([os.path.relpath(images[stem], root) for stem in missing])
    wanted = os.path.relpath(pair.masks / f"{missing[0]}.png", root)
    near = next((masks[stem] for stem in sorted(masks) if stem.startswith(missing[0])), None)
    there = f" There is {os.path.relpath(near, root)}." if near else ""
    raise PoolsearchError(
        f"{root}: {len(missing):,} of {len(images):,} images have no mask: {shown}. The mask of the first is looked "
        f"for as {wanted} (or .npy, .tif, ...).{there} Add the masks, take the images away, or give a table with the "
        "columns file,mask."
    )


def _class_names(root: Path, top: Path) -> tuple[str, ...]:
    """The names of the classes of pixels; none where no file says."""
    path = next((folder / CLASSES for folder in (top, root) if os.path.lexists(folder / CLASSES)), None)
    if path is None:
        return ()
    try:
        with open_regular(path, _CLASSES_BYTES) as handle:
            names = [line.strip() for line in handle.read().decode("utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PoolsearchError(f"{path} cannot be read ({reason}). Expected: {_NAMES}.") from None
    if problem := _why_no_names(names):
        raise PoolsearchError(f"{path} {problem}. Expected: {_NAMES}.")
    return tuple(names)


_NAMES = "a text in UTF-8 with the name of a class of pixels on each line, the first that of 0"


def _why_no_names(names: Sequence[str]) -> str | None:
    if "" in names:
        return f"has no name on line {names.index('') + 1}"
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"has the name {twice} twice"
    return None if len(names) > 1 else "names fewer than 2 classes"
