"""What the ranking after a search costs: passes through trees of placements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.inspection_results import Estimate
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.planning.fit import FittedRates
from poolsearch.stages.planning.work import Work
from poolsearch.stages.rank import CALIBRATION_BATCHES, MEASURED_ALONE, MEASURED_IMAGES

Trees = Sequence[Sequence[Placement]]
"""The placements of each member, which it runs as one tree."""


def trees_of(run: Run, members: int) -> Trees:
    """Who is evaluated by whom, as far as it is known: as many as will be, drawn at random, dealt out evenly.

    Args:
        run: open; its settings say how many are evaluated, and whether by one member or by all.
        members: M.

    Returns:
        The placements of each member; members without any are left out.
    """
    rank, size = run.settings.rank, run.space.size
    count = size if size <= rank.rank_all_up_to else min(size, rank.rank_top + rank.rank_control + 1)
    drawn = rng.generator(run.seed, "plan-trees").choice(size, count, replace=False)
    if rank.rank_members != "assignment":
        return [[run.space[int(n)] for n in drawn]] * members
    return [[run.space[int(n)] for n in part] for part in np.array_split(drawn, members) if len(part)]


def ranking_seconds(
    trees: Trees, images: int, batch: int, calibrated: bool, work: Work, passes: FittedRates
) -> Estimate:
    """A ranking: every placement on all images, and before that what sharing saves, measured on a few.

    Args:
        trees: the placements of each member.
        images: of the search-val half.
        batch: the most of them in a pass.
        calibrated: statistics are collected before.
        work: of the network.
        passes: seconds of an evaluated batch by its work.

    Returns:
        Seconds of the whole ranking, with their range.
    """

    def by_tree(size: float) -> float:
        return sum(_seconds(passes, work.of_tree(tree, size)) for tree in trees)

    chunks = -(-images // batch)
    few = min(images, MEASURED_IMAGES)
    alone = [placement for tree in trees for placement in tree]
    one_by_one = float(passes.seconds(work.of(alone, few)).mean()) * min(len(alone), MEASURED_ALONE)
    collecting = CALIBRATION_BATCHES * by_tree(batch) if calibrated else 0.0
    return Estimate.of(chunks * by_tree(images / chunks) + 2 * by_tree(few) + one_by_one + collecting, passes.error)


def _seconds(passes: FittedRates, work_K: NDArray[np.float64]) -> float:
    return float(passes.seconds(work_K[None])[0])
