"""An open run: everything that a stage works with."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.callbacks import Callbacks, StageEvent
from poolsearch.cost import Costs, CostTable, cost_table
from poolsearch.data import Images, Loader, Split, mean_std
from poolsearch.evaluation.measure import ClassMeasure, ImageMeasure, Measure
from poolsearch.image_size import ImageSize
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.objects import GIVEN
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.resnet import Norm
from poolsearch.nets.warm_start import (
    InitialWeights,
    find_weights,
    load_weights,
    object_weights,
)
from poolsearch.progress import Progress, SilentProgress
from poolsearch.session.images import augment_of, image_size_of, images_of
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.prepare import net_spec
from poolsearch.session.task import kind_of_targets, own_task, targets_of, task_of, values_of_guesses
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.methods import kind_of
from poolsearch.space import FreeSpace, Space
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import (
    add_warning,
    check_weights,
    read_record,
    write_stage,
)
from poolsearch.tasks.task import Task, class_metric_of
from poolsearch.train.machine import Machine, pick_machine

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
