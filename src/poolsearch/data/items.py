"""A data set before decoding: what images there are, their labels and parts, and how to read one of them."""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from poolsearch.data.checks import check_classes, check_labels, check_number
from poolsearch.data.image_file import Raw
from poolsearch.storage import files
from poolsearch.texts import writable

if TYPE_CHECKING:
    from poolsearch.tasks import TargetKind

Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

PARTS = ("train", "val", "test")

TARGET_WORDS: dict[TargetKind, str] = {
    "classes": "a class of each image",
    "labels": "any number of labels of each image",
    "values": "numbers of each image",
    "masks": "a mask of each image",
}
"""What there may be to learn, for errors."""


class Items(Protocol):
    """The images of a source, read one at a time and from any thread."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Raw:
        """The image, not yet decoded; raises whatever kind of error its file is read with.

        Args:
            index: of the image, from 0.

        Returns:
            The path of a file, the bytes of one, or pixels.
        """
        ...

    def label(self, index: int) -> str:
        """What to call this image, as no other.

        Args:
            index: of the image, from 0.

        Returns:
            Its path below the data folder, or its place in an array, as text that can be written as UTF-8.
        """
        ...

    def fingerprint(self) -> str:
        """A cheap hash that changes when an image may have changed.

        Returns:
            A text that is the same as long as nothing changed.
        """
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """A data set that can be read.

    ``label_N`` numbers into ``class_names``; ``part_N`` holds "train", "val" or "test" as the data set itself is
    divided (``split`` decides what each part is for). ``flippable``: a mirrored image still shows its class.
    ``group_N``: the name of the group that each image belongs to, where the data set says so. ``notes``: sentences on
    how it was read; ``warnings``: sentences on what may be wrong with it, which belong into the report, too.
    ``targets``: what there is to learn of each image, where that is not its class; ``label_N`` is then 0.
    """

    name: str
    items: Items
    label_N: Ints
    part_N: Texts
    class_names: tuple[str, ...]
    flippable: bool
    fingerprint: str
    group_N: Sequence[str] | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    targets: Targets | None = None


@dataclass(frozen=True, eq=False)
class Targets:
    """What there is to learn of each image, where that is not its class.

    Attributes:
        kind: what they are.
        items: of each image, in the source's order: uint8 (K,) of 0 and 1 for labels; float32 of one shape for values,
            or what is in a .npy of them; for masks as images are, pixels, the path of a file, or what is in one.
        names: of the K labels, of the last axis of the values, or of the classes of pixels; empty where these are only
            numbered.
    """

    kind: TargetKind
    items: Items
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """The images of one part, with their labels; or with their targets, where these are no classes."""

    part: str
    items: Items
    label_N: Ints

    @staticmethod
    def without_classes(part: str, items: Items) -> LabelledItems:
        """Images whose targets are no classes.

        Args:
            part: what they are: "train", "val" or "test".
            items: the images.

        Returns:
            The images, with 0 for the class of each.
        """
        return LabelledItems(part, items, np.zeros(len(items), np.int64))


def make_source(
    name: str,
    pieces: Sequence[LabelledItems],
    class_names: Sequence[str],
    flippable: bool = True,
    *,
    group_N: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    targets: Targets | None = None,
) -> Source:
    """Join the parts of a data set.

    Args:
        name: what the user calls it.
        pieces: the images of each part, in the order that the images are to have.
        class_names: what the labels number; of no matter with targets.
        flippable: a mirrored image still shows its class.
        group_N: the name of the group of each image; None: the data set does not say.
        notes: sentences on how it was read.
        warnings: sentences on what may be wrong with it.
        targets: what there is to learn of each image, where that is not its class.

    Returns:
        The data set, whose fingerprint changes when an image, a label, a part or a class name may have; that of targets
        is their own.

    Raises:
        PoolsearchError: the labels do not fit the classes, a class has too few images, or there are too few in all.
    """
    items = JoinedItems([piece.items for piece in pieces])
    label_N = np.concatenate([piece.label_N for piece in pieces]).astype(np.int64)
    part_N = np.concatenate([np.full(len(piece.items), piece.part, dtype="<U5") for piece in pieces])
    if targets is not None:
        targets = replace(targets, names=tuple(map(writable, targets.names)))
    names = tuple(map(writable, class_names)) if targets is None else targets.names
    if targets is None:
        check_labels(name, label_N, len(names), items.label)
        check_classes(name, label_N, part_N, names)
    else:
        check_number(name, part_N)
    text = json.dumps([items.fingerprint(), *(names if targets is None else ())])
    fingerprint = files.sha256(text.encode(), label_N.tobytes(), part_N.tobytes())
    return Source(name, items, label_N, part_N, names, flippable, fingerprint, group_N, notes, warnings, targets)


class ArrayItems:
    """Images that lie in memory (or in an HDF5 file) as NHW or NHWC.

    Args:
        pixels: an array, or what is indexed like one.
        name: of the array: an image is called ``name[index]``.
        fingerprint: a hash that changes when the images may have; None: one of all pixels.
    """

    def __init__(self, pixels: Any, name: str, fingerprint: str | None = None) -> None:
        self._pixels = pixels
        self._name = name
        self._fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, index: int) -> Raw:
        return np.asarray(self._pixels[index])

    def label(self, index: int) -> str:
        return f"{self._name}[{index}]"

    def fingerprint(self) -> str:
        return self._fingerprint or files.sha256(np.ascontiguousarray(self._pixels).data)


class FileItems:
    """Images in files, given by their paths.

    Args:
        paths: of the images, in order.
        root: the data folder: an image is called by its path below it.
    """

    def __init__(self, paths: Sequence[Path | str], root: Path) -> None:
        self._paths = [os.fspath(path) for path in paths]
        self._root = root
        self._prefix = os.path.join(root, "")

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> Raw:
        return self._paths[index]

    def label(self, index: int) -> str:
        path = self._paths[index]
        below = path.startswith(self._prefix)  # many times faster than relpath, which counts for a million files
        return writable(path[len(self._prefix) :] if below else os.path.relpath(path, self._root))

    def fingerprint(self) -> str:
        return files.sha256(*(f"{self.label(i)} {stamp(path)}\n".encode() for i, path in enumerate(self._paths)))


class JoinedItems:
    """Several sequences of images, one after the other.

    Args:
        members: the sequences, in order.
    """

    def __init__(self, members: Sequence[Items]) -> None:
        self._members = members
        self._ends = list(itertools.accumulate(len(member) for member in members))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, index: int) -> Raw:
        member, row = self._find(index)
        return member.read(row)

    def label(self, index: int) -> str:
        member, row = self._find(index)
        return member.label(row)

    def fingerprint(self) -> str:
        return files.sha256(*(member.fingerprint().encode() for member in self._members))

    def _find(self, index: int) -> tuple[Items, int]:
        at = bisect.bisect_right(self._ends, index)
        return self._members[at], index - (self._ends[at - 1] if at else 0)


def stamp(path: Path | str) -> str:
    """Size and time of the last change of a file: enough to see that it was replaced.

    Args:
        path: the file.

    Returns:
        Bytes and nanoseconds, as text; "absent" if they cannot be told.
    """
    try:
        status = os.stat(path)
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"
