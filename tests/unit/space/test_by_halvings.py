"""The space of several numbers of halvings against closed forms and a listing of all placements."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.space import HALVE, KEEP, HalvingsSpace, Placement, Space

DEFAULT = Placement.parse("3,2,2")


def of(fewest: int, most: int) -> HalvingsSpace:
    return HalvingsSpace.of(Space(7, 2, DEFAULT), fewest, most)


def listed(fewest: int, most: int) -> set[Placement]:
    every = (Placement(sites) for sites in product((KEEP, HALVE), repeat=6))
    return {placement for placement in every if fewest <= placement.sites.count(HALVE) <= most}


@pytest.mark.parametrize(("fewest", "most"), [(1, 6), (2, 2), (1, 1), (2, 4), (4, 6)])
def test_it_has_every_placement_once(fewest, most):
    space = of(fewest, most)
    assert space.size == len([*space]) == sum(comb(6, p) for p in range(fewest, most + 1))
    assert {*space} == listed(fewest, most)
    assert [space.index(placement) for placement in space] == [*range(space.size)]
    halvings = [placement.sites.count(HALVE) for placement in space]
    assert halvings == sorted(halvings)
    assert (DEFAULT in space) == (fewest <= 2 <= most)


def test_those_of_the_networks_own_number_are_in_the_order_of_its_space():
    own = Space(7, 2, DEFAULT)
    assert [*of(2, 2)] == [*own]
    assert [placement for placement in of(1, 4) if placement in own] == [*own]


def test_exponents_are_those_of_each_placement():
    space = of(1, 5).subset(20, seed=3)
    expected = [[placement.at(block) for block in range(7)] for placement in space]
    assert np.array_equal(space.exponents_AL2(), expected)
    assert np.array_equal(of(1, 5).exponents_AL2([40, 2])[1], [of(1, 5)[2].at(block) for block in range(7)])


@pytest.mark.parametrize(("fewest", "most"), [(1, 6), (2, 4), (4, 5), (1, 1)])
def test_a_site_may_be_what_some_placement_or_the_default_has_there(fewest, most):
    space = of(fewest, most)
    found = set[tuple[int, tuple[int, int], tuple[int, int]]]()
    # between the default's number and the others also those in the middle may be tried: sizes of maps, not placements
    for placement in listed(min(fewest, 2), max(most, 2)):
        found |= {(b, placement.resolution(b - 1) if b else KEEP, placement.at(b)) for b in range(7)}
    asked = {(block, done) for block, done, _ in found}
    assert {(block, done, site) for block, done in asked for site in space.sites(block, done)} == found


def test_without_limits_it_has_the_networks_own_placement():
    assert DEFAULT in of(4, 5).whole and of(4, 5).whole.size == of(2, 5).size
    assert of(1, 3).take([0]).whole == of(1, 3)


def test_numbers_beyond_64_bits():
    deep = Placement.of_blocks([30, 30, 40])
    space = HalvingsSpace.of(Space(100, 2, deep), 1, 60)
    assert space.size == sum(comb(99, p) for p in range(1, 61))
    last = space[space.size - 1]
    assert space.index(last) == space.size - 1 and last.sites.count(HALVE) == 60
    assert np.array_equal(
        space.exponents_AL2(np.array([space.size - 1], object))[0, :, 0], [last.at(b)[0] for b in range(100)]
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: of(0, 2), "1 to 6 are possible"),
        (lambda: of(3, 7), "--halvings 3-7 does not fit 7 blocks"),
        (lambda: HalvingsSpace.of(Space(7, 2, DEFAULT, low=(2, 1, 1)), 1, 3), "--min-blocks"),
        (lambda: HalvingsSpace.of(Space(7, 2, DEFAULT, axes="h,w"), 1, 3), "--axes h,w"),
        (lambda: of(1, 3).index(Placement.parse("1,1,1,1,3")), "give 2 to 4 counts that sum to 7"),
        (lambda: of(1, 3).index(Placement.parse("at 0,1,0,0,0,0,0")), "does not fit this space"),
        (lambda: of(1, 3).index(Placement.parse("4,4")), "does not fit this space"),
    ],
)
def test_what_does_not_fit_is_said(make, said):
    with pytest.raises(PoolsearchError, match=said):
        make()
