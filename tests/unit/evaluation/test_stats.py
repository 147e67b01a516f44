"""Statistics against closed forms, counts by hand and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poolsearch.evaluation.metrics import contributions
from poolsearch.evaluation.stats import (
    HalfWidth,
    holm,
    kendall_tau,
    mean_interval,
    p_value_of_half_width,
    paired_difference,
    pareto,
    pooled_variance,
    probability_above,
    wilson,
)

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
    ("a", "b", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 3, 4], [1, 3, 2, 4], (5 - 1) / 6),
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),
    ],
)
def test_kendall_tau_by_hand(a, b, expected):
    assert kendall_tau(a, b) == pytest.approx(expected)


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
    # averaged over seeds: 1/2, 1, 1/2, -1/2: squares less four times that of 3/2 over 4 and 4 images that agree; and
    # two images of 6 that disagree
    images = ((1 / 4 + 1 + 1 / 4 + 1 / 4) - 4 * (3 / 2 / 8) ** 2 + 4 * 2 / 6) / 4**2
    # what is left of each answer after its seed's and its image's mean
    left = np.array([[0, 1, 1, 0], [1, 1, 0, -1]]) - np.array([[1 / 2], [1 / 4]])
    left = left - np.array([1 / 2, 1, 1 / 2, -1 / 2]) + 3 / 8
    both = (left**2).sum() / 3 / 8
    t1, t3 = (
        stats.t.ppf(0.975, 1),
        stats.t.ppf(0.975, 3),
    )  # degrees of freedom of two seeds and of four images
    half = math.sqrt(max(t1**2 * seeds, t3**2 * both) + t3**2 * (images - both))  # Howe 1974
    assert found.seeds == 2
    assert found.mean == pytest.approx(3 / 8)
    assert found.half is not None and found.half.whole == pytest.approx(half)
    assert half > 1 and (found.low, found.high) == (-1, 1)  # no difference lies outside
    narrow = paired_difference(A, B, 0.5)
    assert narrow.half is not None
    assert (narrow.low, narrow.high) == pytest.approx((3 / 8 - narrow.half.whole, 3 / 8 + narrow.half.whole))


def test_the_p_value_is_the_level_at_which_the_interval_touches_zero():
    found = paired_difference(A, B)
    touching = paired_difference(A, B, 1 - found.p)
    assert touching.low == pytest.approx(0, abs=1e-9)
    assert paired_difference(B, A).p == pytest.approx(found.p)
    assert paired_difference(A, A).p == 1


def test_the_spread_of_several_networks_by_hand():
    # what seeds do to all networks alike (the second is 0.1 better) is no spread
    assert pooled_variance([[0.8, 0.9], [0.7, 0.8], [0.5, 0.6]]).variance == pytest.approx(0)
    found = pooled_variance([[0.80, 0.82], [0.70, 0.70]])
    assert found.freedom == 1
    assert found.variance == pytest.approx(0.02**2 / 4)  # residuals of 0.005, four of them
    assert 2 * found.variance == pytest.approx(np.var([0.1, 0.12], ddof=1))  # of two networks: that of the differences
    with pytest.raises(ValueError, match="two networks"):
        pooled_variance([[0.8, 0.9]])


def test_several_networks_know_more_of_the_spread_than_two():
    rng = np.random.default_rng(4)
    luck_KS1 = rng.normal(0, 0.05, (6, 2, 1))
    networks = [rng.random((2, 2000)) < 0.8 + luck for luck in luck_KS1]
    spread = pooled_variance([values.mean(1) for values in networks])
    a, b = networks[:2]
    own = np.var(a.mean(1) - b.mean(1), ddof=1) / 2
    found = paired_difference(a, b, spread=spread)
    half = found.high - found.mean
    # five degrees of freedom; never less than what the two themselves show
    assert half == pytest.approx(stats.t.ppf(0.975, 5) * math.sqrt(max(spread.variance, own)), rel=0.05)


def test_a_higher_level_is_a_wider_interval_and_a_swap_its_mirror():
    narrow, wide = paired_difference(A, B, 0.3), paired_difference(A, B, 0.6)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    swapped = paired_difference(B, A, 0.3)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx((-narrow.mean, -narrow.high, -narrow.low))


@pytest.mark.parametrize("images", [20, 100, 1000])
def test_networks_that_always_agree_may_still_differ_in_three_images_of_as_many(images):
    """With no disagreement in n images, up to about 3 / n may disagree (Hanley and Lippman-Hand 1983)."""
    right_SN = np.arange(images) < np.full((3, 1), images - 2)
    found = paired_difference(right_SN, right_SN)
    exact = 1 - 0.05 ** (1 / images)  # the largest share of which n images show none in one case of twenty
    assert found.mean == 0 and found.low == -found.high and found.p == 1
    assert found.high == pytest.approx(exact, rel=0.1)
    assert probability_above(right_SN, right_SN, np.random.default_rng(0)) == pytest.approx(0.5, abs=0.02)


def test_seeds_that_agree_do_not_make_up_for_few_images():
    # the same answers from every seed: only the images are a source of chance
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.9, rng.random(300) < 0.8
    found = paired_difference(np.stack([a] * 3), np.stack([b] * 3))
    difference = a.astype(float) - b
    t = stats.t.ppf(0.975, 299)  # the seeds add nothing: an ordinary paired interval over 300 images
    assert found.high - found.mean == pytest.approx(t * difference.std(ddof=1) / math.sqrt(300), rel=0.03)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("images", "luck_of_seeds"), [(400, 0.1), (4000, 0.02), (4000, 0.5)])
def test_paired_difference_covers_the_truth_at_least_as_often_as_it_says(seeds, images, luck_of_seeds):
    rng = np.random.default_rng(seeds)
    covered, above, simulations = 0, 0, 300
    for _ in range(simulations):
        hard_N = rng.normal(0, 1.5, images)  # shared by all networks
        lucky_KS1 = rng.normal(0, luck_of_seeds, (4, seeds, 1))
        answers = [
            rng.normal(0, 1, (seeds, images)) < skill + luck + hard_N
            for skill, luck in zip((1.6, 1.4, 1.5, 1.3), lucky_KS1, strict=True)
        ]
        spread = pooled_variance([right_SN.mean(1) for right_SN in answers])
        a, b = answers[:2]
        found = paired_difference(a, b, spread=spread)
        # P(noise - luck - hard < skill), the three normal
        scale = math.sqrt(2 * (1 + luck_of_seeds**2 + 1.5**2))
        truth = (math.erf(1.6 / scale) - math.erf(1.4 / scale)) / 2
        covered += found.low <= truth <= found.high
        moved = a.astype(float) - b - truth  # what the bootstrap says of a difference that is not there
        above += probability_above(moved, np.zeros_like(moved), rng, spread, 500) > 0.95
    assert covered / simulations >= 0.92  # 95 % of 300 is 285, give or take 3.8
    assert above / simulations <= 0.09  # 5 %, give or take 1.3 %


@pytest.mark.parametrize("distinct", [True, False])
def test_the_bootstrap_of_normal_values_is_the_normal_probability(distinct):
    # many seeds and images, each normal: the mean of a - b is normal, with the variance that was put in
    rng = np.random.default_rng(0)
    seed_S1, image_N = rng.normal(0, 0.1, (40, 1)), rng.normal(0, 1, 4000)
    image_N = image_N if distinct else image_N.round(1)
    value_SN = seed_S1 + image_N
    value_SN = value_SN - value_SN.mean()
    zero_SN = np.zeros_like(value_SN)
    deviation = math.sqrt(float(seed_S1.var(ddof=1)) / 40 + float(image_N.var(ddof=1)) / 4000)
    for z in (-1.5, 0.0, 0.7, 2.0):
        found = probability_above(value_SN + z * deviation, zero_SN, rng, draws=20_000)
        assert found == pytest.approx(stats.norm.cdf(z), abs=0.02)


def test_bootstrap_and_interval_agree():
    rng = np.random.default_rng(2)
    hard_N = rng.normal(0, 1.5, 3000)
    for skill in (1.5, 1.55, 1.6, 1.7):
        luck_S1 = rng.normal(0, 0.03, (2, 5, 1))
        answers = [
            rng.normal(0, 1, (5, 3000)) < s + luck + hard_N for s, luck in zip((skill, 1.5), luck_S1, strict=True)
        ]
        p, above = paired_difference(*answers).p, probability_above(*answers, rng, draws=20_000)
        one_sided = p / 2 if answers[0].mean() > answers[1].mean() else 1 - p / 2
        assert 1 - above == pytest.approx(one_sided, abs=0.04)  # Howe's half width is not quite a sum of draws


def test_the_bootstrap_is_the_same_for_the_same_draws_and_mirrored_for_a_swap():
    a, b = np.random.default_rng(1).random((2, 3, 200)) < np.array([0.8, 0.75])[:, None, None]
    found = [probability_above(a, b, np.random.default_rng(5)) for _ in range(2)]
    assert found[0] == found[1]
    assert probability_above(b, a, np.random.default_rng(5)) == pytest.approx(1 - found[0], abs=0.02)
    assert probability_above(a, a, np.random.default_rng(5)) == pytest.approx(0.5, abs=0.02)


def test_a_weighted_difference_is_that_of_weighted_values():
    # two classes of 3 and 1 images: balanced accuracy weighs their images 2/3 and 2
    weight_N = np.array([2 / 3, 2 / 3, 2 / 3, 2])
    found = paired_difference(A * weight_N, B * weight_N)
    recalls = [(A[:, :3].mean() + A[:, 3].mean()) / 2, (B[:, :3].mean() + B[:, 3].mean()) / 2]
    assert found.mean == pytest.approx(recalls[0] - recalls[1])


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),  # 3 x 0.01, 2 x 0.03, and no less than the one before
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p):
    found = holm(p)
    assert all(value <= adjusted <= min(1, len(p) * value) + 1e-12 for value, adjusted in zip(p, found, strict=True))
    assert all(found[i] <= found[j] for i in range(len(p)) for j in range(len(p)) if p[i] < p[j])


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


def test_the_interval_of_a_mean_of_three_by_hand():
    # deviation 1, so 4.3027 / sqrt(3), Student's quantile for two degrees of freedom
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_of_a_mean_is_students(values):
    mean, low, high = mean_interval(values, 0.9)
    expected = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    assert (mean, low, high) == pytest.approx((np.mean(values), *expected), abs=1e-9)


def test_one_value_has_no_interval():
    mean, low, high = mean_interval([0.25])
    assert mean == 0.25 and math.isnan(low) and math.isnan(high)


# --- few images, rare classes, no spread ------------------------------------------------------------------------------

METRICS = ("accuracy", "balanced-accuracy", "macro-f1")


@st.composite
def studies(draw):
    """The metric, the classes of a few images, and what two networks see in them: also rare ones, or the same."""
    classes, seeds, images = draw(st.integers(1, 10)), draw(st.integers(2, 4)), draw(st.integers(2, 60))
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    true_N = np.minimum(draws.geometric(draw(st.sampled_from([0.1, 0.5, 0.9])), images) - 1, classes - 1)
    wrong = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    of_seeds = draw(st.booleans())  # or the trainings of a network agree
    predicted = []
    for _ in range(2):
        hard_SN = draws.random((seeds if of_seeds else 1, images))
        guess_N = draws.integers(0, classes, images)
        predicted.append(np.broadcast_to(np.where(hard_SN < wrong, guess_N, true_N), (seeds, images)))
    return draw(st.sampled_from(METRICS)), true_N, predicted, classes


@given(studies())
def test_any_study_has_an_interval_and_a_p_value_that_agree(study):
    metric, true_N, predicted, classes = study
    a_SN, b_SN = (contributions(metric, true_N, each, classes, about="class") for each in predicted)
    class_N = None if metric == "accuracy" else true_N
    found = paired_difference(a_SN, b_SN, class_N=class_N)
    assert found.half is not None and found.half.whole > 0, "no spread is no certainty"
    assert -1 <= found.low <= found.mean <= found.high <= 1 and found.low < found.high
    assert 0 < found.p <= 1
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    mirror = paired_difference(b_SN, a_SN, class_N=class_N)
    assert (mirror.mean, mirror.p) == (pytest.approx(-found.mean), pytest.approx(found.p, abs=1e-6))
    above = probability_above(a_SN, b_SN, np.random.default_rng(0), draws=4000, class_N=class_N)
    if found.mean > 0 and found.p > 0.2:
        assert above < 0.99


@pytest.mark.parametrize("distance", [0.0, 1e-300, 1e-17, 1e-9])
def test_a_rounding_residue_crosses_at_every_level(distance):
    assert p_value_of_half_width(distance, lambda level: stats.norm.ppf((1 + level) / 2)) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(
    ("half_width", "p"),
    [(lambda _: 0.0, 1e-12), (lambda _: 0.5, 1.0), (lambda level: min(level, 0.2), 1e-12), (lambda level: level, 0.7)],
)
def test_half_widths_without_spread_or_with_a_bound_have_a_p_value(half_width, p):
    assert p_value_of_half_width(0.3, half_width) == pytest.approx(p)


def test_one_image_of_a_class_shows_nothing():
    """The whole of a class of one image goes from wrong to right with every seed: +50 points, and no evidence."""
    true_N = np.repeat([0, 1], [19, 1])
    a_SN, b_SN = (
        contributions("balanced-accuracy", true_N, np.array([[0] * 19 + [last]] * 3), 2, about="class")
        for last in (1, 0)
    )
    found = paired_difference(a_SN, b_SN, class_N=true_N)
    assert found.mean == pytest.approx(0.5)
    assert found.low < 0 and found.high == 1 and found.p > 0.3
    assert probability_above(a_SN, b_SN, np.random.default_rng(0), class_N=true_N) < 0.85


def test_the_variance_within_classes_by_hand():
    """Classes of 4 and 2 images; seeds agree. Of the first the networks differ in one, of the second in none."""
    true_N = np.array([0, 0, 0, 0, 1, 1])
    a_SN, b_SN = (
        contributions("balanced-accuracy", true_N, np.array([[first, 0, 0, 0, 1, 1]] * 2), 2, about="class")
        for first in (0, 1)
    )
    found = paired_difference(a_SN, b_SN, class_N=true_N)
    assert found.mean == pytest.approx((1 / 4) / 2)
    first = (1 - 4 * (1 / 8) ** 2) / 4**2  # squares about the mean of 1 in 8: the four, and four more that agree
    # each class weighs half, so an image of the first weighs 1/8 and of the second 1/4
    squares, fourth = 4 / 8**2 + 2 / 4**2, 4 / 8**4 + 2 / 4**4
    alike = squares**2 / fourth
    variance = first / 2**2 + 2 * squares / (alike + 2)  # and two more images of one weight that disagree
    assert found.half is not None
    assert found.half.of_images == pytest.approx(stats.t.ppf(0.975, alike - 1) * math.sqrt(variance))


@pytest.mark.parametrize("rarest", [1, 2, 5, 10])
def test_classes_of_a_few_images_seldom_make_a_difference_of_none(rarest):
    """Placements decide alone which images are right, all seeds alike; 5 % of 400 is 20, give or take 4."""
    true_N = np.repeat([0, 1], [60, rarest])
    called = covered = 0
    for study in range(400):
        draws = np.random.default_rng(study)
        values = [
            contributions(
                "balanced-accuracy",
                true_N,
                np.broadcast_to(np.where(draws.random(len(true_N)) < 0.7, true_N, 1 - true_N), (3, len(true_N))),
                2,
                about="class",
            )
            for _ in range(2)
        ]
        found = paired_difference(*values, class_N=true_N)
        called += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    assert called <= 28 and covered >= 372


def test_what_it_takes_to_show_a_gain():
    # images alone: four times as many halve the half width
    assert HalfWidth(0.0, 0.02, 4, 300).needed(0.01, 3) == (1200, 3)
    # both: each part may have half of the square
    images, seeds = HalfWidth(0.02, 0.02, 4, 300).needed(0.01, 3)
    assert images == 2400
    quantile = stats.t.ppf(0.975, 2 * (seeds - 1)) / stats.t.ppf(0.975, 4)  # three networks: two for each further seed
    assert 0.02 * quantile * math.sqrt(3 / seeds) <= math.sqrt(0.5) * 0.01
    fewer = stats.t.ppf(0.975, 2 * (seeds - 2)) / stats.t.ppf(0.975, 4)
    assert 0.02 * fewer * math.sqrt(3 / (seeds - 1)) > math.sqrt(0.5) * 0.01
    # seeds alone
    assert HalfWidth(0.02, 0.001, 4, 10_000).needed(0.01, 3)[0] == 10_000
