"""How often each set of weights of a block was trained, where there is one for every resolution (``--sharing``)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poolsearch.space import Exponents, Space
from poolsearch.storage.files import write_text


@dataclass(frozen=True)
class FilterSteps:
    """Of the weights of a block for one resolution: the training steps of each member, shape (M,)."""

    block: int
    resolution: Exponents
    steps_M: NDArray[np.int64]


def filter_steps(space: Space, trained_AM: NDArray[np.int64]) -> list[FilterSteps]:
    """Training steps of every set of weights: those of the placements that have the block at the resolution.

    The paper blames their unevenness for what weights that are not shared find (section 3.3). A step that trains
    several placements counts once for each.

    Args:
        space: the placements.
        trained_AM: training steps of each (placement, member).

    Returns:
        By block, and by resolution from the largest maps to the smallest.
    """
    found: list[FilterSteps] = []
    for block, at_A2 in enumerate(space.resolutions_AL2().swapaxes(0, 1)):
        for resolution in space.resolutions[block]:
            here_A = (at_A2 == np.array(resolution)).all(1)
            found.append(FilterSteps(block, resolution, trained_AM[here_A].sum(0)))
    return found


def evenness(found: list[FilterSteps]) -> dict[str, int]:
    """For the events: the fewest and the most steps of a set of weights, among blocks that have several.

    Args:
        found: every set of weights, see :func:`filter_steps`.

    Returns:
        Training steps by their keys in events.jsonl; of all blocks where none has several sets.
    """
    blocks = [each.block for each in found]
    several = [each.steps_M for each in found if blocks.count(each.block) > 1] or [each.steps_M for each in found]
    return {
        "filters_least_trained": int(min(steps_M.min() for steps_M in several)),
        "filters_most_trained": int(max(steps_M.max() for steps_M in several)),
    }


def write_filters(path: Path, found: list[FilterSteps]) -> None:
    """Write filters.csv: a row for each member, block and resolution.

    Args:
        path: of the file, which is replaced.
        found: every set of weights, at least one, in the order of the rows of a member.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["member", "block", "resolution", "steps"])
    for member in range(len(found[0].steps_M)):
        for each in found:
            height, width = each.resolution
            writer.writerow([member, each.block, f"{height}x{width}", each.steps_M[member]])
    write_text(path, text.getvalue())
