"""Metrics against scikit-learn, cases worked by hand, and numerical derivatives."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support

from poolsearch.evaluation.metrics import chance, contributions, interval, per_class, score
from poolsearch.evaluation.stats import wilson

METRICS = ("accuracy", "balanced-accuracy", "macro-f1")
CLASSES = 5
labels = st.integers(0, CLASSES - 1)
answers = st.lists(st.tuples(labels, labels), min_size=1, max_size=40).map(lambda pairs: np.array(pairs).T)


def by_scikit_learn(metric, true_N, predicted_N):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted but do not occur
        if metric == "accuracy":
            return accuracy_score(true_N, predicted_N)
        if metric == "balanced-accuracy":
            return balanced_accuracy_score(true_N, predicted_N)
        return f1_score(true_N, predicted_N, labels=np.unique(true_N), average="macro", zero_division=0)


@pytest.mark.parametrize("metric", METRICS)
@given(answers)
def test_is_what_scikit_learn_says(metric, both):
    assert score(metric, *both, CLASSES) == pytest.approx(by_scikit_learn(metric, *both))


@given(answers)
def test_macro_f1_is_scikit_learns_default_where_every_class_has_images(both):
    true_N, predicted_N = (np.concatenate([labels, np.arange(CLASSES)]) for labels in both)
    assert score("macro-f1", true_N, predicted_N, CLASSES) == pytest.approx(
        f1_score(true_N, predicted_N, average="macro", zero_division=0)
    )


@given(answers)
def test_classes_are_what_scikit_learn_says(both):
    found = per_class(*both, CLASSES)
    precision_K, recall_K, f1_K, support_K = precision_recall_fscore_support(
        *both, labels=range(CLASSES), zero_division=0
    )
    assert found.support.tolist() == support_K.tolist()
    there = support_K > 0
    assert found.recall[there] == pytest.approx(recall_K[there])
    assert found.precision == pytest.approx(precision_K)
    assert found.f1[there] == pytest.approx(f1_K[there])
    assert np.isnan(found.recall[~there]).all() and np.isnan(found.f1[~there]).all()


def test_by_hand():
    """Class 0: 3 of 4 right, no image taken for it; class 1: its one image is right, one of class 0 is taken for it."""
    true_N, predicted_N = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    assert score("accuracy", true_N, predicted_N, 2) == pytest.approx(4 / 5)
    assert score("balanced-accuracy", true_N, predicted_N, 2) == pytest.approx((3 / 4 + 1) / 2)
    assert score("macro-f1", true_N, predicted_N, 2) == pytest.approx((6 / 7 + 2 / 3) / 2)


def test_one_class_for_everything_is_worth_little_where_classes_count_alike():
    true_N = np.repeat([0, 1], [95, 5])
    predicted_N = np.zeros(100, int)
    assert score("accuracy", true_N, predicted_N, 2) == pytest.approx(0.95)
    assert score("balanced-accuracy", true_N, predicted_N, 2) == pytest.approx(0.5)
    assert score("macro-f1", true_N, predicted_N, 2) == pytest.approx(190 / 195 / 2)


@pytest.mark.parametrize("metric", METRICS)
@given(answers)
def test_mean_contribution_is_the_metric(metric, both):
    assert contributions(metric, *both, CLASSES).mean() == pytest.approx(score(metric, *both, CLASSES))


@pytest.mark.parametrize("metric", METRICS)
def test_contributions_are_derivatives(metric):
    """Of the metric by the weight of an image, which whole copies stand for: 1 more among 1,000 of each."""
    rng = np.random.default_rng(0)
    true_N, predicted_N = rng.integers(0, CLASSES, (2, 30))
    copies = 1000
    base = score(metric, true_N, predicted_N, CLASSES)
    for image in range(30):
        weight_N = np.full(30, copies)
        weight_N[image] += 1
        more = score(metric, np.repeat(true_N, weight_N), np.repeat(predicted_N, weight_N), CLASSES)
        derivative = (more - base) * copies * 30
        assert contributions(metric, true_N, predicted_N, CLASSES)[image] - base == pytest.approx(derivative, abs=5e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_leading_axes_are_done_one_by_one(metric):
    rng = np.random.default_rng(1)
    true_N, predicted_ABN = rng.integers(0, CLASSES, 20), rng.integers(0, CLASSES, (2, 3, 20)).astype(np.uint8)
    together, added = (
        score(metric, true_N, predicted_ABN, CLASSES),
        contributions(metric, true_N, predicted_ABN, CLASSES),
    )
    assert together.shape == (2, 3) and added.shape == (2, 3, 20)
    for place in np.ndindex(2, 3):
        assert together[place] == score(metric, true_N, predicted_ABN[place].astype(int), CLASSES)
        assert added[place] == pytest.approx(contributions(metric, true_N, predicted_ABN[place], CLASSES))


@pytest.mark.parametrize("metric", METRICS)
def test_images_drawn_anew_have_labels_of_their_own(metric):
    """A bootstrap: both labels and predictions have a leading axis."""
    rng = np.random.default_rng(2)
    true_N, predicted_N = rng.integers(0, CLASSES, (2, 25))
    drawn_BN = rng.integers(0, 25, (7, 25))
    found_B = score(metric, true_N[drawn_BN], predicted_N[drawn_BN], CLASSES)
    assert found_B == pytest.approx([score(metric, true_N[draw], predicted_N[draw], CLASSES) for draw in drawn_BN])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_numbers_of_classes_may_be_of_any_kind(kind):
    true_N, predicted_PN = np.array([200, 3, 200]), np.array([[200, 200, 3], [3, 3, 200]])
    assert score("macro-f1", true_N, predicted_PN.astype(kind), 201) == pytest.approx([1 / 4, 4 / 6])


@given(answers)
def test_interval_of_accuracy_is_wilsons(both):
    right, images = int((both[0] == both[1]).sum()), both.shape[1]
    assert interval("accuracy", *both, CLASSES) == wilson(right, images)


@pytest.mark.parametrize("metric", METRICS)
@given(answers)
def test_interval_holds_the_metric(metric, both):
    low, high = interval(metric, *both, CLASSES)
    value = float(score(metric, *both, CLASSES))
    assert 0 <= low <= value + 1e-9 and value - 1e-9 <= high <= 1 and low < high


def test_interval_of_balanced_accuracy_by_hand():
    """Of classes of one size and one recall it is that of accuracy; of two classes of 90 and 10, all right, it is that
    of 4 / (1/90 + 1/10) = 36 images."""
    true_N, predicted_N = np.repeat([0, 1], 50), np.concatenate([np.arange(50) < 10, np.arange(50) >= 10]).astype(int)
    assert score("balanced-accuracy", true_N, predicted_N, 2) == pytest.approx(0.8)
    assert interval("balanced-accuracy", true_N, predicted_N, 2) == pytest.approx(wilson(80, 100))
    unequal_N = np.repeat([0, 1], [90, 10])
    assert interval("balanced-accuracy", unequal_N, unequal_N, 2) == pytest.approx(wilson(36, 36))


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_cover(metric):
    """95% of intervals over images drawn anew hold what the metric is over endless images. Of 1,000 repetitions 95% +-
    2.1 points is within three standard deviations; with small classes the interval may be too wide, not too narrow."""
    draw = np.random.default_rng(3)
    sizes = np.array([400, 150, 60, 12])
    answer_KK = np.array([[90, 5, 3, 2], [10, 80, 5, 5], [3, 3, 92, 2], [2, 6, 4, 88]]) / 100
    share_K, right_K = sizes / sizes.sum(), np.diag(answer_KK)
    truth = {
        "accuracy": share_K @ right_K,
        "balanced-accuracy": right_K.mean(),
        "macro-f1": (2 * share_K * right_K / (share_K + share_K @ answer_KK)).mean(),
    }[metric]
    true_N, covered = np.repeat(np.arange(4), sizes), 0
    for _ in range(1000):
        chance_N = draw.random(len(true_N))
        predicted_N = (chance_N[:, None] > answer_KK.cumsum(1)[true_N]).sum(1).clip(0, 3)
        low, high = interval(metric, true_N, predicted_N, 4)
        covered += low <= truth <= high
    assert covered >= 929


@pytest.mark.parametrize("metric", METRICS)
@given(answers)
def test_about_their_classes_contributions_have_the_same_mean(metric, both):
    found_N = contributions(metric, *both, CLASSES, about="class")
    assert found_N.mean() == pytest.approx(score(metric, *both, CLASSES))


def test_about_its_class_an_image_adds_whether_it_is_right():
    """By balanced accuracy: weighed by its class, 2 of 3 images to one half, 1 of 3 to the other."""
    found_N = contributions("balanced-accuracy", np.array([0, 0, 1]), np.array([0, 1, 1]), 2, about="class")
    assert found_N == pytest.approx([3 / 4, 0, 3 / 2])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sizes", [(50, 50), (90, 10), (40, 30, 20, 10), (0, 5, 95)])
def test_chance_is_what_predictions_reach_that_do_not_look(metric, sizes):
    true_N = np.repeat(np.arange(len(sizes)), sizes)
    draw = np.random.default_rng(0)
    any_alike = score(metric, np.tile(true_N, 400), draw.integers(0, len(sizes), 400 * len(true_N)), len(sizes))
    one = max(by_scikit_learn(metric, true_N, np.full(len(true_N), k)) for k in range(len(sizes)))
    assert chance(metric, true_N, len(sizes)) == pytest.approx(max(any_alike, one), abs=0.01)
