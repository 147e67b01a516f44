"""Which placement is trained next: upper bounds against Monte Carlo, turns of budgets, and when it ends."""

from dataclasses import replace

import numpy as np
import pytest

from poolsearch.calibration.choose import WORTH, next_placements, upper_bounds
from poolsearch.calibration.features import Features
from poolsearch.calibration.model import Observations, posterior
from poolsearch.calibration.prior import PRIOR
from poolsearch.space import Placement, Space

SPACE = Space(7, 2, Placement.parse("3,2,2"))
PLACEMENTS = [SPACE[i] for i in range(SPACE.size)]
MACS_A = np.array([sum(4.0**-level * n for level, n in enumerate(p.blocks)) for p in PLACEMENTS])
DEFAULT = SPACE.index(SPACE.default)
RATIO_A = MACS_A / MACS_A[DEFAULT]
FEATURES = Features.of(PLACEMENTS, MACS_A, DEFAULT, np.random.default_rng(0).standard_normal(SPACE.size))
TWICE = Observations.of([DEFAULT, DEFAULT], [70.0, 70.4])


def test_upper_bounds_are_those_of_draws_from_the_posterior():
    belief = posterior(FEATURES, Observations.of([DEFAULT, 1, 5], [70.0, 71.0, 69.0]))
    draw, f_DA = np.random.default_rng(1), []
    for component in belief.components:
        values, vectors = np.linalg.eigh(component.covariance_AA)
        root_AA = vectors * np.sqrt(np.maximum(values, 0))
        normal_AD = draw.standard_normal((SPACE.size, round(40_000 * component.weight)))
        f_DA.append(component.mean_A + (root_AA @ normal_AD).T)
    against_DA = np.concatenate(f_DA)
    against_DA = against_DA - against_DA[:, [DEFAULT]]
    expected = against_DA.mean(0) + against_DA.std(0)
    np.testing.assert_allclose(upper_bounds(belief), expected, atol=0.1)
    assert upper_bounds(belief)[DEFAULT] == 0


def test_the_default_comes_first_twice():
    found = next_placements(FEATURES, Observations.of(), 0.2, RATIO_A, (1.0, 1.5), 3)
    assert [one.why == "default" for one in found] == [one.index == DEFAULT for one in found] == [True, True, False]


def test_budgets_take_turns_and_are_kept():
    found = next_placements(FEATURES, TWICE, 0.2, RATIO_A, (1.5, 1.0), 4)
    assert [one.limit for one in found] == [None, 1.0, None, 1.5]
    for one in found:
        assert one.limit is None or RATIO_A[one.index] <= one.limit


def test_a_budget_that_nothing_is_within_is_passed_over():
    found = next_placements(FEATURES, TWICE, 0.2, RATIO_A, (0.01,), 2)
    assert [one.limit for one in found] == [None, None]


def test_those_of_one_round_are_not_all_the_same():
    found = next_placements(FEATURES, TWICE, 0.2, RATIO_A, (), 3)
    assert len({one.index for one in found}) > 1
    assert found == next_placements(FEATURES, TWICE, 0.2, RATIO_A, (), 3)


def test_the_first_has_the_highest_bound_and_says_what_it_promises():
    (first,) = next_placements(FEATURES, TWICE, 0.2, RATIO_A, (1.0,), 1)
    belief = posterior(FEATURES, TWICE, 0.2)
    assert first.index == np.argmax(upper_bounds(belief))
    assert first.gain == pytest.approx(upper_bounds(belief).max() - belief.mean_A.max())


def test_it_ends_where_nothing_is_promised():
    everything = np.repeat(np.arange(SPACE.size), 9)
    points_T = 70 + RATIO_A[everything] + np.random.default_rng(2).normal(0, 0.01, len(everything))
    prior = replace(PRIOR, noises=(0.01,))
    assert next_placements(FEATURES, Observations.of(everything, points_T), 0.0, RATIO_A, (), 2, prior) == []
    assert next_placements(FEATURES, TWICE, 0.0, RATIO_A, (), 1)[0].gain >= WORTH
