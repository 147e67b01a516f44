"""Looking more than once: levels, what stands, what is adjusted for, and that all looks together seldom err."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from poolsearch.evaluation.looks import ERROR, FIRST, Look, level_of, level_spent
from poolsearch.evaluation.stats import Difference, paired_difference
from poolsearch.evaluation.verdict import (
    JudgedPick,
    PairComparison,
    TrainedNetwork,
    judge_picks,
    pooled_variance_of,
    recommended_pick,
    verdict,
)

NONE = np.zeros((3, 4))
DEFAULT = TrainedNetwork("4,3,3", 1.0, NONE)


def answer(p: float, look: Look, mean: float = 0.01) -> JudgedPick:
    found = PairComparison("4,3,3", Difference(mean, mean - 0.008, mean + 0.008, 4, p), 0.9)
    return JudgedPick(None, TrainedNetwork("5,3,2", 1.5, NONE), found, None, p, None, look)


def test_the_first_look_is_tested_as_if_it_were_the_only_one_and_all_together_at_twice_that() -> None:
    assert level_of(1) == FIRST.level == ERROR
    levels = [level_of(look) for look in range(1, 60)]
    assert all(after == before / 2 for before, after in pairwise(levels))
    # two-sided: a recommendation is on one side, and so errs half as often
    assert sum(levels) / 2 <= ERROR and sum(levels) / 2 == pytest.approx(ERROR)


@pytest.mark.parametrize(
    ("p", "look", "better"),
    [
        (0.04, Look(1), True),
        (0.04, Look(2), False),
        (0.024, Look(2), True),
        (0.024, Look(3), False),
        (0.04, Look(2, frozenset({"5,3,2"})), True),  # shown before, and still so at 5 %
        (0.06, Look(2, frozenset({"5,3,2"})), False),
        (0.04, Look(2, frozenset({"6,2,2"})), False),
    ],
)
def test_a_pick_is_better_at_the_level_of_its_look_or_stays_so(p: float, look: Look, better: bool) -> None:
    judged = answer(p, look)
    assert judged.better == better
    assert verdict([judged], DEFAULT).startswith("Move" if better else "There is no evidence")


def test_what_an_earlier_look_found_better_is_not_better_with_a_loss() -> None:
    judged = answer(0.04, Look(2, frozenset({"5,3,2"})), mean=-0.01)
    assert not judged.better and not judged.worse
    assert answer(0.02, Look(2), mean=-0.01).worse


def test_the_sentence_says_why_less_than_five_percent_is_not_enough_and_what_no_longer_holds() -> None:
    sentence = verdict([answer(0.031, Look(2))], DEFAULT)
    assert "4 seeds, p = 0.031)" in sentence
    assert "The p value of 5,3,2 is 0.031, and look 2 at the test split is tested at 0.025." in sentence
    withdrawn = verdict([answer(0.07, Look(2, frozenset({"5,3,2"})))], DEFAULT)
    assert "An earlier look found 5,3,2 better; all trainings together no longer show it." in withdrawn
    assert "look" not in verdict([answer(0.07, FIRST)], DEFAULT)


def trained(name: str, share: float, seed: int) -> TrainedNetwork:
    return TrainedNetwork(name, 1.0, np.random.default_rng(seed).random((4, 2000)) < share)


def test_picks_that_may_have_been_chosen_among_networks_seen_are_adjusted_for_all_of_them() -> None:
    default, pick = trained("4,3,3", 0.8, 0), trained("5,3,2", 0.83, 1)
    once, chosen = (judge_picks([(None, pick)], default, None, 0, look=look)[0] for look in (Look(2), Look(2, seen=7)))
    assert once.adjusted_p is not None and chosen.adjusted_p == pytest.approx(8 * once.adjusted_p)
    assert "7 networks seen before" in verdict([chosen], default)


def test_what_could_not_have_been_shown_is_said_at_the_level_of_the_look() -> None:
    default, pick = trained("4,3,3", 0.8, 0), trained("5,3,2", 0.8, 1)
    first, third = (judge_picks([(None, pick)], default, None, 0, look=Look(n))[0] for n in (1, 3))
    assert first.default == third.default  # the interval stays that of 95 %
    wide = paired_difference(pick.value_SN, default.value_SN, 1 - level_of(3)).half
    assert wide is not None and third.least == wide and first.least is None
    assert f"less than {100 * wide.whole:.2f} points" in verdict([third], default)


@pytest.mark.parametrize(
    ("look", "level"),
    [
        ({"level": 0.025}, 0.025),
        ({"level": None, "difference": None}, None),
        ({"difference": {"mean": 0.1}}, 0.05),  # of versions that looked once, at 5 %
        ({"difference": None}, None),
    ],
)
def test_what_a_look_has_spent(look: dict[str, float | None], level: float | None) -> None:
    assert level_spent(look) == level


def test_the_worst_user_is_seldom_recommended_a_change_where_there_is_none() -> None:
    """Looked at with 2, 3, 4 and 6 seeds until a change is recommended; seeds move all images, which is the worst.

    The whole simulation is examples/verdict_simulation.py.
    """
    studies, moves, naive = 60, 0, 0
    for study in range(studies):
        rng = np.random.default_rng(study)
        hard_N, luck_KS1 = rng.normal(0, 1, 400), rng.normal(0, 0.1, (4, 6, 1))
        right = [rng.normal(0, 0.3, (6, 400)) + hard_N + luck < 1.2 for luck in luck_KS1]
        better, once = frozenset[str](), False
        for number, seeds in enumerate((2, 3, 4, 6), 1):
            networks = [TrainedNetwork(n, 1.0, r[:seeds]) for n, r in zip(("4,3,3", "a", "b", "c"), right, strict=True)]
            spread, picks = pooled_variance_of(networks), list(zip((1.0, 1.5, None), networks[1:], strict=True))
            judged = judge_picks(picks, networks[0], spread, study, look=Look(number, better))
            once |= any(one.ahead_at(ERROR) for one in judged)
            better |= {one.pick.name for one in judged if one.better}
        moves += bool(better)
        naive += once
        assert (recommended_pick(judged) is None) == (not any(one.better for one in judged))
    assert moves <= 0.05 * studies and moves <= naive
