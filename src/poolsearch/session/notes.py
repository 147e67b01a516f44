"""What to tell the user about the images, their division and the space, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poolsearch.data import Images, Split, unread_kinds
from poolsearch.image_size import ImageSize
from poolsearch.nets.restride.loading import COLOURS
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.groups import DataSettings, Metric
from poolsearch.settings.halvings import read_halvings
from poolsearch.space import Space

_UNSEEN, _MUCH = 0.005, 0.4  # shares of the images' area that are cut away: worth a word, worth a warning

UNEQUAL = 3
"""Where the largest class has more than so many times the images of the smallest, there is a warning of accuracy."""

CLASSES_SHOWN = 30
"""So many classes are listed one by one."""


def classes_note(images: Images) -> str:
    """Which classes there are, with how many images each, so that a wrong layout is seen before anything is trained.

    Args:
        images: all of the data set.

    Returns:
        A line of text; of many classes, the smallest and the largest ones.
    """
    count_C = np.bincount(images.label_N, minlength=len(images.class_names))
    named = [f"{name} ({count:,})" for name, count in zip(images.class_names, count_C, strict=True)]
    if len(named) <= CLASSES_SHOWN:
        return f"{len(named)} classes (images): {', '.join(named)}"
    order = np.argsort(-count_C, kind="stable")
    most, least = (", ".join(named[c] for c in some) for some in (order[:3], order[-3:]))
    return f"{len(named):,} classes (images), the largest: {most}; the smallest: {least}"


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
    ]
    for name, indices in named.items():
        absent = np.setdiff1d(np.arange(len(images.class_names)), images.label_N[indices])
        if len(absent):
            listed = ", ".join(images.class_names[c] for c in absent[:5]) + (", ..." if len(absent) > 5 else "")
            warnings.append(f"the {name} has no image of {len(absent)} of {len(images.class_names)} classes: {listed}.")
    if Path(settings.data).is_dir() and (unread := unread_kinds(Path(settings.data))):
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in sorted(unread.items()))
        warnings.append(f"files of kinds that cannot be read were passed over: {kinds}. Convert them to JPEG or PNG.")
    if images.skipped:
        warnings.append(f"{len(images.skipped)} files could not be used and were left out: see skipped.json.")
    return division, warnings


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


def _unequal(images: Images, split: Split, metric: Metric) -> list[str]:
    """Accuracy says little about small classes beside large ones."""
    count_C = np.bincount(images.label_N[split.train_all], minlength=len(images.class_names))
    most, least = int(count_C.argmax()), int(count_C.argmin())
    if metric != "accuracy" or count_C[most] <= UNEQUAL * count_C[least]:
        return []
    return [
        f"classes are of very different sizes ({count_C[most]:,} training images of {images.class_names[most]}, "
        f"{count_C[least]:,} of {images.class_names[least]}), and accuracy is mostly that of the large ones. If small "
        "classes matter as much, use --metric balanced-accuracy or macro-f1 in a new run."
    ]
