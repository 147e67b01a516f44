"""From seconds of single steps to seconds of whole stages: arithmetic, and nothing else."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch.inspection_results import Estimate

Floats = NDArray[np.float64]

_UNKNOWN_PLACEMENTS = 0.3  # relative error of trials' seconds, as which placements they are of is not known


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step of each placement.

    Attributes:
        seconds_A: for each placement of the space.
        error: relative, see :class:`~poolsearch.stages.planning.fit_rates.FittedRates`.
    """

    seconds_A: Floats
    error: float

    @property
    def mean(self) -> float:
        """Of placements drawn uniformly."""
        return float(self.seconds_A.mean())

    def evenly(self, count: int) -> Floats:
        """Seconds of ``count`` placements that stand for any so many: evenly over the sorted space.

        Args:
            count: how many; more than the space has are allowed.

        Returns:
            Seconds of a step of each, ascending, shape (count,).
        """
        rank = (np.arange(count) + 0.5) / count * len(self.seconds_A)
        return np.sort(self.seconds_A)[rank.astype(int)]

    def error_of(self, count: int) -> float:
        """The error for the sum of ``count`` placements of which nobody knows yet which they are.

        Beside the price's own it is twice the standard error of the mean of so many, drawn without putting back.

        Args:
            count: how many; all of the space, or more, leave only the price's own error.

        Returns:
            A relative error: 0.2 is a fifth less to a fifth more.
        """
        size = len(self.seconds_A)
        if count >= size:
            return self.error
        left = (size - count) / max(1, size - 1)
        return math.hypot(self.error, 2 * float(self.seconds_A.std()) / self.mean * math.sqrt(left / count))


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Until all trials are done by so many workers, who take the longest that is left whenever they are free.

    Args:
        seconds: of each trial, in any order.
        workers: how many work at once.

    Returns:
        Seconds from the beginning to the end of the last trial.
    """
    ends = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def search_seconds(
    steps: int, train: StepTime, score: StepTime, scores_per_step: float, extra: float, saving: float
) -> Estimate:
    """A search.

    Args:
        steps: training steps in all, each of a placement drawn uniformly.
        train, score: of training and of scoring a placement.
        scores_per_step: how often a step scores.
        extra: seconds of a step beside these.
        saving: part of the time that goes into checkpoints.

    Returns:
        Seconds of the whole search, with their range.
    """
    training, scoring = steps * (train.mean + extra), steps * scores_per_step * score.mean
    both = Estimate.of(training, train.error) + Estimate.of(scoring, score.error)
    return both * (1 + saving)


@dataclass(frozen=True)
class WorkerLayout:
    """Processes that train stand-alone.

    Attributes:
        workers: how many at once.
        opening: seconds until they begin.
        begin: seconds of each trial beside its steps.
    """

    workers: int
    opening: float
    begin: float


def trials_seconds(
    price: StepTime, placements: int, seeds: int, steps: int, crew: WorkerLayout, after: float = 0.0
) -> Estimate:
    """Stand-alone trainings of so many placements, with so many seeds and steps each.

    Args:
        price: of a step.
        placements: how many, whichever they are.
        seeds: trainings of each placement.
        steps: of each training.
        crew: the processes that share the trainings.
        after: seconds of each trial for what comes after its steps.

    Returns:
        Seconds until the last training has ended, with their range.
    """
    each = price.evenly(placements) * steps + crew.begin + after
    span = makespan(np.repeat(each, seeds), crew.workers)
    return Estimate.of(span, price.error_of(placements)) + Estimate.of(crew.opening, 0.5)


def trial_rounds(trials: int, step: StepTime, steps: int, crew: WorkerLayout, scoring: float) -> Estimate:
    """Trials that a ranking learns from: rounds of one training per worker.

    Which placements these will be is not known before: each is taken to be of average cost.

    Args:
        trials: how many.
        step: of a stand-alone training.
        steps: of each.
        crew: who does them.
        scoring: seconds of scoring one afterwards.

    Returns:
        Seconds of all of them.
    """
    each = step.mean * steps + crew.begin + scoring
    return Estimate.of(math.ceil(trials / crew.workers) * each, math.hypot(step.error, _UNKNOWN_PLACEMENTS))
