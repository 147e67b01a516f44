"""Boltzmann exploration against scipy's softmax, its own draws, and the ends of its temperature."""

from collections import Counter

import numpy as np
import pytest
from scipy import special, stats

from poolsearch.samplers.boltzmann import Boltzmann, softmax
from poolsearch.samplers.uniform import Uniform
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

SPACE = Space(6, 2, Placement.of_blocks([2, 2, 2]))


def sampler(draws=100, seed=0, space=SPACE, **changes):
    return Boltzmann(space, SearchSettings(**{"inv_temp_end": 100.0} | changes), seed, draws)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e6])
def test_softmax_is_scipys(scale):
    logit_A = scale * np.random.default_rng(0).random(20_000)
    np.testing.assert_allclose(softmax(logit_A), special.softmax(logit_A), rtol=1e-12, atol=0)


def test_the_inverse_temperature_grows_linearly_from_1_at_the_first_draw_to_the_end_at_the_last():
    bse, found = sampler(draws=5, inv_temp_end=9.0), []
    for _ in range(7):
        found.append(bse.inv_temp())
        bse.ask()
    assert found == [1, 3, 5, 7, 9, 9, 9]


def test_probabilities_follow_the_scores_and_the_temperature():
    bse = sampler(draws=3, inv_temp_end=21.0, beta=0.75)
    bse.tell(SPACE[4], 0.2)
    bse.tell(SPACE[4], 0.4)
    bse.ask()  # the second of three: half-way, 11
    score_A = np.ones(10)
    score_A[4] = 0.75 * (0.75 * 1 + 0.25 * 0.2) + 0.25 * 0.4
    np.testing.assert_allclose(bse.probability_A(), special.softmax(11 * score_A), rtol=1e-12)


def test_first_takes_a_first_reward_whole_and_counts_the_others_as_the_mean():
    bse = sampler(draws=1, score_init="first")
    np.testing.assert_allclose(bse.probability_A(), 0.1)
    bse.tell(SPACE[0], 0.2)
    bse.tell(SPACE[1], 0.6)
    bse.tell(SPACE[1], 0.5)
    score_A = np.full(10, (0.2 + 0.59) / 2)
    score_A[:2] = 0.2, 0.59
    np.testing.assert_allclose(bse.probability_A(), special.softmax(score_A), rtol=1e-12)


def test_draws_have_the_probabilities():
    bse = sampler(draws=10**9)  # 1/temperature stays at 1
    for number, placement in enumerate(SPACE):
        for _ in range(100):
            bse.tell(placement, number / 4)
    expected_A = bse.probability_A()
    counts = Counter(bse.ask() for _ in range(3000))
    assert stats.chisquare([counts[p] for p in SPACE], 3000 * expected_A).pvalue > 1e-3
    assert expected_A.max() > 5 * expected_A.min()


def test_the_best_of_20000_is_drawn_at_an_inverse_temperature_of_a_million():
    space = Space(40, 4, Placement.of_blocks([8] * 5)).subset(20_000, 0)
    bse = sampler(draws=2, space=space, inv_temp_end=1e6, score_init=0.0)
    bse.ask()
    bse.tell(space[19_999], 1.0)
    assert bse.ask() == space[19_999]


def test_the_warm_up_ends_at_its_part_of_the_draws():
    """Uniform draws up to there; from there the only placement that scored."""
    bse, uniform = sampler(draws=10, warm_up=0.3, inv_temp_end=1e6, score_init=0.0), Uniform(SPACE, 0)
    bse.tell(SPACE[6], 1.0)
    asked = [bse.ask() for _ in range(10)]
    assert asked[:3] == [uniform.ask() for _ in range(3)]
    assert asked[3:] == [SPACE[6]] * 7
