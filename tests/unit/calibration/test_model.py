"""The calibration model against closed forms, refitting, and draws from itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal, norm

from poolsearch.calibration.features import Features, kernel
from poolsearch.calibration.model import (
    Component,
    Observations,
    Posterior,
    condition,
    log_density,
    posterior,
)
from poolsearch.calibration.prior import PRIOR, Weight
from poolsearch.space import Placement, Space

SPACE = Space(10, 2, Placement.parse("4,3,3"))
PLACEMENTS = [SPACE[i] for i in range(SPACE.size)]
MACS_A = np.array([sum(4.0**-level * n for level, n in enumerate(p.blocks)) for p in PLACEMENTS])
DEFAULT = SPACE.index(SPACE.default)
LINEAR = replace(PRIOR, trust=1.0, spreads=(2.0,), noises=(0.5,), lengths=(0.3,), rests=(0.0,))


def features(seed=0):
    return Features.of(PLACEMENTS, MACS_A, DEFAULT, np.random.default_rng(seed).standard_normal(SPACE.size))


def some_observations(count, seed=0):
    draw = np.random.default_rng(seed)
    return Observations.of(draw.integers(SPACE.size, size=count), 70 + draw.standard_normal(count))


def ridge(found, observed, prior):
    """Bayesian linear regression in the space of weights, with an intercept that is as good as free."""
    column_AK = np.column_stack([np.ones(SPACE.size), found.macs_A, found.macs2_A, found.score_A])
    (spread,), (noise,) = prior.spreads, prior.noises
    weights = (prior.macs, prior.macs2, prior.score)
    mean_K = np.array([observed.points_T.mean(), *(spread * w.mean for w in weights)])
    precision_KK = np.diag([100.0**-2, *((spread * w.std) ** -2 for w in weights)])
    seen_TK = column_AK[observed.index_T]
    left, right = precision_KK + seen_TK.T @ seen_TK / noise**2, precision_KK @ mean_K
    weight_K = np.linalg.solve(left, right + seen_TK.T @ observed.points_T / noise**2)
    return column_AK @ weight_K, column_AK @ np.linalg.inv(left) @ column_AK.T


def test_without_a_gaussian_process_it_is_ridge_regression():
    found, observed = features(), some_observations(7)
    belief = posterior(found, observed, prior=LINEAR)
    points_A, covariance_AA = ridge(found, observed, LINEAR)
    np.testing.assert_allclose(belief.points_A, points_A, atol=1e-6)
    np.testing.assert_allclose(belief.covariance_AA(), covariance_AA, atol=1e-6)
    np.testing.assert_allclose(belief.mean_A, points_A - points_A[DEFAULT], atol=1e-6)


def test_with_no_observation_it_is_the_prior():
    found = features()
    belief = posterior(found, Observations.of(), prior=LINEAR)
    expected = 2.0 * (
        PRIOR.score.mean * found.score_A + PRIOR.macs.mean * found.macs_A + PRIOR.macs2.mean * found.macs2_A
    )
    np.testing.assert_allclose(belief.mean_A, expected - expected[DEFAULT], atol=1e-9)


def test_without_noise_what_was_seen_is_believed():
    prior = replace(PRIOR, noises=(1e-4,))
    index_T = [3, 11, 20, 30]
    belief = posterior(features(), Observations.of(index_T, [71.0, 73.0, 72.0, 70.0]), prior=prior)
    np.testing.assert_allclose(belief.points_A[index_T], [71.0, 73.0, 72.0, 70.0], atol=1e-3)


def test_with_endless_noise_nothing_is_learned():
    found = features()
    before = posterior(found, Observations.of(), prior=LINEAR).mean_A
    after = posterior(found, some_observations(6), noise_floor=1e7, prior=LINEAR).mean_A
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_two_repeats_are_one_of_half_the_variance():
    draw = np.random.default_rng(3)
    root_AA = draw.standard_normal((5, 5))
    mean_A, covariance_AA = draw.standard_normal(5), root_AA @ root_AA.T
    twice = condition(mean_A, covariance_AA, np.array([2, 2]), np.array([1.0, 3.0]), 0.8)
    once = condition(mean_A, covariance_AA, np.array([2]), np.array([2.0]), 0.8 / np.sqrt(2))
    for a, b in zip(twice, once, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_one_after_the_other_is_all_at_once():
    draw = np.random.default_rng(4)
    root_AA = draw.standard_normal((6, 6))
    first = draw.standard_normal(6), root_AA @ root_AA.T
    index_T, points_T = np.array([1, 4, 1]), np.array([0.5, -1.0, 0.7])
    mean_A, covariance_AA = first
    for index, points in zip(index_T, points_T, strict=True):
        mean_A, covariance_AA = condition(mean_A, covariance_AA, np.array([index]), np.array([points]), 0.3)
    at_once = condition(*first, index_T, points_T, 0.3)
    np.testing.assert_allclose(mean_A, at_once[0], atol=1e-9)
    np.testing.assert_allclose(covariance_AA, at_once[1], atol=1e-9)


def evidence(found, observed, prior):
    """Density of the observations, less their mean, by a prior of one cell."""
    (component,) = posterior(found, Observations.of(), prior=prior).components
    seen_TT = component.covariance_AA[np.ix_(observed.index_T, observed.index_T)]
    seen_TT = seen_TT + component.noise**2 * np.eye(len(observed))
    mean_T, left_T = component.mean_A[observed.index_T], observed.points_T - observed.points_T.mean()
    assert log_density(mean_T, seen_TT, left_T) == pytest.approx(multivariate_normal.logpdf(left_T, mean_T, seen_TT))
    return float(multivariate_normal.pdf(left_T, mean_T, seen_TT))


def test_weights_of_the_grid_are_bayes_rule():
    found, observed = features(), some_observations(6)
    grid = replace(LINEAR, spreads=(1.0, 3.0), noises=(0.5, 1.0))
    cells = [replace(LINEAR, spreads=(s,), noises=(n,)) for s in grid.spreads for n in grid.noises]
    density = np.array([evidence(found, observed, cell) for cell in cells])
    belief = posterior(found, observed, prior=grid)
    assert len(belief.components) == 4  # nothing is left out
    np.testing.assert_allclose([c.weight for c in belief.components], density / density.sum())
    alone = [posterior(found, observed, prior=cell).points_A for cell in cells]
    np.testing.assert_allclose(belief.points_A, np.average(alone, axis=0, weights=density))


def test_the_rest_of_the_model_cannot_stand_in_for_a_linear_term():
    found = features()
    prior = replace(LINEAR, rests=(1.0,), macs=Weight(0, 1e-9), macs2=Weight(0, 1e-9), score=Weight(0, 1e-9))
    covariance_AA = posterior(found, Observations.of(), prior=prior).covariance_AA()
    covariance_AA -= covariance_AA.mean()
    for column_A in (found.macs_A, found.macs2_A, found.score_A):
        assert column_A @ covariance_AA @ column_A == pytest.approx(0, abs=1e-6)


def test_intervals_are_those_of_a_mixture():
    components = (
        Component(0.25, True, 0.1, np.array([0.0, 1.0]), np.diag([0.0, 4.0])),
        Component(0.75, False, 0.1, np.array([0.0, -1.0]), np.diag([0.0, 1.0])),
    )
    low_A, high_A = Posterior(0, 50.0, components).interval_A(0.9)
    np.testing.assert_allclose([low_A[0], high_A[0]], 0, atol=1e-9)
    for end, level in ((low_A[1], 0.05), (high_A[1], 0.95)):
        assert 0.25 * norm.cdf(end, 1, 2) + 0.75 * norm.cdf(end, -1, 1) == pytest.approx(level, abs=1e-9)


def drawn_truth(found, prior, draw):
    """A truth, and what a training of each placement shows of it, from the prior itself."""
    trusts = draw.random() < prior.trust
    spread, noise = draw.choice(prior.spreads), draw.choice(prior.noises)
    length, rest = draw.choice(prior.lengths), draw.choice(prior.rests)
    one = replace(prior, trust=float(trusts), spreads=(spread,), noises=(noise,), lengths=(length,), rests=(rest,))
    (component,) = posterior(found, Observations.of(), prior=one).components
    f_A = draw.multivariate_normal(component.mean_A, component.covariance_AA - 100.0**2, method="eigh", tol=1e-3)
    return f_A, noise


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw, found, inside, studies = np.random.default_rng(5), features(), 0, 120
    for _ in range(studies):
        f_A, noise = drawn_truth(found, PRIOR, draw)
        index_T = draw.choice(SPACE.size, 6, replace=False)
        observed = Observations.of(index_T, f_A[index_T] + noise * draw.standard_normal(6))
        low_A, high_A = posterior(found, observed).interval_A(0.9)
        one = draw.choice(np.setdiff1d(np.arange(SPACE.size), [DEFAULT]))
        inside += low_A[one] <= f_A[one] - f_A[DEFAULT] <= high_A[one]
    assert binom.cdf(inside, studies, 0.9) > 1e-3
    assert binom.sf(inside - 1, studies, 0.9) > 1e-3


def test_scores_that_say_nothing_are_found_out():
    """Truths of MACs alone, and shuffled scores: trust falls, and the pick is no worse than without scores."""
    draw, trust, regrets = np.random.default_rng(6), [], []
    plain = Features.of(PLACEMENTS, MACS_A, DEFAULT)
    for _ in range(20):
        f_A = 2.0 * (0.8 * plain.macs_A - 0.5 * plain.macs2_A)
        shuffled = Features.of(PLACEMENTS, MACS_A, DEFAULT, draw.permutation(f_A))
        index_T = draw.choice(SPACE.size, 10, replace=False)
        observed = Observations.of(index_T, f_A[index_T] + 0.3 * draw.standard_normal(10))
        beliefs = [posterior(one, observed) for one in (shuffled, plain)]
        trust.append(beliefs[0].trust)
        regrets.append([f_A.max() - f_A[np.argmax(belief.mean_A)] for belief in beliefs])
        assert beliefs[1].trust == 0
    assert np.mean(trust) < PRIOR.trust / 2
    shuffled_regret, plain_regret = np.mean(regrets, 0)
    assert shuffled_regret < plain_regret + 0.2


def test_scores_that_say_all_are_trusted():
    found = features()
    index_T = np.arange(0, SPACE.size, 4)
    observed = Observations.of(index_T, 70 + 3.0 * found.score_A[index_T])
    assert posterior(found, observed).trust > 0.99


def test_one_placement_alone():
    belief = posterior(Features.of(PLACEMENTS[:1], MACS_A[:1], 0), Observations.of([0, 0], [70.0, 71.0]))
    assert belief.mean_A == pytest.approx([0.0])


def test_the_kernel_is_used_at_its_length():
    near, far = (kernel(features().position_AD, length)[0, 1] for length in (0.1, 1.0))
    assert near < far < 1
