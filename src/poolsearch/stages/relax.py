"""The search of a relaxed method: train the relaxed supernet and the weights of its resolutions (paper, appendix C)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolsearch.callbacks import SUPERNETS
from poolsearch.errors import PoolsearchError
from poolsearch.mixture.balance import entropy
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.diverged import search_diverged
from poolsearch.stages.search import make_members, search_epochs, search_identity, search_rates
from poolsearch.storage.files import write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.supernet.relaxed import Relaxed, path_of, resolutions
from poolsearch.tasks.task import main_output, minibatch_metric
from poolsearch.train import checkpoint
from poolsearch.train.architecture import Forward, first_order, make_architecture, second_order
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.machine import Machine
from poolsearch.train.optim import load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.step import backward, train_step

_SNAPSHOTS = 100


def relax(run: Run) -> None:
    """Train to the end, from the checkpoint where there is one.

    Leaves ``checkpoint/``, ``events.jsonl`` and ``relaxed.json``.

    Args:
        run: open, with a relaxed method; its folder takes the files.

    Raises:
        PoolsearchError: the machine's settings cannot do what the method needs, or the training diverged.
        Interrupted: stopped on request; the state is saved.
    """
    check_machine(run.machine, run.settings.relaxed.arch_order)
    with run.stage("search", checkpoint.step_of(run.dir.checkpoint, search_identity(run))):
        training = RelaxedTraining(run)
        files = LoopFiles(
            run.dir.checkpoint, run.dir.events, run.settings.machine.checkpoint_seconds, search_identity(run)
        )
        run_loop(
            training, files, run.settings.search.method, run.progress, {"stage": "search"}, run.seed,
            run.callbacks.watch(SUPERNETS),
        )  # fmt: skip
        training.check_loss()
        found = training.history.write(run.dir, run.settings.search.method)
        run.progress.say(f"{run.settings.search.method} found {found}; the network's own is {run.space.default}")


def check_machine(machine: Machine, order: int) -> None:
    """See that gradients of gradients can be had, where they are asked for.

    Args:
        machine: its compiler and precision are looked at.
        order: of the architecture's gradient, as ``--arch-order``: 1 or 2; 1 can always be had.

    Raises:
        PoolsearchError: they cannot.
    """
    if order == 2 and machine.compiler is not None:
        raise PoolsearchError(
            f"--arch-order 2 goes backward twice, which blocks compiled by {machine.compiler} cannot. Leave --compile "
            "out, or use --arch-order 1."
        )
    if order == 2 and machine.precision == "fp16":
        raise PoolsearchError(
            "--arch-order 2 with --precision fp16: gradients of gradients are too small for it. Use bf16, fp32 or "
            "--arch-order 1."
        )


class RelaxedTraining:
    """The relaxed supernet's training as a :class:`~poolsearch.train.loop.Training`.

    Order 1 (the default): a step of the supernet on a search-train minibatch, then one of the architecture on a
    search-val minibatch, with the supernet's weights held, both in training mode. Order 2: first the architecture's, on
    both minibatches, through the step that the supernet then makes (without its momentum), as in DARTS (Liu et al.
    2018). See docs/differences.md#order-of-darts-and-gaea.

    Differs: the order is not given in the paper; validation minibatches begin anew at the end of the half, as in every
    other search here.

    Args:
        run: open, with a relaxed method.
    """

    def __init__(self, run: Run) -> None:
        settings = run.settings.search
        self._run = run
        self._settings = settings
        self._order = run.settings.relaxed.arch_order
        self.device = run.machine.device
        self.supernet = make_members(run, "batch")[0]
        self._relaxed = Relaxed(self.supernet)
        self._optimizer = sgd(self.supernet.parameters(), settings.lr, settings.momentum, settings.weight_decay)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=run.machine.precision == "fp16")
        net = self.supernet.net
        self.architecture = make_architecture(
            settings.method, len(net.blocks) - 1, resolutions(net), run.settings.relaxed, self.device
        )
        self._train = run.loader(run.split.search_train, settings.batch, "search-train", run.seed, augmented=True)
        self._val = run.loader(run.split.search_val, settings.val_batch, "search-val", run.seed, augmented=False)
        self.steps_per_epoch = self._train.steps_per_epoch
        self.epochs = search_epochs(settings)
        self._rates = search_rates(settings, self.epochs, self.steps_per_epoch)
        self.history = WeightHistory(self.epochs)
        self.last_loss, self._last_val = math.nan, math.nan
        self._start_epoch()

    def check_loss(self) -> None:
        """See that the loss of the last epoch that ended was a finite number.

        Raises:
            PoolsearchError: it was not: nothing can be learned any more.
        """
        if not np.isfinite(self.last_loss):
            raise search_diverged(self._run, "the relaxed supernet", " or --arch-lr")

    def step(self, step: int) -> Tensor:
        if step and step % self.steps_per_epoch == 0:
            self.check_loss()
        rate = self._rates.at(step)
        set_lr(self._optimizer, rate)
        self.supernet.train()
        train, val = self._train.batch(step), self._val.batch(step)
        if self._order == 2:
            self._step_architecture(train, val, rate)
        weight_LR = self.architecture.weight_LR().detach()
        loss = train_step(
            lambda: backward(
                self._run.task, lambda x_BCHW: self._relaxed(x_BCHW, weight_LR), *train, self._scaler, self._run.machine
            ),
            self._optimizer,
            self._scaler,
        )
        self._loss += loss
        if self._order == 1:
            self._step_architecture(train, val, rate)
        return loss

    def _step_architecture(self, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], rate: float) -> None:
        """A step of the architecture; the metric of the validation minibatch is kept by the way.

        ``rate`` is the supernet's learning rate in this step.
        """

        def train_loss(forward: Forward) -> Tensor:
            return self._run.task.loss(self._logits(forward, train[0]), train[1])

        def val_loss(forward: Forward) -> Tensor:
            outputs = self._logits(forward, val[0])
            self._val_sum += minibatch_metric(self._run.task, outputs, val[1])
            return self._run.task.loss(outputs, val[1])

        parameter = self.architecture.parameter
        if self._order == 1:
            gradient_LR = first_order(self._relaxed, parameter, val_loss, self._scaler)
        else:
            decay = self._settings.weight_decay
            gradient_LR = second_order(self._relaxed, parameter, train_loss, val_loss, rate, decay)
        self.architecture.step(gradient_LR)

    def _logits(self, forward: Forward, x_BCHW: Tensor) -> Tensor:
        with self._run.machine.autocast():
            return main_output(forward(x_BCHW, self.architecture.weight_LR())).float()

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        self.last_loss = float(self._loss) / self.steps_per_epoch
        self._last_val = float(self._val_sum) / self.steps_per_epoch
        weight_LR = self.architecture.weight_LR().detach().double().cpu().numpy()
        self.history.take(epoch, step, weight_LR.tolist())
        self._start_epoch()
        return {
            "learning_rate": self._rates.at(step - 1),
            "train_loss": self.last_loss,
            "val_metric": self._last_val,
            "weight_entropy": entropy(weight_LR),
        }

    def note(self) -> str:
        return f"validation {self._last_val:.1%}" if np.isfinite(self._last_val) else ""

    def tensors(self) -> dict[str, Tensor]:
        found = checkpoint.with_prefix("supernet", self.supernet.weights())
        found |= checkpoint.with_prefix("momentum", momentum_tensors(self._optimizer))
        found |= checkpoint.with_prefix("architecture", self.architecture.tensors())
        return found | {"loss": self._loss, "val_sum": self._val_sum}

    def meta(self) -> Any:
        return {
            "scaler": self._scaler.state_dict(),
            "last": [self.last_loss, self._last_val],
            "history": [self.history.steps, self.history.weight_SLR],
        }

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        self.supernet.load_weights(checkpoint.under_prefix("supernet", tensors))
        load_momentum(self._optimizer, checkpoint.under_prefix("momentum", tensors))
        self.architecture.load(checkpoint.under_prefix("architecture", tensors))
        self._loss, self._val_sum = tensors["loss"].to(self.device), tensors["val_sum"].to(self.device)
        self._scaler.load_state_dict(meta["scaler"])
        self.last_loss, self._last_val = meta["last"]
        self.history.steps, self.history.weight_SLR = meta["history"]

    def _start_epoch(self) -> None:
        self._loss = torch.zeros((), device=self.device)
        self._val_sum = torch.zeros((), device=self.device)


class WeightHistory:
    """Snapshots of the weights at the ends of epochs, at most :data:`_SNAPSHOTS`, evenly over them.

    Args:
        epochs: of the whole search.

    Attributes:
        steps: done at each snapshot.
        weight_SLR: the weights of each snapshot, block but the first, and resolution.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = set(np.linspace(0, epochs - 1, min(_SNAPSHOTS, epochs)).round().astype(int).tolist())
        self.steps: list[int] = []
        self.weight_SLR: list[list[list[float]]] = []

    def take(self, epoch: int, step: int, weight_LR: list[list[float]]) -> None:
        """Keep the weights when this epoch is one of those to keep; the last one is.

        Args:
            epoch: the one that ends, counted from 0.
            step: how many steps are done.
            weight_LR: of each block but the first and each resolution; rows sum to 1.
        """
        if epoch in self._epochs:
            self.steps.append(step)
            self.weight_SLR.append(weight_LR)

    def write(self, files: RunDir, method: str) -> str:
        """Write relaxed.json: the placement that was found, and the snapshots.

        Args:
            files: of the run.
            method: as in ``--method``.

        Returns:
            The placement of the last snapshot's largest weights, for people.
        """
        path = path_of(self.weight_SLR[-1])
        placement = Placement.of_resolutions(path)
        write_json(files.relaxed, {
            "method": method, "placement": str(placement), "path": path, "steps": self.steps,
            "weights": self.weight_SLR,
        })  # fmt: skip
        return placement.shown
