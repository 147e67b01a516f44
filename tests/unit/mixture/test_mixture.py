"""Scores, draws and diagnostics of the mixture, by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from poolsearch.mixture.balance import balance
from poolsearch.mixture.mixture import Mixture, MixtureRules, fixed_members


def mixture(placements=6, **rules):
    return Mixture(placements, MixtureRules(**rules))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def run(mix, steps, start=0, of=60, every=10):
    """Drive a mixture with accuracies that member and placement decide; what it drew and how it was assigned."""
    drawn = []
    for step in range(start, start + steps):
        mix.prepare(step, step / (of - 1), step % every == 0)
        rng = np.random.default_rng(step)
        number = int(rng.integers(len(mix.score_AM)))
        member = mix.member(number, rng.random())
        mix.trained(number, member)
        mix.scored(number, member, 0.5 + 0.4 * math.sin(3 * number + 2 * member + 0.1 * step), step)
        drawn.append((number, member, mix.assign_AM.copy()))
    return drawn


def test_equation_2_by_hand():
    mix = mixture(members=2)
    for step, (accuracy, expected) in enumerate([(0.5, 0.95), (0.3, 0.885), (1.0, 0.8965)]):
        mix.scored(3, 1, accuracy, step)
        assert mix.score_AM[3, 1] == pytest.approx(expected, abs=1e-12)
    others = np.ones((6, 2), bool)
    others[3, 1] = False
    assert (mix.score_AM[others] == 1).all()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
def test_beta_is_the_weight_of_the_past(beta):
    mix = mixture(members=1, beta=beta, score_init=0.2)
    mix.scored(0, 0, 0.8, 0)
    mix.scored(0, 0, 0.4, 1)
    assert mix.score_AM[0, 0] == pytest.approx(beta * (beta * 0.2 + (1 - beta) * 0.8) + (1 - beta) * 0.4)


def test_a_first_observation_can_count_whole():
    mix = mixture(members=2, score_init="first")
    mix.scored(0, 0, 0.4, 0)
    assert mix.score_AM[0, 0] == 0.4
    mix.scored(0, 0, 0.6, 1)
    assert mix.score_AM[0, 0] == pytest.approx(0.9 * 0.4 + 0.1 * 0.6)


def test_with_first_a_pair_never_scored_counts_as_the_mean_of_the_scored():
    mix = mixture(2, members=2, score_init="first", inv_temp_end=9)
    mix.prepare(0, 1.0, True)
    np.testing.assert_allclose(mix.assign_AM, 0.5)  # nothing is known yet
    for member, number, accuracy in ((0, 0, 0.9), (1, 0, 0.1), (1, 1, 0.5)):
        mix.scored(number, member, accuracy, 1)
    mix.prepare(1, 1.0, True)
    p = sigmoid(9 * (0.9 + 0.5 - 0.1 - 0.5) / 2)  # the unknown pair counts as (0.9 + 0.1 + 0.5) / 3 = 0.5
    np.testing.assert_allclose(mix.assign_AM, [[p, 1 - p], [1 - p, p]], atol=0.01)


def test_advantage_is_accuracy_minus_its_running_mean():
    mix = mixture(members=2, score="advantage", score_init=0.0, beta=0.8)
    mix.scored(0, 0, 0.5, 0)  # mean 0.5
    assert mix.score_AM[0, 0] == pytest.approx(0.0)
    mix.scored(1, 1, 0.7, 1)  # mean 0.8 x 0.5 + 0.2 x 0.7 = 0.54
    assert mix.score_AM[1, 1] == pytest.approx(0.2 * (0.7 - 0.54))
    mix.scored(0, 0, 0.44, 2)  # mean 0.8 x 0.54 + 0.2 x 0.44 = 0.52
    assert mix.score_AM[0, 0] == pytest.approx(0.2 * (0.44 - 0.52))
    assert mix.mean_accuracy == pytest.approx(0.52)


@pytest.mark.parametrize("score_init", [1.0, 0.3, "first"])
def test_a_learnt_score_is_a_weighted_mean_of_what_was_seen_alone(score_init):
    mix = mixture(2, members=2, beta=0.8, score_init=score_init)
    seen = [0.5, 0.7, 0.4]
    for step, accuracy in enumerate(seen):
        mix.scored(0, 1, accuracy, step)
    learnt_AM = mix.learnt_score_AM()
    weights = [0.8**2, 0.8 * 0.2, 0.2] if score_init == "first" else [0.8**2 * 0.2, 0.8 * 0.2, 0.2]
    assert learnt_AM[0, 1] == pytest.approx(np.average(seen, weights=weights))
    learnt_AM[0, 1] = -np.inf
    assert (learnt_AM == -np.inf).all()  # never scored


def test_the_final_member_is_the_most_probable_of_those_scored():
    mix = mixture(3, members=3)
    mix.balanced_AM[...] = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    for pair in ((0, 1), (0, 2), (2, 0), (2, 1), (2, 2)):
        mix.scored(*pair, 0.5, 0)
    assert mix.final_member_A().tolist() == [1, 0, 2]  # placement 1 was never scored: the most probable of all


@pytest.mark.parametrize("explore", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("score_init", [1.0, "first"])
def test_the_final_member_is_that_of_the_scores_however_members_were_drawn(explore, score_init):
    """Drawn uniformly, all members are equally probable: the assignment by the scores still says who stands for what.
    Scores favour members 1, 2, 0, 1, 2, 0, each for two of six placements: so they are balanced as they are."""
    mix = mixture(6, members=3, explore=explore, score_init=score_init)
    best_A = [1, 2, 0, 1, 2, 0]
    for number, member in np.ndindex(6, 3):
        mix.scored(number, member, 0.6 if member == best_A[number] else 0.5, 0)
    mix.prepare(0, 1.0, True)
    assert mix.final_member_A().tolist() == best_A
    again = mixture(6, members=3, explore=explore, score_init=score_init)
    again.load_state(mix.state())
    again.prepare(0, 1.0, True)
    assert again.final_member_A().tolist() == best_A


@pytest.mark.parametrize("bad", [50.0, 1.0001, -0.01, math.nan])
def test_an_accuracy_that_is_no_fraction_is_refused(bad):
    mix = mixture(members=2)
    with pytest.raises(ValueError, match="not a fraction between 0 and 1"):
        mix.scored(0, 0, bad, 0)
    assert (mix.score_AM == 1).all() and not mix.scored_AM.any()


def test_assignment_is_the_balanced_softmax_at_the_steps_temperature():
    mix = mixture(2, members=2, inv_temp_end=41)
    mix.score_AM[...] = [[0.9, 0.6], [0.5, 0.4]]
    mix.prepare(0, 0.25, True)  # 1 + 40 / 4 = 11
    p = sigmoid(11 * (0.9 + 0.4 - 0.6 - 0.5) / 2)
    np.testing.assert_allclose(mix.assign_AM, [[p, 1 - p], [1 - p, p]], atol=0.01)


@pytest.mark.parametrize("explore", [0.1, 0.5, 1.0])
def test_exploring_mixes_in_a_uniform_draw_and_keeps_both_marginals(explore):
    plain, explored = mixture(12, members=3), mixture(12, members=3, explore=explore)
    for mix in (plain, explored):
        mix.score_AM[...] = np.random.default_rng(0).random((12, 3))
        mix.prepare(0, 0.1, True)
    np.testing.assert_allclose(explored.assign_AM, (1 - explore) * plain.assign_AM + explore / 3)
    np.testing.assert_allclose(explored.assign_AM.sum(1), 1)
    share_M = explored.assign_AM.mean(0)
    assert (share_M * np.log(3 * share_M)).sum() < 1e-4
    assert explored.assign_AM.min() >= explore / 3


def test_balancing_once_per_epoch_reuses_the_scalings_on_fresh_scores():
    mix = mixture(8, members=3, balance_every="epoch", inv_temp_end=50)
    mix.score_AM[...] = np.random.default_rng(0).random((8, 3))
    mix.prepare(0, 0.5, True)
    scale_M, iterations = mix.scale_M.copy(), mix.iterations
    assert iterations > 1
    mix.score_AM[2] = [0.1, 0.9, 0.3]
    mix.prepare(1, 0.6, False)
    weight_AM = np.exp((1 + 49 * 0.6) * mix.score_AM + scale_M)
    np.testing.assert_allclose(mix.assign_AM, weight_AM / weight_AM.sum(1, keepdims=True))
    assert (mix.scale_M == scale_M).all() and mix.iterations == iterations
    mix.prepare(2, 0.6, True)
    assert mix.iterations > iterations
    np.testing.assert_allclose(mix.assign_AM.mean(0), 1 / 3, atol=0.01)


def test_balancing_every_step_starts_warm():
    mix = mixture(8, members=3, inv_temp_end=300)
    mix.score_AM[...] = np.random.default_rng(0).random((8, 3))
    mix.prepare(0, 1.0, True)
    first = mix.iterations
    mix.prepare(1, 1.0, False)  # the same scores: the scalings are right already
    assert mix.iterations == first + 1
    cold = balance(300 * mix.score_AM)
    assert cold.iterations == first > 1


def test_an_even_grid_of_draws_follows_the_assignment_exactly():
    mix = mixture(1, members=4)
    mix.assign_AM[0] = [0.25, 0.5, 0.125, 0.125]
    members = [mix.member(0, (i + 0.5) / 1000) for i in range(1000)]
    assert np.bincount(members).tolist() == [250, 500, 125, 125]


def test_random_draws_follow_the_assignment():
    mix = mixture(12, members=4)
    mix.score_AM[...] = np.random.default_rng(0).random((12, 4))
    mix.prepare(0, 0.02, True)
    for number in range(3):
        draws = np.random.default_rng(number).random(4000)
        counts = np.bincount([mix.member(number, d) for d in draws], minlength=4)
        assert stats.chisquare(counts, 4000 * mix.assign_AM[number]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("row", "least", "most"),
    [
        ([0.25] * 4, 0, 3),
        ([0.0, 0.5, 0.5, 0.0], 1, 2),
        ([1.0, 0.0, 0.0, 0.0], 0, 0),
        ([0.0, 0.0, 0.0, 1.0], 3, 3),
        ([0.1] * 4, 0, 3),
    ],
)
def test_the_ends_of_the_draw_reach_the_first_and_last_possible_member(row, least, most):
    mix = mixture(1, members=4)
    mix.assign_AM[0] = row
    assert mix.member(0, 0.0) == least
    assert mix.member(0, np.nextafter(1.0, 0.0)) == most


def test_one_member_is_single_path_one_shot():
    mix = mixture(members=1)
    for number, member, assign_AM in run(mix, 60):
        assert member == 0
        assert (assign_AM[number] == 1).all()
    assert mix.trained_AM.sum() == 60
    assert mix.lock_in_step == 0


def test_training_and_scoring_are_counted_apart():
    mix = mixture(members=2)
    mix.trained(2, 1)
    mix.trained(2, 1)
    mix.scored(2, 1, 0.5, 7)
    assert mix.trained_AM[2, 1] == mix.trained_AM.sum() == 2
    assert mix.scored_AM[2, 1] == mix.scored_AM.sum() == 1


def test_members_are_trained_equally():
    mix = mixture(12, members=4)
    run(mix, 4000, of=4000)
    counts = mix.trained_AM.sum(0)
    assert stats.chisquare(counts).pvalue > 1e-3  # each step draws each member with probability 1/4


def test_stalest_is_never_scored_first_then_the_oldest():
    mix = mixture(2, members=2)
    assert mix.stalest() == (0, 0)
    for step, pair in enumerate([(0, 0), (1, 1), (0, 1)]):
        mix.scored(*pair, 0.5, step)
    assert mix.stalest() == (1, 0)
    mix.scored(1, 0, 0.5, 3)
    assert mix.stalest() == (0, 0)
    mix.scored(0, 0, 0.5, 4)
    assert mix.stalest() == (1, 1)


def test_age_counts_steps_since_the_last_score_or_since_the_start():
    mix = mixture(2, members=2)
    mix.scored(0, 1, 0.5, 3)
    mix.scored(1, 0, 0.5, 8)
    assert mix.age_AM(10).tolist() == [[10, 7], [2, 10]]


def test_lock_in_is_the_last_step_at_which_a_favourite_changed():
    mix = mixture(2, members=2)
    mix.score_AM[...] = [[0.9, 0.5], [0.5, 0.9]]
    mix.prepare(3, 0.1, True)  # placement 1 turns to member 1
    assert mix.lock_in_step == 3
    mix.prepare(4, 0.5, True)
    assert mix.lock_in_step == 3
    mix.score_AM[...] = [[0.5, 0.9], [0.9, 0.5]]
    mix.prepare(9, 0.5, True)
    assert mix.lock_in_step == 9
    mix.prepare(10, 1.0, True)
    assert mix.lock_in_step == 9


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"score_init": "first"},
        {"score": "advantage"},
        {"balance_every": "epoch"},
        {"explore": 0.3},
        {"schedule": "exp"},
    ],
    ids=str,
)
def test_a_mixture_made_anew_from_the_state_goes_on_identically(rules):
    old, new = mixture(members=3, **rules), mixture(members=3, **rules)
    run(old, 25)
    new.load_state({name: value.copy() for name, value in old.state().items()})
    for (n1, m1, a1), (n2, m2, a2) in zip(run(old, 35, 25), run(new, 35, 25), strict=True):
        assert (n1, m1) == (n2, m2)
        assert (a1 == a2).all()
    for name, value in old.state().items():
        assert (value == new.state()[name]).all(), name


def test_a_loaded_state_is_a_copy():
    old, new = mixture(members=2), mixture(members=2)
    state = {name: value.copy() for name, value in old.state().items()}
    new.load_state(state)
    new.scored(0, 0, 0.1, 0)
    new.prepare(0, 0.5, True)
    for name, value in old.state().items():
        assert (state[name] == value).all(), name


def test_learnt_scores_are_free_of_the_initial_score():
    mixture = Mixture(2, MixtureRules(members=2, beta=0.9, score_init=1.0))
    for accuracy in (0.2, 0.4):
        mixture.scored(0, 1, accuracy, step=0)
    learnt = mixture.learnt_score_AM()
    # 0.9 * 0.1 * 0.2 + 0.1 * 0.4 of the observations, over their weight 1 - 0.9^2
    assert learnt[0, 1] == pytest.approx((0.9 * 0.1 * 0.2 + 0.1 * 0.4) / (1 - 0.81))
    assert learnt[0, 0] == learnt[1, 0] == learnt[1, 1] == -np.inf


def test_a_member_never_tried_does_not_stand_for_a_placement():
    mixture = Mixture(3, MixtureRules(members=2))
    mixture.balanced_AM = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    mixture.scored_AM[:] = [[1, 0], [1, 1], [0, 0]]
    assert mixture.final_member_A().tolist() == [0, 1, 1]


def test_placements_of_a_member_come_by_the_assignment():
    """p(c given m) = p(m given c) / sum over c, since p(c) is uniform: counted against the expectation."""
    mix = mixture(members=2)
    mix.assign_AM[:, 0] = [1.0, 0.5, 0.0, 0.9, 0.3, 0.3]
    draws = np.random.default_rng(0).random(30_000)
    count_A = np.bincount(mix.placements(0, draws), minlength=6)
    assert count_A[2] == 0
    kept = count_A > 0
    expected_A = mix.assign_AM[:, 0] / mix.assign_AM[:, 0].sum() * len(draws)
    assert stats.chisquare(count_A[kept], expected_A[kept]).pvalue > 1e-3


def test_the_ends_of_the_draw_are_placements_that_can_be():
    mix = mixture(members=2)
    mix.assign_AM[:, 1] = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert mix.placements(1, np.array([0.0, np.nextafter(1.0, 0.0)])).tolist() == [2, 5]


def test_a_fixed_assignment_is_balanced_follows_from_the_seed_and_ignores_scores():
    rules = MixtureRules(members=3, assign="fixed")
    mix, other = Mixture(10, rules, seed=1), Mixture(10, rules, seed=2)
    for one in (mix, other):
        one.scored(0, 0, 1.0, 0)
        one.scored(0, 1, 0.0, 0)
        one.prepare(0, 1.0, True)
        assert sorted(one.assign_AM.sum(0)) == [3, 3, 4]
        assert set(one.assign_AM.flat) == {0, 1}
    np.testing.assert_array_equal(mix.assign_AM.argmax(1), fixed_members(10, 3, 1))
    assert (mix.assign_AM != other.assign_AM).any()
    assert all(mix.member(4, draw) == fixed_members(10, 3, 1)[4] for draw in (0.0, 0.5, 0.999))


def test_a_fixed_assignment_explores_when_asked():
    mix = Mixture(10, MixtureRules(members=2, assign="fixed", explore=0.4))
    mix.prepare(0, 0.5, True)
    assert set(np.round(mix.assign_AM.flat, 9)) == {0.2, 0.8}
    np.testing.assert_allclose(mix.assign_AM.mean(0), 0.5)
