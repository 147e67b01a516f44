"""Features of placements: what members say, where halvings are, how alike two placements are."""

import numpy as np
import pytest

from poolsearch.calibration.features import Features, kernel, mean_of_members, positions, standardized
from poolsearch.space import Placement, Space


def parse(*texts):
    return [Placement.parse(text) for text in texts]


def test_positions_are_parts_of_the_blocks():
    np.testing.assert_allclose(positions(parse("4,3,3", "1,8,1")), [[0.4, 0.7], [0.1, 0.9]])


def test_positions_of_two_axes_are_apart():
    np.testing.assert_allclose(positions(parse("h 2,2 w 1,3", "h 1,3 w 1,3")), [[0.5, 0.25], [0.25, 0.25]])


def test_a_map_that_grows_again_counts_as_halved_only_where_it_is():
    np.testing.assert_allclose(positions(parse("at 0,1,0,1")), [[0.5]])


def test_two_halvings_at_one_site_are_two_halvings_there():
    np.testing.assert_allclose(positions(parse("0x0_2x2")), [[2 / 3, 2 / 3]])


def test_nothing_halves_and_nothing_is_known():
    assert positions(parse("at 0,0,0")).shape == (1, 0)
    np.testing.assert_array_equal(kernel(np.zeros((2, 0)), 0.3), np.ones((2, 2)))


def test_members_level_and_spread_do_not_count():
    value_MA = np.array([[0.1, 0.2, 0.3], [0.5, 0.7, 0.9]])
    np.testing.assert_allclose(mean_of_members(value_MA), standardized([1, 2, 3]), atol=1e-12)


def test_members_that_evaluated_other_placements():
    value_MA = np.array([[0.1, 0.2, np.nan], [np.nan, 0.9, 0.7], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(mean_of_members(value_MA), [-1, 1, -1])


def test_a_placement_that_nobody_evaluated_is_in_the_middle():
    assert mean_of_members(np.array([[0.1, 0.2, np.nan]]))[2] == 0


def test_columns_are_standardized_and_the_square_is_free_of_the_logarithm():
    space = Space(10, 2, Placement.parse("4,3,3"))
    placements = [space[i] for i in range(space.size)]
    macs_A = np.random.default_rng(0).uniform(1e6, 9e6, space.size)
    features = Features.of(placements, macs_A, 5, macs_A**3)
    for column_A in (features.macs_A, features.macs2_A):
        assert column_A.mean() == pytest.approx(0, abs=1e-9)
        assert column_A.std() == pytest.approx(1)
    assert features.macs_A @ features.macs2_A == pytest.approx(0, abs=1e-9)


def test_equal_macs_say_nothing():
    features = Features.of(parse("1,2", "2,1"), [7.0, 7.0], 0)
    np.testing.assert_array_equal([features.macs_A, features.macs2_A], np.zeros((2, 2)))


def test_the_kernel_agrees_with_scikit_learn_in_one_dimension():
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    position_AD = np.random.default_rng(1).random((12, 1))
    expected = gaussian_process.kernels.Matern(length_scale=0.3, nu=2.5)(position_AD)
    np.testing.assert_allclose(kernel(position_AD, 0.3), expected, rtol=1e-12)


def test_the_kernel_of_several_coordinates_is_their_product_and_positive():
    position_AD = np.random.default_rng(2).random((30, 3))
    product = kernel(position_AD[:, :1], 0.4) * kernel(position_AD[:, 1:2], 0.4) * kernel(position_AD[:, 2:], 0.4)
    np.testing.assert_allclose(kernel(position_AD, 0.4), product)
    assert np.linalg.eigvalsh(product).min() > 0
