"""Stand-alone training of placements: what retraining and every rival without a supernet have in common."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch import rng
from poolsearch.callbacks import TrainingName, TrialEvent
from poolsearch.evaluation.measure import Responses
from poolsearch.image_size import LARGEST_NATIVE, ImageSize
from poolsearch.nets.poolable import FixedPlacementNet, parameters_of
from poolsearch.progress import TrialProgress
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.diverged import retraining_diverged
from poolsearch.storage.files import remove, write_json
from poolsearch.storage.stage_results import read_metrics
from poolsearch.train import checkpoint
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.machine import cuda_cards
from poolsearch.train.optim import Cosine, load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.seeded import seeded
from poolsearch.train.step import backward, predict, train_step
from poolsearch.workers.pool import plan_workers, run_trials


@dataclass(frozen=True)
class Trial:
    """One stand-alone training: a placement and a seed; ``image_size`` is None for that of the run."""

    placement: Placement
    seed: int
    image_size: ImageSize | None = None

    def __str__(self) -> str:
        at = f" at {self.image_size}" if self.image_size else ""
        return f"{self.placement.shown}{at} seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where the trial leaves what it found, below ``root``.

        Args:
            root: of the trials of a stage, as ``retrain/`` in the run's folder.

        Returns:
            ``root/PLACEMENT/SEED``, or ``root/PLACEMENT@SIZE/SEED``; it need not be there.
        """
        at = f"@{self.image_size.plain}" if self.image_size else ""
        return root / f"{self.placement.file_name}{at}" / str(self.seed)

    def of(self, run: Run) -> Run:
        """The run with images of the trial's size.

        Args:
            run: the run, at its own size.

        Returns:
            The same run where the sizes are equal.
        """
        return run.at(self.image_size or run.image_size)

    def name(self, run: Run, root: Path) -> TrainingName:
        """What callbacks are told it is.

        Args:
            run: the run.
            root: of the trials of a stage, in the run's folder.

        Returns:
            Its stage, folder, placement and seed.
        """
        folder = self.folder(root).relative_to(run.dir.root)
        return TrainingName(
            stage=folder.parts[0], training=folder.as_posix(), placement=str(self.placement), seed=self.seed
        )

    def identity(self, run: Run) -> dict[str, Any]:
        """What tells it from others, for the headers of its files.

        Args:
            run: the run, at its own size.

        Returns:
            Network, data, seed of the run, placement, seed and image size of the trial, as JSON values.
        """
        return run.identity | {
            "placement": str(self.placement), "trial_seed": self.seed, "image_size": self.of(run).image_size.plain,
        }  # fmt: skip


@dataclass(frozen=True)
class TrainingConfig:
    """How placements are trained stand-alone: SGD and half a cosine, as the search.

    Attributes:
        purpose: keys the random draws, and names the stage in events.
        part: the images to learn from: both halves, or search-train.
        epochs, batch, lr, lr_floor, lr_every, momentum, weight_decay: as in the settings.
        until: epochs to stop after, on the way to all ``epochs``; None: all.
    """

    purpose: str
    part: Literal["train_all", "search_train"]
    epochs: int
    batch: int
    lr: float
    lr_floor: float
    lr_every: Literal["step", "epoch"]
    momentum: float
    weight_decay: float
    until: int | None = None


class StandaloneTraining:
    """A stand-alone training as a :class:`~poolsearch.train.loop.Training`.

    Two placements with the same seed begin with the same weights and see the same minibatches, so that their
    difference is paired.

    Args:
        run: open, at its own image size.
        recipe: how, and how far.
        trial: which.
    """

    def __init__(self, run: Run, recipe: TrainingConfig, trial: Trial) -> None:
        run = trial.of(run)
        self._recipe = recipe
        self._machine, self._task = run.machine, run.task
        self.device = run.machine.device
        self.epochs = recipe.until or recipe.epochs
        self.seed = rng.key(run.seed, recipe.purpose, trial.seed)
        with seeded(self.seed, "weights"):
            net = FixedPlacementNet(run.initial(), trial.placement)
        self.net = run.machine.place(net)
        self._optimizer = sgd(net.parameters(), recipe.lr, recipe.momentum, recipe.weight_decay)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=run.machine.precision == "fp16")
        images: NDArray[np.int64] = getattr(run.split, recipe.part)
        self._train = run.loader(images, recipe.batch, recipe.purpose, self.seed, augmented=True)
        self.images = len(images)
        self.steps_per_epoch = self._train.steps_per_epoch
        hold = self.steps_per_epoch if recipe.lr_every == "epoch" else 1
        self._rates = Cosine(recipe.lr, recipe.lr_floor, recipe.epochs * self.steps_per_epoch, hold)
        self._loss = torch.zeros((), device=self.device)
        self.last_loss = float("nan")

    def step(self, step: int) -> Tensor:
        set_lr(self._optimizer, self._rates.at(step))
        self.net.train()
        x_BCHW, targets = self._train.batch(step)
        loss = train_step(
            lambda: backward(self._task, self.net, x_BCHW, targets, self._scaler, self._machine),
            self._optimizer,
            self._scaler,
        )
        self._loss += loss
        return loss

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        self.last_loss = float(self._loss) / self.steps_per_epoch
        self._loss = torch.zeros((), device=self.device)
        return {"learning_rate": self._rates.at(step - 1), "train_loss": self.last_loss}

    def note(self) -> str:
        return f"loss {self.last_loss:.3f}" if self.last_loss == self.last_loss else ""

    def tensors(self) -> dict[str, Tensor]:
        found = checkpoint.with_prefix("net", self.net.net.original.state_dict())
        return found | checkpoint.with_prefix("momentum", momentum_tensors(self._optimizer)) | {"loss": self._loss}

    def meta(self) -> Any:
        return {"scaler": self._scaler.state_dict(), "last_loss": self.last_loss}

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        self.net.net.original.load_state_dict(checkpoint.under_prefix("net", tensors))
        load_momentum(self._optimizer, checkpoint.under_prefix("momentum", tensors))
        self._loss = tensors["loss"].to(self.device)
        self._scaler.load_state_dict(meta["scaler"])
        self.last_loss = meta["last_loss"]


def train_trials(
    run: Run, recipe: TrainingConfig, trials: Sequence[Trial], root: Path, needed: Collection[Placement] = ()
) -> None:
    """Train those that are not finished, several at once where that is faster or asked for.

    Each leaves ``model.safetensors``, ``metrics.json`` and ``events.jsonl`` in its own folder below ``root``.

    Args:
        run: open; the user is warned of trainings that diverged.
        recipe: how each is trained.
        trials: which, finished ones among them.
        root: of their folders.
        needed: placements none of whose trainings, with images of the run's own size, may diverge.

    Raises:
        Interrupted: stopped on request; the state is saved.
        PoolsearchError: a training of a needed placement diverged.
    """

    def check(trial: Trial) -> None:
        if trial.placement in needed and trial.image_size is None and has_diverged(trial.folder(root)):
            raise retraining_diverged(run, str(trial))

    def ended(trial: Trial, _: object) -> None:
        tell_ended(run, root, trial, None)
        check(trial)

    workers, threads, cards = worker_layout(run, len(trials))
    left = [trial for trial in trials if not _finished(trial.folder(root))]
    for trial in trials:
        if trial not in left:
            check(trial)
    costs = [trial.of(run).costs.macs(trial.placement) for trial in left]
    work = partial(_train, run, recipe, root, workers)
    run_trials(work, left, costs, run.progress, recipe.purpose, workers, threads, cards, ended, run.callbacks.epoch)
    for trial in trials:
        if has_diverged(trial.folder(root)):
            run.warn(f"the training of {trial} diverged: lower --retrain-lr in a new run.")


def worker_layout(run: Run, trials: int) -> tuple[int, int, list[str]]:
    """How many train at once on the run's machine.

    Args:
        run: open; ``--workers``, the device and the size of its images decide. A network or task that was given as an
            object is used in this process: others cannot make it.
        trials: how many trainings there are in all, finished ones too.

    Returns:
        Workers, torch's threads of each, and the CUDA devices that they share; none on a CPU.
    """
    device = run.machine.device.type
    cards = cuda_cards() if device == "cuda" else []
    small = device == "cpu" and run.image_size.pixels <= LARGEST_NATIVE**2
    asked = 1 if run.objects else run.settings.machine.workers
    workers, threads = plan_workers(asked, trials, torch.get_num_threads(), len(cards), small)
    return workers, threads, cards


def _finished(folder: Path) -> bool:
    if not (folder / "metrics.json").exists():
        return False
    remove(unfinished_folder(folder))  # stopped between the two
    return True


def has_diverged(folder: Path) -> bool:
    """Whether the last training loss of a finished trial was no finite number.

    Args:
        folder: of the trial.

    Returns:
        True where it diverged.

    Raises:
        PoolsearchError: its metrics are damaged.
    """
    return read_metrics(folder)["train_loss"] is None


def unfinished_folder(folder: Path) -> Path:
    """Where a trial keeps its state while it may still be gone on with.

    Args:
        folder: of the trial.

    Returns:
        The path of its checkpoint, which need not be there.
    """
    return folder / "checkpoint.safetensors"


def tell_ended(run: Run, root: Path, trial: Trial, metric: float | None) -> None:
    """Tell the callbacks that a training ended.

    Args:
        run: open.
        root: of the trials' folders.
        trial: which; its metrics are there.
        metric: how good it is, a fraction; None where that is not known yet.

    Raises:
        Exception: whatever a callback raises.
    """
    found = read_metrics(trial.folder(root))
    loss = math.nan if found["train_loss"] is None else found["train_loss"]
    name = vars(trial.name(run, root))
    run.callbacks.trial(TrialEvent(**name, epochs=found["epochs"], train_loss=loss, metric=metric))


def _train(run: Run, recipe: TrainingConfig, root: Path, workers: int, trial: Trial, progress: TrialProgress) -> None:
    """Train one, in a worker process or in ours; what it finds goes into its own folder only."""
    folder = trial.folder(root)
    training, metrics = train_standalone(run, recipe, root, workers, trial, progress)
    weights = dict(training.net.net.original.state_dict())
    checkpoint.save(folder / "model.safetensors", weights, {"of": trial.identity(run)})
    write_json(folder / "metrics.json", metrics)
    remove(unfinished_folder(folder))


def train_standalone(
    run: Run, recipe: TrainingConfig, root: Path, workers: int, trial: Trial, progress: TrialProgress
) -> tuple[StandaloneTraining, dict[str, Any]]:
    """Train one from its checkpoint, if there is one, as far as the recipe goes.

    Leaves a checkpoint and ``events.jsonl`` in the trial's folder.

    Args:
        run: open, at its own image size.
        recipe: how, and how far.
        root: of the trials' folders.
        workers: how many train at once, for the metrics.
        trial: which.
        progress: where its bar shows itself, and its epochs are told.

    Returns:
        The training at its end, and what ``metrics.json`` says about every trial.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    folder = trial.folder(root)
    training = StandaloneTraining(run, recipe, trial)
    every_seconds, of = run.settings.machine.checkpoint_seconds, trial.identity(run) | {"stage": recipe.purpose}
    files = LoopFiles(unfinished_folder(folder), folder / "events.jsonl", every_seconds, of)
    identity = {"stage": recipe.purpose, "placement": str(trial.placement), "seed": trial.seed}
    watch = run.callbacks.watch(trial.name(run, root), progress.tell)
    seconds = run_loop(training, files, str(trial), progress, identity, training.seed, watch)
    return training, {
        "placement": str(trial.placement), "seed": trial.seed, "epochs": training.epochs,
        "steps": training.epochs * training.steps_per_epoch, "seconds": round(seconds, 1),
        "images": training.images, "image_size": trial.of(run).image_size.plain, "train_loss": training.last_loss,
        "macs": trial.of(run).costs.macs(trial.placement), "parameters": parameters_of(training.net),
        "workers": workers, "threads": torch.get_num_threads(),
    }  # fmt: skip


def predictions(run: Run, trial: Trial, root: Path, images: NDArray[np.int64], purpose: str) -> Responses:
    """What a finished trial's network says of each image.

    Args:
        run: open, at its own image size.
        trial: which.
        root: of the trials' folders.
        images: indices into the run's images, shape (N,).
        purpose: names the loader of the images; nothing is drawn.

    Returns:
        Numbers of classes, or the metric of each image, shape (N,), in the order of ``images``.

    Raises:
        PoolsearchError: the trial's weights are damaged, or of something else.
    """
    folder, run = trial.folder(root), trial.of(run)
    net = run.build()
    weights, _ = checkpoint.load(folder / "model.safetensors", of=trial.identity(run))
    net.original.load_state_dict(weights)
    model = run.machine.place(FixedPlacementNet(net, trial.placement)).eval()
    loader = run.loader(images, 1, purpose, run.seed, augmented=False)
    chunks = loader.chunks(run.settings.rank.eval_batch)
    return torch.cat([predict(run.task, model, *batch, run.machine).cpu() for batch in chunks]).numpy()
