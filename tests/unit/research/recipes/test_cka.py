"""Linear CKA against closed forms, its invariances, and the form with Gram matrices."""

import math

import numpy as np
import pytest
from scipy import stats

from poolsearch.research.recipes.cka import linear_cka


@pytest.fixture
def features():
    """Makes correlated features whose means are not zero."""

    def make(images=40, channels=6, seed=0):
        draw = np.random.default_rng(seed)
        return draw.normal(size=(images, channels)) @ draw.normal(size=(channels, channels)) + 3

    return make


def orthogonal(size, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def test_a_representation_is_like_itself(features):
    assert linear_cka(features(), features()) == pytest.approx(1, abs=1e-12)


def test_rotation_one_scale_and_a_shift_change_nothing(features):
    a, b = features(seed=0), features(seed=1)
    turned = 0.01 * a @ orthogonal(6) - 17
    assert linear_cka(a, turned) == pytest.approx(1, abs=1e-12)
    assert linear_cka(turned, b) == pytest.approx(linear_cka(a, b), abs=1e-12)


def test_scaling_one_feature_alone_counts(features):
    a = features()
    assert linear_cka(a, a * [100, 1, 1, 1, 1, 1]) < 0.99


def test_features_that_tell_nothing_of_each_other():
    assert linear_cka([[1], [-1], [1], [-1]], [[1], [1], [-1], [-1]]) == 0


def test_of_single_features_it_is_the_squared_correlation(features):
    a, b = features()[:, :1], features()[:, 1:2]
    r = stats.pearsonr(a[:, 0], b[:, 0])[0]
    assert linear_cka(a, b) == pytest.approx(r**2, abs=1e-12)


def test_half_of_the_features_shared_by_hand():
    # two orthogonal directions of equal variance, of which one is shared: |B'A|^2 = 16, |A'A| = 4 sqrt 2, |B'B| = 4
    a = [[1, 1], [-1, 1], [1, -1], [-1, -1]]
    b = [[1], [-1], [1], [-1]]
    assert linear_cka(a, b) == pytest.approx(1 / math.sqrt(2), abs=1e-12)


def test_it_is_the_cosine_of_centred_gram_matrices(features):
    a, b = features(seed=2), features(channels=9, seed=3)
    centre = np.eye(40) - 1 / 40
    k, l = centre @ a @ a.T @ centre, centre @ b @ b.T @ centre  # noqa: E741
    cosine = (k * l).sum() / math.sqrt((k * k).sum() * (l * l).sum())
    assert linear_cka(a, b) == pytest.approx(cosine, abs=1e-12)
    assert linear_cka(b, a) == pytest.approx(cosine, abs=1e-12)


def test_many_features_of_few_images_are_alike_by_chance():
    draw = np.random.default_rng(0)
    assert linear_cka(draw.normal(size=(400, 200)), draw.normal(size=(400, 200))) == pytest.approx(200 / 600, abs=0.03)


def test_a_constant_representation_has_no_likeness(features):
    assert math.isnan(linear_cka(features(), np.ones((40, 2))))


@pytest.mark.parametrize("other", [np.ones((39, 6)), np.ones(40), np.ones((40, 2, 3))])
def test_other_shapes_are_refused(features, other):
    with pytest.raises(ValueError, match="same images"):
        linear_cka(features(), other)
