"""Planning: time steps on this machine, and tell what each way to an answer would cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from poolsearch.inspection_results import MethodEstimate, Plan
from poolsearch.progress import Progress, SilentProgress, Update
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.open_run import open_run
from poolsearch.session.prepare import absolute
from poolsearch.session.run import Run
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.check import with_method
from poolsearch.settings.methods import usual_method
from poolsearch.settings.resolve import resolve
from poolsearch.stages.planning.advice import advise
from poolsearch.stages.planning.alone_prices import time_standalone
from poolsearch.stages.planning.fitted import Asked, fit, members_to_price, prices_of, sizes_of, told
from poolsearch.stages.planning.jobs import alone_jobs, retraining_job, standalone_jobs
from poolsearch.stages.planning.measure import time_search, time_standalone_passes
from poolsearch.stages.planning.memory import try_largest_step
from poolsearch.stages.planning.options import (
    Measurements,
    bayes_estimate,
    mixture_sizes,
    retraining_estimate,
    short_of_memory,
    standalone_estimate,
    supernet_estimates,
    untrained_estimate,
)
from poolsearch.stages.planning.work import work_of


def plan(
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
    objects: Objects = NO_OBJECTS,
) -> Plan:
    """Time training steps here; tell what each way to a ranking would cost, what comes after it, and which is advised.

    Nothing is left behind. The method of the settings does not count: all are planned. With ``hours`` in the settings
    only that method is, and what fits into the hours is chosen: see ``Plan.fit``.

    Args:
        settings: as of a run; None is the defaults.
        progress: where work shows itself; silent by default.
        trust: whether a Python file that the settings name may run; by default it may, as the caller names it.
        keep: with ``hours``, names of settings that stay as they are though they have their default's value; those
            that have another do so anyway.
        objects: a network and a task that are given as such.

    Returns:
        Seconds and bytes of each way, the one that is advised and why, and warnings of what does not fit into memory.

    Raises:
        PoolsearchError: a mistake in what was asked for, or too little memory for a training step of the placement
            that needs the most.
    """
    begun = time.monotonic()
    progress = progress or SilentProgress()
    asked = settings or Settings()
    hours = asked.search.hours
    wanted = None if hours is None else Asked(asked, keep, hours)
    given = absolute(asked)
    with (
        tempfile.TemporaryDirectory(prefix="poolsearch-plan-") as folder,
        open_run(
            Path(folder) / "run", with_method(asked, "mixture"), False, progress, trust=trust, objects=objects
        ) as run,
        torch.random.fork_rng(devices=[run.machine.device] if run.machine.device.type == "cuda" else []),
        progress.bar("planning", 5) as update,
    ):
        found = _planned(run, given, update) if wanted is None else _fitted(run, wanted, given, begun, update)
    return replace(found, seconds=round(time.monotonic() - begun, 1))


def _planned(run: Run, given: Settings, update: Update) -> Plan:
    update(0, "a step of the placement that needs the most memory")
    memory = try_largest_step(run)
    work = work_of(run)
    sizes = mixture_sizes(run)
    update(1, "steps of the search")
    search = time_search(run, work, sizes)
    update(3, "passes in evaluation")
    passes = time_standalone_passes(run, work)
    update(4, "stand-alone trainings")
    bayes = _as_bayes(run, given)
    trials = bayes.rank.trials if usual_method(given.search.preset) == "bayes" else 0
    jobs, last = standalone_jobs(run, given), retraining_job(run, trials)
    alone = time_standalone(run, work, [last, *(job for each in jobs.values() for job in each)])
    prices = Measurements(work, memory, search, passes, alone)
    alone_ones = (standalone_estimate(method, each, prices) for method, each in jobs.items())
    by_trials = bayes_estimate(run, bayes, last, prices)
    ways = (*alone_ones, by_trials, untrained_estimate(), *supernet_estimates(run, sizes, last, prices))
    after = retraining_estimate(run, last, prices)
    members = run.settings.search.members
    rest = sum(stage.takes.seconds for stage in after)
    method, reason = advise(ways, rest, usual_method(given.search.preset), members)
    update(5, "")
    return Plan(
        net=run.net_spec.name,
        default=run.space.default.shown,
        placements=run.space.size,
        members=members,
        machine=str(run.machine),
        largest=memory.placement.shown,
        largest_bytes=memory.step,
        free_bytes=memory.free,
        ways=ways,
        after=after,
        method=method,
        reason=reason,
        warnings=short_of_memory(ways, last, prices),
        seconds=0.0,
    )


def _as_bayes(run: Run, given: Settings) -> ResolvedSettings:
    """The settings that ``--method bayes`` would have here."""
    split = run.split
    settings = with_method(given, "bayes")
    return resolve(settings, len(split.search_train), len(split.search_val), run.image_size)


def _fitted(run: Run, asked: Asked, given: Settings, begun: float, update: Update) -> Plan:
    """Measure only what the method needs, and choose what fits into the hours."""
    opened = time.monotonic() - begun
    update(0, "a step of the placement that needs the most memory")
    memory = try_largest_step(run)
    work, members = work_of(run), members_to_price(run, asked)
    update(1, "steps of the search")
    search = time_search(run, work, sorted({*members, run.settings.search.members}))
    update(3, "stand-alone trainings")
    last, sweep = retraining_job(run), alone_jobs(run, given, "sweep")
    measured = Measurements(work, memory, search, search.passes, time_standalone(run, work, [last, *sweep]))
    prices = prices_of(run, last, measured, opened, members, sizes_of(run, asked)[-1].trials)
    way = standalone_estimate("sweep", sweep, measured)
    fitted = fit(run, asked, prices, way.takes, time.monotonic() - begun)
    found = told(run, asked, fitted)
    size, fits = fitted.size, fitted.fits
    method = next((one.value for one in found.settings if one.name == "method"), asked.method)
    *before, retrain, test = fitted.prices.stages(size)
    if method != "sweep":
        what = f"{size.members} supernet{'' if size.members == 1 else 's'}" if before else "nothing"
        way = MethodEstimate(method, size.members, what, tuple(before), memory.search(size.members))
    update(5, "")
    return Plan(
        net=run.net_spec.name,
        default=run.space.default.shown,
        placements=run.space.size,
        members=size.members,
        machine=str(run.machine),
        largest=memory.placement.shown,
        largest_bytes=memory.step,
        free_bytes=memory.free,
        ways=(way,),
        after=(retrain, test),
        method=method,
        reason=f"the largest job that fits into {asked.hours:g} h" if fits else f"{asked.hours:g} h is not enough",
        warnings=short_of_memory((way,), last, measured),
        seconds=0.0,
        fit=found,
    )
