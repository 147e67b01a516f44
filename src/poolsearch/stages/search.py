"""The search: train a balanced mixture of supernets (paper, section 2.3). Run directory in, run directory out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch import rng
from poolsearch.context import Run, seeded
from poolsearch.files import RunDir, atomic
from poolsearch.mixture.balance import entropy
from poolsearch.mixture.mixture import Mixture, MixtureRules
from poolsearch.samplers.uniform import Uniform
from poolsearch.settings import SearchSettings
from poolsearch.space import Space
from poolsearch.supernet.norms import SupernetNorm
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train import checkpoint
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.optim import cosine, load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.step import hits, train_step

_SNAPSHOTS = 100
_SNAPSHOT_VALUES = 5_000_000  # (placement, member) values kept over the whole search


def search(run: Run) -> None:
    """Train the mixture to its end, from its checkpoint where there is one.

    Leaves ``checkpoint/``, ``events.jsonl`` and ``scores.parquet``.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    with run.stage("search", checkpoint.step_of(run.dir.checkpoint)):
        task = SearchTask(run)
        settings = run.settings
        files = LoopFiles(run.dir.checkpoint, run.dir.events, settings.machine.checkpoint_seconds)
        identity = {"stage": "search"}
        run_loop(task, files, "search", run.progress, identity, run.seed)
        task.history.write(run.dir, run.space)
        if not np.isfinite(task.last_loss):
            run.warn("the training of the supernets diverged: lower --lr in a new run.")


class SearchTask:
    """The mixture's training as a :class:`~poolsearch.train.loop.Task`.

    A step draws a placement uniformly and a member by the assignment, trains the member on one search-train minibatch
    and scores the pair on one search-val minibatch (paper, Figure 2). With one member this is SPOS, step for step.
    """

    def __init__(self, run: Run) -> None:
        settings = run.settings.search
        self._run = run
        self._settings = settings
        self.device = run.machine.device
        # calibrated statistics are collected after the search; until then the batch at hand normalises
        self.members = make_members(run, "batch" if settings.norm == "calibrate" else settings.norm)
        self._optimizers = [
            sgd(m.parameters(), settings.lr or 0, settings.momentum, settings.weight_decay or 0) for m in self.members
        ]
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=run.machine.precision == "fp16")
        self.mixture = Mixture(run.space.size, mixture_rules(settings))
        self._sampler = Uniform(run.space, run.seed)
        self._train = run.loader(run.split.search_train, settings.batch or 0, "search-train", run.seed, augmented=True)
        self._val = run.loader(run.split.search_val, settings.val_batch or 0, "search-val", run.seed, augmented=False)
        self.steps_per_epoch = self._train.steps_per_epoch
        self.epochs = search_epochs(settings)
        self.history = History(run.space.size, settings.members, self.epochs)
        self.last_loss = 0.0
        self._start_epoch()

    def epoch_starts(self, epoch: int) -> None:
        self._lr = cosine(epoch, self.epochs, self._settings.lr or 0, self._settings.lr_floor)
        for optimizer in self._optimizers:
            set_lr(optimizer, self._lr)

    def step(self, step: int) -> None:
        mixture, sampler = self.mixture, self._sampler
        mixture.prepare(step, self._progress(step), step % self.steps_per_epoch == 0)
        placement = sampler.ask()
        number = self._run.space.index(placement)
        member = mixture.member(number, rng.generator(self._run.seed, "member", step).random())
        x_BCHW, y_B = self._train.batch(step)
        supernet = self.members[member].train()
        loss = train_step(
            lambda x: supernet(x, placement), x_BCHW, y_B, self._optimizers[member], self._scaler, self._run.machine
        )
        self._loss += loss
        mixture.trained(number, member)
        if step % self._settings.val_every == 0:
            sampler.tell(placement, self._score(number, member, step))
        if self._settings.refresh and step % self._settings.refresh == 0:
            self._score(*mixture.stalest(), step)

    def _score(self, number: int, member: int, step: int) -> float:
        """Accuracy of the pair on the step's validation minibatch, taken into its score (Eq. 2)."""
        placement = self._run.space[number]
        supernet = self.members[member].eval()
        x_BCHW, y_B = self._val.batch(step)
        accuracy = hits(lambda x: supernet(x, placement), x_BCHW, y_B, self._run.machine).float().mean().item()
        self.mixture.scored(number, member, accuracy, step)
        self._val_sum += accuracy
        self._val_count += 1
        return accuracy

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        mixture = self.mixture
        self.last_loss = float(self._loss) / self.steps_per_epoch
        uncertainty = entropy(mixture.assign_AM)
        trained_M = mixture.trained_AM.sum(0)
        event = {
            "learning_rate": self._lr,
            "inv_temp": mixture.inv_temp(self._progress(step - 1)),
            "train_loss": self.last_loss,
            "val_accuracy": self._val_sum / self._val_count if self._val_count else None,
            "assign_entropy": None if np.isnan(uncertainty) else uncertainty,
            "oldest_score": int(mixture.age_AM(step).max()),
            "least_trained": int(trained_M.min()),
            "most_trained": int(trained_M.max()),
            "lock_in_step": mixture.lock_in_step,
            "balance_iterations": (mixture.iterations - self._iterations) / self.steps_per_epoch,
        }
        self.history.take(epoch, step, mixture)
        self._start_epoch()
        return event

    def note(self) -> str:
        return f"validation {self._val_sum / self._val_count:.1%}" if self._val_count else ""

    def tensors(self) -> dict[str, Tensor]:
        found = checkpoint.under("mixture", {k: torch.from_numpy(np.array(v)) for k, v in self.mixture.state().items()})
        found |= checkpoint.under("history", self.history.tensors())
        found["loss"] = self._loss
        for i, (member, optimizer) in enumerate(zip(self.members, self._optimizers, strict=True)):
            found |= checkpoint.under(f"member{i}", member.weights())
            found |= checkpoint.under(f"momentum{i}", momentum_tensors(optimizer))
        return found

    def meta(self) -> Any:
        sums = [self._val_sum, self._val_count, self._iterations]
        return {"sampler": self._sampler.state(), "scaler": self._scaler.state_dict(), "epoch": sums}

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        self.mixture.load_state({k: t.numpy() for k, t in checkpoint.of("mixture", tensors).items()})
        self.history.load(checkpoint.of("history", tensors))
        self._loss = tensors["loss"].to(self.device)
        for i, (member, optimizer) in enumerate(zip(self.members, self._optimizers, strict=True)):
            member.load_weights(checkpoint.of(f"member{i}", tensors))
            load_momentum(optimizer, checkpoint.of(f"momentum{i}", tensors))
        self._sampler.load_state(meta["sampler"])
        self._scaler.load_state_dict(meta["scaler"])
        self._val_sum, self._val_count, self._iterations = meta["epoch"]

    def _start_epoch(self) -> None:
        self._loss = torch.zeros((), device=self.device)
        self._val_sum, self._val_count = 0.0, 0
        self._iterations = self.mixture.iterations

    def _progress(self, step: int) -> float:
        """Part of the search that is done, from 0 at the first step to 1 at the last."""
        return step / max(1, self.epochs * self.steps_per_epoch - 1)


def search_epochs(settings: SearchSettings) -> int:
    """Epochs in all: in proportion to the members (paper, appendix B.1); the authors' loop has one more (NOTES D17)."""
    epochs = (settings.epochs or 0) * settings.members
    return epochs + 1 if settings.preset == "official" else epochs


def mixture_rules(settings: SearchSettings) -> MixtureRules:
    """The mixture's part of the settings."""
    assert settings.inv_temp_end is not None and settings.balance_every is not None, "resolve the settings first"
    return MixtureRules(
        settings.members, settings.beta, settings.score_init, settings.schedule, settings.inv_temp_end,
        settings.balance_every, settings.score, settings.explore,
    )  # fmt: skip


def make_members(run: Run, norm: SupernetNorm) -> list[SinglePath]:
    """M supernets, each with its own initial weights."""
    members = []
    for m in range(run.settings.search.members):
        with seeded(run.seed, "member-weights", m):
            member = SinglePath(run.build, norm)
        members.append(run.machine.place(member))
    return members


class History:
    """Snapshots of scores and assignment, at most :data:`_SNAPSHOTS`, evenly over the epochs."""

    _COLUMNS = ("score", "assignment", "count", "age")

    def __init__(self, placements: int, members: int, epochs: int) -> None:
        room = max(2, _SNAPSHOT_VALUES // (placements * members))
        self._epochs = set(np.linspace(0, epochs - 1, min(_SNAPSHOTS, room, epochs)).round().astype(int).tolist())
        self._steps: list[int] = []
        self._tables: dict[str, list[NDArray[np.generic]]] = {name: [] for name in self._COLUMNS}

    def take(self, epoch: int, step: int, mixture: Mixture) -> None:
        """Keep the tables when this epoch is one of those to keep."""
        if epoch not in self._epochs:
            return
        self._steps.append(step)
        values = (mixture.score_AM, mixture.assign_AM, mixture.trained_AM, mixture.age_AM(step))
        for name, table_AM in zip(self._COLUMNS, values, strict=True):
            kind = np.float32 if table_AM.dtype.kind == "f" else np.int32
            self._tables[name].append(table_AM.astype(kind))

    def tensors(self) -> dict[str, Tensor]:
        """All snapshots, stacked over steps."""
        if not self._steps:
            return {}
        stacked = {name: torch.from_numpy(np.stack(tables)) for name, tables in self._tables.items()}
        return stacked | {"step": torch.tensor(self._steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Undo of :meth:`tensors`."""
        self._steps = tensors["step"].tolist() if tensors else []
        self._tables = {name: list(tensors[name].numpy()) if tensors else [] for name in self._COLUMNS}

    def write(self, files: RunDir, space: Space) -> None:
        """scores.parquet: one row per step, placement and member."""
        score_SAM = np.stack(self._tables["score"])
        steps, placements, members = score_SAM.shape
        names = pa.DictionaryArray.from_arrays(
            pa.array(np.tile(np.repeat(np.arange(placements, dtype=np.int32), members), steps)),
            pa.array([str(p) for p in space]),
        )
        columns: dict[str, Any] = {
            "step": np.repeat(self._steps, placements * members),
            "number": np.tile(np.repeat(np.arange(placements), members), steps),
            "placement": names,
            "member": np.tile(np.arange(members), steps * placements),
        }
        for name in self._COLUMNS:
            columns[name] = np.stack(self._tables[name]).ravel()
        with atomic(files.scores) as temporary:
            pq.write_table(pa.table(columns), temporary)
