"""Samplers compared on a table: how far what each would take is below the best, after every number of trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from poolsearch import rng
from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import Floats, MeasuredPlacement
from poolsearch.evaluation.stats import kendall_tau
from poolsearch.progress import Progress, SilentProgress
from poolsearch.research.bench.bandit import Bandit
from poolsearch.research.bench.entrants import BenchSampler
from poolsearch.samplers import Sampler
from poolsearch.space import Placement

LEVEL = 0.95
BAND = (0.1, 0.5, 0.9)
EARLY = 10


@dataclass(frozen=True)
class Curve:
    """Simple regret of one sampler after 1 to T trainings, of S seeds.

    Attributes:
        name: of the sampler, as given.
        regret_ST: how far the placement that would be taken is below the best, by the means of the table.
        found_ST: whether it is the best.
        late_kendall_tau_S: Kendall's tau of how often each placement was asked for in the second half, with the
            truth; NaN where all were equally often.
        late_regret_S: how far what was asked for in the second half is below the best, on average.
    """

    name: str
    regret_ST: Floats
    found_ST: NDArray[np.bool_]
    late_kendall_tau_S: Floats
    late_regret_S: Floats

    @property
    def mean_T(self) -> Floats:
        """Over seeds."""
        return self.regret_ST.mean(0)

    @property
    def std_T(self) -> Floats:
        """Standard deviation over seeds; NaN of a single seed."""
        seeds = len(self.regret_ST)
        return self.regret_ST.std(0, ddof=1) if seeds > 1 else np.full(self.regret_ST.shape[1], math.nan)

    @property
    def half_T(self) -> Floats:
        """Half the width of the 95 % interval of the mean (Student's)."""
        seeds = len(self.regret_ST)
        if seeds < 2:
            return self.std_T
        return float(stats.t.ppf((1 + LEVEL) / 2, seeds - 1)) * self.std_T / math.sqrt(seeds)

    @property
    def band_3T(self) -> Floats:
        """The 10th percentile, the median and the 90th percentile over seeds."""
        return np.quantile(self.regret_ST, BAND, axis=0)

    @property
    def found_T(self) -> Floats:
        """Part of the seeds that would take the best."""
        return self.found_ST.mean(0)


@dataclass(frozen=True)
class Baseline:
    """A placement that is known without a training, and its regret."""

    name: str
    placement: str
    regret: float


@dataclass(frozen=True)
class BenchResult:
    """What came of a comparison.

    Attributes:
        bandit: what was played on.
        seeds, draws: S and T.
        seed: the first; all others follow from it.
        curves: of the samplers, as given.
        fixed: the default where the table has it, and the placement with the most MACs.
    """

    bandit: Bandit
    seeds: int
    draws: int
    seed: int
    curves: tuple[Curve, ...]
    baselines: tuple[Baseline, ...]

    @property
    def at(self) -> list[int]:
        """Numbers of trainings to look at: 10, as many as there are placements, and all."""
        return sorted({min(number, self.draws) for number in (EARLY, self.bandit.space.size, self.draws)})


def compare_samplers(
    bandit: Bandit,
    entrants: Sequence[BenchSampler],
    seeds: int,
    draws: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> BenchResult:
    """Let samplers play, each with every seed; the same seed has the same rewards for all of them.

    Args:
        bandit: to play on.
        entrants: the samplers.
        seeds: how often each plays.
        draws: trainings in one play.
        seed: the first; all others follow from it.
        progress: where it shows itself; None: nowhere.

    Returns:
        A curve for each of ``entrants``, in their order, and the placements known without a training.

    Raises:
        PoolsearchError: there is nothing to play, or a sampler of the user's fails.
    """
    if not entrants or seeds < 1 or draws < 1:
        raise PoolsearchError(
            f"{len(entrants)} samplers, {seeds} seeds, {draws} draws: there has to be at least one of each."
        )
    with (progress or SilentProgress()).bar("bench", len(entrants) * seeds) as update:
        curves: list[Curve] = []
        for entry in entrants:
            asked_ST, reward_ST = np.empty((seeds, draws), np.int64), np.empty((seeds, draws))
            for s in range(seeds):
                key = rng.key(seed, "bench", s)
                sampler = entry.make(bandit.space, key, draws)
                asked_ST[s], reward_ST[s] = play(sampler, bandit.number_of, bandit.rewards_TA(key, draws))
                update(len(curves) * seeds + s + 1, entry.name)
            curves.append(regret_curve(entry.name, bandit, asked_ST, reward_ST))
    return BenchResult(bandit, seeds, draws, seed, tuple(curves), baselines_of(bandit))


def play(sampler: Sampler, number_of: Mapping[Placement, int], reward_TA: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Let a sampler ask for placements and tell it their rewards, draw after draw.

    Args:
        sampler: that plays; it is changed.
        number_of: the number of each placement of the space.
        reward_TA: of every placement at every draw, as fractions.

    Returns:
        The numbers of the placements asked for and the rewards told, each of shape (T,).
    """
    asked_T = np.empty(len(reward_TA), np.int64)
    for t, reward_A in enumerate(reward_TA):
        placement = sampler.ask()
        number = number_of[placement]
        sampler.tell(placement, float(reward_A[number]))
        asked_T[t] = number
    return asked_T, np.take_along_axis(reward_TA, asked_T[:, None], 1)[:, 0]


def regret_curve(name: str, bandit: Bandit, asked_ST: NDArray[np.int64], reward_ST: Floats) -> Curve:
    """The regret of what would be taken after each training, and what was asked for late.

    Args:
        name: of the sampler.
        bandit: that it played on.
        asked_ST: numbers of the placements asked for, of S seeds and T draws each.
        reward_ST: the rewards that followed, as fractions.

    Returns:
        The curve, its regrets as fractions by the means of the table.
    """
    taken_ST, best, mean_A = bandit.taken_ST(asked_ST, reward_ST), bandit.truth.best, bandit.truth.mean_A
    late = asked_ST[:, asked_ST.shape[1] // 2 :]
    count_SA = [np.bincount(asked, minlength=len(mean_A)) for asked in late]
    return Curve(
        name,
        best.mean - mean_A[taken_ST],
        taken_ST == bandit.truth.placements.index(best.placement),
        np.array([kendall_tau(count_A, mean_A) for count_A in count_SA]),
        best.mean - mean_A[late].mean(1),
    )


def baselines_of(bandit: Bandit) -> tuple[Baseline, ...]:
    """The placements that nothing has to be trained for.

    Args:
        bandit: its table says what they are worth.

    Returns:
        The default, where it is in the table, and the placement with the most MACs.
    """
    truth = bandit.truth
    named: dict[str, MeasuredPlacement | None] = {
        "default": truth.by_placement.get(truth.default),
        "most MACs": max(truth.known, key=lambda entry: entry.macs),
    }
    return tuple(
        Baseline(name, entry.placement, truth.best.mean - entry.mean)
        for name, entry in named.items()
        if entry is not None
    )
