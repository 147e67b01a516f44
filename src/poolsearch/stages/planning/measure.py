"""What a plan measures on an open run: prices of steps and passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.nets.poolable import FixedPlacementNet
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.planning.estimate import StepTime
from poolsearch.stages.planning.fit import FittedRates, fit_rates
from poolsearch.stages.planning.steps import SearchSteps, mixture_seconds, time_passes
from poolsearch.stages.planning.work import Work
from poolsearch.stages.rank import MEASURED_IMAGES
from poolsearch.train.step import Forward

Floats = NDArray[np.float64]

_PARTS = (0.0, 0.5, 0.85)  # of all placements, how many have fewer MACs than those that are measured
_SEARCH_SECONDS, _PASSES_SECONDS = 3.0, 1.0
_MOST_IMAGES = 64  # of a pass that is timed


@dataclass(frozen=True)
class SearchTimes:
    """What the search and its ranking take here.

    Attributes:
        train, score: a step of the search.
        passes: a batch in evaluation, by its work.
        mixture: seconds of the mixture's own work in a step, by M.
        save: seconds of a checkpoint.
    """

    train: StepTime
    score: StepTime
    passes: FittedRates
    mixture: dict[int, float]
    save: float


def placements_to_measure(run: Run) -> list[Placement]:
    """Placements to measure: the cheapest, the default, and two more costly ones.

    The most costly are reckoned from these: a single step of theirs may take as long as all that is measured.

    Args:
        run: open; costs are MACs.

    Returns:
        Up to four of them in this order, none twice.
    """
    default = [run.space.index(run.space.default)] if run.space.default in run.space else []
    order = np.argsort(run.macs_A, kind="stable")
    least, *others = [int(order[int(part * len(order))]) for part in _PARTS]
    return [run.space[number] for number in dict.fromkeys([least, *default, *others])]


def time_search(run: Run, work: Work, members: Sequence[int]) -> SearchTimes:
    """Measure steps of the search, and the mixture's own work for each of these M.

    Args:
        run: open, with the mixture as its method; its folder takes the checkpoint that is timed.
        work: of the run's network.
        members: each M to measure, the one that is set among them.

    Returns:
        Times of training, scoring, evaluation, balancing and saving.
    """
    search, placements = run.settings.search, placements_to_measure(run)
    several = search.placements_per_step
    draw = rng.generator(run.seed, "plan-groups")
    groups = [[p] for p in placements]
    if several > 1:
        groups = [[run.space[int(n)] for n in draw.integers(run.space.size, size=several)] for _ in placements]
    steps = SearchSteps(run)
    train_RN, score_RN = steps.times(groups, _SEARCH_SECONDS)
    # the mixture draws several by itself: known is then only how long a step takes, whatever it draws
    price = partial(step_time, work, None if several > 1 else placements)
    member = steps.member.eval()
    return SearchTimes(
        price(train_RN, search.batch),
        price(score_RN, search.val_batch),
        _passes(run, work, [partial(member, placement=placement) for placement in placements[:3]]),
        {m: mixture_seconds(run, m) for m in members},
        steps.save(),
    )


def step_time(work: Work, placements: Sequence[Placement] | None, seconds_RN: Floats, batch: int) -> StepTime:
    """The price of a step of every placement, from what was measured of some.

    Args:
        work: of the network.
        placements: that were measured, N of them; None: whatever was drawn, so that all have the same price.
        seconds_RN: of a step in each of R rounds.
        batch: images of a step.

    Returns:
        Seconds of a step of each placement of the space, and their relative error.
    """
    if placements is None:
        fitted = fit_rates(np.ones((seconds_RN.shape[1], 1)), seconds_RN)
        return StepTime(fitted.seconds(np.ones((work.space.size, 1))), fitted.error)
    fitted = fit_rates(work.of(placements, batch), seconds_RN)
    return StepTime(fitted.seconds(work.of_all(batch)), fitted.error)


def time_standalone_passes(run: Run, work: Work) -> FittedRates:
    """Measure evaluations of networks that were trained stand-alone.

    Args:
        run: open; three placements are evaluated on its search-val images.
        work: of the run's network.

    Returns:
        Rates that give the seconds of a batch by its work, loading included.
    """
    net = run.machine.place(run.build()).eval()
    return _passes(run, work, [FixedPlacementNet(net, placement) for placement in placements_to_measure(run)[:3]])


def _passes(run: Run, work: Work, networks: Sequence[Forward]) -> FittedRates:
    """Of the first three of the chosen placements, on few and on many images."""
    most = min(run.settings.rank.eval_batch, len(run.split.search_val), _MOST_IMAGES)
    batches = sorted({min(MEASURED_IMAGES, most), most})
    seconds_RN = time_passes(run, networks, batches, _PASSES_SECONDS)
    return fit_rates(np.concatenate([work.of(placements_to_measure(run)[:3], batch) for batch in batches]), seconds_RN)
