"""Archives in the place of images: never unpacked here, but the user is told where in them the images lie."""

from __future__ import annotations

import os
import posixpath
import zipfile
from pathlib import Path

from poolsearch.data.gate import open_regular
from poolsearch.data.names import ARCHIVES, ending, is_image, is_left
from poolsearch.texts import shell

_ZIP_BYTES = 1 << 42  # only its directory is read


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive.

    Args:
        name: of a file.

    Returns:
        Whether it is, by its ending.
    """
    return ending(name) in ARCHIVES


def unpack_advice(path: Path) -> str:
    """How to come from an archive to a data set.

    Args:
        path: of the archive; a zip is looked into, and no more of it is read than its directory.

    Returns:
        Sentences: what is in it, how to unpack it, and what to give then.
    """
    folder = path.with_suffix("")
    if folder.suffix == ".tar":
        folder = folder.with_suffix("")
    inside, below = _zip_content(path) if ending(path.name) == ".zip" else ("", "")
    kind = ending(path.name)
    if kind == ".zip":
        how = f": {shell(['unzip', '-d', folder, path])}"
    elif kind == ".tar" or kind.startswith(".t") or path.with_suffix("").suffix == ".tar":
        how = f": {shell(['mkdir', folder])} && {shell(['tar', '-C', folder, '-xf', path])}"
    else:
        how = ""
    return f"Archives are not read.{inside} Unpack it{how}; then give {shell(['--data', os.path.join(folder, below)])}"


def _zip_content(path: Path) -> tuple[str, str]:
    """What is in a zip, as a sentence; and the folder in it that holds all class folders or parts."""
    try:
        with open_regular(path, _ZIP_BYTES) as handle, zipfile.ZipFile(handle) as archive:
            names = [name.strip("/") for name in archive.namelist() if not name.endswith("/")]
    except Exception:  # damaged archives make zipfile raise anything; unpacking it will say why
        return "", ""
    names = [name for name in names if not any(map(is_left, name.split("/")))]
    images = [name for name in names if is_image(posixpath.basename(name))]
    if not images:
        inner = [name for name in names if is_archive(name)]
        return (f" In it are more archives ({', '.join(inner[:3])}): unpack these, too." if inner else ""), ""
    folders = sorted({posixpath.dirname(name) for name in images})
    top = posixpath.commonpath([posixpath.dirname(folder) for folder in folders])
    shown = ", ".join(f"'{folder}'" for folder in folders[:3] if folder) or "no folder"
    more = f" and {len(folders) - 3:,} more" if len(folders) > 3 else ""
    return f" Its {len(images):,} images lie in {shown}{more}.", top
