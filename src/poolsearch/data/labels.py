"""Any number of labels for each image, as 0 or 1 for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from poolsearch.data.items import ArrayItems, Targets
from poolsearch.errors import PoolsearchError

_MOST_BYTES = 1 << 32  # for 0 or 1 of each image and label


def label_targets(name: str, listed: Sequence[Iterable[str]], keys: Sequence[str], names: Sequence[str]) -> Targets:
    """Targets of images that list their labels.

    Args:
        name: of the data set, for the error.
        listed: of each image, the keys of its labels.
        keys: of all labels, in their order.
        names: of all labels, for people.

    Returns:
        The targets.

    Raises:
        PoolsearchError: there are too many labels, or as of :func:`checked_labels`.
    """
    if len(listed) * len(keys) > _MOST_BYTES:
        raise PoolsearchError(
            f"{name}: {len(listed):,} images have {len(keys):,} different labels, such as {', '.join(keys[:3])}. At "
            f"most {_MOST_BYTES // len(listed):,} are read of so many images: see that they are labels, and how they "
            "are separated."
        )
    column = {key: number for number, key in enumerate(keys)}
    label_NK = np.zeros((len(listed), len(keys)), np.uint8)
    for row, own in zip(label_NK, listed, strict=True):
        row[[column[key] for key in own]] = 1
    return checked_labels(name, label_NK, names)


def checked_labels(name: str, label_NK: npt.NDArray[np.uint8], names: Sequence[str]) -> Targets:
    """Targets of images, once it is seen that there is something to learn.

    Args:
        name: of the data set, for the error.
        label_NK: 0 or 1 of each image for each label.
        names: of the labels.

    Returns:
        The targets.

    Raises:
        PoolsearchError: there are no labels, or all images have the same.
    """
    if not (label_NK.min(axis=0, initial=1) < label_NK.max(axis=0, initial=0)).any():
        same = [one for one, has in zip(names, label_NK.min(axis=0, initial=1), strict=True) if has]
        what = f"the same labels ({', '.join(same[:5])}{', ...' if len(same) > 5 else ''})" if same else "no labels"
        raise PoolsearchError(
            f"{name}: all {len(label_NK):,} images have {what}. There must be a label that some have and others have "
            "not."
        )
    return Targets("labels", ArrayItems(label_NK, "labels"), tuple(names))
