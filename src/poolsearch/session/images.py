"""From settings to the images of a run: opened, divided, varied, and what run.json says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from poolsearch.data import (
    PARTS,
    Augment,
    Images,
    Source,
    Split,
    array_channels,
    default_cache_dir,
    find_source,
    groups_of,
    make_split,
    open_images,
    subset_training,
    write_duplicates,
)
from poolsearch.image_size import LARGEST_NATIVE, ImageSize
from poolsearch.nets.objects import NetworkObject
from poolsearch.nets.restride.loading import COLOURS, load_model, taken_channels
from poolsearch.progress import Progress
from poolsearch.session.notes import classes_note
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.trusted import digest_of
from poolsearch.settings import Settings
from poolsearch.storage.files import is_whole
from poolsearch.storage.run_dir import RunDir
from poolsearch.tasks.task import TargetKind
from poolsearch.user_code import file_of
from poolsearch.value_range import EACH_FILE


def images_as_before(given: Settings, record: Mapping[str, Any]) -> Settings:
    """The settings with which the images of a run are opened, so that a run that is resumed sees the same pixels.

    Args:
        given: as the user gave them.
        record: run.json. Runs of older versions, which cropped all images to squares of three
            channels and guessed the range of each file, say nothing of it.

    Returns:
        The settings, with what the run was begun with.
    """
    if "settings" not in record:
        return given
    before = record["settings"]["data"]
    return given.changed(
        fit=before.get("fit", "crop"),
        channels=before.get("channels", COLOURS),
        value_range=before.get("value_range", EACH_FILE),
    )


def images_of(
    given: Settings,
    progress: Progress,
    code: Mapping[str, str] | None = None,
    objects: Objects = NO_OBJECTS,
    kind: TargetKind = "classes",
) -> Images:
    """Open the images of the data set, decoded; those that are not in the cache are put there.

    Args:
        given: name or folder of the data, image size, and where the cache lies.
        progress: where decoding shows itself.
        code: SHA-256 of the files that may run, by their paths; a network of a file may decide on the channels.
        objects: with a network that was given as such, which may decide on them, too.
        kind: what there is to learn of them.

    Returns:
        Stored somewhat larger than the image size where that is large, for crops.

    Raises:
        PoolsearchError: there is no such data, none of it can be read, it has no targets of this kind, or there is no
            space.
    """
    cache = Path(given.data.cache_dir).expanduser() if given.data.cache_dir else default_cache_dir()
    store = None if given.data.image_size is None else ImageSize.of(given.data.image_size)
    if store is not None and not store.small and given.data.fit in (None, "crop"):
        store = store.times(256 / 224)  # random resized crops cut from a larger picture, as 224 is cut from 256
    source = find_source(given.data.data, cache / "torchvision", kind)
    channels = _channels_of(given, source, code or {}, objects.network)
    data = given.data
    images = open_images(source, store, cache, progress, data.fit, channels, data.value_range)
    for sentence in (*source.notes, classes_note(images)):
        progress.say(sentence)
    return images


def _channels_of(given: Settings, source: Source, code: Mapping[str, str], network: NetworkObject | None) -> int:
    """To which number of channels images are converted."""
    asked, net = given.data.channels, given.net.net or ""
    if asked != "auto":
        return asked
    if network is not None or file_of(net) is not None:
        size = ImageSize.of(given.data.image_size or LARGEST_NATIVE)
        with torch.random.fork_rng(devices=[]):  # building it draws weights, which must not move the draws of others
            make = network and network.make
            classes = len(source.class_names) or 2  # how many classes masks have is not known before all are read
            return taken_channels(load_model(net, classes, digest_of(net, code), make=make), size)
    channels = None if net.startswith("torchvision:") else array_channels(source)
    return channels if channels is not None and channels not in (1, 3, 4) else COLOURS


def split_of(given: Settings, images: Images) -> Split:
    """Divide the images into the halves of the training data and the test split.

    Args:
        given: seed, groups, and how many images to take of the training data (``--subset``).
        images: with the parts that the data set itself has.

    Returns:
        Indices of the images; the same for the same images, seed and groups.

    Raises:
        PoolsearchError: the groups do not fit the images, or --subset does not.
    """
    groups = groups_of(None if given.data.groups is None else Path(given.data.groups), images)
    split = make_split(images.label_N, images.part_N, given.machine.seed, groups=groups)
    if given.data.subset is None:
        return split
    return subset_training(split, images.label_N, given.data.subset, given.machine.seed)


def image_size_of(settings: Settings, images: Images) -> ImageSize:
    """The size at which the network sees images.

    Args:
        settings: with the size that was asked for, if any.
        images: as they are stored.

    Returns:
        As asked for, else as stored where that is small, else 224x224.
    """
    if settings.data.image_size is not None:
        return ImageSize.of(settings.data.image_size)
    return images.size if images.size.small else ImageSize.of(224)


def augment_of(settings: Settings, image_size: ImageSize, flippable: bool) -> Augment:
    """How training images are varied.

    Args:
        settings: with what was asked for; "auto" is decided here.
        image_size: that the network sees.
        flippable: whether a mirrored image means the same.

    Returns:
        The name of the augmentation, never "auto".
    """
    if settings.data.augment != "auto":
        return settings.data.augment
    if not image_size.small:
        return "resized-crop-flip"
    return "crop-flip" if flippable else "crop"


def data_record(images: Images, split: Split, image_size: ImageSize) -> dict[str, Any]:
    """What run.json says about the images.

    Args:
        images: all of the data set.
        split: their division.
        image_size: that the network sees.

    Returns:
        JSON values by name; how many images each part has, among others.
    """
    return {
        "name": images.name,
        "fingerprint": images.fingerprint,
        "class_names": list(images.class_names),
        "image_size": image_size.plain,
        "channels": images.channels,
        "targets": images.kind,
        "value_range": images.values,
        "images": {part: len(getattr(split, part)) for part in PARTS},
        "groups": split.groups and len(split.groups.names),
        "skipped": len(images.skipped),
    }


def duplicates_of(run_dir: RunDir, record: dict[str, Any], images: Images, split: Split) -> dict[str, dict[str, int]]:
    """Count the images that are copies of one that they should be new to.

    Args:
        run_dir: where duplicates.json is written; what was found once is not looked for again.
        record: run.json, with the numbers if they were found before.
        images: all of the data set.
        split: their division.

    Returns:
        For ``test`` and ``search_val`` the numbers of ``exact`` and ``near`` copies.
    """
    known = record.get("data", {}).get("duplicates")
    there = run_dir.duplicates.exists() and is_whole(run_dir.duplicates)
    return known if known and there else write_duplicates(run_dir, images, split)
