"""The division into search-train, search-val and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsearch.data import make_split, subset_search_train, subset_training
from poolsearch.errors import PoolsearchError

COUNTS = st.lists(st.integers(4, 40), min_size=2, max_size=12)


def labels(counts: list[int], order: int = 0) -> np.ndarray:
    return np.random.default_rng(order).permutation(np.repeat(np.arange(len(counts)), counts))


def parts(number: int, part: str = "train") -> np.ndarray:
    return np.full(number, part, dtype="<U5")


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**40), fraction=st.floats(0.1, 0.5))
def test_without_parts(counts: list[int], seed: int, fraction: float) -> None:
    label_N = labels(counts)
    split = make_split(label_N, parts(len(label_N)), seed, fraction)
    everything = np.concatenate([split.search_train, split.search_val, split.test])
    assert sorted(everything.tolist()) == list(range(len(label_N))), "disjoint, and covers all"
    for part in (split.search_train, split.search_val, split.test):
        assert part.dtype == np.int64 and np.all(np.diff(part) > 0)
        assert np.bincount(label_N[part], minlength=len(counts)).min() >= 1
    train_C, val_C, test_C = (
        np.bincount(label_N[p], minlength=len(counts)) for p in (split.search_train, split.search_val, split.test)
    )
    assert np.abs(train_C - val_C).max() <= 1
    assert abs(int(train_C.sum()) - int(val_C.sum())) <= 1, "the roundings of the classes do not add up"
    assert np.abs(test_C - np.maximum(np.array(counts) * fraction, 1)).max() <= 1
    np.testing.assert_array_equal(split.train_all, np.sort(np.concatenate([split.search_train, split.search_val])))


def test_total_of_the_test_does_not_drift() -> None:
    label_N = labels([7] * 100)  # 1.4 of each class: rounding each on its own would give 100 in all
    split = make_split(label_N, parts(700), 0)
    assert len(split.test) == 140


def test_halves_of_many_odd_classes_are_equal() -> None:
    label_N = labels([5] * 100)
    part_N = parts(500)
    part_N[np.unique(label_N, return_index=True)[1]] = "test"
    label_N = np.concatenate([label_N, np.arange(100)])
    split = make_split(label_N, np.concatenate([parts(500), parts(100, "test")]), 0)
    assert len(split.search_train) == len(split.search_val) == 250


def test_a_given_test_is_kept() -> None:
    label_N = labels([20, 20])
    part_N = parts(40)
    part_N[5:15] = "test"
    split = make_split(label_N, part_N, 0)
    assert split.test.tolist() == list(range(5, 15))


def test_a_lone_val_is_the_test() -> None:
    label_N = labels([20, 20])
    part_N = parts(40)
    part_N[5:15] = "val"
    split = make_split(label_N, part_N, 0)
    assert split.test.tolist() == list(range(5, 15)) and len(split.search_val) == 15


def test_val_beside_test_is_search_val() -> None:
    part_N = parts(40)
    part_N[5:15] = "val"
    part_N[15:18] = "test"
    split = make_split(labels([20, 20]), part_N, 0)
    assert split.search_val.tolist() == list(range(5, 15)) and split.test.tolist() == [15, 16, 17]
    assert split.search_train.tolist() == [*range(5), *range(18, 40)]


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**40), share=st.floats(0.2, 1))
def test_a_thinned_split_keeps_a_stratified_part_of_search_train_only(
    counts: list[int], seed: int, share: float
) -> None:
    label_N = labels(counts)
    split = make_split(label_N, parts(len(label_N)), seed)
    size = max(1, round(share * len(split.search_train)))
    thinned = subset_search_train(split, label_N, size, seed)
    assert set(thinned.search_train) <= set(split.search_train)
    np.testing.assert_array_equal(thinned.search_val, split.search_val)
    np.testing.assert_array_equal(thinned.test, split.test)
    whole_C, part_C = (np.bincount(label_N[s.search_train], minlength=len(counts)) for s in (split, thinned))
    assert np.abs(part_C - np.maximum(whole_C * size / len(split.search_train), 1)).max() <= 1
    assert part_C.min() >= 1
    assert len(thinned.search_train) >= size
    assert (thinned.hash == split.hash) == (len(thinned.search_train) == len(split.search_train))


def test_seeded() -> None:
    label_N, part_N = labels([50, 50, 50]), parts(150)
    one, again, other = (make_split(label_N, part_N, seed) for seed in (1, 1, 2))
    assert one.hash == again.hash != other.hash
    np.testing.assert_array_equal(one.test, again.test)
    assert one.test.tolist() != other.test.tolist() and one.search_val.tolist() != other.search_val.tolist()


def test_hash_is_that_of_the_indices() -> None:
    split = make_split(labels([9, 9]), parts(18), 0)
    written = split.to_json()
    assert sorted(written["search_train"] + written["search_val"] + written["test"]) == list(range(18))
    assert written["hash"] == split.hash == make_split(labels([9, 9]), parts(18), 0).hash
    assert split.hash != make_split(labels([9, 9]), parts(18), 1).hash


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 20])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(PoolsearchError, match="between 0 and 1"):
        make_split(labels([9, 9]), parts(18), 0, fraction)


@given(size=st.integers(12, 90), seed=st.integers(0, 5))
def test_shrink_keeps_so_many_in_proportion_and_leaves_the_test_alone(size: int, seed: int) -> None:
    label_N = np.repeat(np.arange(3), 40)
    split = make_split(label_N, np.full(120, "train"), 0)
    small = subset_training(split, label_N, size, seed)
    assert abs(len(small.train_all) - size) <= 1
    assert set(small.search_train) <= set(split.search_train)
    assert set(small.search_val) <= set(split.search_val)
    assert np.array_equal(small.test, split.test)
    counts = np.bincount(label_N[small.search_train], minlength=3)
    assert counts.max() - counts.min() <= 1


def test_shrink_says_what_is_possible() -> None:
    label_N = np.repeat(np.arange(3), 40)
    split = make_split(label_N, np.full(120, "train"), 0)
    with pytest.raises(PoolsearchError, match="Choose 12 to 96"):
        subset_training(split, label_N, 97, 0)
