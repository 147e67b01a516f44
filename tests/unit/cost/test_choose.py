"""What is within a budget: by counting, at random where a space is too large, and what is said when it is nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from poolsearch.cost import choose as module
from poolsearch.cost.choose import choose_within_budget, quantiles, within_limits
from poolsearch.cost.costs import Costs, profile
from poolsearch.cost.macs import macs_of
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.cost_limits import read_limit
from poolsearch.space import Placement


@pytest.fixture(scope="module")
def resnet20():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 5, 2))
    space = dataclasses.replace(net.space, axes="h,w")
    return net.space, profile(net, space, 32, 32, 8, torch.float32)


def limits(**given):
    return [read_limit(kind, text) for kind, text in given.items()]


def costs(macs, memory):
    empty = np.zeros((len(macs), 1), np.int32)
    return Costs(np.array(macs), np.array(memory), empty, empty, None)


def test_every_limit_has_to_hold_and_the_limit_itself_is_allowed():
    default, every = costs([10], [100]), costs([9, 10, 11, 10], [101, 100, 50, 200])
    assert within_limits(limits(macs="1x"), every, default).tolist() == [True, True, False, True]
    assert within_limits(limits(macs="1x", memory="1x"), every, default).tolist() == [False, True, False, False]
    assert within_limits(limits(memory="150B"), every, default).tolist() == [True, True, True, False]
    assert within_limits([], every, default).all()


def test_at_most_the_defaults_macs_is_a_count_by_hand(resnet20):
    space, found = resnet20
    chosen = choose_within_budget(space, found, limits(macs="1.0x"), 10_000, 0)
    macs = macs_of(found.table, space)
    expected = [space[n] for n in range(36) if macs[n] <= macs[space.index(space.default)]]
    assert [*chosen.space] == expected
    assert (chosen.tried, chosen.within) == (36, len(expected))
    assert space.default in chosen.space


def test_a_budget_may_leave_the_default_out(resnet20):
    space, found = resnet20
    chosen = choose_within_budget(space, found, limits(macs="0.8x"), 10_000, 0)
    assert space.default not in chosen.space and chosen.space.default == space.default
    assert [chosen.space.index(p) for p in chosen.space] == [*range(chosen.space.size)]


def test_more_than_may_be_searched_are_cut_down_by_a_seed(resnet20):
    space, found = resnet20
    first, same, other = (choose_within_budget(space, found, limits(macs="1.0x"), 5, seed).space for seed in (0, 0, 1))
    assert first == same != other and first.size == 5 and space.default in first


def test_a_space_limited_to_some_placements_stays_so(resnet20):
    space, found = resnet20
    few = space.keep([Placement.parse(text) for text in ("1,1,8", "7,1,2", "2,2,6")])
    chosen = choose_within_budget(few, found, limits(macs="1.0x"), 100, 0)
    assert [str(p) for p in chosen.space] == ["1,1,8", "2,2,6"]


def test_of_a_large_space_random_placements_are_looked_at(resnet20, monkeypatch):
    monkeypatch.setattr(module, "WHOLE_UP_TO", 100)
    monkeypatch.setattr(module, "_CHUNK", 64)
    space, found = resnet20
    both = dataclasses.replace(space, axes="h,w")
    chosen = choose_within_budget(both, found, limits(macs="1.0x"), 20, 0)
    assert chosen.space.size == 20 <= chosen.within < chosen.tried < both.size
    assert both.default in chosen.space
    macs = macs_of(found.table, chosen.space)
    assert (macs <= found.table.macs(both.default)).all()
    assert choose_within_budget(both, found, limits(macs="1.0x"), 20, 0).space == chosen.space
    assert choose_within_budget(both, found, limits(macs="1.0x"), 20, 1).space != chosen.space
    every = choose_within_budget(both, found, limits(macs="1.0x"), 10**6, 0)  # all that were drawn, each once
    assert every.within == every.space.size
    assert every.tried <= both.size
    with pytest.raises(PoolsearchError, match=r"leaves none of [0-9,]+ placements drawn from 1,296"):
        choose_within_budget(both, found, limits(macs="0.01x"), 20, 0)


def test_a_budget_that_leaves_nothing_names_the_smallest_and_that_is_enough(resnet20):
    space, found = resnet20
    macs = macs_of(found.table, space)
    own = found.table.macs(space.default)
    with pytest.raises(PoolsearchError) as refused:
        choose_within_budget(space, found, limits(macs="0.1x"), 100, 0)
    said = str(refused.value)
    assert "--max-macs 0.1x leaves none of the 36 placements: the smallest MACs is" in said
    enough = said.rpartition("--max-macs ")[2].rstrip(".")
    assert float(enough[:-1]) == pytest.approx(macs.min() / own, abs=1e-3)
    assert choose_within_budget(space, found, limits(macs=enough), 100, 0).within >= 1


def test_limits_that_exclude_each_other_are_told_apart(resnet20):
    space, found = resnet20

    # the smallest memory and the smallest MACs are one placement: make them disagree by a table of our own
    swapped = dataclasses.replace(
        found, memory=dataclasses.replace(found.memory, forward=reversed_by_size(found.memory.forward))
    )
    costs_ = swapped.costs(space)
    memory, macs = costs_.memory_A, costs_.macs_A
    assert (memory[macs == macs.min()] > memory.min()).all()
    given = limits(macs=f"{macs.min() / 1e3}K", memory=f"{memory.min()}B")
    with pytest.raises(
        PoolsearchError, match="together the limits leave none of the 36 placements; each alone leaves:"
    ):
        choose_within_budget(space, swapped, given, 100, 0)


def reversed_by_size(changes):
    """Large maps leave little, and small ones much."""
    largest = max(change.left for change in changes.values())
    return {key: dataclasses.replace(change, left=largest - change.left) for key, change in changes.items()}


def test_quantiles_are_values_that_occur():
    assert quantiles(np.array([5.0, 1.0, 3.0]), (0, 0.5, 1)) == [1.0, 3.0, 5.0]
    assert quantiles(np.arange(101.0), (0.1, 0.9)) == [10.0, 90.0]
    assert quantiles(np.array([7.0]), (0, 0.1, 1)) == [7.0, 7.0, 7.0]
