"""Spaces: sizes and numbers of the paper, numbering, limits, subsets."""

import itertools
import math
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.space import Placement, Space


def space(*default, **limits):
    return Space(sum(default), len(default) - 1, Placement.of_blocks(default), **limits)


def by_combinations(length, poolings):
    """All placements in the order of the positions of their halvings, found without Space."""
    for cuts in itertools.combinations(range(1, length), poolings):
        edges = (0, *cuts, length)
        yield tuple(b - a for a, b in itertools.pairwise(edges))


shapes = st.integers(2, 9).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length - 1)))


@pytest.mark.parametrize(
    ("net", "size", "default", "number"),
    [
        ("cifar-resnet20", 36, (4, 3, 3), 23),
        ("cifar-resnet18", 56, (3, 2, 2, 2), 41),
        ("cifar-resnet50", 560, (4, 4, 6, 3), 309),
        ("resnet50", 455, (3, 4, 6, 3), 204),
        ("resnet18", 35, (2, 2, 2, 2), None),
    ],
)
def test_spaces_of_table_5(tiny_net, net, size, default, number):
    found = tiny_net(net, width=1).space
    assert found.size == len(found) == size
    assert found.default.blocks == default
    if number is not None:
        assert found.index(found.default) == number


@pytest.mark.parametrize(
    ("default", "number", "blocks"),
    [
        ((3, 4, 6, 3), 360, (6, 4, 5, 1)),
        ((3, 4, 6, 3), 433, (9, 4, 2, 1)),
        ((4, 4, 6, 3), 204, (3, 1, 9, 4)),
    ],
)
def test_numbers_that_the_authors_scripts_use(default, number, blocks):
    assert space(*default)[number].blocks == blocks


def test_order_is_that_of_table_6(table6):
    assert [p.blocks for p in space(4, 3, 3)] == [blocks for _, blocks, _ in table6]
    assert [number - 1 for number, _, _ in table6] == list(range(36))


@given(shapes)
def test_numbering_follows_the_combinations_of_halvings(shape):
    length, poolings = shape
    expected = list(by_combinations(length, poolings))
    found = space(*expected[0])
    assert found.size == math.comb(length - 1, poolings)
    assert [p.blocks for p in found] == expected
    assert [found.index(p) for p in found] == list(range(found.size))


@given(shapes, st.data())
def test_limits_are_a_filter_that_keeps_the_order(shape, data):
    length, poolings = shape
    limit = st.tuples(*[st.integers(1, length)] * (poolings + 1))
    low, high = data.draw(st.just(()) | limit), data.draw(st.just(()) | limit)
    every = list(by_combinations(length, poolings))
    expected = [
        b
        for b in every
        if all(n >= m for n, m in zip(b, low or (1,) * len(b), strict=True))
        and all(n <= m for n, m in zip(b, high or (length,) * len(b), strict=True))
    ]
    if not expected:
        with pytest.raises(PoolsearchError, match="widen the limits"):
            space(*every[0], low=low, high=high)
        return
    found = space(*every[0], low=low, high=high)
    assert [p.blocks for p in found] == expected
    assert [found.index(p) for p in found] == list(range(len(expected)))
    assert all((Placement.of_blocks(b) in found) == (b in expected) for b in every)


def test_a_space_beyond_a_thousand_million_answers_at_once():
    start = time.perf_counter()
    large = space(*(10,) * 11)
    assert large.size == math.comb(109, 10) > 10**9
    for number in (0, 12_345_678_901, large.size - 1):
        assert large.index(large[number]) == number
    assert large[0].blocks == (1,) * 10 + (100,)
    assert large[large.size - 1].blocks == (100,) + (1,) * 10
    assert large.subset(100, seed=0).size == 100
    assert time.perf_counter() - start < 1  # milliseconds on an idle machine


@pytest.mark.parametrize("number", [-1, 36, 1000])
def test_a_number_outside_the_space_is_an_index_error(number):
    with pytest.raises(IndexError):
        space(4, 3, 3)[number]


def test_keep_limits_to_the_given_placements_in_the_spaces_order():
    given_ = [Placement.parse(t) for t in ("5,3,2", "1,1,8", "4,3,3", "1,1,8")]
    kept = space(4, 3, 3).keep(given_)
    assert [str(p) for p in kept] == ["1,1,8", "4,3,3", "5,3,2"]
    assert [kept.index(p) for p in kept] == [0, 1, 2]
    assert kept[2] in kept
    with pytest.raises(PoolsearchError, match="not among the 3 placements"):
        kept.index(Placement.parse("7,1,2"))


@pytest.mark.parametrize("size", [1, 2, 10, 35])
def test_a_subset_is_seeded_ascending_and_holds_the_default(size):
    full = space(4, 3, 3)
    draws = [full.subset(size, seed) for seed in range(20)]
    for seed, chosen in enumerate(draws):
        assert chosen.size == size == len({*chosen})
        assert chosen.default in chosen
        assert [full.index(p) for p in chosen] == sorted(full.index(p) for p in chosen)
        assert [*chosen] == [*full.subset(size, seed)]
    assert len({chosen.only for chosen in draws}) > (1 if size > 1 else 0)


@pytest.mark.parametrize("size", [36, 37, 10**9])
def test_a_subset_that_is_no_smaller_is_the_space(size):
    full = space(4, 3, 3)
    assert full.subset(size, 0) is full


def test_a_subset_of_a_kept_space_stays_inside_it():
    kept = space(4, 3, 3).keep([Placement.parse(t) for t in ("1,1,8", "4,3,3", "5,3,2", "7,1,2")])
    for seed in range(20):
        chosen = kept.subset(2, seed)
        assert chosen.size == 2
        assert {*chosen} <= {*kept}


def test_a_subset_is_uniform_over_all_but_the_default():
    full, draws = space(4, 3, 3), 4000
    counts = Counter(p for seed in range(draws) for p in full.subset(6, seed))
    expected = draws * 5 / 35  # the default takes one of the six places
    deviation = math.sqrt(expected * (1 - 5 / 35))
    assert all(abs(counts[p] - expected) < 4.5 * deviation for p in full if p != full.default)


def test_as_many_downsamplings_as_blocks_are_refused():
    for poolings in (0, 3, 4):
        with pytest.raises(PoolsearchError, match="between 1 and 2 are possible"):
            Space(3, poolings, Placement.of_blocks([1, 1, 1]))


@pytest.mark.parametrize("default", ["4,3,4", "5,5", "0x0_1x0_0x0_0x0_1x1_0x0_0x0_0x0_0x0"])
def test_a_default_of_another_shape_is_refused(default):
    with pytest.raises(PoolsearchError, match="does not describe 10 blocks at 3 resolutions"):
        Space(10, 2, Placement.parse(default))


@pytest.mark.parametrize("limits", [{"low": (1, 1)}, {"low": (0, 1, 1)}, {"high": (3, 3, 3, 3)}, {"high": (0, 5, 5)}])
def test_limits_of_another_shape_are_refused(limits):
    with pytest.raises(PoolsearchError, match="give 3 numbers of at least 1"):
        space(4, 3, 3, **limits)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4,3,4", "3 counts that sum to 10"),
        ("5,5", "3 counts that sum to 10"),
        ("0x0_0x1_0x0", "halve both axes together"),
        ("1,5,4", "1 blocks at resolution 0, outside the limits 2 to 10"),
    ],
)
def test_a_placement_that_does_not_fit_says_why(text, why):
    limited = space(4, 3, 3, low=(2, 1, 1))
    placement = Placement.parse(text)
    assert placement not in limited
    with pytest.raises(PoolsearchError, match=why):
        limited.index(placement)


def test_what_is_no_placement_is_in_no_space():
    assert "4,3,3" not in space(4, 3, 3)


def pairs(length, poolings, low=(), high=()):
    """Sites of all placements of both axes in order, found without Space: height outside, width inside."""

    def allowed(blocks):
        parts = len(blocks)
        limits = zip(low or (1,) * parts, blocks, high or (length,) * parts, strict=True)
        return all(least <= n <= most for least, n, most in limits)

    def halved(blocks):
        starts = {*itertools.accumulate(blocks)}
        return [int(i in starts) for i in range(1, length)]

    axis = [halved(blocks) for blocks in by_combinations(length, poolings) if allowed(blocks)]
    return [tuple(zip(h, w, strict=True)) for h in axis for w in axis]


small = st.integers(2, 6).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length - 1)))


@given(small, st.data())
def test_the_space_of_both_axes_is_every_pair_in_order_within_the_limits_of_each(shape, data):
    length, poolings = shape
    limit = st.tuples(*[st.integers(1, length)] * (poolings + 1))
    low, high = data.draw(st.just(()) | limit), data.draw(st.just(()) | limit)
    expected = pairs(length, poolings, low, high)
    default = next(by_combinations(length, poolings))
    if not expected:
        with pytest.raises(PoolsearchError, match="widen the limits"):
            space(*default, low=low, high=high, axes="h,w")
        return
    found = space(*default, low=low, high=high, axes="h,w")
    assert [p.sites for p in found] == expected
    assert [found.index(p) for p in found] == list(range(found.size))
    for placement in map(Placement, pairs(length, poolings)):
        assert (placement in found) == (placement.sites in expected)


def test_the_number_of_both_axes_by_hand():
    found = space(2, 1, 1, axes="h,w")  # 4 blocks, 2 halvings: 1,1,2 1,2,1 2,1,1 of each axis
    assert found.size == 9
    assert [p.shown for p in found] == [
        "1,1,2", "h 1,1,2 · w 1,2,1", "h 1,1,2 · w 2,1,1",
        "h 1,2,1 · w 1,1,2", "1,2,1", "h 1,2,1 · w 2,1,1",
        "h 2,1,1 · w 1,1,2", "h 2,1,1 · w 1,2,1", "2,1,1",
    ]  # fmt: skip
    assert space(4, 3, 3, axes="h,w").index(Placement.parse("4,3,3")) == 23 * 36 + 23


def test_both_axes_hold_the_space_of_one():
    one, both = space(4, 3, 3), space(4, 3, 3, axes="h,w")
    assert both.size == 36**2
    assert {p for p in both if p.blocks is not None} == {*one}


@given(st.sets(st.integers(0, 35), min_size=1), st.integers(1, 40), st.integers(0, 3))
def test_keep_and_subset_of_both_axes(numbers, size, seed):
    full = space(2, 2, 1, axes="h,w")
    kept = full.keep(full[n] for n in sorted(numbers, key=lambda n: n * 7 % 36))
    assert [*kept] == [full[n] for n in sorted(numbers)]
    assert [kept.index(p) for p in kept] == list(range(kept.size))
    drawn = full.subset(size, seed)
    assert drawn.size == min(size, 36) == len({*drawn})
    assert drawn.default in drawn and {*drawn} <= {*full}
    assert [full.index(p) for p in drawn] == sorted(full.index(p) for p in drawn)


def test_the_space_of_both_axes_of_a_deep_network_answers_at_once():
    deep = space(4, 4, 6, 3, axes="h,w")
    assert deep.size == 560**2 == 313_600
    drawn = deep.subset(20_000, seed=0)
    assert drawn.size == 20_000 and drawn.default in drawn
    assert {drawn.index(drawn[n]) for n in range(0, 20_000, 97)} == {*range(0, 20_000, 97)}
    assert sum(p.blocks is None for p in drawn) > 19_900  # 1 in 560 is square


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("h 4,3,3 w 5,5", "give 3 counts of the width that sum to 10"),
        ("h 4,3,4 w 4,3,4", "give 3 counts of the height that sum to 10"),
        ("h 2,5,3 w 1,5,4", "1 blocks at resolution 0 of the width, outside the limits 2 to 10"),
        ("0x0_2x1" + "_0x0" * 7, "a site may keep .0. or halve .1. an axis"),
    ],
)
def test_a_placement_that_does_not_fit_both_axes_says_which(text, why):
    limited = space(4, 3, 3, low=(2, 1, 1), axes="h,w")
    placement = Placement.parse(text)
    assert placement not in limited
    with pytest.raises(PoolsearchError, match=why):
        limited.index(placement)


@given(small, st.sampled_from(["hw", "h,w"]))
def test_sites_are_what_some_placement_has_there(shape, axes):
    length, poolings = shape
    found = space(*next(by_combinations(length, poolings)), axes=axes)
    seen = {}
    for placement in found:
        done = (0, 0)
        for block in range(length):
            seen.setdefault((block, done), set()).add(placement.at(block))
            done = tuple(d + e for d, e in zip(done, placement.at(block), strict=True))
    assert {key: {*found.sites(*key)} for key in seen} == seen


def exponents_one_by_one(found, numbers):
    return [[list(found[n].at(block)) for block in range(found.length)] for n in numbers]


@given(small, st.sampled_from(["hw", "h,w"]), st.data())
def test_exponents_of_all_at_once_are_those_of_each(shape, axes, data):
    length, poolings = shape
    low = data.draw(st.just(()) | st.tuples(*[st.integers(1, 2)] * (poolings + 1)))
    if sum(low) > length:
        return
    full = found = space(*next(by_combinations(length, poolings)), low=low, axes=axes)
    if data.draw(st.booleans()):
        kept = data.draw(st.sets(st.integers(0, full.size - 1), min_size=1))
        found = full.take(kept)
        assert [*found] == [full[n] for n in sorted(kept)]
    every = found.exponents_AL2()
    assert every.shape == (found.size, length, 2)
    assert every.tolist() == exponents_one_by_one(found, range(found.size))
    numbers = data.draw(st.lists(st.integers(0, found.size - 1), max_size=6))
    assert found.exponents_AL2(numbers).tolist() == exponents_one_by_one(found, numbers)


def test_exponents_of_a_space_whose_numbers_64_bits_cannot_hold():
    large = space(*(4,) * 50)
    assert large.size > 2**63
    numbers = [0, large.size - 1, large.size // 3, 2**64 + 1]
    assert large.exponents_AL2(numbers).tolist() == exponents_one_by_one(large, numbers)
    kept = large.take(numbers)
    assert kept.exponents_AL2([3, 1]).tolist() == exponents_one_by_one(kept, [3, 1])
