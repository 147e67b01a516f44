"""What to tell the user about the images, their division and the space, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.data import Images, Split, unread_kinds
from poolsearch.image_size import ImageSize
from poolsearch.nets.restride.loading import COLOURS
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.groups import DataSettings, Metric
from poolsearch.settings.halvings import read_halvings
from poolsearch.space import Space
from poolsearch.tasks.dense import IGNORED

_UNSEEN, _MUCH = 0.005, 0.4  # shares of the images' area that are cut away: worth a word, worth a warning

UNEQUAL = 3
"""Where the largest class has more than so many times the images of the smallest, there is a warning of accuracy."""

_FAR = 100  # times as far as half of the images

_LOOKED_AT_BYTES = 8 << 20  # of masks, to tell what their pixels are

CLASSES_SHOWN = 30
"""So many classes are listed one by one."""


def classes_note(images: Images) -> str:
    """Which classes there are, with how many images each, so that a wrong layout is seen before anything is trained.

    Args:
        images: all of the data set.

    Returns:
        A line of text; of many classes, the smallest and the largest ones. Where images have other targets, the labels,
        the ranges of the values, or the classes of pixels with their share.
    """
    match images.kind:
        case "classes":
            count_C = np.bincount(images.label_N, minlength=len(images.class_names))
            return _largest_and_smallest("classes (images)", images.class_names, count_C, "{:,}")
        case "labels":
            has_NK = _targets(images) > 0
            without = int((~has_NK.any(1)).sum())
            note = _largest_and_smallest("labels (images)", images.class_names, has_NK.sum(0), "{:,}")
            return f"{note}; {without:,} images have none" if without else note
        case "values":
            return _values_note(images)
        case "masks":
            masks = _targets(images)
            some = masks[:: -(-masks.nbytes // _LOOKED_AT_BYTES)]
            count_C = np.bincount(some.ravel(), minlength=IGNORED + 1)
            share_C = count_C[: len(images.class_names)] / max(1, count_C[:IGNORED].sum())
            note = _largest_and_smallest("classes of pixels (share)", images.class_names, share_C, "{:.1%}")
            ignored = count_C[IGNORED] / count_C.sum()
            return f"{note}; {ignored:.1%} of the pixels do not count" if ignored else note


def _targets(images: Images) -> NDArray[Any]:
    assert images.target_N is not None
    return np.asarray(images.target_N)


def _largest_and_smallest(what: str, names: Sequence[str], size_C: NDArray[Any], form: str) -> str:
    """All by name with their sizes, or of many the first and last three by size."""
    named = [f"{name} ({form.format(size)})" for name, size in zip(names, size_C, strict=True)]
    if len(named) <= CLASSES_SHOWN:
        return f"{len(named)} {what}: {', '.join(named)}"
    order = np.argsort(-size_C, kind="stable")
    most, least = (", ".join(named[c] for c in some) for some in (order[:3], order[-3:]))
    return f"{len(named):,} {what}, the largest: {most}; the smallest: {least}"


def _values_note(images: Images) -> str:
    values = _targets(images)
    if values.ndim > 2:
        return f"values of shape {'x'.join(map(str, values.shape[1:]))} of each image"
    values_NK = values.reshape(len(values), -1)
    ranges = zip(images.class_names, values_NK.min(0), values_NK.max(0), strict=True)
    named = [f"{name} ({low:.6g} to {high:.6g})" for name, low, high in ranges]
    shown = ", ".join(named[:CLASSES_SHOWN]) + (", ..." if len(named) > CLASSES_SHOWN else "")
    return f"{len(named):,} value{'s' if len(named) > 1 else ''} of each image (range): {shown}"


def space_note(settings: ResolvedSettings, space: Space, full_size: int, within: int) -> str:
    """How many placements there are, and how many of them are searched, for people.

    Args:
        settings: with the network's name.
        space: what is searched.
        full_size: placements before the budget and before the space was cut down.
        within: those of them that are within the budget.

    Returns:
        A line of text.
    """
    each = " (height and width each by itself)" if space.axes == "h,w" else ""
    each = " (all paths, with upsampling)" if settings.net.paths == "any" else each
    each = f" ({settings.net.halvings} halvings)" if read_halvings(settings.net.halvings) else each
    part = f"; searched is a random subset of {space.size:,}" if space.size < within else ""
    if not part and space.size < full_size:
        part = f"; searched are the {space.size:,} within the budget"
    return f"{settings.net.net}: {full_size:,} placements{each}{part}; its own is {space.default}"


def split_notes(
    images: Images, split: Split, settings: DataSettings, copies: dict[str, dict[str, int]]
) -> tuple[str, list[str]]:
    """What to tell the user about the images.

    Args:
        images: all of the data set.
        split: their division.
        settings: of the data.
        copies: how many images are copies, as of :func:`duplicates_of`.

    Returns:
        Which images are for what, in a sentence; and warnings, a sentence for each thing that may be wrong with it.
    """
    parts = set(images.part_N.tolist())
    source = "the data's test part" if "test" in parts else "the data's val part" if "val" in parts else "held out"
    division = (
        f"images: {len(split.search_train):,} search-train, {len(split.search_val):,} search-val, "
        f"{len(split.test):,} test ({source})"
    )
    named = {"search-train half": split.search_train, "search-val half": split.search_val, "test split": split.test}
    warnings = [
        *images.warnings,
        *_cut_away(images),
        *_groups_across(split),
        *_copies_across(split, copies),
        *_unequal(images, split, settings.metric),
        *_far_away(images, split, settings.task),
    ]
    for name, indices in named.items():
        absent = _absent(images, indices)
        if len(absent):
            listed = ", ".join(images.class_names[c] for c in absent[:5]) + (", ..." if len(absent) > 5 else "")
            what = f"of {len(absent)} of {len(images.class_names)} classes"
            if images.kind == "labels":
                what = f"with {len(absent)} of {len(images.class_names)} labels"
            warnings.append(f"the {name} has no image {what}: {listed}.")
    if Path(settings.data).is_dir() and (unread := unread_kinds(Path(settings.data))):
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in sorted(unread.items()))
        warnings.append(f"files of kinds that cannot be read were passed over: {kinds}. Convert them to JPEG or PNG.")
    if images.skipped:
        warnings.append(f"{len(images.skipped)} files could not be used and were left out: see skipped.json.")
    return division, warnings


def _far_away(images: Images, split: Split, task: str) -> list[str]:
    """Values so far from the others that these become all alike when they are standardised."""
    if task != "regression":
        return []
    value_NK = _targets(images).reshape(len(images.label_N), -1).astype(np.float64)
    middle_K = np.median(value_NK[split.train_all], 0)
    usual_K = np.median(np.abs(value_NK[split.train_all] - middle_K), 0)
    far_NK = (usual_K > 0) & (np.abs(value_NK - middle_K) > _FAR * usual_K)
    if not far_NK.any():
        return []
    image, column = map(int, np.argwhere(far_NK)[0])
    count = int(far_NK.sum())
    return [
        f"{count:,} value{'s are' if count > 1 else ' is'} more than {_FAR} times as far from the median as those of "
        f"half the images; the first is {value_NK[image, column]:g}, '{images.class_names[column]}' of "
        f"{images.files[image]}. Beside such values all others are nearly alike: correct them, or learn logarithms."
    ]


def _absent(images: Images, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes or labels that none of some images has."""
    match images.kind:
        case "classes":
            return np.setdiff1d(np.arange(len(images.class_names)), images.label_N[indices])
        case "labels":
            return np.flatnonzero(~_targets(images)[indices].any(0))
        case "values" | "masks":
            return np.empty(0, np.int64)


def shape_note(images: Images, settings: DataSettings, image_size: ImageSize) -> str:
    """How images of any shape get to the network, for people.

    Args:
        images: as they are stored.
        settings: of the data.
        image_size: that the network sees.

    Returns:
        A line of text.
    """
    note = f"images are seen at {image_size} (height x width)"
    if images.channels != COLOURS:
        note += f" with {images.channels} channel{'s' if images.channels > 1 else ''}"
    if images.values is not None:
        note += f", their values {images.values} as black and white"
    if settings.fit in ("squeeze", "pad"):
        return f"{note}, those of another shape {settings.fit}{'d' if settings.fit == 'squeeze' else 'ded'}"
    if images.cut < _UNSEEN:
        return note
    return f"{note}, those of another shape cropped (--fit): {images.cut:.0%} of their area is cut away"


def _cut_away(images: Images) -> list[str]:
    """Whether cropping takes much of the images."""
    if images.cut < _MUCH:
        return []
    return [
        f"the images have another shape than --image-size, and {images.cut:.0%} of their area is cut away. To keep all "
        "of it, use an --image-size of their shape, such as 48x96 (height x width), or --fit squeeze or pad, in a new "
        "run."
    ]


def _groups_across(split: Split) -> list[str]:
    """What --groups says against a division that the data itself has, and that is kept."""
    if split.groups is None:
        return []
    warnings: list[str] = []
    boundaries = (
        ("training images", split.train_all, "test", split.test),
        ("search-train", split.search_train, "search-val", split.search_val),
    )
    for one, images, other, others in boundaries:
        if len(shared := split.groups.across(images, others)):
            touched = int(np.isin(split.groups.number_N[others], shared).sum())
            warnings.append(
                f"{len(shared):,} groups have images on both sides of the data's own division into {one} and {other} "
                f"({touched:,} of {len(others):,} images of {other}): accuracy on {other} may be too high. "
                "It was left as it is."
            )
    return warnings


def _copies_across(split: Split, copies: dict[str, dict[str, int]]) -> list[str]:
    """What copies of images make doubtful."""
    warnings: list[str] = []
    for part, others in (("test", "training"), ("search_val", "search-train")):
        exact, near = copies[part]["exact"], copies[part]["near"]
        if exact + near:
            name = part.replace("_", "-")
            warnings.append(
                f"{exact + near:,} of {len(getattr(split, part)):,} {name} images are copies of {others} images "
                f"({exact:,} exact, {near:,} nearly), listed in duplicates.json: right answers to them say little "
                "about new images. They are left as they are. Copies in one group of --groups stay together."
            )
    return warnings


def _unequal(images: Images, split: Split, metric: Metric | None) -> list[str]:
    """Accuracy says little about small classes beside large ones."""
    if images.kind != "classes":
        return []
    count_C = np.bincount(images.label_N[split.train_all], minlength=len(images.class_names))
    most, least = int(count_C.argmax()), int(count_C.argmin())
    if metric not in (None, "accuracy") or count_C[most] <= UNEQUAL * count_C[least]:
        return []
    return [
        f"classes are of very different sizes ({count_C[most]:,} training images of {images.class_names[most]}, "
        f"{count_C[least]:,} of {images.class_names[least]}), and accuracy is mostly that of the large ones. If small "
        "classes matter as much, use --metric balanced-accuracy or macro-f1 in a new run."
    ]
