"""Opening a run directory: a new one, or one to go on with. Every stage starts here and leaves its entry."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.callbacks import Callbacks, StageEvent
from poolsearch.cost import Costs, CostTable, cost_table
from poolsearch.cost.file import write_costs
from poolsearch.data import Images, Loader, Split, mean_std, write_split
from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.measure import ClassMeasure, ImageMeasure, Measure
from poolsearch.image_size import ImageSize
from poolsearch.inspection_results import Plan
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.objects import GIVEN
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.resnet import Norm
from poolsearch.nets.warm_start import (
    InitialWeights,
    check_init,
    find_weights,
    load_weights,
    match_weights,
    object_weights,
)
from poolsearch.progress import Progress, SilentProgress
from poolsearch.session.apply_budget import CostedSpace, apply_budget
from poolsearch.session.notes import shape_note, space_note, split_notes
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.prepare import (
    absolute,
    augment_of,
    check_name,
    check_outside,
    check_sampler_file,
    check_sizes,
    data_record,
    duplicates_of,
    image_size_of,
    images_as_before,
    images_of,
    machine_settings,
    net_spec,
    resolved,
    space_of,
    split_of,
    try_training,
)
from poolsearch.session.task import kind_of_targets, own_task, targets_of, task_of, values_of_guesses
from poolsearch.session.trusted import NAMED, FolderPermissions, Trust, code_of
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.check import check
from poolsearch.settings.config_file import config_text
from poolsearch.settings.methods import kind_of
from poolsearch.space import FreeSpace, Space
from poolsearch.storage import digests
from poolsearch.storage.files import write_json, write_text
from poolsearch.storage.locks import locked, remove_leftovers
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import (
    add_warning,
    begin,
    changed,
    check_free,
    check_network,
    check_same,
    check_weights,
    installed,
    merge,
    ranks_again,
    read_record,
    set_ranking_aside,
    tested,
    write_stage,
)
from poolsearch.tasks.task import Task, class_metric_of
from poolsearch.texts import command
from poolsearch.train.machine import Machine, pick_machine
from poolsearch.user_code import file_of

_NOBODY = Callbacks()
_LOOKED_AT = 2000  # training images whose targets say what a network may guess
_STATISTICS_BYTES = 2 << 30  # so much of the images is read for their mean and deviation


@dataclass(frozen=True)
class Run:
    """An open run: everything that a stage works with. Made by :func:`open_run`.

    ``code`` has the SHA-256 of the Python files that may run, by their paths.
    ``joined``: another process holds the folder, or none; of it only trainings are written.
    ``objects``: a network and a task that were given as such.
    ``own_task``: the task, where it is the user's.
    ``callbacks``: are told of stages, epochs, steps and trials; those of a worker process by its parent.
    """

    dir: RunDir
    settings: ResolvedSettings
    images: Images
    split: Split
    space: Space
    space_costs: Costs
    full_size: int
    image_size: ImageSize
    machine: Machine
    progress: Progress
    code: Mapping[str, str] = field(default_factory=dict[str, str])
    joined: bool = False
    objects: Objects = NO_OBJECTS
    own_task: Task | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process: all but images and weights, which it reads itself, and what belongs to this process."""
        left_out = ("images", "weights", "machine", "progress", "callbacks", "own_task", "task")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = state["settings"]
        own = own_task(settings, state["code"], None)
        images = images_of(settings, SilentProgress(), kind=kind_of_targets(settings, own, {}))
        vars(self).update(
            state, images=images, machine=pick_machine(settings.machine), progress=SilentProgress(),
            callbacks=Callbacks(), own_task=own,
        )  # fmt: skip

    @property
    def seed(self) -> int:
        return self.settings.machine.seed

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this run from others, for the headers of its checkpoints: the same on every machine."""
        return {"net": self.net_spec.name, "data": self.images.fingerprint, "seed": self.seed}

    def at(self, image_size: ImageSize) -> Run:
        """The same run with networks that see each image at another size.

        Args:
            image_size: that networks see; one larger than stored enlarges the images.

        Returns:
            A run in the same folder; this one where the size is its own.
        """
        return self if image_size == self.image_size else replace(self, image_size=image_size)

    @property
    def net_spec(self) -> NetSpec:
        """What the network is."""
        return net_spec(self.settings, self.images, self.image_size, self.code, self.objects.network)

    @cached_property
    def task(self) -> Task:
        """What is learned.

        Raises:
            PoolsearchError: it was given as an object, and is not given now.
        """
        return task_of(self.settings, self.own_task, lambda: targets_of(self.images, self.split.train_all))

    def measure(self, indices: NDArray[np.int64], guesses: bool = False) -> Measure:
        """What networks' responses on some images are worth.

        Args:
            indices: of the images, in the order of the responses.
            guesses: without classes, find what the same output for every image reaches.

        Returns:
            Of classification that of their classes, else that of a metric of each image.
        """
        metric, task = class_metric_of(self.task), self.task
        if metric is not None:
            return ClassMeasure(metric, self.images.label_N[indices], self.images.class_names)
        guess_GN = np.zeros((0, len(indices)))
        if guesses:
            known = self.split.train_all[:: -(-len(self.split.train_all) // _LOOKED_AT)]
            targets = targets_of(self.images, known), targets_of(self.images, indices)
            guess_GN = values_of_guesses(task, *targets).double().numpy()
        return ImageMeasure(task.metric_name, len(indices), task.per_image, guess_GN)

    def build(self, norm: Norm | None = None) -> Poolable:
        """Make the network with fresh weights, drawn from torch's generator.

        Args:
            norm: makes the normalisation layers of poolsearch's own networks; None: those of a network trained alone.

        Returns:
            On the CPU.
        """
        return build(self.net_spec) if norm is None else build(self.net_spec, norm)

    @cached_property
    def weights(self) -> InitialWeights | None:
        """What every network begins with, read when first asked for and once in each process; None: fresh weights.

        Raises:
            PoolsearchError: they cannot be read, or are not those that the run was begun with.
        """
        net, found = self.settings.net, None
        if net.init == GIVEN and self.objects.network is not None:
            found = object_weights(self.objects.network)
        elif net.init is not None:
            found = find_weights(net.init, self.net_spec.name, self.images.channels, net.init_key)
        check_weights(self.dir, found and found.sha256)
        return found

    def initial(self, norm: Norm | None = None) -> Poolable:
        """Make the network as its training begins: with given weights where there are some, else with fresh ones.

        Args:
            norm: as in :meth:`build`. With given weights it does not count: each BatchNorm keeps the weights and
                statistics that were trained.

        Returns:
            On the CPU.
        """
        if self.weights is None:
            return self.build(norm)
        net = self.build()
        load_weights(net, self.weights)
        return net

    @property
    def paths(self) -> Space:
        """Every placement that may be run: those of the space, and of a relaxed method all paths, in it or not."""
        relaxed = kind_of(self.settings.search.method) == "relaxed"
        return FreeSpace.of(self.space) if relaxed else self.space

    @cached_property
    def costs(self) -> CostTable:
        """MACs of every block, on all paths."""
        return cost_table(blank(self.net_spec).eval(), *self.image_size, self.paths)

    @property
    def macs_A(self) -> NDArray[np.int64]:
        """MACs of every placement of the space."""
        return self.space_costs.macs_A

    def loader(self, indices: NDArray[np.int64], batch: int, purpose: str, seed: int, augmented: bool) -> Loader:
        """Minibatches of some images, normalised by the statistics of the training images.

        Args:
            indices: of the images, from 0.
            batch: images of a minibatch.
            purpose: what they are for, such as "search-train": it keys their order and augmentation.
            seed: of order and augmentation.
            augmented: whether they are varied, as the settings say.

        Returns:
            A loader of tensors on the run's device, at the run's image size.
        """
        device, size, view = self.machine.device, self.image_size, image_size_of(self.settings, self.images)
        augment = augment_of(self.settings, view, self.images.flippable) if augmented else "none"
        return Loader(
            self.images, indices, batch, seed, purpose, device, size, augment, *self.statistics, view=view,
            memory_format=self.machine.memory_format,
        )  # fmt: skip

    @cached_property
    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of each channel by which images are normalised, in units of 0..1."""
        images = self.split.search_train
        most = _STATISTICS_BYTES // int(np.prod(self.images.pixels_NHWC.shape[1:]))
        if len(images) > most:
            images = np.sort(rng.generator(self.seed, "statistics").choice(images, most, replace=False))
        return mean_std(self.images.pixels_NHWC, images)

    def warn(self, text: str) -> None:
        """Tell the user, and the report, of something to know about the result.

        Args:
            text: a sentence, without "warning".
        """
        self.progress.say(f"warning: {text}")
        add_warning(self.dir, text)

    @contextmanager
    def stage(self, name: str, resumed_at_step: int | None = None) -> Generator[None]:
        """Record and tell that a stage began, and when it ended; where the block fails, the end stays open.

        Args:
            name: of the stage, as it is to stand in run.json.
            resumed_at_step: the training step that it goes on from; None where it begins anew, or has no steps.

        Yields:
            Nothing.
        """
        began = datetime.now(timezone.utc)
        place = len(read_record(self.dir)["stages"])
        write_stage(self.dir, place, name, began, None, resumed_at_step)
        self.callbacks.stage(StageEvent(self.dir.root, name, "begin"))
        yield
        write_stage(self.dir, place, name, began, datetime.now(timezone.utc), resumed_at_step)
        self.callbacks.stage(StageEvent(self.dir.root, name, "end"))


@contextmanager
def open_run(
    out: Path,
    settings: Settings | None,
    resume: bool,
    progress: Progress,
    plan: Plan | None = None,
    trust: Trust = NAMED,
    objects: Objects = NO_OBJECTS,
    callbacks: Callbacks = _NOBODY,
) -> Generator[Run]:
    """Open ``out`` for this process alone: a new run with ``settings``, or with ``resume`` the one that is there.

    Args:
        out: the run directory.
        settings: as the user gave them; None takes those of the run that is there.
        resume: go on with the run in ``out``.
        progress: where work shows itself.
        plan: by which the method of a new run was chosen; it is kept.
        trust: whether Python files that the folder names may run.
        objects: a network and a task that are given as such.
        callbacks: are told how it goes.

    Yields:
        The open run; the folder is held until the block ends.

    Raises:
        PoolsearchError: the folder is in use, not empty, or belongs to other settings; the data, the network and the
            settings do not fit each other, or the data changed since; or it names a Python file that may not run.
    """
    run_dir = RunDir(out)
    named = trust.named(settings)
    if settings is not None:
        check(settings)
        settings = absolute(settings)
    if resume and not run_dir.run.exists():
        raise PoolsearchError(
            f"nothing to resume in {out}: it holds no run (no run.json). Begin one: {command('run', '--out', out)}"
        )
    check_name(out)
    code: dict[str, str] = {}
    if not resume:
        check_free(run_dir)
        check_outside(out, settings or Settings())
        code = FolderPermissions(out, trust, named).code(settings or Settings(), progress)
        check_sampler_file(settings or Settings(), code)
        if settings is not None and settings.net.init is not None:
            check_init(settings.net.init, settings.net.net or "poolsearch's own network")
    with locked(out):
        remove_leftovers(out)
        if resume:
            given = merge(run_dir, settings)
        else:
            given = settings or Settings()
            begin(run_dir, given, plan, code)
        try:
            opened = _open(run_dir, given, trust, named, progress, objects, callbacks)
        except Exception:  # whatever it is
            if not resume:  # a run that could not begin must not stand in the way of the next
                run_dir.remove_record()
            raise
        yield opened


def _open(
    run_dir: RunDir,
    given: Settings,
    trust: Trust,
    named: frozenset[Path],
    progress: Progress,
    objects: Objects,
    callbacks: Callbacks,
) -> Run:
    record = read_record(run_dir)
    if "data" not in record:  # nothing of the run was written yet
        digests.begin(run_dir.root)
    elif "digests" not in record:
        progress.say(f"{run_dir.root} was begun when no digests of files were kept: damage to them is not noticed")
    gate = FolderPermissions.of(run_dir.root, trust, named, record)
    run, found = assemble(run_dir, given, record, gate, progress, objects, callbacks)
    data = _record(run, given, record, found)
    progress.say(f"machine: {run.machine}")
    progress.say(shape_note(run.images, run.settings.data, run.image_size))
    division, warnings = split_notes(run.images, run.split, run.settings.data, data["duplicates"])
    progress.say(division)
    for warning in warnings:
        run.warn(warning)
    return run


def assemble(
    run_dir: RunDir,
    given: Settings,
    record: dict[str, Any],
    gate: FolderPermissions,
    progress: Progress,
    objects: Objects = NO_OBJECTS,
    callbacks: Callbacks = _NOBODY,
) -> tuple[Run, CostedSpace]:
    """Put together everything that stages work with; nothing is written into the folder.

    Args:
        run_dir: where costs may be kept.
        given: settings as the user gave them.
        record: run.json; what the run rests on is in it once it was opened before.
        gate: which Python files may run.
        progress: where work shows itself.
        objects: a network and a task that are given as such.
        callbacks: are told how it goes.

    Returns:
        The open run, and the costs that it rests on.

    Raises:
        PoolsearchError: as of :func:`open_run`, where the data, the network and the settings do not fit each other, or
            the gate lets a Python file not run.
    """
    code = gate.code(given, progress, searched=run_dir.scores.exists())
    given = images_as_before(gate.with_cache(given, progress), record)
    own = own_task(given, code, objects.task)
    kind = kind_of_targets(given, own, record)
    images = images_of(given, progress, code, objects, kind)
    given = given.changed(channels=images.channels)
    split = split_of(given, images)
    image_size = image_size_of(given, images)
    settings = resolved(given, split, image_size, record)
    machine = pick_machine(machine_settings(settings.machine, record))
    spec = net_spec(settings, images, image_size, code, objects.network)
    net = blank(spec)
    for note in net.notes:
        progress.say(note)
    space = space_of(net, settings, image_size)
    if "settings" not in record:
        task = task_of(settings, own, lambda: targets_of(images, split.train_all))
        machine = try_training(spec, space, settings, images, split, task, machine, progress)
    found = apply_budget(run_dir, record, spec, space, settings, machine, progress)
    within = found.budget["after"] if found.budget else space.size
    progress.say(space_note(settings, found.space, space.size, within))
    settings = replace(settings, machine=replace(
        settings.machine, device=machine.device.type, precision=machine.precision, memory_format=machine.layout
    ))  # fmt: skip
    run = Run(
        run_dir, settings, images, split, found.space, found.costs, space.size, image_size, machine, progress, code,
        objects=objects, own_task=own, callbacks=callbacks,
    )  # fmt: skip
    check_sizes(settings, split, run.space.size)
    return run, found


def _init(run: Run, record: dict[str, Any]) -> dict[str, Any] | None:
    """What the networks begin with, for run.json; seen to fit them as long as something may still be trained."""
    if tested(run.dir):
        return record.get("init")
    if run.weights is None:
        return None
    match = match_weights(blank(run.net_spec), run.weights)
    told = [f"networks begin with {run.weights.source}"]
    if match.replaced:
        told.append(f"missing in it or of another number of classes, so begun anew: {', '.join(match.replaced)}")
    if match.unused:
        told.append(f"not of this network, so not used: {', '.join(match.unused)}")
    run.progress.say("; ".join(told))
    unused = {"unused": match.unused} if match.unused else {}
    return {"source": run.weights.source, "sha256": run.weights.sha256, "replaced": match.replaced} | unused


def _record(run: Run, given: Settings, record: dict[str, Any], found: CostedSpace) -> dict[str, Any]:
    """Write what the run rests on, or see that it is still the same; gives what there is to say about the images."""
    init = _init(run, record)
    data = data_record(run.images, run.split, run.image_size)
    data |= {} if run.own_task is None else {"metric_name": run.own_task.metric_name}
    check_same(run.dir, record, data, run.split.hash)
    data["duplicates"] = duplicates_of(run.dir, record, run.images, run.split)
    space = {
        "net": run.settings.net.net, "length": run.space.length, "poolings": run.space.poolings,
        "axes": run.space.axes, "paths": run.settings.net.paths, "default": str(run.space.default),
        "size": run.full_size, "covered": run.space.size,
    }  # fmt: skip
    versions, hardware, recorded = installed(), run.machine.describe(), code_of(record)
    write_costs(run.dir.costs, run.space, run.space_costs, dict(found.about))  # first: a budget rests on it
    network = record.get("network")
    if run.objects.network is not None:
        network = {"sha256": run.objects.network.digest(run.net_spec.classes)}
    check_network(run.dir, record, network)
    if ranks_again(Settings.from_record(record["given"]), given):
        set_ranking_aside(run.dir)  # before run.json says how the next is made: stopped in between, this one is remade
    write_json(run.dir.run, record | {
        "given": given.to_dict(), "settings": run.settings.to_dict(), "versions": versions, "hardware": hardware,
        "seed": run.seed, "data": data, "space": space, "budget": found.budget, "init": init,
        "network": network, "split_hash": run.split.hash, "code": {**recorded, **run.code},
    } | ({"digests": digests.NAME} if digests.are_kept(run.dir.root) else {}))  # fmt: skip
    write_text(run.dir.config, config_text(given))
    for file in (file for file, digest in run.code.items() if recorded.get(file, digest) != digest):
        run.warn(f"resumed with another {file} than the run was begun with: results may be of both.")
    named = {file_of(run.settings.net.net), file_of(run.settings.search.method), file_of(run.settings.data.task)}
    for file in (file for file in run.code if recorded and file not in recorded and file not in named):
        run.warn(
            f"resumed with {file}, which is imported now and was not recorded when the run was begun: it is new, or "
            "the run is of a version that recorded no imported files. Results may be of both."
        )
    for text in changed(record, versions, hardware):
        run.warn(f"resumed with {text}")
    write_split(run.dir, run.images, run.split)
    write_json(run.dir.skipped, run.images.skipped)
    return data
