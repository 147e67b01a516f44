"""What stand-alone trainings take: measured as they run, by as many processes at once with the threads each has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from poolsearch.context import Run
from poolsearch.execute import run_trials
from poolsearch.placement import Placement
from poolsearch.progress import Progress, Silent
from poolsearch.stages.alone import AloneTask, Trial, crew
from poolsearch.stages.planning.estimate import Crew, Price
from poolsearch.stages.planning.jobs import Job
from poolsearch.stages.planning.measure import chosen, step_price
from poolsearch.stages.planning.steps import rounds_of
from poolsearch.stages.planning.work import work_of
from poolsearch.train import checkpoint

Floats = NDArray[np.float64]

_SECONDS = 6.0  # of each network
_STEPS = 3  # of one placement on end: a training has no other
_PLACEMENTS = 5


@dataclass(frozen=True)
class AlonePrice:
    """The price of a training step with other trainings beside it, and who they are."""

    step: Price
    crew: Crew


def alone_prices(run: Run, jobs: Sequence[Job]) -> dict[Job, AlonePrice]:
    """Measure steps of the networks of these jobs, each kind of network once for each number of workers."""
    crews = {job: crew(run, job.trials)[:2] for job in jobs}
    found: dict[Job, AlonePrice] = {}
    for same in set(crews.values()):
        by_network = {job.network: job for job in jobs if crews[job] == same}
        opening, timed = _by_all(run, list(by_network.values()))
        for network, (step_RN, begin) in zip(by_network, timed, strict=True):
            mine = [job for job in jobs if crews[job] == same and job.network == network]
            of = _with_width(run, network.width)
            price = step_price(of, work_of(of), chosen(of)[:_PLACEMENTS], step_RN, network.batch)
            found |= {job: AlonePrice(price, Crew(same[0], opening, begin)) for job in mine}
    return found


def _by_all(run: Run, jobs: Sequence[Job]) -> tuple[float, list[tuple[Floats, float]]]:
    """Time the steps of each job's network in all workers at once.

    Returns:
        Seconds until a worker begins its first trial; and of each job the seconds of a step (R rounds, N placements)
        and those of a trial beside its steps.
    """
    workers, threads, cards = crew(run, jobs[0].trials)
    asked = time.time()
    work = partial(_by_one, run, jobs)
    each = run_trials(work, range(workers), [1] * workers, Silent(), "timing", workers, threads, cards)
    opening = float(np.mean([began for began, _ in each])) - asked if workers > 1 else 0.0
    timed = zip(*(times for _, times in each), strict=True)
    return opening, [(_together([step for step, _ in t]), float(np.mean([begin for _, begin in t]))) for t in timed]


def _together(each: Sequence[Floats]) -> Floats:
    """The means of all processes, of the rounds that all have done."""
    rounds = min(len(step_RN) for step_RN in each)
    return np.mean([step_RN[:rounds] for step_RN in each], axis=0)


def _by_one(
    run: Run, jobs: Sequence[Job], process: int, progress: Progress
) -> tuple[float, list[tuple[Floats, float]]]:
    """In a worker or in this process: when it began, and the times of each job's network."""
    began = time.time()
    return began, [_time(_with_width(run, job.width), job, process) for job in jobs]


def _time(run: Run, job: Job, process: int) -> tuple[Floats, float]:
    placements = chosen(run)[:_PLACEMENTS]
    trial = Trial(placements[0], process)
    AloneTask(run, job.recipe, trial)  # the first reads what all share
    begun = time.perf_counter()
    task = AloneTask(run, job.recipe, trial)
    checkpoint.save(run.dir.root / f"timed{process}.safetensors", task.tensors(), task.meta())
    begin = time.perf_counter() - begun
    task.epoch_starts(0)
    step_RN = rounds_of([partial(_steps, task, placement) for placement in placements], _SECONDS, run.machine)
    return step_RN / _STEPS, begin


def _steps(task: AloneTask, placement: Placement) -> None:
    task.net.placement = placement  # all have the same parameters: one network does for them
    for step in range(_STEPS):
        task.step(step)


def _with_width(run: Run, width: int | None) -> Run:
    """The run with a network of this width."""
    return run if width == run.settings.net.width else replace(run, settings=run.settings.changed(width=width))
