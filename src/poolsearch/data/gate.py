"""What is read at all: the limits that hold for every source, and the one way to open a file of a data set.

A data set is often a stranger's. A file in it may be a pipe that never ends, a device, or small on disk and huge in
memory; that is seen before anything of it is loaded. Decoding processes import this module: it takes no more than they
need.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

FILE_BYTES = 1 << 30
"""The largest file of one image. The largest image (:data:`PIXELS`) in 16-bit colour, uncompressed, is 0.7 GB."""

PIXELS = 120_000_000
"""The largest image, as it is decoded: medium-format cameras have 102 million. Decoding takes 4 to 16 bytes for each.

A JPEG that is much larger than what is stored is decoded at down to an eighth of its sides, and counts as that.
"""

PIXELS_AT_ONCE = 32_000_000
"""Larger images are decoded one at a time, so that memory does not grow with the number of cores."""

ARRAY_BYTES = 1 << 30
"""What may be unpacked of one table's column or archive's array, whatever its file holds: some are a thousand times
smaller."""

TABLE_BYTES = 256 << 20
"""The largest file of groups: two million images with names of a hundred letters."""

PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Failures of the system, not of a file: an image must not be missing from the cache for good because of them."""

_AT_ONCE = 1 << 20
"""Files up to this size are read when they are opened, in less time than Python takes to make a file object."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(Exception):
    """Something that is not opened or not decoded; the message is the reason."""


class TooLarge(Unreadable):
    """It is beyond a limit."""


def open_regular(path: str | Path, most: int = FILE_BYTES) -> BinaryIO:
    """Open a regular file (or what a link to one leads to) to read its bytes, without ever waiting for another process.

    Args:
        path: the file.
        most: bytes that it may have.

    Returns:
        An open binary file; a small one is in memory already.

    Raises:
        Unreadable: it is something else, or larger than ``most`` bytes.
        OSError: it cannot be opened.
    """
    check_regular(os.stat(path), most)  # before it is opened: opening some devices does something
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(number)
        check_regular(status, most)  # it may be another one now
        if status.st_size > _AT_ONCE:
            return os.fdopen(os.dup(number), "rb")
        content = os.read(number, status.st_size)
        while len(content) < status.st_size and (more := os.read(number, status.st_size)):
            content += more
        return io.BytesIO(content)
    finally:
        os.close(number)


def check_regular(status: os.stat_result, most: int) -> None:
    """See that a file with this status may be read.

    Args:
        status: what ``os.stat`` says of the file.
        most: bytes that it may have.

    Raises:
        Unreadable: as :func:`open_regular`.
    """
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(f"not a file but {_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}")
    if status.st_size > most:
        raise TooLarge(f"too large: {size_text(status.st_size)}; the limit is {size_text(most)}")


def size_text(size: int) -> str:
    """A size as people read it.

    Args:
        size: in bytes.

    Returns:
        Such as ``12.34 MB``, from 100 million bytes on ``0.10 GB``.
    """
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"
