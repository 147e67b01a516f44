"""Each way to a ranking, and what comes after it, as estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch.inspection_results import NOTHING, Estimate, MethodEstimate, StageCost
from poolsearch.session.run import Run
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.check import is_calibrated
from poolsearch.settings.resolved import ResolvedSearch
from poolsearch.stages.planning.alone_prices import StandaloneTimes
from poolsearch.stages.planning.estimate import search_seconds, trial_rounds, trials_seconds
from poolsearch.stages.planning.fit import FittedRates
from poolsearch.stages.planning.jobs import Job
from poolsearch.stages.planning.measure import SearchTimes
from poolsearch.stages.planning.memory import TrainingMemory
from poolsearch.stages.planning.ranking import ranking_seconds, trees_of
from poolsearch.stages.planning.work import Work
from poolsearch.stages.search import search_epochs

Floats = NDArray[np.float64]

_MEMBERS = (1, 2, 4, 8)  # told of beside the M that is set


@dataclass(frozen=True)
class Measurements:
    """All that was measured."""

    work: Work
    memory: TrainingMemory
    search: SearchTimes
    passes: FittedRates
    alone: dict[Job, StandaloneTimes]


def mixture_sizes(run: Run) -> list[int]:
    """Each M that is told of; 1 is a single supernet.

    Args:
        run: open; the M that is set is told of, too.

    Returns:
        Ascending, none above the number of placements.
    """
    return [m for m in sorted({*_MEMBERS, run.settings.search.members}) if m <= run.space.size]


def supernet_estimates(run: Run, sizes: Sequence[int], last: Job, prices: Measurements) -> list[MethodEstimate]:
    """One supernet, and mixtures of several.

    Args:
        run: open, with the mixture as its method.
        sizes: M of each way.
        last: the retraining, whose steps are those of trials.
        prices: measured for the M that is set and for all of these.

    Returns:
        A way for each size, in their order, with search, ranking and trials as its stages.
    """
    settings = run.settings
    trials = (StageCost("trials", trials_estimate(run, settings, last, prices)),) if settings.rank.trials else ()
    return [
        MethodEstimate(
            "spos" if members == 1 < run.settings.search.members else "mixture",
            members,
            ("one supernet" if members == 1 else f"{members} supernets") + _and_trials(run),
            (
                StageCost("search", search_estimate(run, _with_members(run, members), prices)),
                StageCost("rank", rank_estimate(run, members, prices)),
                *trials,
            ),
            prices.memory.search(members),
        )
        for members in sizes
    ]


def _with_members(run: Run, members: int) -> ResolvedSearch:
    """The search with another M; where epochs are left to us and the work is to be the same, they are divided."""
    settings = run.settings.changed(members=members)
    if run.settings.given.search.epochs is None and is_calibrated(run.settings):
        epochs = max(1, round(run.settings.search.epochs * run.settings.search.members / members))
        settings = settings.changed(epochs=epochs)
    return settings.search


def _and_trials(run: Run) -> str:
    trials = run.settings.rank.trials
    return f", {trials} trial{'' if trials == 1 else 's'}" if trials else ""


def bayes_estimate(run: Run, settings: ResolvedSettings, last: Job, prices: Measurements) -> MethodEstimate:
    """Trials alone, each chosen by a model of those before.

    Args:
        run: open.
        settings: resolved for ``--method bayes``.
        last: the retraining, whose steps are those of trials.
        prices: measured.

    Returns:
        The way, with one stage.
    """
    memory = prices.memory.alone(prices.alone[last].crew.workers, last.recipe.batch)
    stage = StageCost("trials", trials_estimate(run, settings, last, prices))
    return MethodEstimate("bayes", None, f"{settings.rank.trials} trials", (stage,), memory)


def trials_estimate(run: Run, settings: ResolvedSettings, last: Job, prices: Measurements) -> Estimate:
    """The trials that a ranking learns from: rounds of one per worker, of placements that are not known before.

    Args:
        run: open.
        settings: of the method, resolved.
        last: the retraining, whose steps were measured.
        prices: measured.

    Returns:
        Seconds of the stage.
    """
    alone = prices.alone[last]
    steps = settings.alone.trial_epochs * (len(run.split.search_train) // settings.search.batch)
    scoring = float(test_seconds(run, prices).mean()) * len(run.split.search_val) / len(run.split.test)
    return trial_rounds(settings.rank.trials, alone.step, steps, alone.crew, scoring)


def search_estimate(run: Run, settings: ResolvedSearch, prices: Measurements) -> Estimate:
    """A search.

    Args:
        run: open.
        settings: of the search, whose members were measured.
        prices: measured.

    Returns:
        Seconds of the stage.
    """
    steps = search_epochs(settings) * (len(run.split.search_train) // settings.batch)
    scores = 1 / settings.val_every + (1 / settings.refresh if settings.refresh else 0)
    price = prices.search
    # what was measured holds the work of the mixture that is set
    extra = price.mixture[settings.members] - price.mixture[run.settings.search.members]
    every = run.settings.machine.checkpoint_seconds
    saving = min(1.0, price.save / every) if every else 0.0
    return search_seconds(steps, price.train, price.score, scores, extra, saving)


def rank_estimate(run: Run, members: int, prices: Measurements) -> Estimate:
    """The ranking after a search.

    Args:
        run: open.
        members: M.
        prices: measured.

    Returns:
        Seconds of the stage.
    """
    images, calibrated = len(run.split.search_val), run.settings.search.norm == "calibrate"
    batch = min(run.settings.rank.eval_batch, images)
    trees = trees_of(run, members)
    return ranking_seconds(trees, images, batch, calibrated, prices.work, prices.search.passes)


def standalone_estimate(method: str, jobs: Sequence[Job], prices: Measurements) -> MethodEstimate:
    """A method without supernets: rounds of trainings, one after the other.

    Args:
        method: as in ``--method``.
        jobs: its rounds in their order, at least one.
        prices: measured for all of them.

    Returns:
        The way, with one stage; its memory is that of the round that needs the most.
    """
    takes = sum((_trials(job, prices) for job in jobs), NOTHING)
    memory = max(prices.memory.alone(prices.alone[job].crew.workers, job.recipe.batch) for job in jobs)
    return MethodEstimate(method, None, _told(jobs), (StageCost("sweep", takes),), memory)


def untrained_estimate() -> MethodEstimate:
    """Ranking by MACs, which is done before a plan could be.

    Returns:
        A way that takes no time and no memory.
    """
    return MethodEstimate("macs", None, "nothing: ranked by MACs", (StageCost("rank", NOTHING),), 0)


def _trials(job: Job, prices: Measurements) -> Estimate:
    price = prices.alone[job]
    scoring = price.score.mean * job.scored / price.images
    return trials_seconds(price.step, job.placements, job.seeds, job.steps, price.crew, scoring)


def retraining_estimate(run: Run, last: Job, prices: Measurements) -> tuple[StageCost, ...]:
    """Retraining of the finalists, and evaluating them on the test split.

    Args:
        run: open.
        last: the retraining.
        prices: measured for it.

    Returns:
        The stages retrain and test.
    """
    test = last.trials * (float(test_seconds(run, prices).mean()) + prices.alone[last].crew.begin)
    return StageCost("retrain", _trials(last, prices)), StageCost("test", Estimate.of(test, prices.passes.error))


def test_seconds(run: Run, prices: Measurements) -> Floats:
    """Evaluating each placement on the test images.

    Args:
        run: open.
        prices: measured.

    Returns:
        Seconds of each placement of the space, shape (A,).
    """
    batch, images = run.settings.rank.eval_batch, len(run.split.test)
    chunks = -(-images // batch)
    return prices.passes.seconds(prices.work.of_all(images / chunks)) * chunks


def short_of_memory(ways: Sequence[MethodEstimate], last: Job, prices: Measurements) -> tuple[str, ...]:
    """A sentence for each way, and for the retraining, that needs more memory than is free.

    Args:
        ways: each way to a ranking.
        last: the retraining.
        prices: measured for it; what was free is known from them.

    Returns:
        The sentences; none where all have room or the system does not say what is free.
    """
    memory, workers = prices.memory, prices.alone[last].crew.workers
    needs = {f"{way.method} ({way.what})": way.memory for way in ways}
    needs[f"retraining by {workers} at once"] = memory.alone(workers, last.recipe.batch)
    room = None if memory.free is None else memory.free + memory.process
    return tuple(
        f"{name} needs about {needed / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB can be had: use a smaller batch, "
        "fewer --members or fewer --workers."
        for name, needed in needs.items()
        if room is not None and needed > room
    )


def _told(jobs: Sequence[Job]) -> str:
    """What is trained, in a few words."""
    first, *rest = jobs
    further = "".join(f", {job.placements:,} for {job.epochs:,}{'' if job.begins else ' more'}" for job in rest)
    return f"{first.trials:,} networks for {first.epochs:,} epochs{further}"
