"""Placements: text to value and back, shorthand to sites and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.space import HALVE, KEEP, Placement, shown

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


def both_axes(length):
    """Pairs of compositions of so many blocks, as (heights, widths)."""
    cuts = st.sets(st.integers(1, length - 1)).map(sorted) if length > 1 else st.just([])
    counts = cuts.map(lambda at: [b - a for a, b in zip([0, *at], [*at, length], strict=True)])
    return st.tuples(counts, counts)


@given(st.integers(1, 9).flatmap(both_axes))
def test_compositions_of_both_axes_survive_sites_and_both_texts(axes):
    heights, widths = axes
    placement = Placement.of_axes(heights, widths)
    starts = [set(itertools.accumulate(counts[:-1])) for counts in axes]  # where a resolution begins
    assert placement.sites == tuple((int(i in starts[0]), int(i in starts[1])) for i in range(1, sum(heights)))
    assert placement.axis_blocks() == (tuple(heights), tuple(widths))
    assert Placement.parse(str(placement)) == Placement.parse(placement.shown) == placement
    assert shown(str(placement)) == shown(placement.shown) == placement.shown
    assert (placement.blocks is None) == (heights != widths)


def test_what_people_read_by_hand():
    placement = Placement.parse("0x0_0x1_0x0_1x1_0x0_1x0_0x0_0x0_0x0")
    assert placement.shown == "h 4,2,4 · w 2,2,6"
    assert Placement.parse("4,3,3").shown == "4,3,3"
    assert Placement.parse("0x0_1x1_0x0").shown == "2,2"
    assert Placement.parse("0x0_2x1_-1x0").shown == "0x0_2x1_-1x0"  # no composition


@pytest.mark.parametrize("text", ["h 4,2,4 · w 2,2,6", "h 4,2,4 w 2,2,6", "h4,2,4w2,2,6", " h 4, 2, 4 ·w 2,2,6 "])
def test_both_axes_may_be_written_as_they_are_shown(text):
    assert str(Placement.parse(text)) == "0x0_0x1_0x0_1x1_0x0_1x0_0x0_0x0_0x0"


@pytest.mark.parametrize("text", ["h 4,2", "w 2,2 h 2,2", "h 4,2 w", "h 4;2 w 4,2", "h 4,,2 w 4,2"])
def test_half_of_both_axes_is_no_placement(text):
    with pytest.raises(PoolsearchError, match="is not a placement"):
        Placement.parse(text)


def test_axes_of_different_lengths_are_refused():
    with pytest.raises(PoolsearchError, match="h 4,3 · w 2,2: h counts 7 blocks and w 4"):
        Placement.parse("h 4,3 w 2,2")
    with pytest.raises(PoolsearchError, match="at least one block"):
        Placement.parse("h 4,0 w 2,2")


@pytest.mark.parametrize("text", ["", "<b>", "1.5", "../..", "h 4,3 w 2,2"])
def test_what_is_no_placement_is_shown_as_it_is(text):
    assert shown(text) == text


def test_a_name_for_a_folder_is_the_text_of_files_where_that_fits():
    assert Placement.parse("0x0_0x1_1x0").file_name == "0x0_0x1_1x0"
    deep = Placement.of_axes([40, 42], [41, 41])
    assert len(str(deep)) == 81 * 4 - 1 > 255
    assert deep.file_name == "h 40,42 · w 41,41"
    assert Placement.parse(deep.file_name) == deep


@pytest.mark.parametrize(
    ("text", "sites"),
    [
        ("at 0,1,0", ((1, 1), (-1, -1))),
        ("at 0, 2, 2, 1", ((2, 2), (0, 0), (-1, -1))),
        ("at 0,0,1,2", ((0, 0), (1, 1), (1, 1))),
    ],
)
def test_the_resolution_of_every_block_is_read(text, sites):
    assert Placement.parse(text).sites == sites


@pytest.mark.parametrize(
    ("placement", "text"),
    [
        (Placement.of_resolutions([0, 1, 0, 2]), "at 0,1,0,2"),
        (Placement.of_resolutions([0, 0, 1, 2]), "2,1,1"),  # its shorthand says the same
        (Placement(((1, 0), (-1, 0))), "1x0_-1x0"),  # height and width apart, and up again: no other text has it
        (Placement(((-1, -1), (1, 1))), "-1x-1_1x1"),  # beyond the full resolution
    ],
)
def test_what_people_read_of_maps_that_grow_again(placement, text):
    assert placement.shown == text
    assert Placement.parse(text) == placement


@pytest.mark.parametrize("resolutions", [[0], [1, 0], []])
def test_the_first_block_is_at_the_full_resolution(resolutions):
    with pytest.raises(PoolsearchError, match="0 for the first"):
        Placement.of_resolutions(resolutions)
