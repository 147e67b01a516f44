"""Which channels are shown, how a map is drawn, and which views are compared."""

import numpy as np
import pytest

from poolsearch.research.recipes.views import ALONE, PAIRS, VIEWS, ViewMaps, as_grey, channels_of, cka_by_block


def seen(variance_C):
    return ViewMaps([], [np.array(variance_C, float)], [])


def test_channels_are_those_that_vary_most_in_the_mean_over_views():
    # means 3, 3.5, 1, 5, 4, 0: the first four are 3, 4, 1, 0
    assert channels_of([seen([1, 6, 1, 5, 4, 0]), seen([5, 1, 1, 5, 4, 0])]) == [[3, 4, 1, 0]]


def test_all_channels_of_a_narrow_block():
    assert channels_of([seen([1, 2])]) == [[1, 0]]


def test_each_map_spans_from_dark_to_light_by_itself():
    maps = np.array([[[[0, 1], [2, 4]], [[-10, -10], [-5, 0]]]], np.float32)
    assert as_grey(maps).tolist() == [[[[0, 64], [128, 255]], [[0, 0], [128, 255]]]]


def test_a_map_without_contrast_is_dark():
    assert not as_grey(np.full((1, 1, 2, 2), 7, np.float32)).any()


def test_likeness_block_by_block():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(30, 3)), draw.normal(size=(30, 3))
    first, second = ViewMaps([a, a], [], []), ViewMaps([2 * a, b], [], [])
    same, other = cka_by_block(first, second)
    assert same == pytest.approx(1) and other < 0.5


def test_every_view_trained_together_is_compared_with_its_placement_alone():
    for view in VIEWS:
        if view not in ALONE:
            assert (view, next(alone for alone in ALONE if alone.role == view.role)) in PAIRS
    assert (ALONE[0], ALONE[1]) in PAIRS
    assert len(PAIRS) == len(set(PAIRS)) == 7
