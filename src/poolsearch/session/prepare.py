"""From settings to what a run works with: images, network, costs, space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
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
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import LARGEST_NATIVE, ImageSize
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.objects import GIVEN, NetworkObject
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride.loading import COLOURS, load_model, taken_channels
from poolsearch.nets.warm_start import PRETRAINED
from poolsearch.progress import Progress
from poolsearch.samplers.user_sampler import user_factory
from poolsearch.session.notes import classes_note
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.task import targets_of
from poolsearch.session.trusted import digest_of
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.cost_limits import limits_of
from poolsearch.settings.groups import MachineSettings
from poolsearch.settings.halvings import read_halvings
from poolsearch.settings.methods import is_own, kind_of
from poolsearch.settings.resolve import resolve
from poolsearch.space import FreeSpace, HalvingsSpace, Placement, Space
from poolsearch.storage.files import is_whole
from poolsearch.storage.run_dir import RunDir
from poolsearch.tasks.task import TargetKind, Task, class_metric_of
from poolsearch.texts import writable
from poolsearch.train.first_step import FirstStep, first_step
from poolsearch.train.machine import Machine
from poolsearch.user_code import file_of
from poolsearch.value_range import EACH_FILE


def absolute(settings: Settings) -> Settings:
    """Make the paths in settings whole, so that a run can be resumed from anywhere.

    Args:
        settings: with paths to data, groups, files of a network and a sampler, and weights, relative to the working
            directory or with ``~``.

    Returns:
        The same settings with whole paths; names that are no paths stay.
    """
    path = Path(settings.data.data).expanduser()
    if path.exists():
        settings = settings.changed(data=str(path.resolve()))
    for name, value in (
        ("net", settings.net.net), ("method", settings.search.method), ("task", settings.data.task)
    ):  # fmt: skip
        if value is not None and (file := file_of(value)) is not None:
            whole = Path(file).expanduser().resolve()
            settings = settings.changed(**{name: f"{whole}:{value.removeprefix(f'{file}:')}"})
    if settings.data.groups is not None:
        settings = settings.changed(groups=str(Path(settings.data.groups).expanduser().resolve()))
    if (init := settings.net.init) not in (None, PRETRAINED, GIVEN):
        settings = settings.changed(init=str(Path(init).expanduser().resolve()))
    return settings


def check_name(out: Path) -> None:
    """See that safetensors and pyarrow, which take no path that is not UTF-8, can write into a run folder.

    Args:
        out: the run directory, as it was given.

    Raises:
        PoolsearchError: they could not.
    """
    if writable(str(out)) != str(out):
        raise PoolsearchError(
            f"the path of the run folder, {out}, is not UTF-8: checkpoints cannot be written there. Choose another "
            "with --out, or rename it."
        )


def check_outside(out: Path, settings: Settings) -> None:
    """See that a run does not lie inside its own data folder, where it would be taken for a class of images.

    Args:
        out: the run directory.
        settings: with whole paths, as of :func:`absolute`.

    Raises:
        PoolsearchError: it would lie there.
    """
    data = Path(settings.data.data)
    if data.is_absolute() and data.is_dir() and out.resolve().is_relative_to(data):
        raise PoolsearchError(f"the run folder {out} lies inside the data folder {data}. Choose another with --out.")


def check_sampler_file(settings: Settings, code: Mapping[str, str]) -> None:
    """See that a sampler of the user's own is where ``--method`` says, before anything is done.

    Args:
        settings: with the method.
        code: SHA-256 of the files that may run, by their paths.

    Raises:
        PoolsearchError: it is not, or its file cannot be imported.
    """
    if is_own(settings.search.method):
        user_factory(settings.search.method, digest_of(settings.search.method, code))


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


def net_spec(
    settings: ResolvedSettings,
    images: Images,
    image_size: ImageSize,
    code: Mapping[str, str],
    network: NetworkObject | None = None,
) -> NetSpec:
    """The network that the settings describe.

    Args:
        settings: resolved.
        images: whose classes and channels it is built for.
        image_size: that the network sees.
        code: SHA-256 of the files that may run, by their paths.
        network: where it was given as an object.

    Returns:
        All that is needed to build it, in this process, and where it is no object in another.

    Raises:
        PoolsearchError: it is from a Python file that may not run.
    """
    net = settings.net
    digest = digest_of(net.net, code)
    return NetSpec(
        net.net, len(images.class_names), net.width, net.op, net.zero_init, image_size, net.search_stem, digest,
        tuple(net.blocks), images.channels, network and network.make,
    )  # fmt: skip


def space_of(net: Poolable, settings: ResolvedSettings, image_size: ImageSize) -> Space:
    """The placements that may be searched, before the budget and before a too large space is cut down.

    Args:
        net: on the meta device.
        settings: limits and lists of placements.
        image_size: that the network sees.

    Returns:
        All placements of the network within the limits, or those of the list.

    Raises:
        PoolsearchError: the images are too small, or a placement or limit does not fit.
    """
    space = replace(net.space, low=settings.net.min_blocks, high=settings.net.max_blocks, axes=settings.net.axes)
    if settings.net.paths == "any":
        space = FreeSpace.of(space)
    space = with_halvings(space, settings.net.halvings)
    net.check_input(*image_size, space)
    if settings.net.placements:
        space = space.keep(Placement.parse(text) for text in settings.net.placements)
    return space


def with_halvings(space: Space, halvings: str) -> Space:
    """The placements with the numbers of halvings that are asked for.

    Args:
        space: of a network.
        halvings: as of ``--halvings``.

    Returns:
        The space itself for ``default``.

    Raises:
        PoolsearchError: it cannot be read, or does not fit the network.
    """
    numbers = read_halvings(halvings)
    return space if numbers is None else HalvingsSpace.of(space, *numbers)


def machine_settings(asked: MachineSettings, record: dict[str, Any]) -> MachineSettings:
    """The machine's settings of a run that may be resumed.

    A resumed run keeps the device, precision and memory format it began with, so that it ends the same, unless it is
    told otherwise.

    Args:
        asked: as given now.
        record: run.json; of a new run it has no resolved settings yet.

    Returns:
        ``asked``, or with the recorded device, precision and memory format.
    """
    before = record.get("settings", {}).get("machine")
    if before is None:
        return asked
    asked = replace(asked, memory_format=before.get("memory_format", "channels-last"))  # older runs had no other
    if asked.device not in ("auto", before["device"]):
        return asked
    return replace(asked, device=before["device"], precision=before["precision"])


def try_training(
    spec: NetSpec,
    space: Space,
    settings: ResolvedSettings,
    images: Images,
    split: Split,
    task: Task,
    machine: Machine,
    progress: Progress,
) -> Machine:
    """Make one training step with fresh weights before a run begins, see :func:`poolsearch.train.first_step`.

    Args:
        spec: the network.
        space: its placements; the first and the last, whose maps are the smallest and the largest, are evaluated.
        settings: resolved.
        images: whose targets are learned.
        split: of the images.
        task: with its loss and metric.
        machine: of the run.
        progress: where it is said that contiguous memory is taken.

    Returns:
        The machine with the memory format in which the network runs.

    Raises:
        PoolsearchError: the network cannot be trained, or has not as many outputs as there are classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(spec)
    ends, some = [space[0], space[space.size - 1]], partial(targets_of, images)

    def work(batch: int, machine: Machine, choose: bool, flag: str = "--batch") -> FirstStep:
        targets = None if class_metric_of(task) else some(split.train_all[:batch])
        return first_step(net, spec.name, spec.size, spec.classes, ends, batch, machine, choose, flag, task, targets)

    batch_of = _minibatches(settings, split)
    largest = max(batch_of.get(flag, 1) for flag in ("--batch", "--retrain-batch"))
    found = work(largest, machine, settings.machine.memory_format == "auto")
    if found.note:
        progress.say(found.note)
    for flag, batch in batch_of.items():
        if batch == 1:
            work(1, found.machine, False, flag)
    return found.machine


def _minibatches(settings: ResolvedSettings, split: Split) -> dict[str, int]:
    """Images of the smallest minibatch by whose statistics something is normalised, by the flag that decides it."""
    search, chosen = settings.search, {"--retrain-batch": settings.retrain.retrain_batch}
    if kind_of(search.method) != "untrained":
        chosen["--batch"] = search.batch
    if kind_of(search.method) in ("sampled", "relaxed") and search.norm != "per_placement":
        chosen["--val-batch"] = search.val_batch
    if kind_of(search.method) == "sampled" and search.norm == "batch":
        images, most = len(split.search_val), settings.rank.eval_batch
        chosen["--eval-batch"] = images // -(-images // most)  # of nearly equal chunks, the smallest
    return chosen


def resolved(given: Settings, split: Split, image_size: ImageSize, record: dict[str, Any]) -> ResolvedSettings:
    """Resolve the settings for the images that there are.

    A resumed run keeps the trainings it began to rank by, whatever its retraining becomes.

    Args:
        given: as the user gave them.
        split: of the images, whose numbers defaults depend on.
        image_size: that the network sees.
        record: run.json, with the settings resolved before, if there are any.

    Returns:
        Settings with a value for everything.

    Raises:
        PoolsearchError: a value is out of range, or does not belong to the method.
    """
    settings = resolve(given, len(split.search_train), len(split.search_val), image_size)
    before: dict[str, Any] = record.get("settings", {}).get("alone", {})
    kept = {name: value for name, value in before.items() if value is not None}
    return replace(settings, alone=replace(settings.alone, **kept))


def check_sizes(settings: ResolvedSettings, split: Split, placements: int) -> None:
    """See that batches and members are not more than there are images and placements.

    Args:
        settings: resolved.
        split: of the images.
        placements: how many there are to search.

    Raises:
        PoolsearchError: there are more; the message says of what.
    """
    search, retrain = settings.search, settings.retrain
    for flag, batch, images, what in (
        ("--batch", search.batch, len(split.search_train), "search-train half"),
        ("--val-batch", search.val_batch, len(split.search_val), "search-val half"),
        ("--retrain-batch", retrain.retrain_batch, len(split.train_all), "training images"),
    ):
        if batch > images:
            raise PoolsearchError(
                f"{flag} {batch} is larger than the {what} ({images} images). Choose {images} or less."
            )
    if search.members > placements:
        raise PoolsearchError(
            f"--members {search.members} is more than the {placements} placements of the space: each member needs "
            f"at least one. Use --members {placements} or less, or allow more placements"
            f"{' (a wider budget)' if limits_of(settings.budget) else ''}."
        )


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
