"""Placements: text to value and back, shorthand to sites and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.placement import HALVE, KEEP, Placement

exponents = st.tuples(st.integers(-3, 3), st.integers(-3, 3))
general = st.lists(exponents, max_size=12).map(lambda sites: Placement(tuple(sites)))
counts = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(general)
def test_printing_and_parsing_gives_the_placement_back(placement):
    assert Placement.parse(str(placement)) == placement


@given(counts)
def test_shorthand_survives_sites_and_text(blocks):
    placement = Placement.of_blocks(blocks)
    assert placement.blocks == tuple(blocks)
    assert str(placement) == ",".join(map(str, blocks))
    assert placement.length == sum(blocks)
    assert sum(site == HALVE for site in placement.sites) == len(blocks) - 1


def test_default_of_resnet20_halves_before_blocks_4_and_7():
    placement = Placement.of_blocks([4, 3, 3])
    assert [i for i in range(10) if placement.at(i) == HALVE] == [4, 7]
    assert [i for i in range(10) if placement.at(i) == KEEP] == [0, 1, 2, 3, 5, 6, 8, 9]


@pytest.mark.parametrize("text", ["4,3,3", "[4, 3, 3]", " 4, 3 ,3 ", "[4,3,3]"])
def test_shorthand_may_be_written_with_brackets_and_blanks(text):
    assert Placement.parse(text) == Placement.of_blocks([4, 3, 3])


def test_general_form_reads_height_by_width_of_each_site():
    assert Placement.parse("0x0_1x1_0x1_-1x2").sites == ((0, 0), (1, 1), (0, 1), (-1, 2))


@pytest.mark.parametrize("site", [(0, 1), (1, 0), (2, 2), (-1, -1)])
def test_a_site_that_does_not_halve_both_axes_has_no_shorthand(site):
    placement = Placement((KEEP, site, HALVE))
    assert placement.blocks is None
    assert str(placement) == f"0x0_{site[0]}x{site[1]}_1x1"


def test_general_text_of_a_shorthand_placement_is_the_same_placement():
    assert Placement.parse("0x0_1x1") == Placement.parse("2,1")


@pytest.mark.parametrize("text", ["", "4;3;3", "4,,3", "four", "4,3,", "-4,3", "1.5,2", "0x0_1", "1x1x1", "0x0__1x1"])
def test_what_is_no_placement_is_refused_with_examples(text):
    with pytest.raises(PoolsearchError, match=r"4,3,3.*0x0_1x1_0x1"):
        Placement.parse(text)


@pytest.mark.parametrize("blocks", [[], [0], [4, 0, 3], [3, -1, 2]])
def test_every_resolution_needs_a_block(blocks):
    with pytest.raises(PoolsearchError, match="at least one block"):
        Placement.of_blocks(blocks)


def test_prefix_holds_the_sites_before_and_at_a_block():
    placement = Placement.parse("2,1,2")
    assert placement.prefix(0) == ()
    assert placement.prefix(2) == (KEEP, HALVE)
    assert placement.prefix(4) == placement.sites


@given(general, general, st.integers(0, 12))
def test_prefixes_agree_exactly_when_all_sites_so_far_agree(a, b, block):
    block = min(block, a.length - 1, b.length - 1)
    same = all(a.at(i) == b.at(i) for i in range(block + 1))
    assert (a.prefix(block) == b.prefix(block)) == same


def test_placements_are_values():
    assert {Placement.parse("4,3,3"), Placement.of_blocks((4, 3, 3))} == {Placement.parse("[4,3,3]")}
