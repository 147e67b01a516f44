"""Regret on tables: uniform search against its closed form, what a seed decides, and curves from their own numbers."""

from __future__ import annotations

import math
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.rank_agreement import regret
from poolsearch.research.bench import (
    Bandit,
    BenchResult,
    Curve,
    GroundTruth,
    MeasuredPlacement,
    compare_samplers,
    parse_sampler,
)
from poolsearch.research.bench.each_once import EachOnce
from poolsearch.research.bench.entrants import READS
from poolsearch.research.bench.play import regret_curve as of_draws
from poolsearch.samplers.contract import check_sampler
from poolsearch.samplers.make import make_sampler
from poolsearch.settings.search_groups import SearchSettings

EXAMPLE = Path(__file__).parents[4] / "examples" / "my_sampler.py"
TABLE6 = Bandit.of(GroundTruth.table6())
MEANS = (0.5, 0.8, 0.6, 0.9, 0.2)
TINY = Bandit.of(
    GroundTruth(
        "tiny", "2,4", "test",
        tuple(MeasuredPlacement(f"{n},{6 - n}", 10 * n, mean, 0.0, 3) for n, mean in enumerate(MEANS, 1)),
    )
)  # fmt: skip


def played(*names: str, bandit: Bandit = TINY, seeds: int = 400, draws: int = 8, seed: int = 0) -> BenchResult:
    return compare_samplers(bandit, [parse_sampler(name) for name in names], seeds, draws, seed)


def within(curve: Curve, expected_T: np.ndarray, errors: float = 4.5) -> None:
    """The mean is the expected one, as far as so many seeds can tell."""
    error_T = curve.std_T / math.sqrt(len(curve.regret_ST))
    np.testing.assert_array_less(np.abs(curve.mean_T - expected_T), errors * error_T + 1e-12)


def test_without_noise_random_search_has_the_regret_of_the_best_of_independent_draws() -> None:
    """Of t draws from A sorted values, the largest is the k-th with probability (k/A)^t - ((k-1)/A)^t."""
    (curve,) = played("random", seeds=1500).curves
    value_A, k_A = np.sort(MEANS), np.arange(1, 6)
    best_T = [((k_A / 5) ** t - ((k_A - 1) / 5) ** t) @ value_A for t in range(1, 9)]
    assert best_T[1] == pytest.approx(np.mean([max(pair) for pair in product(MEANS, MEANS)]))
    within(curve, 0.9 - np.array(best_T))
    found_T = 1 - 0.8 ** np.arange(1, 9)
    np.testing.assert_allclose(curve.found_T, found_T, atol=4.5 * 0.5 / math.sqrt(1500))


def test_without_noise_each_once_has_the_regret_of_a_random_order() -> None:
    """That of a ranking in which all are tied, which counts subsets; after all placements it is 0, for good."""
    (curve,) = played("each-once", seeds=1500).curves
    expected_T = np.array([regret([1.0] * 5, MEANS, min(t, 5)) for t in range(1, 9)])
    assert expected_T[1] == pytest.approx(0.9 - np.mean([max(pair) for pair in combinations(MEANS, 2)]))
    within(curve, expected_T)
    assert (curve.regret_ST[:, 4:] == 0).all() and curve.found_ST[:, 4:].all()


def test_each_once_is_a_permutation_in_every_round_and_keeps_what_samplers_owe() -> None:
    space = TABLE6.space
    sampler = EachOnce(space, 5)
    rounds = [[str(sampler.ask()) for _ in range(36)] for _ in range(3)]
    assert all(sorted(one) == sorted(map(str, space)) for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    check_sampler(parse_sampler("each-once").make, space)


@pytest.mark.parametrize("name", ["random", "each-once", "bse:warm-up=0.3", "mcts", f"{EXAMPLE}:make"])
def test_the_same_seed_plays_the_same_alone_or_beside_others_and_longer(name: str) -> None:
    (alone,) = played(name, bandit=TABLE6, seeds=4, draws=30).curves
    *_, beside = played("each-once", name, bandit=TABLE6, seeds=4, draws=30).curves
    (more,) = played(name, bandit=TABLE6, seeds=6, draws=30).curves
    (other,) = played(name, bandit=TABLE6, seeds=4, draws=30, seed=1).curves
    assert (alone.regret_ST == beside.regret_ST).all() and (alone.regret_ST == more.regret_ST[:4]).all()
    assert (alone.regret_ST != other.regret_ST).any()
    assert len({tuple(row) for row in alone.regret_ST.tolist()}) > 1, "seeds play differently"


def test_the_settings_of_a_name_reach_the_sampler() -> None:
    """A sampler made by hand asks for the same; and a warm-up of all draws is random search."""
    space, search = TABLE6.space, SearchSettings(ucb_c=0.05, ucb_pick="softmax", warm_up=0.25)
    ours = parse_sampler("mcts:ucb-c=0.05:ucb_pick=softmax:warm-up=0.25").make(space, 3, 40)
    theirs = make_sampler("mcts", space, search, 3, 40)
    for t in range(40):
        placement = ours.ask()
        assert theirs.ask() == placement
        for sampler in (ours, theirs):
            sampler.tell(placement, TABLE6.truth.mean_A[TABLE6.number_of[placement]] + 0.01 * (t % 3))
    random, warm, whole = played("random", "bse:warm-up=0.5", "bse:warm-up=1", bandit=TABLE6, seeds=3, draws=40).curves
    assert (whole.regret_ST == random.regret_ST).all()
    assert (warm.regret_ST[:, :20] == random.regret_ST[:, :20]).all() and (warm.regret_ST != random.regret_ST).any()


def test_noise_makes_random_search_take_the_wrong_one() -> None:
    """Two placements 0.1 apart, noise 0.2, one training each: wrong with probability Phi(-0.1 / (0.2 sqrt 2))."""
    two = GroundTruth(
        "two", "", "test", (MeasuredPlacement("1,2", 1, 0.5, 0.2, 3), MeasuredPlacement("2,1", 2, 0.6, 0.2, 3))
    )
    (curve,) = played("each-once", bandit=Bandit.of(two), seeds=2000, draws=2).curves
    wrong = stats.norm.cdf(-0.1 / (0.2 * math.sqrt(2)))
    within(curve, np.array([0.05, 0.1 * wrong]))


def test_a_curve_by_hand() -> None:
    found_ST = np.array([[False, True], [False, False], [False, False]])
    late_S = np.zeros(3)
    curve = Curve("x", np.array([[0.3, 0.0], [0.1, 0.2], [0.2, 0.1]]), found_ST, late_S, late_S)
    np.testing.assert_allclose(curve.mean_T, [0.2, 0.1])
    np.testing.assert_allclose(curve.std_T, [0.1, 0.1])
    np.testing.assert_allclose(curve.half_T, 4.3026527 * 0.1 / math.sqrt(3), rtol=1e-6)  # Student's, 2 degrees
    np.testing.assert_allclose(curve.band_3T[:, 0], [0.12, 0.2, 0.28])
    np.testing.assert_allclose(curve.found_T, [0, 1 / 3])
    one = Curve("x", np.array([[0.3]]), np.array([[False]]), late_S[:1], late_S[:1])
    assert math.isnan(one.std_T[0]) and math.isnan(one.half_T[0])


def test_what_is_asked_for_late_by_hand() -> None:
    """Of six draws the last three count: 4, 4, 2 have the means 0.9, 0.9, 0.8, and counts 0 0 0 2 0 -> 0 1 0 2 0."""
    asked_ST = np.array([[0, 1, 2, 3, 3, 1], [1, 1, 1, 0, 2, 4]])
    found = of_draws("x", TINY, asked_ST, np.array(MEANS)[asked_ST])
    np.testing.assert_allclose(found.late_regret_S, [(0 + 0 + 0.1) / 3, 0.9 - (0.5 + 0.6 + 0.2) / 3])
    tau_b = stats.kendalltau([0, 1, 0, 2, 0], MEANS)[0]
    assert found.late_kendall_tau_S[0] == pytest.approx(tau_b) and tau_b > 0.7
    assert found.late_kendall_tau_S[1] == pytest.approx(stats.kendalltau([1, 0, 1, 0, 1], MEANS)[0])
    assert math.isnan(of_draws("x", TINY, np.array([[0, 1, 2, 3, 4] * 2]), np.ones((1, 10))).late_kendall_tau_S[0])


@pytest.mark.parametrize("name", ["random", "each-once"])
def test_a_rise_is_not_taken_for_merit(name: str) -> None:
    """What does not learn asks for the same whatever the rewards, and what would be taken is told without the rise."""
    flat, rising = (
        compare_samplers(Bandit.of(TABLE6.truth, rise=rise), [parse_sampler(name)], seeds=5, draws=60).curves[0]
        for rise in (0, 0.4)
    )
    np.testing.assert_array_equal(rising.regret_ST, flat.regret_ST)
    np.testing.assert_array_equal(rising.late_kendall_tau_S, flat.late_kendall_tau_S)


def test_raw_rewards_that_rise_lock_tree_search_in_and_advantages_by_leaves_do_not() -> None:
    """As docs/claims.md has it, at a smaller scale."""
    bandit = Bandit.of(TABLE6.truth, noise=0.0, images=128, rise=0.4)
    names = ("mcts:warm-up=0.5", "mcts:ucb-reward=advantage:ucb-prior=leaves:ucb-c=0.3")
    locked, cured = compare_samplers(bandit, [parse_sampler(name) for name in names], seeds=4, draws=1500).curves
    assert locked.late_kendall_tau_S.mean() < 0.1 < 0.4 < cured.late_kendall_tau_S.mean()
    assert cured.late_regret_S.mean() < 0.015 < locked.late_regret_S.mean()


def test_what_needs_no_training_stands_beside() -> None:
    found = played("random", bandit=TABLE6, seeds=1, draws=50)
    assert [(entry.name, entry.placement) for entry in found.baselines] == [
        ("default", "4,3,3"),
        ("most MACs", "8,1,1"),
    ]
    assert [100 * entry.regret for entry in found.baselines] == pytest.approx([92.01 - 90.52, 92.01 - 89.99])
    assert found.at == [10, 36, 50]
    assert played("random", seeds=1, draws=7).at == [5, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixture", "unknown method .* 'mixture'.*Allowed: FILE.py:FACTORY, bse, each-once, mcts, random"),
        ("random:warm-up=0.5", "'random:warm-up=0.5': random makes no use of warm-up on a table. .*: none"),
        ("bse:epochs=3", "bse makes no use of epochs on a table.*: beta, score-init, schedule, inv-temp-end, warm-up"),
        ("mcts:score-init=0.5", "mcts makes no use of score-init"),
        ("bse:warm-up=2", "--warm-up is 2.0; allowed is from 0 to 1"),
        ("bse:warm-up=half", "warm-up=half: give a number"),
        ("mine.py", "unknown method"),
        ("mine.py:make:ucb-c=1", "makes no use of ucb-c on a table"),
    ],
)
def test_a_sampler_that_cannot_play_is_refused(text: str, message: str) -> None:
    with pytest.raises(PoolsearchError, match=message):
        parse_sampler(text)


def test_a_file_that_is_not_there_and_an_empty_contest_are_told() -> None:
    with pytest.raises(PoolsearchError, match=r"there is no file nowhere\.py"):
        played("nowhere.py:make", seeds=1)
    for counts in ({"seeds": 0}, {"draws": 0}):
        with pytest.raises(PoolsearchError, match="at least one of each"):
            played("random", **counts)
    with pytest.raises(PoolsearchError, match="0 samplers"):
        played()


def test_every_sampler_of_the_table_plays() -> None:
    found = played(*READS, bandit=TABLE6, seeds=2, draws=12)
    assert [curve.name for curve in found.curves] == list(READS)
    assert all(curve.regret_ST.shape == (2, 12) and (curve.regret_ST >= 0).all() for curve in found.curves)
