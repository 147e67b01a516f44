"""What the names of files and folders say: which part of a data set it is, an image or not, left by a system or not."""

from __future__ import annotations

import os
import re

# fmt: off
EXTENSIONS = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".jp2", ".tga", ".npy",
])
# fmt: on

UNREAD = frozenset([".heic", ".heif", ".svg", ".psd", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".exr", ".jxl"])

ARCHIVES = frozenset([".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"])

TABLES = frozenset([".csv", ".tsv", ".txt"])

_PART_WORDS = {
    "train": "train|training|trainval",
    "val": "val|valid|validation|eval|evaluation|dev|development",
    "test": "test|tests|testing|holdout",
}
# No word is made of others, as "dataset" is of "data" and "set": a long name would be tried in all ways to divide it.
_FILLER = "(?:sets?|images?|imgs?|data|splits?|folders?|dir|photos?|pictures?|samples?|seg|cropped|resized)*"
_PART = re.compile(f"{_FILLER}(?:{'|'.join(f'(?P<{part}>{words})' for part, words in _PART_WORDS.items())}){_FILLER}")
_NO_LETTER = re.compile(r"[\W\d_]+")
_UNLABELLED = re.compile(
    r"(?:seg|single|images?)*(?:pred|predict|prediction|predictions|unlabell?ed)(?:sets?|images?)*"
)

_LEFT = frozenset([
    "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "#recycle", "@recycle",
    "#snapshot", "__pycache__",
])  # fmt: skip


def part_of(name: str) -> str | None:
    """The part of a data set that a folder or file of this name usually holds.

    Args:
        name: such as ``train``, ``Training Set``, ``test_images``, ``seg_train``, ``dev``; digits do not count.

    Returns:
        "train", "val" or "test"; None: it may be anything, such as a class.
    """
    found = _PART.fullmatch(_NO_LETTER.sub("", name.lower()))
    return found and found.lastgroup


def is_unlabelled(name: str) -> bool:
    """Whether a folder of this name usually holds images without a class, to be predicted.

    Args:
        name: such as ``seg_pred`` or ``unlabeled``.

    Returns:
        Whether it does.
    """
    return _UNLABELLED.fullmatch(_NO_LETTER.sub("", name.lower())) is not None


def is_left(name: str) -> bool:
    """Whether systems and editors leave files or folders of this name: hidden ones, previews, recycle bins.

    Args:
        name: of a file or folder, without the folders above it.

    Returns:
        Whether it is no part of any data set.
    """
    return name.startswith(".") or name.lower() in _LEFT


def is_image(name: str) -> bool:
    """Whether a file of this name is read as an image.

    Args:
        name: of a file, without the folders above it.

    Returns:
        Whether it is.
    """
    return not is_left(name) and ending(name) in EXTENSIONS


def ending(name: str) -> str:
    """What a name ends in.

    Args:
        name: of a file.

    Returns:
        Such as ``.jpg``, in small letters; empty where there is none.
    """
    return os.path.splitext(name)[1].lower()


def entries(folder: str | os.PathLike[str]) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """What lies in a folder, without what systems and editors leave.

    Args:
        folder: its path.

    Returns:
        The folders, links to folders among them, and all else; both sorted by name.

    Raises:
        OSError: it may not be read.
    """
    with os.scandir(folder) as found:
        kept = sorted((entry for entry in found if not is_left(entry.name)), key=lambda entry: entry.name)
    folders = [_is_folder(entry) for entry in kept]
    return (
        [entry for entry, is_folder in zip(kept, folders, strict=True) if is_folder],
        [entry for entry, is_folder in zip(kept, folders, strict=True) if not is_folder],
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
