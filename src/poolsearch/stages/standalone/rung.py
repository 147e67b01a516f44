"""Trainings of a sweep: each takes place once, whichever of several processes does it, and is scored when it ends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.progress import TrialProgress
from poolsearch.samplers.successive_halving import Rung, rungs
from poolsearch.session.run import Run
from poolsearch.settings import ResolvedSettings
from poolsearch.space import Placement
from poolsearch.stages.diverged import search_diverged
from poolsearch.stages.ranking.standalone_table import ScoredTraining
from poolsearch.stages.standalone.progress import SweepProgress
from poolsearch.stages.standalone.trial import (
    StandaloneTraining,
    TrainingConfig,
    Trial,
    has_diverged,
    tell_ended,
    train_standalone,
    worker_layout,
)
from poolsearch.storage.files import write_json
from poolsearch.storage.locks import is_held, remove_leftovers, try_lock
from poolsearch.storage.stage_results import read_metrics, read_opening
from poolsearch.tasks.task import class_metric_of
from poolsearch.train.step import predict
from poolsearch.workers.pool import run_trials
from poolsearch.workers.queue import Busy

_WAIT_SECONDS = 0.1
_ENOUGH_LOST = 4  # trainings that diverged, and no other: the placements are not to blame


Done = Callable[[Trial, ScoredTraining], None]


def training_images(run: Run) -> NDArray[np.int64]:
    """Those that a sweep trains on.

    Args:
        run: open.

    Returns:
        Indices into the run's images: search-train, in benchmark mode all training images.
    """
    return run.split.train_all if run.settings.is_benchmark else run.split.search_train


def open_test(run: Run) -> None:
    """Write down what the test split is read for, before the first image is.

    The process that holds the folder does it, as all that is not of a training; without one, who joined.

    Args:
        run: of a sweep in benchmark mode, opened or joined; nothing is written where the opening stands already.
    """
    while not read_opening(run.dir):
        with try_lock(run.dir.root) if run.joined else nullcontext(True) as ours:
            if ours:
                now, why = datetime.now(timezone.utc).isoformat(timespec="seconds"), "a sweep in benchmark mode"
                write_json(run.dir.test, {"opened": now, "for": why, "images": len(run.split.test)})
                return
        time.sleep(_WAIT_SECONDS)


def sweep_config(settings: ResolvedSettings, epochs: int, until: int) -> TrainingConfig:
    """The training of a placement, from resolved settings: as the search, up to ``until`` of ``epochs`` epochs.

    Args:
        settings: of the run.
        epochs: of a whole training, for the learning rate.
        until: epochs after which it stops.

    Returns:
        Training on search-train, in benchmark mode on all training images.
    """
    search, part = settings.search, "train_all" if settings.is_benchmark else "search_train"
    return TrainingConfig(
        "sweep", part, epochs, search.batch, search.lr, search.lr_floor, search.lr_every,
        search.momentum, search.weight_decay, until,
    )  # fmt: skip


def train_placements(run: Run, placements: Sequence[Placement]) -> dict[Placement, list[float]]:
    """Train these placements to the end of a sweep, each with all its seeds; those that have been are read.

    They need not be of the space, as long as the run has their costs.

    Args:
        run: of a sweep.
        placements: what to train.

    Returns:
        The metric of each seed by placement.
    """
    rung = _last_rung(run)
    if run.settings.is_benchmark:
        open_test(run)
    trials = [Trial(placement, seed) for seed in range(rung.seeds) for placement in placements]
    found = train_rung(run, rung, rung.epochs, trials, "truth")
    return {p: [found[Trial(p, seed)].value for seed in range(rung.seeds)] for p in placements}


def trained_before(run: Run, placements: Sequence[Placement]) -> dict[Placement, list[float]]:
    """As :func:`train_placements`, of what has been trained so far: seeds may be missing, or whole placements.

    Args:
        run: of a sweep; nothing is trained or written.
        placements: what to look for.

    Returns:
        The metric of each seed by placement, of those with one at least.
    """
    rung = _last_rung(run)
    found = {
        p: [scored_at(Trial(p, seed).folder(run.dir.sweep), rung.epochs) for seed in range(rung.seeds)]
        for p in placements
    }
    known = {p: [one.value for one in values if one is not None] for p, values in found.items()}
    return {p: values for p, values in known.items() if values}


def _last_rung(run: Run) -> Rung:
    return rungs(run.settings, run.space.size, len(training_images(run)))[-1]


def train_rung(
    run: Run,
    rung: Rung,
    epochs: int,
    trials: Sequence[Trial],
    label: str,
    done: Done | None = None,
    *,
    root: Path | None = None,
    at_once: int | None = None,
    later: int = 0,
) -> dict[Trial, ScoredTraining]:
    """Train these up to the end of the rung, with other processes that may do the same; those that have been are read.

    Args:
        run: at the rung's fidelity.
        rung: where they end.
        epochs: of a whole training, for the learning rate.
        trials: what is trained.
        label: for the bar.
        done: told each and how good it is, first those that have been trained, then the others as they end.
        root: of the trials' folders; None: ``sweep/`` in the run's folder.
        at_once: how many trainings share the machine at most; None: as many as there are.
        later: how many trainings follow after these; the expected finish counts them.

    Returns:
        How good each is at the end of the rung, on the search-val images, in benchmark mode on those of test.

    Raises:
        Interrupted: stopped on request; the state is saved.
        PoolsearchError: the network's own placement diverged, or all did that ended so far.
    """
    root = run.dir.sweep if root is None else root
    macs_of = {trial: run.costs.macs(trial.placement) for trial in trials}
    scored_of: dict[Trial, ScoredTraining] = {}
    lost: list[Trial] = []

    def scored(trial: Trial, found: ScoredTraining) -> None:
        scored_of[trial] = found
        if not run.settings.is_benchmark and has_diverged(trial.folder(root)):
            lost.append(trial)
            every = len(lost) == len(scored_of) >= min(_ENOUGH_LOST, len(trials))
            if every or trial.placement == run.space.default:
                raise search_diverged(run, str(trial))
        if done is not None:
            done(trial, found)

    for trial in trials:
        if (found := scored_at(trial.folder(root), rung.epochs)) is not None:
            scored(trial, found)
    workers, threads, cards = worker_layout(run, at_once or len(trials))
    left = [trial for trial in trials if trial not in scored_of]
    work = partial(train_trial, run, sweep_config(run.settings, epochs, rung.epochs), root, workers)
    live = _live(run, rung, root, label, macs_of, scored_of, later)

    def ended(trial: Trial, found: ScoredTraining) -> None:
        tell_ended(run, root, trial, found.value)
        scored(trial, found)
        live.ended(trial, found.value)

    costs, told = [macs_of[trial] for trial in left], run.callbacks.epoch
    run_trials(work, left, costs, live, label, workers, threads, cards, ended, told)
    return scored_of


def _live(
    run: Run,
    rung: Rung,
    root: Path,
    label: str,
    macs_of: Mapping[Trial, int],
    scored_of: Mapping[Trial, ScoredTraining],
    later: int,
) -> SweepProgress:
    """What is shown of the rung's trainings while they are under way."""

    def value(trial: Trial) -> float | None:
        found = scored_at(trial.folder(root), rung.epochs)
        return None if found is None else found.value

    measure = f"{'test' if run.settings.is_benchmark else 'validation'} {run.task.metric_name}"
    known = {trial: found.value for trial, found in scored_of.items()}
    return SweepProgress(
        run.progress, label, measure, macs_of, known, value, lambda trial: is_held(trial.folder(root)), later
    )


def train_trial(
    run: Run, recipe: TrainingConfig, root: Path, workers: int, trial: Trial, progress: TrialProgress
) -> ScoredTraining | Busy:
    """Train one and score it, unless another process does, or has done so.

    Args:
        run: at the rung's fidelity.
        recipe: how, and how far.
        root: of the trials' folders.
        workers: how many train at once, for the metrics.
        trial: which.
        progress: where its bar shows itself.

    Returns:
        How good it is at the end of the rung; :class:`~poolsearch.workers.queue.Busy`, at once, while another process
        trains it.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    folder = trial.folder(root)
    with try_lock(folder) as ours:
        if not ours:
            return Busy()
        if (found := scored_at(folder, recipe.until or recipe.epochs)) is not None:
            return found
        remove_leftovers(folder)
        return _train_and_score(run, recipe, root, workers, trial, progress)


def _train_and_score(
    run: Run, recipe: TrainingConfig, root: Path, workers: int, trial: Trial, progress: TrialProgress
) -> ScoredTraining:
    """Train one as far as the recipe goes, and score it on the search-val images, or those of test.

    The checkpoint stays, as it may be gone on with; how good it was at earlier rungs stays in the metrics.
    """
    path = trial.folder(root) / "metrics.json"
    before = read_metrics(path.parent).get("rungs", []) if path.exists() else []
    training, found = train_standalone(run, recipe, root, workers, trial, progress)
    part: Literal["test", "val"] = "test" if run.settings.is_benchmark else "val"
    indices = run.split.test if part == "test" else run.split.search_val
    scored, images = _score(run, training, indices), len(indices)
    rung = {"epochs": training.epochs} | dataclasses.asdict(scored)
    accuracy = scored.correct / images if class_metric_of(run.task) else scored.value
    score = {f"{part}_images": images, f"{part}_accuracy": accuracy, f"{part}_metric": scored.value}
    write_json(path, found | score | {"rungs": [*before, rung]})
    return scored


@torch.inference_mode()
def _score(run: Run, training: StandaloneTraining, indices: NDArray[np.int64]) -> ScoredTraining:
    loader = run.loader(indices, 1, "sweep-val", run.seed, augmented=False)
    model, found = training.net.eval(), list[Tensor]()
    for batch in loader.chunks(run.settings.rank.eval_batch):
        found.append(predict(run.task, model, *batch, run.machine))
    response_N, measure = torch.cat(found).cpu().numpy(), run.measure(indices)
    return ScoredTraining(
        int(measure.right(response_N).sum()), float(measure.score(response_N)), *measure.interval(response_N)
    )


def scored_at(folder: Path, epochs: int) -> ScoredTraining | None:
    """How good a trial was at the end of that rung; None where it has not come so far.

    Args:
        folder: of the trial.
        epochs: that it is trained at the end of the rung.

    Returns:
        What was written down when the rung ended, or None.

    Raises:
        PoolsearchError: its metrics are damaged.
    """
    if not (folder / "metrics.json").exists():
        return None
    found: list[dict[str, Any]] = read_metrics(folder).get("rungs", [])
    rung = next((rung for rung in found if rung["epochs"] == epochs), None)
    return None if rung is None else ScoredTraining(*(rung[field.name] for field in dataclasses.fields(ScoredTraining)))
