"""Balancing against POT's Sinkhorn, closed forms, and the cases that underflow elsewhere."""

import math

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from poolsearch.mixture.balance import NotBalanced, assignment_of, balance, entropy


def random_table(placements, members, seed):
    return np.random.default_rng(seed).random((placements, members))


def lagging(placements, members, gap, share=1.0):
    """Member 0 is worse by ``gap`` on a share of the placements, and a little noise everywhere."""
    score_AM = 0.6 + 0.02 * random_table(placements, members, 0)
    score_AM[: round(share * placements), 0] -= gap
    return score_AM


def divergence(assign_AM):
    """Kullback-Leibler divergence of p(member) from uniform."""
    share_M = assign_AM.mean(0)
    return float((share_M * np.log(share_M * len(share_M))).sum())


def plain_ipf(joint_AM, rounds=500):
    """Iterative proportional fitting in probability space, as a textbook has it; ends with exact rows."""
    for _ in range(rounds):
        joint_AM = joint_AM / joint_AM.sum(0) / joint_AM.shape[1]
        joint_AM = joint_AM / joint_AM.sum(1, keepdims=True) / joint_AM.shape[0]
    return joint_AM


tables = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1, width=32))
)


PARITY = {
    **{f"random {a}x{m} at {t}": (random_table(a, m, a), t) for a, m in ((36, 4), (56, 8), (3, 5)) for t in (1, 30)},
    "lags everywhere at 400": (lagging(36, 4, 0.3), 400),
    "leads everywhere at 400": (lagging(36, 4, -0.3), 400),
    "lags on half at 400": (lagging(36, 3, 0.3, 0.5), 400),
    "random 40x2 at 400": (random_table(40, 2, 40), 400),
}


@pytest.mark.parametrize("case", PARITY)
def test_plan_is_pots_sinkhorn(case):
    score_AM, inv_temp = PARITY[case]
    placements, members = score_AM.shape
    plan_AM = ot.sinkhorn(
        np.full(placements, 1 / placements), np.full(members, 1 / members), -score_AM, 1 / inv_temp,
        method="sinkhorn_log", stopThr=1e-10, numItermax=20_000,
    )  # fmt: skip
    found = balance(inv_temp * score_AM, tolerance=1e-14)
    np.testing.assert_allclose(found.assign_AM / placements, plan_AM, atol=1e-7)
    # p(member given placement) = p(placement, member) / sum over members (docs/differences.md#assignment-formula)
    np.testing.assert_allclose(found.assign_AM, plan_AM / plan_AM.sum(1, keepdims=True), atol=1e-5)


@given(tables, st.floats(1, 400))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_marginals_are_uniform(score_AM, inv_temp):
    found = balance(inv_temp * score_AM)
    np.testing.assert_allclose(found.assign_AM.sum(1), 1, atol=1e-12)
    assert divergence(found.assign_AM) < 1e-4
    assert (found.assign_AM >= 0).all()
    np.testing.assert_allclose(assignment_of(inv_temp * score_AM, found.scale_M), found.assign_AM, atol=1e-12)


@pytest.mark.parametrize(("a", "b", "c", "d"), [(0.9, 0.1, 0.4, 0.5), (0.2, 0.8, 0.8, 0.2), (0.5, 0.5, 0.1, 0.9)])
def test_two_by_two_in_closed_form(a, b, c, d):
    # a doubly stochastic 2x2 table is [p, 1-p; 1-p, p], and fitting keeps the odds ratio (p / (1-p))^2
    inv_temp = 7.0
    p = 1 / (1 + math.exp(-inv_temp * (a + d - b - c) / 2))
    found = balance(inv_temp * np.array([[a, b], [c, d]]), tolerance=1e-15)
    np.testing.assert_allclose(found.assign_AM, [[p, 1 - p], [1 - p, p]], atol=1e-7)


@pytest.mark.parametrize(("inv_temp", "gap"), [(1, 1.0), (50, 1.0), (400, 0.02)])
def test_constants_of_a_placement_or_a_member_change_nothing(inv_temp, gap):
    logit_AM = inv_temp * gap * random_table(20, 4, 0)
    shift_A = np.random.default_rng(1).normal(0, 50, (20, 1))
    shift_M = np.random.default_rng(2).normal(0, 50, 4)
    base = balance(logit_AM, tolerance=1e-14)
    by_row = balance(logit_AM + shift_A, tolerance=1e-14)
    np.testing.assert_allclose(by_row.assign_AM, base.assign_AM, atol=1e-10)
    by_member = balance(logit_AM + shift_M, tolerance=1e-14)
    np.testing.assert_allclose(by_member.assign_AM, base.assign_AM, atol=1e-5)


@given(tables, st.floats(1, 4))
@settings(max_examples=30, deadline=None)
def test_joint_softmax_or_row_softmax_first_is_the_same(score_AM, inv_temp):
    # docs/differences.md#joint-softmax
    # against fitting in probability space: up to 4, 500 rounds contract by tanh(2)^1000 < 1e-15
    weight_AM = np.exp(inv_temp * score_AM)
    joint_AM = plain_ipf(weight_AM / weight_AM.sum())
    rows_AM = plain_ipf(weight_AM / weight_AM.sum(1, keepdims=True))
    found_AM = balance(inv_temp * score_AM, tolerance=1e-14, max_iterations=200_000).assign_AM / len(score_AM)
    np.testing.assert_allclose(joint_AM, rows_AM, atol=1e-12)
    np.testing.assert_allclose(found_AM, joint_AM, atol=2e-6)


HARD = {
    "lags everywhere": (lagging(36, 4, 0.3), 400),
    "leads everywhere": (lagging(36, 4, -0.3), 400),
    "lags on 95%": (lagging(40, 4, 0.3, 0.95), 400),
    "leads on 95%": (lagging(40, 4, -0.3, 0.95), 400),
    "lags at 2000": (lagging(36, 8, 0.3), 2000),
    "random at 2000": (random_table(36, 8, 3), 2000),
}


@pytest.mark.parametrize("case", HARD)
def test_hard_tables_are_balanced(case):
    score_AM, inv_temp = HARD[case]
    found = balance(inv_temp * score_AM)
    assert np.isfinite(found.assign_AM).all() and np.isfinite(found.scale_M).all()
    np.testing.assert_allclose(found.assign_AM.sum(1), 1, atol=1e-12)
    assert divergence(found.assign_AM) < 1e-4


@pytest.mark.parametrize("case", HARD)
def test_hard_tables_are_balanced_as_well_as_optimal_transport_can(case):
    # balancing maximises <plan, score> + temperature x entropy: it loses at most temperature x log M to the best plan
    score_AM, inv_temp = HARD[case]
    placements, members = score_AM.shape
    plan_AM = balance(inv_temp * score_AM, tolerance=1e-9, max_iterations=500_000).assign_AM / placements
    best_AM = ot.emd(np.full(placements, 1 / placements), np.full(members, 1 / members), -score_AM)
    best = (best_AM * score_AM).sum()
    slack = np.abs(plan_AM.sum(0) - 1 / members).sum()
    assert best - math.log(members) / inv_temp - slack <= (plan_AM * score_AM).sum() <= best + slack


def test_the_same_case_is_nan_in_float32_probabilities():
    score_AM = lagging(36, 4, 0.3).astype(np.float32)
    weight_AM = np.exp(np.float32(400) * (score_AM - score_AM.max()))
    with np.errstate(all="ignore"):
        found_AM = plain_ipf(weight_AM / weight_AM.sum(), rounds=10)
    assert found_AM.dtype == np.float32
    assert np.isnan(found_AM).any()


def test_a_member_that_lags_everywhere_still_gets_its_share():
    found = balance(400 * lagging(36, 4, 0.3))
    np.testing.assert_allclose(found.assign_AM.sum(0), 9, rtol=0.05)


@pytest.mark.parametrize("inv_temp", [1, 400])
def test_one_member_takes_everything(inv_temp):
    found = balance(inv_temp * random_table(36, 1, 0))
    assert (found.assign_AM == 1).all()
    assert found.iterations == 1


@pytest.mark.parametrize("shape", [(36, 4), (1, 3), (7, 7)])
def test_equal_scores_are_uniform_at_once(shape):
    found = balance(400 * np.full(shape, 0.7))
    np.testing.assert_allclose(found.assign_AM, 1 / shape[1])
    assert found.iterations == 1


def test_a_warm_start_takes_fewer_iterations_to_the_same_answer():
    logit_AM = 400 * lagging(36, 4, 0.3, 0.95)
    before = balance(logit_AM)
    logit_AM[5, 2] += 4  # a score that moved by 0.01
    cold, warm = balance(logit_AM), balance(logit_AM, before.scale_M)
    assert warm.iterations < cold.iterations / 2
    tight = [balance(logit_AM, start, tolerance=1e-14).assign_AM for start in (None, before.scale_M)]
    np.testing.assert_allclose(tight[0], tight[1], atol=1e-5)


def test_a_cap_that_is_too_low_raises_and_says_how_far_it_was():
    with pytest.raises(NotBalanced, match=r"36 placements to 4 members.*after 2 iterations.*--inv-temp-end"):
        balance(400 * lagging(36, 4, 0.3, 0.95), max_iterations=2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    logit_AM = random_table(4, 2, 0)
    logit_AM[1, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        balance(logit_AM)


def test_inputs_are_left_as_they_were():
    logit_AM, scale_M = 50 * random_table(6, 3, 0), np.array([3.0, -1.0, 0.0])
    before = logit_AM.copy(), scale_M.copy()
    balance(logit_AM, scale_M)
    assert (logit_AM == before[0]).all() and (scale_M == before[1]).all()


def test_entropy_is_one_for_uniform_zero_for_hard_and_undefined_for_one_member():
    assert entropy(np.full((5, 4), 0.25)) == pytest.approx(1)
    assert entropy(np.eye(4)) == 0
    assert math.isnan(entropy(np.ones((5, 1))))
    by_hand = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(2)
    assert entropy(np.array([[0.25, 0.75], [1.0, 0.0]])) == pytest.approx(by_hand / 2)


@pytest.mark.parametrize("inverse_temperature", [400, 1000, 2000, 5000])
def test_members_that_split_the_placements_51_to_49_are_balanced_in_few_iterations(inverse_temperature):
    # Fitting alone gains log(51/49) a round where the gap is the inverse temperature: thousands of rounds
    gap = np.zeros((100, 2))
    gap[:51, 0] = gap[51:, 1] = 1.0
    found = balance(inverse_temperature * gap, tolerance=1e-10)
    assert found.iterations < 100
    # By symmetry of the 51 and of the 49: p(1 | a) = q for the 51, about 1 for the 49, and 51 (1 - q) = 1 balances
    assert found.assign_AM[:51, 0] == pytest.approx(50 / 51, abs=1e-4)
    assert found.assign_AM[51:, 1] == pytest.approx(1, abs=1e-4)
