"""Images that belong together (of a patient, of a product), as a CSV file says."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from poolsearch.data.cache import Images
from poolsearch.data.checks import is_training
from poolsearch.data.csv_rows import heading_of, named, read_rows, shortened
from poolsearch.errors import PoolsearchError
from poolsearch.storage import files

Ints = npt.NDArray[np.int64]

EXPECTED = (
    "Expected: a CSV file in UTF-8 with the columns file,group, where file is the path below the data folder; or with "
    "a heading index,group, where index counts the images from 0, those of train first, then of val, then of test"
)


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each of N images belongs to.

    Attributes:
        names: of the G groups, sorted.
        number_N: index into ``names``.
        told_by: what says so, for errors.
    """

    names: tuple[str, ...]
    number_N: Ints
    told_by: str = "--groups"

    @property
    def hash(self) -> str:
        """Equal if and only if every image is in the group of the same name."""
        return files.sha256("\n".join(self.names).encode(), b"\0", self.number_N.astype("<i8").tobytes())

    def count(self, indices: Ints) -> int:
        """How many groups these images are from.

        Args:
            indices: of images.

        Returns:
            Number of different groups.
        """
        return len(np.unique(self.number_N[indices]))

    def across(self, one: Ints, other: Ints) -> Ints:
        """The groups that have images on both sides.

        Args:
            one, other: indices of the images of each side.

        Returns:
            Indices into ``names``, rising.
        """
        return np.intersect1d(self.number_N[one], self.number_N[other])


def groups_of(path: Path | None, images: Images) -> Groups | None:
    """The group of every image, by a file of groups or by the data set itself.

    Args:
        path: the file; None: there is none.
        images: those that could be read.

    Returns:
        The groups in the order of the images; None where nothing says which images belong together.

    Raises:
        PoolsearchError: both say it; or as of :func:`read_groups`.
    """
    if images.group_N is None:
        return None if path is None else read_groups(path, images)
    if path is not None:
        raise PoolsearchError(
            f"{images.name} has a column group, and --groups {path} says, too, which images belong together. Leave out "
            "one of them."
        )
    return _grouped(images.name, images.group_N, images, "the column group")


def read_groups(path: Path, images: Images) -> Groups:
    """The group of every image.

    Args:
        path: the CSV file, see :data:`EXPECTED`. Where there is a heading, columns of other names are passed over.
        images: those that could be read; rows of those that could not are passed over.

    Returns:
        The groups in the order of the images.

    Raises:
        PoolsearchError: the file cannot be read; a row has no group, matches no image or disagrees with another one;
            an image has no group; there is only one group; a class to be divided is in one group only.
    """
    by_place, rows = _rows(path)
    keys = [str(place) for place in images.place_N] if by_place else [_plain(name) for name in images.files]
    group_of = _agreed(path, rows)
    if strangers := group_of.keys() - set(keys) - _skipped(images, by_place):
        shown = named([image for _, image, _ in rows if image in strangers])
        raise PoolsearchError(
            f"{path}: rows that match no image of the data set: {shown} ({len(strangers):,} in all). {EXPECTED}."
        )
    if lonely := [name for key, name in zip(keys, images.files, strict=True) if key not in group_of]:
        raise PoolsearchError(
            f"{path} has no group for {len(lonely):,} of {len(keys):,} images: {named(lonely)}. Add a row for each; "
            "an image that belongs to no other gets a group of its own."
        )
    return _grouped(path, [group_of[key] for key in keys], images, "--groups")


def _grouped(path: Path | str, group_N: Sequence[str], images: Images, told_by: str) -> Groups:
    names = sorted(set(group_N))
    if len(names) < 2:
        raise PoolsearchError(f"{path} has all images in one group, '{named(names)}', so that they cannot be divided.")
    number = {name: i for i, name in enumerate(names)}
    groups = Groups(tuple(names), np.array([number[group] for group in group_N], np.int64), told_by)
    _check_classes(path, images, groups)
    return groups


def _check_classes(path: Path | str, images: Images, groups: Groups) -> None:
    """Every class must be in two groups, unless the data itself divides the training images."""
    training = is_training(images.part_N)
    if np.any(images.part_N[training] == "val"):
        return
    pairs = np.unique(np.stack([images.label_N, groups.number_N])[:, training], axis=1)
    if images.kind != "classes":
        if pairs.shape[1] < 2:
            raise PoolsearchError(
                f"{path} has all training images in one group, so that they cannot be in both search-train and "
                "search-val. Give them two groups at least, three where the test is to have some."
            )
        return
    lonely = [images.class_names[c] for c, count in enumerate(np.bincount(pairs[0])) if count < 2]
    if lonely:
        raise PoolsearchError(
            f"{path} has all training images of a class in one group, for {len(lonely)} of {len(images.class_names)} "
            f"classes: {named(lonely)}. Such a class cannot be in both search-train and search-val. Give it images of "
            "two groups, of three where the test is to have some, or leave it out."
        )


def hold_out_groups(count_GC: Ints, fraction: float, stay: int, draw: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which groups to hold out, so that ``fraction`` of every class is, as nearly as whole groups allow.

    Group after group, those first that hold most of a class, each goes to the side where the parts of the classes held
    out, in the sum of their squares, are nearer to ``fraction`` of what was dealt so far. Equal ones come in random
    order. scikit-learn's StratifiedGroupKFold deals for all folds at once, and comes less near (docs/differences.md).

    Args:
        count_GC: images of each group and class; every class has some.
        fraction: of the images of each class to hold out, between 0 and 1.
        stay: so many groups of each class stay, if it has them; of the others at least one is held out, unless it must
            stay for the sake of another class.
        draw: gives the order of equal groups.

    Returns:
        bool (G,): True where a group is held out.
    """
    share_GC = count_GC / count_GC.sum(0)
    weight_G = (share_GC**2).sum(1)
    held_G = np.zeros(len(count_GC), np.bool_)
    excess_C = np.zeros(count_GC.shape[1])
    to_come_C = (count_GC > 0).sum(0)
    kept_C, held_C = np.zeros_like(to_come_C), np.zeros_like(to_come_C)
    order = draw.permutation(len(count_GC))
    for g in order[np.argsort(-weight_G[order], kind="stable")]:
        own_C = count_GC[g] > 0
        to_come_C -= own_C
        must_stay = np.any(own_C & (kept_C + to_come_C < stay))
        must_go = np.any(own_C & (held_C + to_come_C == 0))
        better = 2 * (excess_C @ share_GC[g]) + (1 - 2 * fraction) * weight_G[g] < 0
        held_G[g] = not must_stay and (must_go or better)
        excess_C += (held_G[g] - fraction) * share_GC[g]
        held_C += own_C & held_G[g]
        kept_C += own_C & ~held_G[g]
    return held_G


def _skipped(images: Images, by_place: bool) -> set[str]:
    """Images of the data set that could not be read, as rows name them."""
    if by_place:
        every = np.arange(len(images.place_N) + len(images.skipped))
        return {str(place) for place in np.setdiff1d(every, images.place_N)}
    return {_plain(entry["file"]) for entry in images.skipped}


def _rows(path: Path) -> tuple[bool, list[tuple[int, str, str]]]:
    """Whether images are given by number; and line, image and group of every row."""
    lines = read_rows(path, "--groups", EXPECTED, (("file", "index"), ("group",)))
    heading = heading_of(lines)
    image = next((name for name in ("file", "index") if name in heading), None)
    if image is None or "group" not in heading:
        return False, _cells(path, lines, 0, 1, 2)
    columns = heading.index(image), heading.index("group")
    return image == "index", _cells(path, lines[1:], *columns, len(heading))


def _cells(
    path: Path, lines: Iterable[tuple[int, list[str]]], image: int, group: int, width: int
) -> list[tuple[int, str, str]]:
    rows: list[tuple[int, str, str]] = []
    for number, row in lines:
        if len(row) != width or not row[image] or not row[group]:
            raise PoolsearchError(
                f"{path}, line {number}: {shortened(','.join(row))!r} is not an image and its group. {EXPECTED}."
            )
        rows.append((number, _plain(row[image]), row[group]))
    return rows


def _plain(name: str) -> str:
    """A path in one spelling: ``./a//b`` is ``a/b``, whatever stands between folders on this system."""
    return posixpath.normpath(name.replace(os.sep, "/"))


def _agreed(path: Path, rows: Iterable[tuple[int, str, str]]) -> dict[str, str]:
    """The group of each image; an image may be listed twice, but not in two groups."""
    group_of: dict[str, str] = {}
    for number, image, group in rows:
        if group_of.setdefault(image, group) != group:
            raise PoolsearchError(
                f"{path}, line {number}: {shortened(image)} is in group '{shortened(group)}', but in "
                f"'{shortened(group_of[image])}' above. An image is in one group: join the two, or correct the row."
            )
    return group_of
