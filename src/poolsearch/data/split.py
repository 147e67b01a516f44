"""Dividing the images: search-train and search-val for the search, test for the very end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.data.cache import Images
from poolsearch.data.checks import is_training
from poolsearch.data.groups import Groups, hold_out_groups
from poolsearch.errors import PoolsearchError
from poolsearch.rng import generator, key
from poolsearch.storage import files
from poolsearch.storage.files import atomic, is_whole, write_json
from poolsearch.storage.run_dir import RunDir

Ints = npt.NDArray[np.int64]


PARTS = ("search_train", "search_val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Which images are for what: sorted indices, disjoint, every image in exactly one.

    ``groups`` are the images that belong together, where that was told. ``hash`` is equal if and only if all three sets
    of indices and the groups are.
    """

    search_train: Ints
    search_val: Ints
    test: Ints
    hash: str
    groups: Groups | None

    @property
    def train_all(self) -> Ints:
        """Both halves: what the retraining uses."""
        return np.sort(np.concatenate([self.search_train, self.search_val]))

    def to_json(self) -> dict[str, Any]:
        """The split as plain values, for ``split.json``.

        Returns:
            Lists of indices under ``search_train``, ``search_val`` and ``test``; under ``groups`` how many groups each
            of these has, or None; and the ``hash``.
        """
        parts = {part: getattr(self, part) for part in PARTS}
        groups = self.groups
        return {
            **{part: indices.tolist() for part, indices in parts.items()},
            "groups": groups and {part: groups.count(indices) for part, indices in parts.items()},
            "hash": self.hash,
        }


def make_split(
    label_N: Ints,
    part_N: npt.NDArray[np.str_],
    seed: int,
    test_fraction: float = 0.2,
    groups: Groups | None = None,
) -> Split:
    """Divide by the parts that the data has, and stratified and seeded where it has none.

    Without a test part, a "val" part is the test; without either, ``test_fraction`` of each class is held out first
    (at least one image, and two always stay). With "val" beside "test", "val" is the search-val half; otherwise the
    training images are halved. What we divide leaves ``groups`` whole; what the data divides stays as it is.

    Args:
        label_N: the class of each image.
        part_N: the part of each image: "train", "val" or "test".
        seed: keys the draws.
        test_fraction: between 0 and 1.
        groups: which images belong together; None: each stands for itself.

    Returns:
        Every image in one of search-train, search-val and test.

    Raises:
        PoolsearchError: ``test_fraction`` is not between 0 and 1; there are too few groups.
    """
    if not 0 < test_fraction < 1:
        raise PoolsearchError(f"test_fraction is {test_fraction}; it must be between 0 and 1, for example 0.2.")
    fit = is_training(part_N)
    rest, test = np.flatnonzero(fit), np.flatnonzero(~fit)
    if np.any(part_N[rest] == "val"):
        return _split(rest[part_N[rest] == "train"], rest[part_N[rest] == "val"], test, groups)
    if len(test) == 0:
        rest, test = _hold_out(rest, label_N, seed, test_fraction, 2, groups)
    return _split(*_halve(rest, label_N, seed, groups), test, groups)


def _split(search_train: Ints, search_val: Ints, test: Ints, groups: Groups | None) -> Split:
    parts = [np.sort(part).astype("<i8") for part in (search_train, search_val, test)]
    sizes = ",".join(str(len(part)) for part in parts)
    grouped = groups.hash.encode() if groups else b""
    return Split(*parts, hash=files.sha256(sizes.encode(), *(part.tobytes() for part in parts), grouped), groups=groups)


def _hold_out(
    indices: Ints, label_N: Ints, seed: int, fraction: float, stay: int, groups: Groups | None = None
) -> tuple[Ints, Ints]:
    """(the rest, the held out): stratified, at least one of each class is held out and ``stay`` are not.

    With groups, whole ones are held out, and what is counted of each class is groups.
    """
    draw = generator(seed, "split/test")
    if groups is not None:
        return _divide(indices, label_N, groups, fraction, stay, draw)
    classes = _by_class(indices, label_N, draw)
    counts = np.array([len(members) for members in classes])
    take = np.clip(_largest_remainder(counts * fraction, draw), 1, np.maximum(counts - stay, 1))
    held = np.concatenate([members[:n] for members, n in zip(classes, take, strict=True)])
    return np.setdiff1d(indices, held), held


def _halve(indices: Ints, label_N: Ints, seed: int, groups: Groups | None) -> tuple[Ints, Ints]:
    """Two halves; classes of odd size give their extra image to the two in turn, so nothing drifts."""
    draw = generator(seed, "split/half")
    if groups is not None:
        return _divide(indices, label_N, groups, 0.5, 1, draw)
    first: list[Ints] = []
    second: list[Ints] = []
    odd = 0
    for members in _by_class(indices, label_N, draw):
        cut = (len(members) + (odd + 1) % 2) // 2
        odd += len(members) % 2
        first.append(members[:cut])
        second.append(members[cut:])
    return np.concatenate(first), np.concatenate(second)


def _divide(
    indices: Ints, label_N: Ints, groups: Groups, fraction: float, stay: int, draw: np.random.Generator
) -> tuple[Ints, Ints]:
    """(the rest, the held out), whole groups each."""
    numbers, group_N = np.unique(groups.number_N[indices], return_inverse=True)
    classes, class_N = np.unique(label_N[indices], return_inverse=True)
    count_GC = np.zeros((len(numbers), len(classes)), np.int64)
    np.add.at(count_GC, (group_N, class_N), 1)
    held_N = hold_out_groups(count_GC, fraction, stay, draw)[group_N]
    if not held_N.any():
        what = "some class would have fewer" if len(classes) > 1 else "there would be fewer"
        raise PoolsearchError(
            f"the {len(numbers)} groups of {groups.told_by} are too few: without one of them, {what} than {stay}. "
            "Give more groups, or a test part of your own (test/CLASS/image.jpg; in a table, a column split)."
        )
    return indices[~held_N], indices[held_N]


def _by_class(indices: Ints, label_N: Ints, draw: np.random.Generator) -> list[Ints]:
    """The indices of each class that occurs, each class in random order."""
    mixed = draw.permutation(indices)
    return [mixed[label_N[mixed] == number] for number in np.unique(label_N[indices])]


def _largest_remainder(shares: npt.NDArray[np.float64], draw: np.random.Generator) -> Ints:
    """Whole numbers next to the shares that add up to their rounded sum; ties are drawn."""
    whole = np.floor(shares).astype(np.int64)
    missing = round(float(shares.sum())) - int(whole.sum())
    order = np.lexsort((draw.random(len(shares)), whole - shares))
    whole[order[:missing]] += 1
    return whole


def subset_search_train(split: Split, label_N: Ints, size: int, seed: int) -> Split:
    """Keep only some search-train images, stratified and seeded; all else stays whole.

    Args:
        split: not changed.
        label_N: the class of each image of the data set.
        size: how many to keep, though one of each class at least; as many as there are or more: the split as it is.
        seed: keys the draws.

    Returns:
        A split whose search-train images are fewer.
    """
    if size >= len(split.search_train):
        return split
    _, kept = _hold_out(split.search_train, label_N, key(seed, "thin"), size / len(split.search_train), stay=0)
    return _split(kept, split.search_val, split.test, split.groups)


def subset_training(split: Split, label_N: Ints, size: int, seed: int) -> Split:
    """Keep only some training images, stratified and seeded, in the halves' own proportion; the test split stays whole.

    Args:
        split: not changed.
        label_N: the class of each image of the data set.
        size: how many to keep in both halves together.
        seed: keys the draws.

    Returns:
        A split whose search-train and search-val images are fewer.

    Raises:
        PoolsearchError: ``size`` is not between four per class and the number of training images.
    """
    available = len(split.train_all)
    least = 4 * len(np.unique(label_N[split.train_all]))
    if not least <= size <= available:
        raise PoolsearchError(
            f"--subset {size} is not possible: there are {available} images for training. Choose "
            f"{least} to {available}."
        )
    if size == available:
        return split
    in_train = round(size * len(split.search_train) / available)
    kept = [
        _hold_out(half, label_N, key(seed, f"subset/{name}"), count / len(half), stay=0)[1]
        for name, half, count in (
            ("train", split.search_train, in_train),
            ("val", split.search_val, size - in_train),
        )
    ]
    return _split(kept[0], kept[1], split.test, split.groups)


def write_split(files: RunDir, images: Images, split: Split) -> None:
    """Write ``split.json``, and ``images.parquet``: index, file, class, part and group of every image.

    ``part`` is empty for images that --subset leaves out, ``group`` where no groups were told, ``class`` where images
    have other targets. An ``images.parquet``
    that is there and whole is kept.

    Args:
        files: paths of the run.
        images: all images.
        split: which of them are for what.
    """
    write_json(files.split, split.to_json())
    if files.images.exists() and is_whole(files.images):  # of the same images and split, as was seen by their hashes
        return
    part_N = np.full(len(images.label_N), "", dtype=object)
    for part in PARTS:
        part_N[getattr(split, part)] = part
    names_N = np.array(split.groups.names, object)[split.groups.number_N] if split.groups else np.full(len(part_N), "")
    table = pa.table({
        "index": np.arange(len(part_N)),
        "file": images.files,
        "class": images.class_N,
        "part": part_N,
        "group": names_N,
    })  # fmt: skip
    with atomic(files.images) as temporary:
        pq.write_table(table, temporary)
