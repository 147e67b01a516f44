"""Which placement is trained next: the gain against Monte Carlo, and the order of choices."""

from dataclasses import replace

import numpy as np
import pytest

from poolsearch.calibration.choose import WORTH, expected_gains, next_placements
from poolsearch.calibration.features import Features
from poolsearch.calibration.model import Observations, condition, posterior
from poolsearch.calibration.prior import PRIOR
from poolsearch.space import Placement, Space

SPACE = Space(7, 2, Placement.parse("3,2,2"))
PLACEMENTS = [SPACE[i] for i in range(SPACE.size)]
MACS_A = np.array([sum(4.0**-level * n for level, n in enumerate(p.blocks)) for p in PLACEMENTS])
DEFAULT = SPACE.index(SPACE.default)
RATIO_A = MACS_A / MACS_A[DEFAULT]
FEATURES = Features.of(PLACEMENTS, MACS_A, DEFAULT, np.random.default_rng(0).standard_normal(SPACE.size))
ONE = replace(PRIOR, trust=1.0, spreads=(2.0,), noises=(0.5,), lengths=(0.3,), rests=(0.5,))


def test_the_gain_is_that_of_monte_carlo():
    belief = posterior(FEATURES, Observations.of([DEFAULT, 1], [70.0, 71.0]), prior=ONE)
    (component,) = belief.components
    mean_A, covariance_AA, noise = component.mean_A, component.covariance_AA, component.noise
    gain_A, draw = expected_gains(belief, RATIO_A, (1.0,)), np.random.default_rng(1)
    within_A = RATIO_A <= 1.0
    for trained in (0, 5, 9):
        gains = []
        std = np.sqrt(covariance_AA[trained, trained] + noise**2)
        for seen in mean_A[trained] + std * draw.standard_normal(4000):
            after_A, _ = condition(mean_A, covariance_AA, np.array([trained]), np.array([seen]), noise)
            after_A, before_A = after_A - after_A[DEFAULT], mean_A - mean_A[DEFAULT]
            risen = after_A[within_A].max() - before_A[within_A].max(), after_A.max() - before_A.max()
            gains.append(np.mean(risen))
        error = 4 * np.std(gains) / np.sqrt(len(gains))
        assert gain_A[trained] == pytest.approx(np.mean(gains), abs=error + 0.01)


def test_the_default_comes_first_twice():
    found = next_placements(FEATURES, Observations.of(), 0.2, RATIO_A, (1.0, 1.5), 3, seed=0)
    assert [(one.index == DEFAULT, one.why == "default") for one in found] == [
        (True, True),
        (True, True),
        (False, False),
    ]


def test_those_of_one_round_differ_and_follow_from_the_seed():
    observed = Observations.of([DEFAULT, DEFAULT], [70.0, 70.4])
    found = next_placements(FEATURES, observed, 0.2, RATIO_A, (1.0,), 4, seed=3)
    assert len({one.index for one in found}) > 1
    assert found == next_placements(FEATURES, observed, 0.2, RATIO_A, (1.0,), 4, seed=3)


def test_it_ends_where_nothing_is_promised():
    everything = np.repeat(np.arange(SPACE.size), 4)
    points_T = 70 + np.random.default_rng(2).normal(0, 0.02, len(everything))
    assert next_placements(FEATURES, Observations.of(everything, points_T), 0.0, RATIO_A, (), 2, seed=0) == []


def test_gains_are_never_below_zero_and_fall_with_what_is_known():
    few = posterior(FEATURES, Observations.of([DEFAULT], [70.0]))
    many = posterior(FEATURES, Observations.of([*range(SPACE.size)], 70 + RATIO_A))
    before_A, after_A = expected_gains(few, RATIO_A, ()), expected_gains(many, RATIO_A, ())
    assert before_A.min() > -1e-9
    assert after_A.max() < before_A.max()
    assert before_A.max() > WORTH
