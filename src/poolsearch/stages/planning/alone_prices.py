"""What stand-alone trainings take: measured as they run, by as many processes at once with the threads each has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.nets.poolable import FixedPlacementNet
from poolsearch.progress import Progress, SilentProgress
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout
from poolsearch.stages.planning.jobs import Job
from poolsearch.stages.planning.measure import placements_to_measure, step_time
from poolsearch.stages.planning.steps import rounds_of, time_passes
from poolsearch.stages.planning.work import Work, work_of
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial, worker_layout
from poolsearch.train import checkpoint
from poolsearch.workers.pool import run_trials

Floats = NDArray[np.float64]

_STEP_SECONDS, _SCORE_SECONDS = 3.0, 0.5  # of each network
_MOST_IMAGES = 32  # of a pass that is timed


@dataclass(frozen=True)
class StandaloneTimes:
    """What stand-alone trainings of one network take with others beside them, and who does them.

    Attributes:
        step: of a training.
        score: a pass in evaluation, of ``images``.
        images: as many as an evaluation takes at once.
        crew: the processes.
    """

    step: StepTime
    score: StepTime
    images: int
    crew: WorkerLayout


@dataclass(frozen=True)
class _ProcessTimes:
    """Seconds in a process: of a step and of a pass (R rounds, N placements), and of a trial beside its steps."""

    step_RN: Floats
    score_RN: Floats
    begin: float


def time_standalone(run: Run, own: Work, jobs: Sequence[Job]) -> dict[Job, StandaloneTimes]:
    """Measure the networks of these jobs, each kind once for each number of workers that work at once.

    Args:
        run: open; its folder takes the checkpoints that are timed.
        own: the work of the run's own network.
        jobs: with networks of that or another width.

    Returns:
        The times of every job; those of the same width and batch by as many workers have the same.
    """
    crews = {job: worker_layout(run, job.trials)[:2] for job in jobs}
    works = {job.width: work_of(_with_width(run, job.width)) for job in jobs if job.width != run.settings.net.width}
    found: dict[Job, StandaloneTimes] = {}
    for same in set(crews.values()):
        by_network = {job.network: job for job in jobs if crews[job] == same}
        opening, timed = _by_all(run, list(by_network.values()))
        for network, times in zip(by_network, timed, strict=True):
            who = WorkerLayout(same[0], opening, times.begin)
            price = _priced(run, works.get(network.width, own), network.batch, times, who)
            found |= {job: price for job in jobs if crews[job] == same and job.network == network}
    return found


def _priced(run: Run, work: Work, batch: int, times: _ProcessTimes, who: WorkerLayout) -> StandaloneTimes:
    placements, images = placements_to_measure(run), _images(run)
    step = step_time(work, placements, times.step_RN, batch)
    return StandaloneTimes(step, step_time(work, placements, times.score_RN, images), images, who)


def _images(run: Run) -> int:
    return min(run.settings.rank.eval_batch, len(run.split.search_val), _MOST_IMAGES)


def _by_all(run: Run, jobs: Sequence[Job]) -> tuple[float, list[_ProcessTimes]]:
    """Time each job's network in all workers at once: seconds until a worker begins its first trial, and the times."""
    workers, threads, cards = worker_layout(run, jobs[0].trials)
    asked = time.time()
    work = partial(_by_one, run, placements_to_measure(run), jobs)
    each = run_trials(work, range(workers), [1] * workers, SilentProgress(), "timing", workers, threads, cards)
    opening = float(np.mean([began for began, _ in each])) - asked if workers > 1 else 0.0
    return opening, [_together(times) for times in zip(*(found for _, found in each), strict=True)]


def _together(each: Sequence[_ProcessTimes]) -> _ProcessTimes:
    """The means of all processes, of the rounds that all have done."""
    steps, scores = min(len(t.step_RN) for t in each), min(len(t.score_RN) for t in each)
    return _ProcessTimes(
        np.mean([t.step_RN[:steps] for t in each], axis=0),
        np.mean([t.score_RN[:scores] for t in each], axis=0),
        float(np.mean([t.begin for t in each])),
    )


def _by_one(
    run: Run, placements: Sequence[Placement], jobs: Sequence[Job], process: int, progress: Progress
) -> tuple[float, list[_ProcessTimes]]:
    """In a worker or in this process: when it began, and the times of each job's network."""
    began = time.time()
    return began, [_time(_with_width(run, job.width), placements, job, process) for job in jobs]


def _time(run: Run, placements: Sequence[Placement], job: Job, process: int) -> _ProcessTimes:
    trial = Trial(placements[0], process)
    StandaloneTraining(run, job.recipe, trial)  # the first reads what all share
    begun = time.perf_counter()
    training = StandaloneTraining(run, job.recipe, trial)
    checkpoint.save(run.dir.root / f"timed{process}.safetensors", training.tensors(), training.meta())
    begin = time.perf_counter() - begun
    step_RN = rounds_of([partial(_step, training, p) for p in placements], _STEP_SECONDS, run.machine)
    model = training.net.eval()
    score_RN = time_passes(run, [partial(_at, model, p) for p in placements], [_images(run)], _SCORE_SECONDS)
    return _ProcessTimes(step_RN, score_RN, begin)


def _step(training: StandaloneTraining, placement: Placement) -> None:
    training.net.placement = placement  # all have the same parameters: one network does for them
    training.step(0)


def _at(model: FixedPlacementNet, placement: Placement, x_BCHW: Tensor) -> Tensor:
    return model.net(x_BCHW, placement)


def _with_width(run: Run, width: int | None) -> Run:
    """The run with a network of this width."""
    return run if width == run.settings.net.width else replace(run, settings=run.settings.changed(width=width))
