"""Temperature schedules against their closed forms."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.mixture.temperature import Schedule, inverse_temperature

SCHEDULES = get_args(Schedule)

schedules = pytest.mark.parametrize("schedule", SCHEDULES)


@schedules
@pytest.mark.parametrize("end", [1.0, 100.0, 800.0])
def test_starts_at_one_and_ends_at_the_end(schedule, end):
    assert inverse_temperature(0.0, end, schedule) == pytest.approx(1, rel=1e-12)
    assert inverse_temperature(1.0, end, schedule) == pytest.approx(end, rel=1e-12)


@schedules
@given(a=st.floats(0, 1), b=st.floats(0, 1), end=st.floats(1, 1000))
def test_never_falls(schedule, a, b, end):
    early, late = sorted((a, b))
    before, after = (inverse_temperature(t, end, schedule) for t in (early, late))
    assert before <= after * (1 + 1e-12)


@pytest.mark.parametrize(
    ("schedule", "half"),
    [
        ("inverse-linear", (1 + 400) / 2),
        ("tau-linear", 1 / ((1 + 1 / 400) / 2)),
        ("cosine", (1 + 400) / 2),
        ("exp", math.sqrt(400)),
    ],
)
def test_half_way_to_400(schedule, half):
    assert inverse_temperature(0.5, 400, schedule) == pytest.approx(half)


@pytest.mark.parametrize(
    ("schedule", "quarter"),
    [
        ("inverse-linear", 1 + 399 / 4),
        ("tau-linear", 1 / (1 - (1 - 1 / 400) / 4)),
        ("cosine", 1 + 399 * (1 - math.sqrt(0.5)) / 2),
        ("exp", math.sqrt(20)),
    ],
)
def test_a_quarter_of_the_way_to_400(schedule, quarter):
    assert inverse_temperature(0.25, 400, schedule) == pytest.approx(quarter)


@pytest.mark.parametrize(("schedule", "odds"), [("inverse-linear", 2.3e4), ("tau-linear", 1.1)])
def test_odds_of_a_gap_of_0_05_half_way_with_four_members(schedule, odds):
    # docs/differences.md#annealing-schedule
    assert math.exp(0.05 * inverse_temperature(0.5, 100 * 4, schedule)) == pytest.approx(odds, rel=0.02)
