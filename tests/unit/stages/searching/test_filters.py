"""How often each set of weights was trained: against counting step by step."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from poolsearch.space import FreeSpace, Placement, Space
from poolsearch.stages.searching.filters import evenness, filter_steps, write_filters

SPACE = Space(4, 2, Placement.of_blocks((2, 1, 1)))


def test_three_placements_by_hand() -> None:
    # 1,1,2 and 1,2,1 and 2,1,1, trained 5, 3 and 2 times by the first member, and once each by the second
    found = filter_steps(SPACE, np.array([[5, 1], [3, 1], [2, 1]]))
    assert {(each.block, each.resolution[0]): each.steps_M.tolist() for each in found} == {
        (0, 0): [10, 3], (1, 0): [2, 1], (1, 1): [8, 2], (2, 1): [5, 2], (2, 2): [5, 1], (3, 2): [10, 3],
    }  # fmt: skip
    # blocks 0 and 3 have one set of weights each, trained in every step
    assert evenness(found) == {"filters_least_trained": 1, "filters_most_trained": 8}


@pytest.mark.parametrize("space", [SPACE, FreeSpace.of(SPACE), FreeSpace.of(SPACE).subset(9, seed=0)])
def test_counts_are_those_of_training_one_by_one(space: Space) -> None:
    draw = np.random.default_rng(0)
    trained_AM, steps = np.zeros((space.size, 2), np.int64), Counter[tuple[int, int, tuple[int, int]]]()
    for _ in range(200):
        number, member = int(draw.integers(space.size)), int(draw.integers(2))
        trained_AM[number, member] += 1
        for block in range(space.length):
            steps[member, block, space[number].resolution(block)] += 1
    found = filter_steps(space, trained_AM)
    counted = {(m, each.block, each.resolution): int(each.steps_M[m]) for each in found for m in range(2)}
    assert {key: count for key, count in counted.items() if count} == dict(steps)
    reached = {(block, placement.resolution(block)) for placement in space for block in range(space.length)}
    assert {(each.block, each.resolution) for each in found} == reached


def test_a_single_placement_has_one_set_for_every_block() -> None:
    one = SPACE.keep([SPACE.default])
    assert evenness(filter_steps(one, np.array([[7]]))) == {"filters_least_trained": 7, "filters_most_trained": 7}


def test_the_file_has_a_row_for_each_member_block_and_resolution(tmp_path: Path) -> None:
    write_filters(tmp_path / "filters.csv", filter_steps(SPACE, np.array([[5, 1], [3, 1], [2, 1]])))
    rows = list(csv.DictReader((tmp_path / "filters.csv").read_text().splitlines()))
    assert len(rows) == 2 * 6
    assert rows[2] == {"member": "0", "block": "1", "resolution": "1x1", "steps": "8"}
    assert sum(int(row["steps"]) for row in rows) == 4 * (10 + 3)  # every step trains all four blocks
