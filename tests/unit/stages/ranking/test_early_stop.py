"""The rule that stops placements: its bound against exact probabilities, by hand, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poolsearch.stages.ranking.early_stop import evidence, is_behind, leaders, needed_evidence, set_bits


def packed(*rows):
    """Rows of 0 and 1 as text."""
    return np.packbits([[c == "1" for c in row] for row in rows], axis=1)


def test_evidence_by_hand():
    # all for one side: log 2 for each; 3 of 4: 4 log 2 + 3 log 3/4 + log 1/4; a tie, or behind: none
    found = evidence(np.array([10, 3, 5, 2, 0]), np.array([0, 1, 5, 3, 0]))
    by_hand = [10 * math.log(2), 4 * math.log(2) + 3 * math.log(0.75) + math.log(0.25), 0, 0, 0]
    assert found.tolist() == pytest.approx(by_hand)


@given(st.integers(1, 80), st.data())
def test_it_bounds_the_exact_probability_with_and_without_replacement(m, data):
    wins = data.draw(st.integers(0, m))
    each = data.draw(st.integers((m + 1) // 2, 200))  # on the whole half each side has so many: neither is better
    bound = math.exp(-evidence(np.array([wins]), np.array([m - wins]))[0])
    assert stats.binom(m, 0.5).sf(wins - 1) <= bound * (1 + 1e-9)
    assert stats.hypergeom(2 * each, each, m).sf(wins - 1) <= bound * (1 + 1e-9)


def test_what_is_needed_counts_who_could_be_wronged_by_whom_and_how_often():
    assert needed_evidence(3, 560, 48, 0.01) == pytest.approx(math.log(3 * 559 * 48 / 0.01))
    assert needed_evidence(1, 2, 1, 0.05) == pytest.approx(math.log(1 / 0.05))


def test_bits_are_counted():
    assert set_bits(packed("1010000011", "0000000000", "1111111111")).tolist() == [4, 0, 10]


def test_leaders_are_of_distinct_placements_and_live():
    correct, number = np.array([9, 8, 8, 7, 10]), np.array([4, 4, 2, 3, 1])
    assert leaders(correct, number, np.array([True] * 4 + [False]), 2) == [0, 2]
    assert leaders(correct, number, np.array([True] * 5), 9) == [4, 0, 2, 3]


ANSWERS = packed(
    "1111111111110000",  # the first
    "1111111111000000",  # two behind it
    "0000000000000000",  # 12 and 10 behind
    "0000001111111111",  # as good as the second, on other images
    "0000000001111100",  # right with the first on three images, alone on two
)


def test_behind_by_hand():
    number, live = np.arange(5), np.ones(5, bool)
    # against the first: 12 log 2 = 8.3 for the third; against the second 10 log 2 = 6.9
    assert is_behind(ANSWERS, number, live, 1, 8.0).tolist() == [False, False, True, False, False]
    assert is_behind(ANSWERS, number, live, 2, 6.9).tolist() == [False, False, True, False, False]
    assert not is_behind(ANSWERS, number, live, 2, 7.0).any()
    # the fifth: of 11 images on which it and the first differ, 9 are for the first
    low = 11 * math.log(2) + 9 * math.log(9 / 11) + 2 * math.log(2 / 11)
    assert is_behind(ANSWERS, number, live, 1, low - 1e-9).tolist() == [False, False, True, False, True]
    assert not is_behind(ANSWERS, number, live, 1, low + 1e-9)[4]


def test_where_there_are_no_k_leaders_nothing_is_behind():
    number, live = np.arange(5), np.array([True, False, True, False, False])
    assert not is_behind(ANSWERS, number, live, 3, 0.1).any()
    assert is_behind(ANSWERS, number, live, 1, 0.1).tolist() == [False, False, True, False, False]


def test_other_members_of_the_leading_placement_can_be_behind_it():
    assert is_behind(ANSWERS, np.array([0, 1, 0, 2, 3]), np.ones(5, bool), 1, 8.0).tolist() == [0, 0, 1, 0, 0]


def simulate(right_PN, draw, top, chunk, bar):
    """Stop as the ranking does, on images in random order; gives (images seen by each, stopped)."""
    placements, images = right_PN.shape
    order = draw.permutation(images)
    live, seen = np.ones(placements, bool), np.full(placements, images)
    for done in range(chunk, images, chunk):
        bits = np.packbits(right_PN[:, order[:done]], axis=1)
        lost = is_behind(bits, np.arange(placements), live, top, bar)
        seen[lost] = done
        live &= ~lost
    return seen, ~live


def first(right_PN, top):
    """The exact ranking's first, ties to the lower number, as fewer MACs would decide."""
    return np.argsort(-right_PN.sum(1), kind="stable")[:top]


def alike(draw, placements, images, spread):
    """Networks of nearly equal skill that mostly fail on the same images."""
    hard_N = draw.normal(0, 1, images)
    skill_P = draw.normal(0, spread, placements)
    return hard_N + skill_P[:, None] + draw.normal(0, 0.5, (placements, images)) > -1


@pytest.mark.parametrize(("top", "spread"), [(1, 0.0), (3, 0.0), (3, 0.02)])
def test_the_first_are_stopped_no_more_often_than_stated(top, spread):
    # hardest where all are alike: every placement of the first k is there by a hair
    error, trials, images, chunk, placements = 0.1, 250, 600, 30, 12
    draw = np.random.default_rng(top)
    wronged = {"stated": 0, "no union": 0}
    for _ in range(trials):
        right_PN = alike(draw, placements, images, spread)
        for name, bar in (("stated", needed_evidence(top, placements, images // chunk - 1, error)), ("no union", 0.5)):
            _, stopped = simulate(right_PN, draw, top, chunk, bar)
            wronged[name] += bool(stopped[first(right_PN, top)].any())
    assert wronged["stated"] / trials <= error
    assert wronged["no union"] / trials > 2 * error  # the simulation sees errors where there are some


def test_it_stops_most_where_few_are_good():
    draw = np.random.default_rng(0)
    images = 10_000
    skill_P = np.concatenate([[1.2, 1.15, 1.1], draw.normal(0.3, 0.2, 197)])
    hard_N = draw.normal(0, 1, images)
    right_PN = hard_N + skill_P[:, None] + draw.normal(0, 0.5, (200, images)) > 0
    seen, stopped = simulate(right_PN, draw, 3, 500, needed_evidence(3, 200, 19))
    assert not stopped[first(right_PN, 3)].any()
    assert stopped.sum() > 180
    assert seen.mean() < 0.25 * images
