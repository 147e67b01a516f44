"""Rates from steps whose seconds are known sums of work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.stages.planning.fit import LEAST_ERROR, fit_rates, trimmed_mean


def work(count: int, seed: int = 0) -> np.ndarray:
    """A pass, MACs of about 1e9, bytes of about 1e7."""
    draw = np.random.default_rng(seed)
    return np.stack([np.ones(count), draw.uniform(0.5e9, 2e9, count), draw.uniform(0.5e7, 2e7, count)], 1)


@given(st.tuples(*[st.floats(0, 1)] * 3).filter(lambda rates: max(rates) > 0.01))
def test_seconds_that_are_a_sum_of_work_are_found_again(parts: tuple[float, float, float]) -> None:
    rate_K = np.array(parts) * [1e-2, 1e-11, 1e-9]
    measured_NK, all_NK = work(7), work(50, seed=1)
    fitted = fit_rates(measured_NK, np.tile(measured_NK @ rate_K, (3, 1)))
    np.testing.assert_allclose(fitted.seconds(all_NK), all_NK @ rate_K, rtol=1e-6)
    assert fitted.error == LEAST_ERROR  # no residual, no scatter


def test_no_kind_of_work_costs_less_than_nothing() -> None:
    work_NK = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    fitted = fit_rates(work_NK, np.array([[3.0, 2.0, 1.0]]))  # a straight line through these falls
    assert fitted.rate_K[1] == 0
    # the constant c with the least sum of (c / t - 1)^2 is sum(1/t) / sum(1/t^2)
    assert fitted.rate_K[0] == pytest.approx((1 / 3 + 1 / 2 + 1) / (1 / 9 + 1 / 4 + 1))


def test_a_round_during_which_something_else_ran_changes_nothing() -> None:
    work_NK = work(5)
    seconds_N = work_NK @ [1e-2, 1e-11, 1e-9]
    rounds = np.tile(seconds_N, (9, 1))
    rounds[4] *= 7
    quiet = fit_rates(work_NK, np.tile(seconds_N, (9, 1)))
    disturbed = fit_rates(work_NK, rounds)
    np.testing.assert_allclose(disturbed.rate_K, quiet.rate_K)
    assert disturbed.error == quiet.error


def test_a_machine_that_is_now_fast_now_slow_gives_a_wide_range() -> None:
    work_NK = np.ones((1, 1))
    # half of the rounds twice as long: half the range of their logarithms is log(2) / 2
    seconds_RN = np.array([[1.0], [2.0]] * 10)
    assert fit_rates(work_NK, seconds_RN).error == pytest.approx(2 * np.log(2) / 2)


def test_what_the_work_does_not_explain_widens_the_range() -> None:
    # equal work, but 1 and e^0.2 seconds: the constant lies between them, each about 0.1 away
    error = fit_rates(np.ones((2, 1)), np.array([[1.0, np.exp(0.2)]])).error
    assert error == pytest.approx(2 * 0.1, rel=0.02)


def test_what_holds_up_steps_again_and_again_counts_once_in_a_while_it_does_not() -> None:
    often = np.array([1.0, 1, 1, 1, 1, 1, 3, 3, 3, 3])[:, None]  # the median is 1
    # the fastest tenth counts as the next to it (1), the slowest as 3
    assert trimmed_mean(often)[0] == pytest.approx((6 * 1 + 4 * 3) / 10)
    once = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 1, 50])[:, None]
    assert trimmed_mean(once)[0] == 1
    assert trimmed_mean(np.array([[1.0], [2.0]]))[0] == 1.5  # of two nobody knows which is the odd one
    assert trimmed_mean(np.array([[1.0], [9.0], [2.0]]))[0] == 2
