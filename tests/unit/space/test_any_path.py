"""The space of all paths: numbers, limits, and the restricted space inside it."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.space import KEEP, FreeSpace, Placement, Space


def restricted(*default, **limits):
    return Space(sum(default), len(default) - 1, Placement.of_blocks(default), **limits)


def free(*default):
    return FreeSpace.of(restricted(*default))


def resolutions(placement):
    return tuple(placement.resolution(block) for block in range(placement.length))


def test_resnet20_has_3_to_the_9_paths():
    assert free(4, 3, 3).size == 19_683  # docs/differences.md#all-paths


@pytest.mark.parametrize(("default", "size"), [((3, 2, 2, 2), 4**8), ((3, 4, 6, 3), 4**15), ((3, 4, 23, 3), 4**32)])
def test_sizes_of_other_networks(default, size):
    assert free(*default).size == size


@pytest.mark.parametrize("default", [(1, 1), (2, 1, 1), (2, 1, 2), (1, 1, 1, 1)])
def test_numbers_are_the_order_of_a_product(default):
    """Resolutions of blocks 1 to L-1 as digits, found without FreeSpace."""
    space, length, count = free(*default), sum(default), len(default)
    expected = [((0, 0), *((r, r) for r in digits)) for digits in itertools.product(range(count), repeat=length - 1)]
    assert [resolutions(placement) for placement in space] == expected
    assert [space.index(placement) for placement in space] == list(range(space.size))


@given(st.integers(0, 19_682))
def test_numbers_go_round(number):
    space = free(4, 3, 3)
    placement = space[number]
    assert space.index(placement) == number
    assert Placement.parse(str(placement)) == placement and Placement.parse(placement.shown) == placement


@given(st.integers(0, 4**32 - 1))
def test_numbers_beyond_64_bits_go_round(number):
    space = free(3, 4, 23, 3)
    assert space.index(space[number]) == number
    one_AL2 = space.exponents_AL2([number])
    assert [tuple(pair) for pair in one_AL2[0].tolist()] == [space[number].at(b) for b in range(space.length)]


def test_exponents_and_resolutions_of_all_at_once_are_those_of_each():
    space = free(2, 1, 2)
    for numbers in (None, [5, 0, 80, 5], np.arange(3)):
        chosen = [space[int(n)] for n in (range(space.size) if numbers is None else numbers)]
        expected = [[placement.at(b) for b in range(5)] for placement in chosen]
        assert space.exponents_AL2(numbers).tolist() == np.array(expected).tolist()
        assert space.resolutions_AL2(numbers).tolist() == np.array([resolutions(p) for p in chosen]).tolist()


@pytest.mark.parametrize("default", [(4, 3, 3), (2, 2, 1), (1, 1, 2, 1)])
def test_the_restricted_space_is_inside(default):
    inside, all_paths = restricted(*default), free(*default)
    numbers = [all_paths.index(placement) for placement in inside]
    assert len({*numbers}) == inside.size
    assert [all_paths[n] for n in numbers] == [*inside]
    assert all_paths.default in all_paths


def test_a_site_leads_from_any_resolution_to_any():
    space = free(4, 3, 3)
    assert space.sites(0, KEEP) == [KEEP]
    assert space.sites(1, (0, 0)) == [(0, 0), (1, 1), (2, 2)]
    assert space.sites(9, (2, 2)) == [(-2, -2), (-1, -1), (0, 0)]
    ends = {(KEEP, ())}
    for block in range(5):
        ends = {((d[0] + s[0], d[1] + s[1]), (*path, s)) for d, path in ends for s in free(2, 1, 2).sites(block, d)}
    assert {Placement(path[1:]) for _, path in ends} == {*free(2, 1, 2)}


def test_resolutions_of_blocks_by_hand():
    # of 4 blocks with one halving block 1 may be halved already, and the last one is always
    assert restricted(2, 2).resolutions == (((0, 0),), ((0, 0), (1, 1)), ((0, 0), (1, 1)), ((1, 1),))
    assert free(2, 2).resolutions == (((0, 0),), *[((0, 0), (1, 1))] * 3)
    kept = restricted(2, 2).keep([Placement.parse("1,3"), Placement.parse("2,2")])
    assert kept.resolutions == (((0, 0),), ((0, 0), (1, 1)), ((1, 1),), ((1, 1),))
    unequal = dataclasses.replace(restricted(2, 1), axes="h,w")
    assert unequal.resolutions == (((0, 0),), ((0, 0), (0, 1), (1, 0), (1, 1)), ((1, 1),))


def test_limited_to_some_of_them():
    space = free(4, 3, 3)
    up = Placement.parse("1x1_0x0_1x1_-2x-2_0x0_0x0_1x1_0x0_0x0")
    kept = space.keep([up, space.default])
    assert isinstance(kept, FreeSpace) and kept.size == 2
    assert {*kept} == {up, space.default}
    assert kept.whole == space
    with pytest.raises(PoolsearchError, match="not among the 2 placements"):
        kept.index(space[0])
    taken = space.take([7, 3])
    assert [*taken] == [space[3], space[7]]
    drawn = space.subset(50, seed=1)
    assert drawn.size == 50 and space.default in drawn and drawn == space.subset(50, seed=1)
    assert drawn != space.subset(50, seed=2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4,3,2", "is one of 9 blocks, this space of 10"),
        ("1,1,1,7", "block 3 at resolution 3x3"),
        ("-1x-1_0x0_0x0_0x0_0x0_0x0_0x0_0x0_0x0", "block 1 at resolution -1x-1"),
        ("0x1_0x0_0x0_0x0_0x0_0x0_0x0_0x0_0x0", "halved together, 0 to 2 times"),
    ],
)
def test_what_is_none_of_them_is_told(text, why):
    placement = Placement.parse(text)
    assert placement not in free(4, 3, 3)
    with pytest.raises(PoolsearchError, match=why):
        free(4, 3, 3).index(placement)


@pytest.mark.parametrize(
    ("limits", "flag"),
    [({"low": (2, 1, 1)}, "--min-blocks"), ({"high": (5, 5, 5)}, "--max-blocks"), ({"axes": "h,w"}, "--axes h,w")],
)
def test_limits_of_the_restricted_space_are_refused(limits, flag):
    with pytest.raises(PoolsearchError, match=f"--paths any.*cannot be combined with {flag}.*--placements"):
        FreeSpace.of(restricted(4, 3, 3, **limits))


def test_resolutions_of_a_space_that_nobody_could_go_through():
    large = FreeSpace.of(Space(40, 3, Placement.of_blocks([10, 10, 10, 10])))
    first, *others = large.resolutions
    assert first == ((0, 0),)
    assert others == [((0, 0), (1, 1), (2, 2), (3, 3))] * 39


def test_resolutions_of_some_of_its_placements_are_theirs():
    space = FreeSpace.of(Space(4, 2, Placement.parse("2,1,1")))
    some = space.keep([Placement.parse("at 0,2,0,1"), Placement.parse("at 0,2,1,1")])
    assert some.resolutions == (((0, 0),), ((2, 2),), ((0, 0), (1, 1)), ((1, 1),))
