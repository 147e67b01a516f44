"""From settings to what a run works with beside its images: network, space, a first training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from poolsearch.data import (
    Images,
    Split,
)
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.objects import GIVEN, NetworkObject
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.warm_start import PRETRAINED
from poolsearch.progress import Progress
from poolsearch.samplers.user_sampler import user_factory
from poolsearch.session.task import targets_of
from poolsearch.session.trusted import digest_of
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.cost_limits import limits_of
from poolsearch.settings.groups import MachineSettings
from poolsearch.settings.halvings import read_halvings
from poolsearch.settings.methods import is_own, kind_of
from poolsearch.settings.resolve import resolve
from poolsearch.space import FreeSpace, HalvingsSpace, Placement, Space
from poolsearch.tasks.task import Task, class_metric_of
from poolsearch.texts import writable
from poolsearch.train.first_step import FirstStep, first_step
from poolsearch.train.machine import Machine
from poolsearch.user_code import file_of


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
