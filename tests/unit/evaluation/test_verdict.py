"""Answers on the test images, and the sentence a run ends with, for each case."""

from __future__ import annotations

import numpy as np
import pytest

from poolsearch.evaluation.stats import Difference, paired_difference, pooled_variance
from poolsearch.evaluation.verdict import (
    JudgedPick,
    PairComparison,
    TrainedNetwork,
    compare_networks,
    control_note,
    judge_picks,
    pooled_variance_of,
    rarest_class,
    recommended_pick,
    verdict,
)

NONE = np.zeros((3, 4))
DEFAULT = TrainedNetwork("4,3,3", 1.0, NONE)


def answer(limit, name, mean, adjusted_p, ratio=1.54, half=0.008, diverged=False):
    difference = Difference(mean, mean - half, mean + half, 3, 0.01)
    return JudgedPick(
        limit, TrainedNetwork(name, ratio, NONE, diverged), PairComparison("4,3,3", difference, 0.9), None, adjusted_p
    )


def own(limit):
    return JudgedPick(limit, DEFAULT, None, None, None)


def test_a_change_is_recommended_when_the_adjusted_test_says_so():
    sentence = verdict([own(1.0), answer(None, "5,3,2", 0.0103, 0.012)], DEFAULT)
    assert sentence == (
        "Move the downsampling to 5,3,2, first on the validation images: +1.03 points of test accuracy against the "
        "default 4,3,3, at 1.54 times its MACs (95% interval +0.23 to +1.83, 3 seeds)."
    )


@pytest.mark.parametrize(
    ("mean", "adjusted_p", "starts"),
    [
        (0.0103, 0.0501, "There is no evidence to change your network: 5,3,2"),
        (-0.0103, 0.2, "There is no evidence to change your network: 5,3,2"),
        (-0.02, 0.001, "Keep the default, there is no evidence to change your network: 5,3,2"),
    ],
)
def test_otherwise_it_says_that_there_is_no_evidence(mean, adjusted_p, starts):
    sentence = verdict([own(1.0), answer(None, "5,3,2", mean, adjusted_p)], DEFAULT)
    assert sentence.startswith(starts)
    assert f"has {mean * 100:+.2f} points" in sentence


def test_of_several_that_hold_the_cheapest_is_recommended_and_the_others_are_told():
    judged = [
        answer(1.0, "3,4,3", 0.004, 0.04, ratio=0.92),
        answer(1.5, "5,3,2", 0.012, 0.01, ratio=1.5),
        answer(None, "7,1,2", 0.016, 0.003, ratio=2.2),
    ]
    chosen = recommended_pick(judged)
    assert chosen is not None and chosen.pick.name == "3,4,3"
    sentence = verdict(judged, DEFAULT)
    assert sentence.startswith(
        "Move the downsampling to 3,4,3, first on the validation images within 1 times the default's MACs: +0.40 points"
    )
    assert "p = 0.04 adjusted for 3 answers" in sentence
    assert sentence.endswith(
        "Also better, for more MACs: 5,3,2, +1.20 points at 1.50 times; 7,1,2, +1.60 points at 2.20 times."
    )


def test_a_dear_answer_that_alone_holds_is_recommended():
    judged = [answer(1.0, "3,4,3", 0.001, 0.8, ratio=0.9), answer(None, "7,1,2", 0.016, 0.003, ratio=2.2)]
    assert verdict(judged, DEFAULT).startswith("Move the downsampling to 7,1,2, first on the validation images: +1.60")


def test_without_one_that_holds_the_first_of_the_ranking_is_told():
    judged = [answer(1.0, "3,4,3", 0.001, 0.8, ratio=0.9), answer(None, "7,1,2", 0.006, 0.3, ratio=2.2)]
    sentence = verdict(judged, DEFAULT)
    assert "7,1,2, first on the validation images, has +0.60" in sentence
    assert sentence.endswith("Nor is any other of the 2 answers better.")


def test_a_winner_that_is_the_default_leaves_nothing_to_test():
    sentence = verdict([own(1.0), own(None)], DEFAULT)
    assert sentence.startswith("There is no evidence to change your network: its own placement 4,3,3 came out first")


def test_a_cheaper_answer_is_told_where_the_winner_is_the_default():
    judged = [answer(0.7, "2,4,4", -0.001, 0.6, ratio=0.7), own(None)]
    assert "2,4,4, first on the validation images within 0.7 times the default's MACs, has -0.10" in verdict(
        judged, DEFAULT
    )


def test_one_seed_gives_no_verdict():
    one = JudgedPick(None, TrainedNetwork("5,3,2", 1.5, NONE[:1]), None, None, None)
    assert verdict([own(1.0), one], DEFAULT).startswith("No verdict: 5,3,2")
    assert "--retrain-seeds 3" in verdict([own(1.0), one], DEFAULT)


@pytest.mark.parametrize(
    ("pick", "default", "named"),
    [(True, False, "5,3,2"), (True, True, "5,3,2 diverged; 4,3,3"), (False, True, "4,3,3")],
)
def test_a_diverged_training_gives_no_verdict(pick, default, named):
    judged = [answer(None, "5,3,2", 0.02, 0.001, diverged=pick)]
    sentence = verdict(judged, TrainedNetwork("4,3,3", 1.0, NONE, default))
    assert sentence == (
        f"No verdict on 5,3,2, first on the validation images, as training failed: {named} diverged. Use a lower "
        "--retrain-lr in a new run."
    )


# --- judging ---------------------------------------------------------------------------------------------------------


def trained(name, share, ratio=1.0, seeds=3, images=2000, seed=0, luck=0.0):
    rng = np.random.default_rng(seed)
    lucky_S1 = rng.normal(0, luck, (seeds, 1))
    return TrainedNetwork(name, ratio, rng.random((seeds, images)) < share + lucky_S1)


def test_answers_with_one_pick_are_one_test_and_the_default_is_none():
    default, pick, other = (
        trained("4,3,3", 0.8),
        trained("5,3,2", 0.84, 1.5, seed=1),
        trained("3,4,3", 0.8, 0.9, seed=2),
    )
    spread = pooled_variance_of([default, pick, other])
    judged = judge_picks([(0.5, default), (1.0, other), (1.5, pick), (None, pick)], default, spread, 0)
    assert judged[0].default is None and judged[0].adjusted_p is None
    assert judged[2].default == judged[3].default
    p = paired_difference(pick.value_SN, default.value_SN, spread=spread).p
    assert judged[3].adjusted_p == pytest.approx(2 * p)  # the smaller of two p values
    assert judged[3].better and not judged[1].better
    assert judged[3].default is not None and judged[3].default.probability > 0.99


def test_at_equal_macs_a_cheap_pick_meets_the_default_and_the_winner_the_larger_images():
    default, cheap, dear = (
        trained("4,3,3", 0.8),
        trained("3,4,3", 0.8, 0.9, seed=1),
        trained("7,1,2", 0.85, 2.0, seed=2),
    )
    larger = trained("4,3,3 at 45x45", 0.9, 1.98, seed=3)
    judged = judge_picks([(1.0, cheap), (1.5, trained("5,3,2", 0.8, 1.4)), (None, dear)], default, None, 0, larger)
    assert [answer.equal_macs and answer.equal_macs.against for answer in judged] == ["4,3,3", None, "4,3,3 at 45x45"]
    assert judged[2].equal_macs is not None and judged[2].equal_macs.difference.high < 0
    without = judge_picks([(None, dear)], default, None, 0)
    assert without[0].equal_macs is None


def test_one_seed_compares_nothing():
    default, pick = trained("4,3,3", 0.8, seeds=1), trained("5,3,2", 0.9, seeds=1)
    assert pooled_variance_of([default, pick]) is None
    assert judge_picks([(None, pick)], default, None, 0)[0].default is None


def test_the_common_spread_leaves_out_what_diverged():
    networks = [trained(str(i), 0.8, seed=i, luck=0.01) for i in range(3)]
    lost = TrainedNetwork("lost", 1.0, np.zeros((3, 2000)), diverged=True)
    spread = pooled_variance_of([*networks, lost])
    assert spread is not None
    assert spread.variance == pooled_variance([network.value_SN.mean(1) for network in networks]).variance


def test_a_change_is_seldom_recommended_where_there_is_none():
    """Four networks as good as each other; three answers. The whole simulation is examples/verdict_simulation.py."""
    moves, studies = 0, 200
    for study in range(studies):
        rng = np.random.default_rng(study)
        hard_N = rng.normal(0, 1, 500)
        luck_KS1 = rng.normal(0, 0.1, (4, 2, 1))
        networks = [
            TrainedNetwork(name, 1.0, rng.normal(0, 0.3, (2, 500)) + hard_N + luck < 1.2)
            for name, luck in zip(("4,3,3", "a", "b", "c"), luck_KS1, strict=True)
        ]
        spread = pooled_variance_of(networks)
        judged = judge_picks(list(zip((1.0, 1.5, None), networks[1:], strict=True)), networks[0], spread, study)
        moves += verdict(judged, networks[0]).startswith("Move")
    assert moves <= 0.05 * studies


# --- controls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "ends"), [(0.7, ")."), (0.8, "; no evidence that the winner is better."), (0.95, "; it is better.")]
)
def test_a_control_is_told_with_what_it_reached_and_what_it_means(share, ends):
    winner, rival = trained("5,3,2", 0.8, 1.5), trained("8,1,1", share, 2.0, seed=1)
    sentence = control_note("macs", winner, rival, compare_networks(winner, rival, None, 0))
    assert sentence.startswith(
        f"MACs alone would choose 8,1,1: {rival.mean:.2%} on test at 2.00 times the default's MACs"
    )
    assert sentence.endswith(ends)
    assert ("better" in sentence) == (share > 0.75)


def test_controls_with_nothing_to_compare():
    winner = trained("8,1,1", 0.8, 2.0)
    assert control_note("macs", winner, winner, None) == "MACs alone would choose the winner 8,1,1, too."
    assert "nothing was trained, as it is so" in control_note("input-size", winner, None, None, "it is so")
    lost = TrainedNetwork("9,1,0", 2.0, NONE, diverged=True)
    assert "diverged" in control_note("macs", winner, lost, None)


# --- what cannot be known --------------------------------------------------------------------------------------------


def balanced(share_of_rare, seed, rare=3):
    """A network by balanced accuracy on 200 images and a few of a rare class."""
    draw = np.random.default_rng(seed)
    true_N = np.repeat([0, 1], [200, rare])
    right_N = np.where(true_N == 0, draw.random(200 + rare) < 0.9, np.arange(200 + rare) < 200 + share_of_rare)
    weight_N = (200 + rare) / (2 * np.array([200, rare]))[true_N]
    return np.tile(right_N * weight_N, (3, 1)), true_N


@pytest.mark.parametrize(("rare", "images"), [(1, "1 image,"), (3, "3 images,"), (4, "4 images,")])
def test_with_a_rare_class_no_change_is_recommended(rare, images):
    (all_SN, class_N), (none_SN, _) = balanced(rare, 0, rare), balanced(0, 1, rare)
    default, pick = TrainedNetwork("4,3,3", 1.0, none_SN), TrainedNetwork("5,3,2", 1.5, all_SN)
    few = rarest_class(class_N, ["cat", "lynx"])
    assert few is not None and (few.name, few.images) == ("lynx", rare)
    judged = judge_picks([(None, pick)], default, None, 0, class_N=class_N, rare=few)
    assert not judged[0].better and recommended_pick(judged) is None
    sentence = verdict(judged, default, "balanced accuracy")
    assert sentence.startswith(
        "No change is recommended: balanced accuracy counts every class alike, and of class 'lynx' the test split has "
        f"only {images}"
    )
    assert "use --metric accuracy, in a new run. 5,3,2, first on the validation images has +" in sentence
    assert judged[0].default is not None and judged[0].default.probability < 0.99


def test_five_images_of_a_class_are_judged_and_accuracy_has_no_rare_class():
    assert rarest_class(np.repeat([0, 2], [9, 5]), ["a", "none", "b"]) is None
    assert rarest_class(None, ["a"]) is None


def test_no_evidence_says_which_gain_could_not_have_been_shown_and_what_could():
    default, pick = trained("4,3,3", 0.8, images=300), trained("5,3,2", 0.8, 1.5, images=300, seed=1)
    judged = judge_picks([(None, pick)], default, None, 0)
    found = judged[0].default
    assert found is not None and found.difference.half is not None
    least = found.difference.half.whole
    sentence = verdict(judged, default)
    assert f"This run could not have shown a gain of less than {100 * least:.2f} points. One of " in sentence
    assert "test images (there were 300)" in sentence or "seeds (--retrain-seeds; there were 3)" in sentence
    assert found.difference.high - found.difference.low == pytest.approx(2 * least)


def test_an_interval_that_could_show_a_gain_asks_for_nothing_more():
    same_SN = np.random.default_rng(0).random((3, 50_000)) < 0.9
    default, pick = TrainedNetwork("4,3,3", 1.0, same_SN), TrainedNetwork("5,3,2", 1.5, same_SN.copy())
    sentence = verdict(judge_picks([(None, pick)], default, None, 0), default)
    assert sentence.endswith("points.") and "One of" not in sentence


def test_failed_trainings_are_no_evidence_of_anything():
    lost = TrainedNetwork("5,3,2", 1.5, NONE, failed="never predicts class 'a', of which 9 images were tested")
    sentence = verdict([JudgedPick(None, lost, None, None, None)], DEFAULT)
    assert sentence == (
        "No verdict on 5,3,2, first on the validation images, as training failed: 5,3,2 never predicts class 'a', of "
        "which 9 images were tested. Use more --retrain-epochs, or another --retrain-lr, in a new run."
    )
    assert "Its training failed: it never predicts" in control_note("macs", DEFAULT, lost, None)
