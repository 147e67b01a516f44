"""Fitting a job into hours: which sizes it may have, from the least to the full one, and what each would take. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poolsearch.inspection_results import NOTHING, Estimate, StageCost
from poolsearch.settings.groups import Control
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout, makespan, trial_rounds
from poolsearch.stages.planning.rankings import Ranking, by_macs, retrained

Floats = NDArray[np.float64]

LEAST_SEARCH_STEPS = 200
"""Training steps of each member below which a search has hardly learnt anything."""

LEAST_RETRAIN_STEPS = 300
"""Training steps of a stand-alone training below which it has hardly learnt anything."""

LEAST_TRIALS = 3
"""Trials of a ranking without supernets: two of the default, and one to set against it."""

LEAST_SEEDS, USUAL_SEEDS, MOST_SEEDS = 2, 3, 10
"""Trainings of each finalist: a verdict needs two; more than ten make the smallest difference hardly smaller."""

_PACES = 30  # steps in which epochs grow


@dataclass(frozen=True)
class JobSize:
    """How much of everything a job does; each field is the setting of the same name.

    Attributes:
        epochs: of the search, per member; 0 where nothing is searched.
        members: M; 1 is one supernet.
        retrain_epochs, retrain_seeds, top_k, control: of the retraining.
        trials: stand-alone trainings that the ranking learns from.
    """

    epochs: int
    members: int
    retrain_epochs: int
    retrain_seeds: int
    top_k: int
    control: tuple[Control, ...]
    trials: int = 0


def least_epochs(steps_per_epoch: int, steps: int, full: int) -> int:
    """The fewest epochs that a training is worth beginning with.

    Args:
        steps_per_epoch: training steps of an epoch.
        steps: that there should be at least.
        full: epochs that are never exceeded.

    Returns:
        At least 2, but for a ``full`` of 1.
    """
    return min(full, max(2, math.ceil(steps / steps_per_epoch)))


def ladder(least: JobSize, full: JobSize) -> list[JobSize]:
    """The sizes that a job may have, each with at least as much of everything as the one before.

    First epochs grow, of the search to a half and of the retraining to a quarter of the full ones; then trials; then
    seeds, to three; then finalists and controls; then epochs, to the full ones; then members; last the seeds beyond
    three. What a user has fixed is the same in both arguments, and so in all sizes.

    Args:
        least: the smallest useful job.
        full: nothing grows beyond it; it has no less of anything than ``least``.

    Returns:
        ``least`` first, ``full`` last, none twice.
    """
    sizes = [least]

    def grow(to: JobSize) -> None:
        if to != sizes[-1]:
            sizes.append(to)

    def grow_epochs(epochs: int, retrain_epochs: int) -> None:
        begin = sizes[-1]
        for pace in range(1, _PACES + 1):
            grow(replace(
                begin,
                epochs=_between(begin.epochs, epochs, pace / _PACES),
                retrain_epochs=_between(begin.retrain_epochs, retrain_epochs, pace / _PACES),
            ))  # fmt: skip

    grow_epochs(full.epochs // 2, full.retrain_epochs // 4)
    for trials in range(least.trials, full.trials + 1):
        grow(replace(sizes[-1], trials=trials))
    for seeds in range(least.retrain_seeds, min(USUAL_SEEDS, full.retrain_seeds) + 1):
        grow(replace(sizes[-1], retrain_seeds=seeds))
    for top_k in range(least.top_k, full.top_k + 1):
        grow(replace(sizes[-1], top_k=top_k))
    for controls in range(len(least.control), len(full.control) + 1):
        grow(replace(sizes[-1], control=full.control[:controls]))
    grow_epochs(full.epochs, full.retrain_epochs)
    while sizes[-1].members < full.members:
        grow(replace(sizes[-1], members=min(2 * sizes[-1].members, full.members)))
    for seeds in range(sizes[-1].retrain_seeds, full.retrain_seeds + 1):
        grow(replace(sizes[-1], retrain_seeds=seeds))
    return sizes


def _between(begin: int, end: int, part: float) -> int:
    """A number between two, in equal ratios; ``begin`` where the end is below it."""
    return begin if end <= begin else round(begin * (end / begin) ** part)


def largest_within(sizes: Sequence[JobSize], seconds: Callable[[JobSize], float], room: float) -> JobSize | None:
    """The last of the sizes that fits.

    As it is the last, more room never gives less of anything, however the seconds come about.

    Args:
        sizes: as of :func:`ladder`.
        seconds: that each would take.
        room: seconds that there are.

    Returns:
        That size; None where none fits.
    """
    return next((size for size in reversed(sizes) if seconds(size) <= room), None)


@dataclass(frozen=True)
class JobPrices:
    """What the parts of a job cost here.

    Attributes:
        start: of Python, the images and the report.
        epoch: of the search, for all members together, by M.
        rank: by M.
        step: of a stand-alone training.
        steps: of it in an epoch.
        crew: who does the stand-alone trainings.
        test_A: evaluating each placement on the test images, its reading included.
        macs_ratio_A: MACs of each placement against the default's.
        default: its number; None where it is not in the space.
        answer_at: limits of the answers.
        sweep: of a ranking by stand-alone trainings of all placements; None: there is a search.
        trial_steps: of a stand-alone training on search-train, in an epoch.
        trial_epochs: of each trial; None: as many as of the retraining.
        trial_score: seconds of scoring one on search-val.
        by_trials: rankings that may come out after 0, 1, ... trials; after more as after the last. Empty: where there
            are trials as where there are none.
    """

    start: Estimate
    epoch: Mapping[int, Estimate]
    rank: Mapping[int, Estimate]
    step: StepTime
    steps: int
    crew: WorkerLayout
    test_A: Floats
    macs_ratio_A: Floats
    default: int | None
    answer_at: tuple[float, ...]
    sweep: Estimate | None = None
    trial_steps: int = 0
    trial_epochs: int | None = None
    trial_score: float = 0.0
    by_trials: Sequence[Sequence[Ranking]] = ()

    def stages(self, size: JobSize) -> tuple[StageCost, ...]:
        """A job of this size.

        Args:
            size: of a ladder; its members are among those that have a price.

        Returns:
            Its stages in their order; without those that it does not have.
        """
        retraining = self._retraining(size)
        if self.sweep is not None:
            return (StageCost("sweep", self.sweep), *retraining)
        trials = (StageCost("trials", self._trials(size)),) if size.trials else ()
        if not size.epochs:
            return (*trials, *retraining)
        search, rank = self.epoch[size.members] * size.epochs, self.rank[size.members]
        return (StageCost("search", search), StageCost("rank", rank), *trials, *retraining)

    def takes(self, size: JobSize) -> Estimate:
        """All of a job of this size, its start and report included.

        Args:
            size: as of :meth:`stages`.

        Returns:
            Seconds, with their range.
        """
        return sum((stage.takes for stage in self.stages(size)), self.start)

    def networks(self, size: JobSize) -> float:
        """How many placements are retrained with every seed, as far as it can be known before the ranking.

        Args:
            size: of the job.

        Returns:
            The mean over rankings, with the default, without controls.
        """
        return float(np.mean([len(numbers) for numbers in self._chosen(replace(size, control=()))]))

    def _trials(self, size: JobSize) -> Estimate:
        epochs = size.retrain_epochs if self.trial_epochs is None else self.trial_epochs
        return trial_rounds(size.trials, self.step, self.trial_steps * epochs, self.crew, self.trial_score)

    def _retraining(self, size: JobSize) -> tuple[StageCost, StageCost]:
        spans, tests = list[float](), list[float]()
        step_A, test_A = self.step.seconds_A, self.test_A
        for numbers in self._chosen(size):
            steps = np.append(step_A[numbers], [self.step.mean] * ("random" in size.control))
            each = np.repeat(steps * self.steps * size.retrain_epochs + self.crew.begin, size.retrain_seeds)
            spans.append(makespan(each, self.crew.workers))
            random = float(test_A.mean()) * ("random" in size.control)
            tests.append(size.retrain_seeds * (float(test_A[numbers].sum()) + random))
        mean = float(np.mean(spans))
        error = math.hypot(self.step.error, 2 * float(np.std(spans)) / mean) if mean else 0.0
        opening = Estimate.of(self.crew.opening, 0.5) if self.crew.workers > 1 else NOTHING
        test = Estimate.of(float(np.mean(tests)), self.step.error)
        return StageCost("retrain", Estimate.of(mean, error) + opening), StageCost("test", test)

    def _chosen(self, size: JobSize) -> list[list[int]]:
        """Who is retrained after each of some rankings that may come out; the space's number of each."""
        always = {self._own, *([int(self.macs_ratio_A.argmax())] * ("macs" in size.control))}
        rankings = self._by_macs
        if size.trials and self.by_trials:
            rankings = self.by_trials[min(size.trials, len(self.by_trials) - 1)]
        return [retrained(ranking, size.top_k, (*always,)) for ranking in rankings]

    @property
    def _own(self) -> int:
        """The default's number; of one that is not in the space, that of the placement with the nearest MACs."""
        return int(np.abs(self.macs_ratio_A - 1).argmin()) if self.default is None else self.default

    @cached_property
    def _by_macs(self) -> list[Ranking]:
        return by_macs(self.macs_ratio_A, self.answer_at)
