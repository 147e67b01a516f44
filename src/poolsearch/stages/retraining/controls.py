"""What the winner is compared with: what MACs alone or chance would choose, and the default on larger images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from poolsearch import rng
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.session.run import Run
from poolsearch.settings.groups import Control
from poolsearch.space import Placement
from poolsearch.stages.standalone.trial import Trial


@dataclass(frozen=True)
class TrainedControl:
    """A control and its trainings, by seed.

    Attributes:
        control: which it is.
        trials: one for each seed; none where there is nothing to compare with.
        why_not: what then is the reason.
    """

    control: Control
    trials: list[Trial]
    why_not: str | None = None


def make_controls(run: Run, winner: Placement, seeds: int) -> list[TrainedControl]:
    """The controls that the settings ask for, in their order.

    Args:
        run: open.
        winner: the first of the ranking: larger images are to cost as many MACs.
        seeds: trainings of each control.

    Returns:
        Each control once; those with nothing to train say why.
    """
    make: dict[Control, Callable[[], TrainedControl]] = {
        "macs": lambda: _most_macs(run, seeds),
        "random": lambda: _random(run, seeds),
        "input-size": lambda: _larger_images(run, winner, seeds),
    }
    return [make[control]() for control in dict.fromkeys(run.settings.retrain.control)]


def _most_macs(run: Run, seeds: int) -> TrainedControl:
    """The placement with the most MACs of the space; of several the first."""
    placement = run.space[int(run.macs_A.argmax())]
    return TrainedControl("macs", [Trial(placement, seed) for seed in range(seeds)])


def _random(run: Run, seeds: int) -> TrainedControl:
    """A placement for each seed, uniform over the space; none comes twice before all have come."""
    rounds = range(-(-seeds // run.space.size))
    orders = [rng.generator(run.seed, "random-picks", i).permutation(run.space.size) for i in rounds]
    numbers = np.concatenate(orders)[:seeds].tolist()
    return TrainedControl("random", [Trial(run.space[number], seed) for seed, number in enumerate(numbers)])


def _larger_images(run: Run, winner: Placement, seeds: int) -> TrainedControl:
    """The default on images so large that it has the winner's MACs."""
    default = run.space.default
    target, own = run.costs.macs(winner), run.costs.macs(default)
    if target <= own:
        return TrainedControl("input-size", [], f"the winner {winner.shown} has no more MACs than the default")

    def macs(size: ImageSize) -> int | None:
        try:
            return run.at(size).costs.macs(default)
        except PoolsearchError:
            return None

    size = size_for(target, own, run.image_size, macs)
    if size is None:
        return TrainedControl(
            "input-size", [], "at no larger size the default's MACs are nearer to the winner's than they are"
        )
    return TrainedControl("input-size", [Trial(default, seed, size) for seed in range(seeds)])


def size_for(target: int, own: int, image_size: ImageSize, macs: Callable[[ImageSize], int | None]) -> ImageSize | None:
    """The larger image size whose MACs are nearest to ``target``; None where ``own`` are nearer, or none can be run.

    MACs grow with the square of a side, up to rounding: sizes of the same shape are tried from there outward, until one
    that the network runs at costs no more than ``target``, and one no less.

    Args:
        target: MACs to reach; more than ``own``.
        own: MACs at ``image_size``.
        image_size: that the run's networks see.
        macs: MACs at a size; None where the network cannot run at it.

    Returns:
        The size, of equally near ones the smaller; or None.
    """
    longer = max(image_size)
    guess = round(longer * math.sqrt(target / own))
    found: dict[ImageSize, int] = {}
    for side in sorted(range(longer + 1, guess + longer // 2 + 2), key=lambda side: abs(side - guess)):
        size = image_size.times(side / longer)
        if (cost := macs(size)) is not None:
            found[size] = cost
        if any(cost <= target for cost in found.values()) and any(cost >= target for cost in found.values()):
            break
    found[image_size] = own
    nearest = min(found, key=lambda size: (abs(found[size] - target), size))
    return None if nearest == image_size else nearest
