"""What a data set must fulfil before anything is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from poolsearch.errors import PoolsearchError

LEAST_PER_CLASS = 4
"""One for the test, and at least one in each half of the training data, with one to spare."""


def check_labels(name: str, label_N: npt.NDArray[np.int64], classes: int, label: Callable[[int], str]) -> None:
    """See that labels lie in 0..classes-1.

    Args:
        name: of the data set, for the error.
        label_N: the label of each image.
        classes: how many classes there are.
        label: what to call image i, for the error.

    Raises:
        PoolsearchError: there are no images, or some label does not; the first that does not is named.
    """
    if len(label_N) == 0:
        raise PoolsearchError(f"no images found in {name}.")
    bad = np.flatnonzero((label_N < 0) | (label_N >= classes))
    if len(bad):
        first = int(bad[0])
        raise PoolsearchError(
            f"{name}: {len(bad)} labels are out of range, the first is {label_N[first]} of {label(first)}. Allowed "
            f"are 0 to {classes - 1} ({classes} classes). Number the classes from 0; leave out a part without labels."
        )


def class_numbers(name: str, labels: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    """Names of classes that are only numbered, "0" to the largest label.

    Args:
        name: of the data set, for the error.
        labels: of each part, (N,); negative ones are passed over.

    Returns:
        A name for each class, in the order of their numbers.

    Raises:
        PoolsearchError: some number below the largest never occurs: one label is out of range, or classes are missing.
    """
    found = np.unique(np.concatenate(labels))
    found = found[found >= 0]  # negative ones are named, with their image, by check_labels
    if len(found) and found[-1] >= len(found):
        missing = int(np.flatnonzero(found != np.arange(len(found)))[0])
        raise PoolsearchError(
            f"{name}: labels go up to {found[-1]}, but only {len(found)} different ones occur, and {missing} is not "
            "among them. Labels must number the classes from 0 without a gap: correct the label that is out of range, "
            "or number the classes anew."
        )
    return [str(number) for number in range(len(found))]


def check_classes(
    name: str, label_N: npt.NDArray[np.int64], part_N: npt.NDArray[np.str_], names: Sequence[str]
) -> None:
    """See that there are two classes at least, each with images to train on.

    Args:
        name: of the data set, for the error.
        label_N: the label of each image, an index into ``names``.
        part_N: the part of each image: "train", "val" or "test".
        names: of the classes.

    Raises:
        PoolsearchError: fewer than two classes; a class without images, or without training images, or with fewer
            than four of them.
    """
    if len(names) < 2:
        raise PoolsearchError(f"{name} has {len(names)} class ({', '.join(names)}); a search needs at least 2 classes.")
    all_C = np.bincount(label_N, minlength=len(names))
    train_C = np.bincount(label_N[part_N == "train"], minlength=len(names))
    fit_C = np.bincount(label_N[is_training(part_N)], minlength=len(names))
    for number, class_name in enumerate(names):
        if all_C[number] == 0:
            raise PoolsearchError(
                f"{name}: class '{class_name}' has no readable image. Add images to it "
                "(JPEG, PNG, WebP, TIFF, BMP, GIF or PNM), or remove the class."
            )
        if train_C[number] == 0:
            parts = " and ".join(sorted({str(part) for part in part_N[label_N == number]}))
            raise PoolsearchError(
                f"{name}: class '{class_name}' is in {parts} but not in train. Every class must have training images: "
                "add some, or remove the class."
            )
    _check_counts(name, fit_C, names)


def check_number(name: str, part_N: npt.NDArray[np.str_]) -> None:
    """See that there are images to train on, where they have no classes.

    Args:
        name: of the data set, for the error.
        part_N: the part of each image: "train", "val" or "test".

    Raises:
        PoolsearchError: there are fewer than four.
    """
    number = int(is_training(part_N).sum()) if np.any(part_N == "train") else 0
    if number < LEAST_PER_CLASS:
        raise PoolsearchError(
            f"{name}: too few training images: {number}. At least {LEAST_PER_CLASS} are needed, because they are "
            "divided into search-train, search-val and test. Add images."
        )


def is_training(part_N: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Which images may be trained on: "train", and "val" unless it has to serve as the test.

    Args:
        part_N: the part of each image: "train", "val" or "test".

    Returns:
        bool (N,).
    """
    if np.any(part_N == "test"):
        return part_N != "test"
    return part_N == "train"


def _check_counts(name: str, fit_C: npt.NDArray[Any], names: Sequence[str]) -> None:
    few = [f"'{names[c]}' has {count}" for c, count in enumerate(fit_C) if count < LEAST_PER_CLASS]
    if few:
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        raise PoolsearchError(
            f"{name}: too few training images: class {', '.join(few[:5])}{more}. Every class needs at "
            f"least {LEAST_PER_CLASS}, because they are divided into search-train, search-val and test. Add images, "
            "or remove the class."
        )


def as_labels(name: str, values: Any) -> npt.NDArray[np.int64]:
    """Labels as int64.

    Args:
        name: of what has them, for the error.
        values: integers of shape (N,) or (N, 1), in whatever NumPy takes as an array.

    Returns:
        int64 (N,).

    Raises:
        PoolsearchError: they are of another type or shape.
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise PoolsearchError(
            f"{name}: labels are {array.dtype} of shape {array.shape}; they must be integers, one for each image "
            "(shape N), numbered from 0."
        )
    return array.astype(np.int64)
