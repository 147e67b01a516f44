"""Answers by hand, and what makes one an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.evaluation.budget_picks import Answer, answers_of, limit_text

RATIOS = [2.0, 1.5, 1.0, 0.8, 1.2]


def test_the_first_within_each_limit_by_hand() -> None:
    assert answers_of(RATIOS, (1.5, 1.0)) == [Answer(1.0, 2), Answer(1.5, 1), Answer(None, 0)]
    assert answers_of(RATIOS, (0.9, 0.5)) == [Answer(0.5, None), Answer(0.9, 3), Answer(None, 0)]


def test_without_limits_there_is_the_winner_and_without_a_ranking_nothing() -> None:
    assert answers_of(RATIOS, ()) == [Answer(None, 0)]
    assert answers_of([], (1.0,)) == [Answer(1.0, None), Answer(None, None)]


def test_a_limit_given_twice_is_one_and_unknown_macs_are_within_none() -> None:
    assert answers_of([None, 0.5], (1, 1.0)) == [Answer(1.0, 1), Answer(None, 0)]


@given(st.lists(st.floats(0.1, 4), min_size=1), st.lists(st.floats(0.1, 4), max_size=4))
def test_a_pick_is_within_its_limit_and_nothing_before_it_is(ratios: list[float], limits: list[float]) -> None:
    for answer in answers_of(ratios, limits):
        limit = float("inf") if answer.limit is None else answer.limit
        before = ratios if answer.place is None else ratios[: answer.place]
        assert all(ratio > limit for ratio in before)
        assert answer.place is None or ratios[answer.place] <= limit


@pytest.mark.parametrize(("limit", "text"), [(1.0, "≤ 1 ×"), (1.5, "≤ 1.5 ×"), (None, "none")])
def test_limits_in_words(limit: float | None, text: str) -> None:
    assert limit_text(limit) == text
