"""Dividing the images: search-train and search-val for the search, test for the very end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from poolsearch import files
from poolsearch.data.checks import is_training
from poolsearch.errors import PoolsearchError
from poolsearch.rng import generator, key

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Which images are for what: sorted indices, disjoint, every image in exactly one.

    ``hash`` is equal if and only if all three sets of indices are.
    """

    search_train: Ints
    search_val: Ints
    test: Ints
    hash: str

    @property
    def train_all(self) -> Ints:
        """Both halves: what the retraining uses."""
        return np.sort(np.concatenate([self.search_train, self.search_val]))

    def to_json(self) -> dict[str, Any]:
        """As plain lists, for ``split.json``."""
        return {
            "search_train": self.search_train.tolist(),
            "search_val": self.search_val.tolist(),
            "test": self.test.tolist(),
            "hash": self.hash,
        }


def make_split(label_N: Ints, part_N: npt.NDArray[np.str_], seed: int, test_fraction: float = 0.2) -> Split:
    """Divide by the parts that the data has, and stratified and seeded where it has none.

    Without a test part, a "val" part is the test; without either, ``test_fraction`` of each class is held out first
    (at least one image, and two always stay). With "val" beside "test", "val" is the search-val half; otherwise the
    training images are halved.

    Raises:
        PoolsearchError: ``test_fraction`` is not between 0 and 1.
    """
    if not 0 < test_fraction < 1:
        raise PoolsearchError(f"test_fraction is {test_fraction}; it must be between 0 and 1, for example 0.2.")
    fit = is_training(part_N)
    test = np.flatnonzero(~fit)
    rest = np.flatnonzero(fit)
    if len(test) == 0:
        rest, test = _hold_out(rest, label_N, seed, test_fraction, stay=2)
    if np.any(part_N[rest] == "val"):
        return _split(rest[part_N[rest] == "train"], rest[part_N[rest] == "val"], test)
    return _split(*_halve(rest, label_N, seed), test)


def _split(search_train: Ints, search_val: Ints, test: Ints) -> Split:
    parts = [np.sort(part).astype("<i8") for part in (search_train, search_val, test)]
    sizes = ",".join(str(len(part)) for part in parts)
    return Split(*parts, hash=files.sha256(sizes.encode(), *(part.tobytes() for part in parts)))


def _hold_out(indices: Ints, label_N: Ints, seed: int, fraction: float, stay: int) -> tuple[Ints, Ints]:
    """(the rest, the held out): stratified, at least one of each class is held out and ``stay`` are not."""
    draw = generator(seed, "split/test")
    classes = _by_class(indices, label_N, draw)
    counts = np.array([len(members) for members in classes])
    take = np.clip(_largest_remainder(counts * fraction, draw), 1, np.maximum(counts - stay, 1))
    held = np.concatenate([members[:n] for members, n in zip(classes, take, strict=True)])
    return np.setdiff1d(indices, held), held


def _halve(indices: Ints, label_N: Ints, seed: int) -> tuple[Ints, Ints]:
    """Two halves; classes of odd size give their extra image to the two in turn, so nothing drifts."""
    first: list[Ints] = []
    second: list[Ints] = []
    odd = 0
    for members in _by_class(indices, label_N, generator(seed, "split/half")):
        cut = (len(members) + (odd + 1) % 2) // 2
        odd += len(members) % 2
        first.append(members[:cut])
        second.append(members[cut:])
    return np.concatenate(first), np.concatenate(second)


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


def thin(split: Split, label_N: Ints, size: int, seed: int) -> Split:
    """Keep ``size`` search-train images (one of each class at least), stratified and seeded; all else stays whole."""
    if size >= len(split.search_train):
        return split
    _, kept = _hold_out(split.search_train, label_N, key(seed, "thin"), size / len(split.search_train), stay=0)
    return _split(kept, split.search_val, split.test)


def shrink(split: Split, label_N: Ints, size: int, seed: int) -> Split:
    """Keep ``size`` training images, stratified and seeded, in the halves' own proportion; the test split stays whole.

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
    return _split(kept[0], kept[1], split.test)
