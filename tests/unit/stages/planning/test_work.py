"""The work of trees against that of their placements."""

from __future__ import annotations

import numpy as np
import pytest

from poolsearch.cost import cost_table
from poolsearch.nets.build import NetSpec, blank
from poolsearch.space import Placement
from poolsearch.stages.planning.fit import FittedRates
from poolsearch.stages.planning.ranking import ranking_seconds
from poolsearch.stages.planning.work import Work
from poolsearch.supernet.tree_memory import memory_table


@pytest.fixture(scope="module")
def work() -> Work:
    net = blank(NetSpec("cifar-resnet20", 5, 2))
    return Work(net.space, cost_table(net, 16, 16), memory_table(net, 16, 16))


def test_images_count_for_macs_and_bytes_but_not_for_passes(work: Work) -> None:
    placement = Placement.parse("4,3,3")
    one, ten = work.of([placement], 1)[0], work.of([placement], 10)[0]
    assert one[0] == ten[0] == 1
    assert ten[1:].tolist() == (10 * one[1:]).tolist()
    assert one[1] == work.costs.macs(placement)


def test_bytes_are_more_where_maps_stay_large(work: Work) -> None:
    late, early = work.of([Placement.parse("8,1,1"), Placement.parse("1,1,8")], 1)[:, 2]
    # 16x16 maps in all but two blocks, or in one: 4 x 4 times fewer in the others
    assert late > 3 * early


def test_a_tree_of_one_placement_is_that_placement(work: Work) -> None:
    placement = Placement.parse("2,5,3")
    whole, tree = work.of([placement], 3)[0], work.of_tree([placement], 3)
    assert tree[0] == 1
    assert tree[2] == whole[2]
    head = 5 * 8  # a linear layer from 4 x width channels to 5 classes
    assert whole[1] - tree[1] == 3 * head


def test_what_two_placements_share_counts_once(work: Work) -> None:
    pair = [Placement.parse("4,3,3"), Placement.parse("4,2,4")]
    tree = work.of_tree(pair, 1)
    # alike up to the site before block 7: six blocks of ten shared
    assert tree[0] == pytest.approx((10 + 4) / 10)
    apart = work.of(pair, 1).sum(0)
    shared = work.costs.stem.macs + sum(work.costs.block_macs(pair[0])[:6])
    assert apart[1] - tree[1] == shared + 2 * 5 * 8


def test_a_ranking_is_its_passes_and_what_measuring_the_saving_takes(work: Work) -> None:
    """Each pass costs one second and its images nothing: then seconds are passes, counted by hand."""
    passes = FittedRates(np.array([1.0, 0.0, 0.0]), 0.1)
    trees = [[Placement.parse("4,3,3"), Placement.parse("4,2,4")], [Placement.parse("1,1,8")]]
    found = ranking_seconds(trees, 250, 100, False, work, passes)
    tree = 1.4 + 1.0
    # 250 images are three chunks; a few are run twice as trees, and the three placements one by one
    assert found.seconds == pytest.approx(3 * tree + 2 * tree + 3)
    with_statistics = ranking_seconds(trees, 250, 100, True, work, passes)
    assert with_statistics.seconds - found.seconds == pytest.approx(8 * tree)
