"""Statistics against closed forms, counts by hand and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poolsearch.stats import kendall_tau, paired_difference, pareto, wilson

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=25)


def tau_b(points):
    """Kendall's tau-b by counting all pairs."""
    agree = disagree = ties_a = ties_b = 0
    for i, (a1, b1) in enumerate(points):
        for a2, b2 in points[:i]:
            agree += (a1 - a2) * (b1 - b2) > 0
            disagree += (a1 - a2) * (b1 - b2) < 0
            ties_a += a1 == a2
            ties_b += b1 == b2
    every = len(points) * (len(points) - 1) // 2
    below = math.sqrt((every - ties_a) * (every - ties_b))
    return (agree - disagree) / below if below else math.nan


@given(pairs)
def test_kendall_tau_is_a_count_of_pairs(points):
    a, b = zip(*points, strict=True)
    assert kendall_tau(a, b) == pytest.approx(tau_b(points), nan_ok=True)


@pytest.mark.parametrize(
    ("a", "b", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 3, 4], [1, 3, 2, 4], (5 - 1) / 6),
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),
    ],
)
def test_kendall_tau_by_hand(a, b, tau):
    assert kendall_tau(a, b) == pytest.approx(tau)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1], [2]), ([1, 1, 1], [1, 2, 3])])
def test_kendall_tau_is_undefined_without_two_different_values(a, b):
    assert math.isnan(kendall_tau(a, b))


@given(
    st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.95, 0.9]),
)
def test_wilson_is_scipys(counts, level):
    correct, n = counts
    theirs = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    low, high = wilson(correct, n, level)
    assert (low, high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))
    assert 0 <= low <= correct / n <= high <= 1


def test_wilson_of_numbers_that_are_not_whole():
    """Its ends are where |p - p0| = z sqrt(p0 (1 - p0) / n), whatever n is."""
    for correct, n in ((2.5, 7.3), (0.1, 3.7)):
        for p0 in wilson(correct, n):
            assert abs(correct / n - p0) == pytest.approx(1.959963985 * math.sqrt(p0 * (1 - p0) / n))


def test_wilson_of_none_and_all_reaches_the_ends():
    low, high = wilson(0, 10)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert wilson(10, 10) == (pytest.approx(1 - high), pytest.approx(1))


A = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
B = np.array([[1, 0, 0, 0], [0, 0, 0, 1]], bool)


def test_paired_difference_by_hand():
    # per image: seed 0 gives 0 1 1 0, seed 1 gives 1 1 0 -1: means 1/2 and 1/4
    found = paired_difference(A, B)
    seeds = (1 / 8) ** 2 * 2 / 2  # variance of the seeds' means, over 2 seeds
    # averaged over seeds: 1/2, 1, 1/2, -1/2, their mean 3/8
    images = (2 * (1 / 8) ** 2 + (5 / 8) ** 2 + (7 / 8) ** 2) / 3 / 4
    # what is left of each answer after its seed's and its image's mean
    left = np.array([[0, 1, 1, 0], [1, 1, 0, -1]]) - np.array([[1 / 2], [1 / 4]])
    left = left - np.array([1 / 2, 1, 1 / 2, -1 / 2]) + 3 / 8
    both = (left**2).sum() / 3 / 8
    variance = max(seeds + images - both, seeds, images)
    freedom = max(variance**2 / (seeds**2 / 1 + images**2 / 3), 1)  # Satterthwaite 1946
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    assert found.seeds == 2
    assert (found.mean, found.low, found.high) == pytest.approx((3 / 8, 3 / 8 - half, 3 / 8 + half))


def test_a_higher_level_is_a_wider_interval_and_a_swap_its_mirror():
    narrow, wide = paired_difference(A, B, 0.5), paired_difference(A, B, 0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    swapped = paired_difference(B, A, 0.5)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx((-narrow.mean, -narrow.high, -narrow.low))


def test_networks_that_always_agree_have_no_difference():
    found = paired_difference(A, A)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_seeds_that_agree_do_not_make_up_for_few_images():
    # the same answers from every seed: only the images are a source of chance
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.9, rng.random(300) < 0.8
    found = paired_difference(np.stack([a] * 3), np.stack([b] * 3))
    difference = a.astype(float) - b
    t = stats.t.ppf(0.975, 299)  # the seeds add nothing: an ordinary paired interval over 300 images
    assert found.high - found.mean == pytest.approx(t * difference.std(ddof=1) / math.sqrt(300))


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("images", "luck_of_seeds"), [(400, 0.1), (4000, 0.02)])
def test_paired_difference_covers_the_truth_about_as_often_as_it_says(seeds, images, luck_of_seeds):
    rng = np.random.default_rng(seeds)
    covered, simulations = 0, 300
    for _ in range(simulations):
        hard_N = rng.normal(0, 1.5, images)  # shared by both networks
        lucky_S1 = rng.normal(0, luck_of_seeds, (2, seeds, 1))
        answers = [
            rng.normal(0, 1, (seeds, images)) < skill + luck + hard_N
            for skill, luck in zip((1.6, 1.4), lucky_S1, strict=True)
        ]
        found = paired_difference(*answers)
        # P(noise - luck - hard < skill), the three normal
        scale = math.sqrt(2 * (1 + luck_of_seeds**2 + 1.5**2))
        truth = (math.erf(1.6 / scale) - math.erf(1.4 / scale)) / 2
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / simulations <= 0.99  # 95 % of 300 is 285, give or take 3.8


def test_an_interval_from_three_seeds_and_ten_thousand_images_can_see_one_point():
    # Networks 91.5 % and 90.5 % right whose mistakes mostly coincide, as on CIFAR-10
    rng = np.random.default_rng(0)
    hard_N = rng.random(10_000)
    answers = [hard_N + rng.normal(0, 0.05, (3, 10_000)) < share for share in (0.915, 0.905)]
    found = paired_difference(*answers)
    assert found.low > 0
    assert found.high - found.low < 0.012


@pytest.mark.parametrize(("a", "b"), [((2, 4), (2, 5)), ((2, 4), (3, 4)), ((4,), (4,)), ((2, 2, 2), (2, 2, 2))])
def test_shapes_that_do_not_pair_are_refused(a, b):
    with pytest.raises(ValueError, match=r"one shape \(seeds, images\)"):
        paired_difference(np.ones(a, bool), np.ones(b, bool))


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="at least two seeds"):
        paired_difference(A[:1], B[:1])


def test_pareto_by_hand():
    cost, value = [1, 2, 3, 3, 4, 1], [5, 7, 6, 9, 9, 5]
    # (2, 7) beats (3, 6), (3, 9) beats (4, 9); equal points do not beat each other
    assert pareto(cost, value).tolist() == [True, True, False, True, False, True]


@given(pairs)
def test_pareto_keeps_what_nothing_beats(points):
    def beats(p, q):
        return p != q and p[0] <= q[0] and p[1] >= q[1]

    cost, value = zip(*points, strict=True)
    assert pareto(cost, value).tolist() == [not any(beats(p, q) for p in points) for q in points]


def test_pareto_of_nothing_and_of_one():
    assert pareto([], []).tolist() == []
    assert pareto([3], [1]).tolist() == [True]
