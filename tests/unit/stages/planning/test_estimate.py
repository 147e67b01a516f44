"""Stages from steps, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.inspection_results import Estimate
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout, makespan, search_seconds, trials_seconds


def price(*seconds: float, error: float = 0.1) -> StepTime:
    return StepTime(np.array(seconds), error)


def test_trials_go_to_whoever_is_free_the_longest_first() -> None:
    # 5 | 4: then 3 to the second (7), 3 to the first (8), 2 to the second (9)
    assert makespan([3, 5, 2, 4, 3], 2) == 9
    assert makespan([3, 5, 2, 4, 3], 1) == 17
    assert makespan([3, 5], 4) == 5


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=20), st.integers(1, 5))
def test_no_span_beats_the_work_shared_evenly_nor_the_longest_trial(seconds: list[float], workers: int) -> None:
    span = makespan(seconds, workers)
    least = max(max(seconds), sum(seconds) / workers)
    assert least - 1e-9 <= span <= sum(seconds) / workers + max(seconds)


def test_a_search_is_its_steps_and_their_scores() -> None:
    # 100 steps: trained (1 + 3) / 2 = 2 s on average, 0.5 s beside, each second one scored in 1 s
    found = search_seconds(100, price(1, 3, error=0.1), price(1, 1, error=0.2), 0.5, 0.5, 0.0)
    assert found.seconds == 100 * 2.5 + 50 * 1
    assert found.low == pytest.approx(250 * 0.9 + 50 * 0.8)
    assert found.high == pytest.approx(250 * 1.1 + 50 * 1.2)


def test_checkpoints_take_their_part() -> None:
    assert search_seconds(10, price(1), price(1), 0, 0, 0.05).seconds == pytest.approx(10.5)


def test_a_sweep_trains_every_placement_as_dear_as_it_is() -> None:
    # 10 steps of 1, 2, 3 and 1 s beside them: 11, 21, 31 s; two workers: 31 | 21 + 11
    crew = WorkerLayout(workers=2, opening=4, begin=1)
    found = trials_seconds(price(3, 1, 2), placements=3, seeds=1, steps=10, crew=crew)
    assert found.seconds == 32 + 4
    assert found.high == pytest.approx(32 * 1.1 + 4 * 1.5)


def test_seeds_are_trainings_of_their_own() -> None:
    crew = WorkerLayout(workers=1, opening=0, begin=0)
    assert trials_seconds(price(1, 2), placements=2, seeds=3, steps=5, crew=crew).seconds == 3 * 5 * (1 + 2)


def test_scoring_comes_after_each_training() -> None:
    crew = WorkerLayout(workers=1, opening=0, begin=2)
    assert trials_seconds(price(1, 1), placements=2, seeds=1, steps=5, crew=crew, after=3).seconds == 2 * (5 + 2 + 3)


def test_a_few_stand_for_all_of_the_sorted_space() -> None:
    assert price(4, 1, 3, 2).evenly(4).tolist() == [1, 2, 3, 4]
    assert price(*range(8)).evenly(2).tolist() == [2, 6]
    assert price(5, 7).evenly(1).tolist() == [7]


def test_nobody_knows_yet_which_placements_will_be_finalists() -> None:
    spread = price(1, 3, error=0.1)  # standard deviation 1, mean 2
    # one of two: standard error 1 x sqrt((2 - 1) / (2 - 1) / 1), twice it, relative: 1
    assert spread.error_of(1) == pytest.approx(np.hypot(0.1, 1.0))
    assert spread.error_of(2) == 0.1  # all: it is known
    assert price(2, 2, 2, error=0.1).error_of(1) == pytest.approx(0.1)  # all alike


def test_ranges_of_stages_add_up() -> None:
    one, two = Estimate.of(10, 0.2), Estimate.of(5, 0.4)
    assert one + two == Estimate(15, 11, 19)
    assert Estimate.of(10, 0.2) * 2 == Estimate(20, 16, 24)
    assert Estimate.of(1, 3).low == 0  # never less than no time
