"""The search: train a balanced mixture of supernets (paper, section 2.3). Run directory in, run directory out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolsearch.ask_tell.mixture_search import MixtureSearch
from poolsearch.ask_tell.trial import Trial, WaitingTrial
from poolsearch.callbacks import SUPERNETS
from poolsearch.mixture.balance import entropy
from poolsearch.mixture.mixture import Mixture, MixtureRules
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.resnet import Norm
from poolsearch.samplers import Sampler
from poolsearch.samplers.make import make_sampler
from poolsearch.session.run import Run
from poolsearch.session.trusted import digest_of
from poolsearch.settings.resolved import ResolvedSearch
from poolsearch.space import KEEP, Exponents, Placement
from poolsearch.stages.diverged import search_diverged
from poolsearch.stages.searching.filters import evenness, filter_steps, write_filters
from poolsearch.stages.searching.history import ScoreHistory
from poolsearch.supernet.norms import SupernetNorm
from poolsearch.supernet.per_resolution import PerResolution, name_of
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train import checkpoint
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.optim import Cosine, load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.seeded import seeded
from poolsearch.train.step import train_step, tree_backward, tree_scores


def search(run: Run) -> None:
    """Train the mixture to its end, from its checkpoint where there is one.

    Leaves ``checkpoint/``, ``events.jsonl`` and ``scores.parquet``; with weights for each resolution ``filters.csv``.

    Args:
        run: open, with a method of supernets; its folder takes the files.

    Raises:
        Interrupted: stopped on request; the state is saved.
        PoolsearchError: the checkpoint is damaged, no space is left, or the training diverged.
    """
    with run.stage("search", checkpoint.step_of(run.dir.checkpoint, search_identity(run))):
        training = SearchTraining(run)
        settings = run.settings
        files = LoopFiles(run.dir.checkpoint, run.dir.events, settings.machine.checkpoint_seconds, search_identity(run))
        identity, watch = {"stage": "search"}, run.callbacks.watch(SUPERNETS)
        run_loop(training, files, "search", run.progress, identity, run.seed, watch)
        training.check_loss()
        training.history.write(run.dir, run.space)
        if settings.search.sharing != "shared":
            write_filters(run.dir.filters, filter_steps(run.space, training.mixture.trained_AM))


def search_identity(run: Run) -> dict[str, Any]:
    """What the checkpoint of a search is of.

    Args:
        run: open.

    Returns:
        Network, data, seed, stage and method, as JSON values, for the header of the checkpoint.
    """
    return run.identity | {"stage": "search", "method": run.settings.search.method}


_Scores = tuple[Trial, dict[Placement, Callable[[], float]]]
"""A trial whose metrics are on their way from the device."""


class SearchTraining:
    """The mixture's training as a :class:`~poolsearch.train.loop.Training`.

    A step asks a :class:`~poolsearch.ask_tell.MixtureSearch` for a placement and a member, trains the member on one
    search-train minibatch, scores the pair on one search-val minibatch, and tells the score (paper, Figure 2). With one
    member and a uniform sampler this is SPOS, step for step.

    Differs: on request several placements of one member share a minibatch (``placements_per_step``), and scores are
    read some steps late (``score_lag``), so that a GPU need not be waited for in every step.

    Args:
        run: open, with a method of supernets.
        sampler: draws the placements; where not given that of the method.
    """

    def __init__(self, run: Run, sampler: Sampler | None = None) -> None:
        settings = run.settings.search
        self._run = run
        self._settings = settings
        self.device = run.machine.device
        # calibrated statistics are collected after the search; until then the batch at hand normalises
        self.members = make_members(run, "batch" if settings.norm == "calibrate" else settings.norm)
        self._optimizers = [
            sgd(m.parameters(), settings.lr, settings.momentum, settings.weight_decay) for m in self.members
        ]
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=run.machine.precision == "fp16")
        self._train = run.loader(run.split.search_train, settings.batch, "search-train", run.seed, augmented=True)
        self._val = run.loader(run.split.search_val, settings.val_batch, "search-val", run.seed, augmented=False)
        self.steps_per_epoch = self._train.steps_per_epoch
        self.epochs = search_epochs(settings)
        self._rates = search_rates(settings, self.epochs, self.steps_per_epoch)
        steps = self.epochs * self.steps_per_epoch
        draws, digest = steps * settings.placements_per_step, digest_of(settings.method, run.code)
        self.search = MixtureSearch(
            run.space, steps=steps, seed=run.seed, rules=mixture_rules(settings), steps_per_epoch=self.steps_per_epoch,
            sampler=sampler or make_sampler(settings.method, run.space, settings, run.seed, draws, digest),
        )  # fmt: skip
        self.history = ScoreHistory(run.space.size, settings.members, self.epochs)
        self._pending: deque[_Scores] = deque()
        self.last_loss = 0.0
        self._start_epoch()

    @property
    def mixture(self) -> Mixture:
        """Scores, assignment and training steps so far."""
        return self.search.mixture

    def check_loss(self) -> None:
        """See that the loss of the last epoch that ended was a finite number.

        Raises:
            PoolsearchError: it was not: nothing can be learned any more.
        """
        if not np.isfinite(self.last_loss):
            raise search_diverged(self._run, "the supernets")

    def step(self, step: int) -> Tensor:
        if step % self.steps_per_epoch == 0:
            self.check_loss()
        settings = self._settings
        trial = self.search.ask(settings.placements_per_step)
        optimizer = self._optimizers[trial.member]
        set_lr(optimizer, self._rates.at(step))
        x_BCHW, targets = self._train.batch(step)
        supernet = self.members[trial.member].train()
        loss = train_step(
            lambda: tree_backward(
                self._run.task, supernet, x_BCHW, targets, trial.placements, self._scaler, self._run.machine
            ),
            optimizer,
            self._scaler,
        )
        self._loss += loss
        if step % settings.val_every == 0:
            self._score(trial, step)
        if settings.refresh and step % settings.refresh == 0:
            self._score(self.search.ask_stalest(), step)
        last = step == self.epochs * self.steps_per_epoch - 1
        self._take_in(step if last else step - settings.score_lag)
        return loss

    def _score(self, trial: Trial, step: int) -> None:
        """Start finding the metric of the placements of a trial on the step's validation minibatch."""
        placements = list(dict.fromkeys(trial.placements))
        x_BCHW, targets = self._val.batch(step)
        machine, supernet = self._run.machine, self.members[trial.member].eval()
        scores = tree_scores(self._run.task, supernet, x_BCHW, targets, placements, machine)
        self._pending.append((trial, {placements[position]: machine.send(score) for position, score in scores}))

    def _take_in(self, until: int) -> None:
        """Take what was found up to step ``until`` into the scores (Eq. 2)."""
        while self._pending and self._pending[0][0].step <= until:
            trial, reads = self._pending.popleft()
            values = {placement: read() for placement, read in reads.items()}
            self.search.tell(trial, values)
            for value in values.values():  # not sum(): newer Pythons round that in another way
                self._val_sum += value
            self._val_count += len(values)

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        mixture = self.mixture
        self.last_loss = float(self._loss) / self.steps_per_epoch
        uncertainty = entropy(mixture.balanced_AM)
        trained_M = mixture.trained_AM.sum(0)
        event = {
            "learning_rate": self._rates.at(step - 1),
            "inv_temp": mixture.inv_temp(self.search.progress(step - 1)),
            "train_loss": self.last_loss,
            "val_metric": self._val_sum / self._val_count if self._val_count else None,
            "assign_entropy": None if np.isnan(uncertainty) else uncertainty,
            "oldest_score": int(mixture.age_AM(step).max()),
            "least_trained": int(trained_M.min()),
            "most_trained": int(trained_M.max()),
            "lock_in_step": mixture.lock_in_step,
            "balance_iterations": (mixture.iterations - self._iterations) / self.steps_per_epoch,
        }
        if self._settings.sharing != "shared":
            event |= evenness(filter_steps(self._run.space, mixture.trained_AM))
        self.history.take(epoch, step, mixture)
        self._start_epoch()
        return event

    def note(self) -> str:
        return f"validation {self._val_sum / self._val_count:.1%}" if self._val_count else ""

    def tensors(self) -> dict[str, Tensor]:
        found = checkpoint.with_prefix(
            "mixture", {k: torch.from_numpy(np.array(v)) for k, v in self.mixture.state().items()}
        )
        found |= checkpoint.with_prefix("history", self.history.tensors())
        found["loss"] = self._loss
        for i, (member, optimizer) in enumerate(zip(self.members, self._optimizers, strict=True)):
            found |= checkpoint.with_prefix(f"member{i}", member.weights())
            found |= checkpoint.with_prefix(f"momentum{i}", momentum_tensors(optimizer))
        return found

    def meta(self) -> Any:
        return {
            "sampler": self.search.sampler.state(),
            "scaler": self._scaler.state_dict(),
            "last_loss": self.last_loss,
            "epoch": [self._val_sum, self._val_count, self._iterations],
            "pending": [
                [self._run.space.index(placement), trial.member, trial.step, trial.trained, read()]
                for trial, reads in self._pending
                for placement, read in reads.items()
            ],
        }

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        tables = {k: t.numpy() for k, t in checkpoint.under_prefix("mixture", tensors).items()}
        steps = int(tables["trained_AM"].sum()) // self._settings.placements_per_step
        waiting = [_waiting(list(scores)) for _, scores in groupby(meta["pending"], key=lambda score: score[1:4])]
        trials = self.search.resume(steps, tables, meta["sampler"], [told for told, _ in waiting])
        self._pending = deque(
            (trial, dict(zip(trial.placements, reads, strict=True)))
            for trial, (_, reads) in zip(trials, waiting, strict=True)
        )
        self.history.load(checkpoint.under_prefix("history", tensors))
        self._loss = tensors["loss"].to(self.device)
        for i, (member, optimizer) in enumerate(zip(self.members, self._optimizers, strict=True)):
            member.load_weights(checkpoint.under_prefix(f"member{i}", tensors))
            load_momentum(optimizer, checkpoint.under_prefix(f"momentum{i}", tensors))
        self._scaler.load_state_dict(meta["scaler"])
        self.last_loss = meta.get("last_loss", 0.0)  # checkpoints of older versions lack it
        self._val_sum, self._val_count, self._iterations = meta["epoch"]

    def _start_epoch(self) -> None:
        self._loss = torch.zeros((), device=self.device)
        self._val_sum, self._val_count = 0.0, 0
        self._iterations = self.mixture.iterations


def _waiting(scores: list[Any]) -> tuple[WaitingTrial, list[Callable[[], float]]]:
    """A trial of a checkpoint that is still to be told, and its metrics, from their lines in the header."""
    numbers, members, steps, trained, values = zip(*scores, strict=True)
    return WaitingTrial(steps[0], members[0], numbers, trained[0]), [partial(float, value) for value in values]


def search_epochs(settings: ResolvedSearch) -> int:
    """Epochs in all: in proportion to the members (paper, appendix B.1).

    Differs: docs/differences.md#number-of-epochs; the authors' loop has one more, as the preset ``official``.

    Args:
        settings: resolved; their ``epochs`` are for one member.

    Returns:
        How many epochs of search-train images are trained, by all members together.
    """
    epochs = settings.epochs * settings.members
    return epochs + 1 if settings.preset == "official" else epochs


def search_rates(settings: ResolvedSearch, epochs: int, steps_per_epoch: int) -> Cosine:
    """Learning rates of a search, from resolved settings.

    Args:
        settings: resolved.
        epochs: in all, see :func:`search_epochs`.
        steps_per_epoch: minibatches of an epoch.

    Returns:
        The rate as a function of the step: half a cosine, which changes at each step or each epoch (``lr_every``).
    """
    hold = steps_per_epoch if settings.lr_every == "epoch" else 1
    return Cosine(settings.lr, settings.lr_floor, epochs * steps_per_epoch, hold)


def mixture_rules(settings: ResolvedSearch) -> MixtureRules:
    """The mixture's part of the settings.

    Args:
        settings: resolved.

    Returns:
        M, and how scores are kept and turned into an assignment.
    """
    return MixtureRules(
        settings.members, settings.beta, settings.score_init, settings.schedule, settings.inv_temp_end,
        settings.balance_every, settings.score, settings.explore, settings.assign,
    )  # fmt: skip


def make_members(run: Run, norm: SupernetNorm) -> list[SinglePath]:
    """M supernets, each with its own initial weights, or all with those of --init.

    Args:
        run: open, with a method that trains supernets.
        norm: which statistics their BatchNorm normalises by.

    Returns:
        M of them on the run's device; fresh weights follow from the run's seed, not from torch's generator.
    """
    return [run.machine.place(_member(run, m, norm)) for m in range(run.settings.search.members)]


def _member(run: Run, m: int, norm: SupernetNorm) -> SinglePath:
    """A supernet as its training begins: with one set of weights, or one for each resolution (``--sharing``)."""
    sharing, warm = run.settings.search.sharing, run.weights is not None

    def network(resolution: Exponents, make_norm: Norm) -> Poolable:
        alike = sharing == "same-init" or resolution == KEEP
        with seeded(run.seed, "member-weights" if alike else f"member-weights-{name_of(resolution)}", m):
            return run.initial(make_norm)

    if sharing == "shared":
        return SinglePath(partial(network, KEEP), norm, warm)
    return PerResolution(network, norm, run.paths, warm)
