"""Retraining: the best placements and the default, stand-alone, on all training images; then the test split, once."""

from __future__ import annotations

import csv
import dataclasses
import statistics
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch import rng
from poolsearch.context import Run, seeded
from poolsearch.errors import PoolsearchError
from poolsearch.execute import plan_workers, run_trials
from poolsearch.files import RunDir, atomic, read_json, write_json
from poolsearch.nets.poolable import Fixed, parameters_of
from poolsearch.placement import Placement
from poolsearch.progress import Progress
from poolsearch.record import tested
from poolsearch.settings import LARGEST_NATIVE
from poolsearch.stats import Difference, paired_difference
from poolsearch.train import checkpoint
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.machine import cuda_cards
from poolsearch.train.optim import cosine, load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.step import backward, hits, train_step
from poolsearch.verdict import verdict


@dataclass(frozen=True)
class Trial:
    """One stand-alone training: a placement and a seed; ``rank`` is the placement's place in the ranking."""

    placement: Placement
    rank: int | None
    seed: int

    def __str__(self) -> str:
        return f"{self.placement.shown} seed {self.seed}"


def retrain(run: Run) -> None:
    """Train the top-k of the ranking and the default with n seeds each, then open the test split.

    Finished trials are kept and not trained again; a run whose test split was opened is left as it is. The winner is
    the first of the ranking: it is fixed, and written down, before the test split is opened; other finalists are
    reported, never chosen from.
    Leaves ``retrain/`` and ``test.json``.

    Raises:
        PoolsearchError: there is no ranking.
        Interrupted: stopped on request; the state is saved.
    """
    if tested(run.dir):
        return
    with run.stage("retrain"):
        trials = _trials(run)
        _check_winner(run, trials)
        _train_all(run, trials)
        _test(run, trials)


def _check_winner(run: Run, trials: list[Trial]) -> None:
    """A test split that was opened for one winner is not opened for another."""
    recorded = read_json(run.dir.test)["winner"] if run.dir.test.exists() else None
    if recorded not in (None, str(trials[0].placement)):
        raise PoolsearchError(
            f"the test split of {run.dir.root} was opened for {recorded}, but the ranking now begins with "
            f"{trials[0].placement}. Restore ranking.csv, or start a new run with --out."
        )


def read_ranking(files: RunDir) -> list[dict[str, str]]:
    """The rows of ranking.csv, best first.

    Raises:
        PoolsearchError: there is none.
    """
    if not files.ranking.exists():
        raise PoolsearchError(f"{files.root} has no ranking yet. Run: poolsearch rank --out {files.root}")
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"rank", "placement"} <= rows[0].keys():
        raise PoolsearchError(
            f"{files.ranking} is damaged. Delete it and rank again: poolsearch rank --out {files.root}"
        )
    return rows


def _trials(run: Run) -> list[Trial]:
    """All trials, seed by seed, so that an early stop leaves whole comparisons."""
    rank_of = {row["placement"]: int(row["rank"]) for row in read_ranking(run.dir)}
    names = list(rank_of)[: run.settings.retrain.top_k]
    default = str(run.space.default)
    names += [default] if default not in names else []
    seeds = range(run.settings.retrain.retrain_seeds)
    return [Trial(Placement.parse(name), rank_of.get(name), seed) for seed in seeds for name in names]


class RetrainTask:
    """A stand-alone training as a :class:`~poolsearch.train.loop.Task`: SGD and cosine, as the search.

    Two placements with the same seed begin with the same weights and see the same minibatches, so that their
    difference is paired.
    """

    def __init__(self, run: Run, trial: Trial) -> None:
        settings = run.settings.retrain
        self._lr_start = settings.retrain_lr or 0
        self._lr_floor = min(run.settings.search.lr_floor or 0, self._lr_start)
        self._machine = run.machine
        self.device = run.machine.device
        self.epochs = run.settings.retrain.retrain_epochs or 0
        self.seed = rng.key(run.seed, "retrain", trial.seed)
        with seeded(self.seed, "weights"):
            net = Fixed(run.initial(), trial.placement)
        self.net = run.machine.place(net)
        momentum, decay = run.settings.search.momentum, settings.retrain_weight_decay or 0
        self._optimizer = sgd(net.parameters(), self._lr_start, momentum, decay)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=run.machine.precision == "fp16")
        self._train = run.loader(run.split.train_all, settings.retrain_batch or 0, "retrain", self.seed, augmented=True)
        self.steps_per_epoch = self._train.steps_per_epoch
        self._loss = torch.zeros((), device=self.device)
        self.last_loss = float("nan")

    def epoch_starts(self, epoch: int) -> None:
        self._lr = cosine(epoch, self.epochs, self._lr_start, self._lr_floor)
        set_lr(self._optimizer, self._lr)

    def step(self, step: int) -> None:
        self.net.train()
        x_BCHW, y_B = self._train.batch(step)
        self._loss += train_step(
            lambda: backward(self.net, x_BCHW, y_B, self._scaler, self._machine), self._optimizer, self._scaler
        )

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        self.last_loss = float(self._loss) / self.steps_per_epoch
        self._loss = torch.zeros((), device=self.device)
        return {"learning_rate": self._lr, "train_loss": self.last_loss}

    def note(self) -> str:
        return f"loss {self.last_loss:.3f}" if self.last_loss == self.last_loss else ""

    def tensors(self) -> dict[str, Tensor]:
        found = checkpoint.under("net", self.net.net.original.state_dict())
        return found | checkpoint.under("momentum", momentum_tensors(self._optimizer)) | {"loss": self._loss}

    def meta(self) -> Any:
        return {"scaler": self._scaler.state_dict(), "last_loss": self.last_loss}

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        self.net.net.original.load_state_dict(checkpoint.of("net", tensors))
        load_momentum(self._optimizer, checkpoint.of("momentum", tensors))
        self._loss = tensors["loss"].to(self.device)
        self._scaler.load_state_dict(meta["scaler"])
        self.last_loss = meta["last_loss"]


def _train_all(run: Run, trials: list[Trial]) -> None:
    """Train those that are not finished, several at once where that is faster or asked for."""
    device = run.machine.device.type
    cards = cuda_cards() if device == "cuda" else []
    small = device == "cpu" and run.image_size <= LARGEST_NATIVE
    asked = run.settings.machine.workers
    workers, threads = plan_workers(asked, len(trials), torch.get_num_threads(), len(cards), small)
    left = [trial for trial in trials if not _finished(run, trial)]
    costs = [run.costs.macs(trial.placement) for trial in left]
    work = partial(_train, run, workers)
    run_trials(work, left, costs, run.progress, "retrain", workers, threads, cards)
    for trial in trials:
        if _loss(run, trial) is None:
            run.warn(f"the training of {trial} diverged: lower --retrain-lr in a new run.")


def _finished(run: Run, trial: Trial) -> bool:
    folder = run.dir.trial(trial.placement.file_name, trial.seed)
    if not (folder / "metrics.json").exists():
        return False
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)  # stopped between the two
    return True


def _train(run: Run, workers: int, trial: Trial, progress: Progress) -> None:
    """Train one, in a worker process or in ours; what it finds goes into its own folder only."""
    folder = run.dir.trial(trial.placement.file_name, trial.seed)
    unfinished = folder / "checkpoint.safetensors"
    task = RetrainTask(run, trial)
    files = LoopFiles(unfinished, folder / "events.jsonl", run.settings.machine.checkpoint_seconds)
    identity = {"stage": "retrain", "placement": str(trial.placement), "seed": trial.seed}
    seconds = run_loop(task, files, str(trial), progress, identity, task.seed)
    checkpoint.save(
        folder / "model.safetensors", dict(task.net.net.original.state_dict()), {"placement": str(trial.placement)}
    )
    write_json(folder / "metrics.json", {
        "placement": str(trial.placement), "seed": trial.seed, "epochs": task.epochs,
        "steps": task.epochs * task.steps_per_epoch, "seconds": round(seconds, 1),
        "images": len(run.split.train_all), "train_loss": task.last_loss, "macs": run.costs.macs(trial.placement),
        "parameters": parameters_of(task.net), "workers": workers, "threads": torch.get_num_threads(),
    })  # fmt: skip
    unfinished.unlink()


def _loss(run: Run, trial: Trial) -> float | None:
    """The last training loss of a finished trial; None when it was not finite."""
    return read_json(run.dir.trial(trial.placement.file_name, trial.seed) / "metrics.json")["train_loss"]


def _test(run: Run, trials: list[Trial]) -> None:
    """Open the test split for the trials; the opening is written down before the first image is read."""
    winner, default = str(trials[0].placement), str(run.space.default)
    before = read_json(run.dir.test) if run.dir.test.exists() else {}
    opened = before.get("opened", datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record = {"opened": opened, "winner": winner, "default": default, "images": len(run.split.test)}
    write_json(run.dir.test, record)
    correct: dict[str, list[NDArray[np.bool_]]] = {}
    with run.progress.bar("test", len(trials)) as update:
        for done, trial in enumerate(trials, 1):
            correct.setdefault(str(trial.placement), []).append(_correct(run, trial))
            update(done, "")
    write_json(run.dir.test, record | _results(run, trials, correct))


def _correct(run: Run, trial: Trial) -> NDArray[np.bool_]:
    """Whether the trial's network gets each test image right, shape (N,); kept in ``test_correct.npy``."""
    folder = run.dir.trial(trial.placement.file_name, trial.seed)
    net = run.build()
    weights, _ = checkpoint.load(folder / "model.safetensors", f"Delete {folder} to train it again")
    net.original.load_state_dict(weights)
    model = run.machine.place(Fixed(net, trial.placement)).eval()
    loader = run.loader(run.split.test, 1, "test", run.seed, augmented=False)
    found = [
        hits(model, x_BCHW, y_B, run.machine).cpu() for x_BCHW, y_B in loader.chunks(run.settings.rank.eval_batch or 0)
    ]
    correct_N: NDArray[np.bool_] = torch.cat(found).numpy()
    _save_array(folder / "test_correct.npy", correct_N)
    return correct_N


def _save_array(path: Path, array: NDArray[np.bool_]) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)


def _results(run: Run, trials: list[Trial], correct: dict[str, list[NDArray[np.bool_]]]) -> dict[str, Any]:
    winner, default = str(trials[0].placement), str(run.space.default)
    accuracy = {name: [float(c.mean()) for c in found] for name, found in correct.items()}
    ranks = {str(trial.placement): trial.rank for trial in trials}
    default_macs = run.costs.macs(run.space.default)
    summary = []
    for name, values in accuracy.items():
        macs = run.costs.macs(Placement.parse(name))
        summary.append({
            "placement": name, "rank": ranks[name], "is_default": name == default, "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else None, "n": len(values), "macs": macs,
            "macs_ratio": macs / default_macs,
        })  # fmt: skip
    top = [row["mean"] for row in summary if row["rank"] is not None and row["rank"] <= run.settings.retrain.top_k]
    macs_ratio = run.costs.macs(trials[0].placement) / default_macs
    difference = _difference(correct[winner], correct[default]) if winner != default else None
    return {
        "trials": [
            {"placement": name, "seed": seed, "accuracy": value}
            for name, values in accuracy.items()
            for seed, value in enumerate(values)
        ],
        "summary": summary,
        "top1": statistics.mean(accuracy[winner]),
        "best_of_top": max(top),
        "mean_of_top": statistics.mean(top),
        "difference": difference and dataclasses.asdict(difference),
        "verdict": verdict(
            trials[0].placement.shown, run.space.default.shown, difference, macs_ratio, _diverged(run, trials)
        ),
    }


def _diverged(run: Run, trials: list[Trial]) -> set[str]:
    """Placements of which a training has no finite loss, as people read them."""
    return {trial.placement.shown for trial in trials if _loss(run, trial) is None}


def _difference(a: list[NDArray[np.bool_]], b: list[NDArray[np.bool_]]) -> Difference | None:
    return paired_difference(np.stack(a), np.stack(b)) if len(a) > 1 else None
