"""Ask and tell of the mixture: tables only, so that everything is tried on toy accuracies."""

from __future__ import annotations

import json
import math
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsearch import rng
from poolsearch.ask_tell import MixtureSearch, Trial
from poolsearch.errors import PoolsearchError
from poolsearch.mixture.mixture import Mixture, MixtureRules
from poolsearch.samplers.uniform import Uniform
from poolsearch.space import Placement, Space

SPACE = Space(10, 2, Placement.of_blocks([4, 3, 3]))
STEPS = 60


def search(**changes):
    return MixtureSearch(**{"space": SPACE, "members": 3, "steps": STEPS, "seed": 5} | changes)


def accuracy(trial, placement=None):
    """Of a toy supernet: each member is best on its own part of the space."""
    number = SPACE.index(placement or trial.placement)
    noise = rng.generator(7, "noise", trial.number).normal(0, 0.02)
    return float(np.clip(0.5 + 0.3 * (number % 3 == trial.member) + noise, 0, 1))


def told(trial):
    if len(trial.placements) == 1:
        return accuracy(trial)
    return {placement: accuracy(trial, placement) for placement in trial.placements}


def play(of, steps=STEPS, placements=1):
    trials = []
    for _ in range(steps):
        trials.append(of.ask(placements))
        of.tell(trials[-1], told(trials[-1]))
    return trials


def tables(of):
    return {name: np.asarray(value).tolist() for name, value in of.mixture.state().items()}


def test_a_step_is_the_paper_s_written_out():
    """Prepare, a uniform placement, a member by the assignment, the score: against the mixture's own parts."""
    ours, mixture = search(), Mixture(SPACE.size, MixtureRules(3, inv_temp_end=300.0), 5)
    for step in range(STEPS + 5):
        trial = ours.ask()
        mixture.prepare(step, min(1.0, step / (STEPS - 1)), True)
        number = int(rng.generator(5, "placement", step).integers(SPACE.size))
        member = mixture.member(number, rng.generator(5, "member", step).random())
        assert (trial.step, trial.member, trial.numbers, trial.placement) == (step, member, (number,), SPACE[number])
        ours.tell(trial, accuracy(trial))
        mixture.trained(number, member)
        mixture.scored(number, member, accuracy(trial), step)
    assert tables(ours) == {name: np.asarray(value).tolist() for name, value in mixture.state().items()}


def test_several_placements_of_one_member_are_drawn_by_the_assignment():
    ours = search()
    for trial in play(ours, placements=4):
        assert len(trial.placements) == len(trial.numbers) == 4
        draw = rng.generator(5, "member", trial.step)
        assert trial.member == draw.integers(3)
    assert ours.mixture.trained_AM.sum() == 4 * STEPS
    trained_M = ours.mixture.trained_AM.sum(0)
    assert trained_M.min() > 0


@pytest.mark.parametrize("sampler", ["uniform", "boltzmann", "tree"])
def test_one_member_searches_by_any_sampler_and_finds_what_is_better(sampler):
    ours = search(members=1, sampler=sampler, steps=400)
    for _ in range(400):
        trial = ours.ask(2) if sampler == "uniform" else ours.ask()
        ours.tell(trial, {p: 0.9 if SPACE.index(p) == 20 else 0.2 for p in trial.placements})
    assert ours.ranking()[0].number == 20


@given(
    st.lists(st.sampled_from(["ask", "several", "stalest", "tell", "save"]), max_size=60),
    st.sampled_from([("uniform", 3), ("uniform", 1), ("boltzmann", 1), ("tree", 1)]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_told_late_in_any_order_or_never_a_saved_search_goes_on_as_the_one_that_never_stopped(actions, kind, draw):
    sampler, members = kind
    whole, parts, waiting = search(sampler=sampler, members=members), search(sampler=sampler, members=members), []
    for action in actions:
        if action == "save":
            saved = json.loads(json.dumps(parts.state_dict()))
            parts = search(sampler=sampler, members=members)
            waiting = [(a, pickle.loads(pickle.dumps(b))) for a, b in waiting]
            parts.load_state_dict(saved)
        elif action != "tell":
            one, other = (
                of.ask_stalest() if action == "stalest" else of.ask(3 if action == "several" else 1)
                for of in (whole, parts)
            )
            assert replace(one, search="") == replace(other, search="")
            waiting.append((one, other))
        elif waiting:
            one, other = waiting.pop(draw.randrange(len(waiting)))
            whole.tell(one, told(one))
            parts.tell(other, told(other))
    assert tables(whole) == tables(parts)
    assert whole.ranking() == parts.ranking()


def test_every_member_is_trained_as_often_whatever_is_told():
    ours = search(steps=3000, members=3)
    play(ours, 3000)
    trained_M = ours.mixture.trained_AM.sum(0)
    assert abs(trained_M / 1000 - 1).max() < 0.1
    own = [row.member for row in sorted(ours.ranking(), key=lambda row: row.number)]
    assert np.mean([member == number % 3 for number, member in enumerate(own)]) > 0.9


def test_a_refresh_is_scored_but_not_trained_and_the_sampler_is_not_told():
    ours = search(members=1, sampler="tree")
    play(ours, 3)
    before, sampler = ours.mixture.trained_AM.copy(), json.dumps(ours.sampler.state())
    trial = ours.ask_stalest()
    assert not trial.trained and trial.step == 2 and ours.step == 3
    assert ours.mixture.scored_AM[trial.numbers[0], 0] == 0
    ours.tell(trial, 0.5)
    assert ours.mixture.scored_AM[trial.numbers[0], 0] == 1
    assert (ours.mixture.trained_AM == before).all() and json.dumps(ours.sampler.state()) == sampler


class Tensor:
    """What a tensor of one element does when a number is made of it."""

    def __float__(self):
        return 0.25


@pytest.mark.parametrize("metric", [0, 1, 0.25, np.float32(0.25), np.array(0.25), Tensor(), True])
def test_numbers_of_any_kind_are_metrics(metric):
    ours = search()
    ours.tell(ours.ask(), metric)
    assert ours.mixture.scored_AM.sum() == 1


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (math.nan, "is nan; allowed is a number from 0 to 1: has the training diverged"),
        (87.5, "divide a percentage by 100, which gives 0.875"),
        (-0.1, "is -0.1; .* of a loss"),
        (math.inf, "is inf; .* of a loss"),
        (None, "is None: give one number from 0 to 1"),
        ("0.5", "is '0.5': give one number"),
        ([0.5, 0.6], r"is \[0.5, 0.6\]: give one number"),
        ({}, "lacks .*Give one for each"),
        ({Placement.of_blocks([5, 5]): 0.5}, "has also 5,5"),
    ],
    ids=str,
)
def test_a_metric_that_is_none_is_refused_and_changes_nothing(metric, says):
    ours = search()
    play(ours, 5)
    trial = ours.ask()
    before = json.dumps(ours.state_dict())
    with pytest.raises(PoolsearchError, match=says):
        ours.tell(trial, metric)
    assert json.dumps(ours.state_dict()) == before
    ours.tell(trial, 0.5)


def test_of_several_placements_each_needs_its_metric():
    ours = search()
    trial = ours.ask(4)
    before = json.dumps(ours.state_dict())
    with pytest.raises(PoolsearchError, match=r"has 4 different placements, and it was told a float"):
        ours.tell(trial, 0.5)
    with pytest.raises(PoolsearchError, match=r"lacks .*Give one for each of trial.placements"):
        ours.tell(trial, dict.fromkeys(trial.placements[:-1], 0.5))
    with pytest.raises(PoolsearchError, match=r"metric of placement .* is 7"):
        ours.tell(trial, dict.fromkeys(trial.placements, 0.5) | {trial.placements[-1]: 7})
    with pytest.raises(PoolsearchError, match=r"has 4 placements: use trial.placements"):
        _ = trial.placement
    assert json.dumps(ours.state_dict()) == before


def test_a_trial_is_told_once_to_the_search_that_asked_for_it():
    ours, other = search(), search()
    first, foreign = ours.ask(), other.ask()
    ours.tell(first, 0.5)
    before = json.dumps(ours.state_dict())
    never = replace(first, number=1)
    for trial, says in [
        (first, "told before"), (foreign, "another search"), (never, "was not asked for"),
        (replace(first, number=-1), "was not asked for"), (first.placement, "this is a Placement"),
    ]:  # fmt: skip
        with pytest.raises(PoolsearchError, match=says):
            ours.tell(trial, 0.5)
    assert json.dumps(ours.state_dict()) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": [1, 2]}, "space is a list: give a poolsearch.Space"),
        ({"steps": 0}, "steps is 0; allowed is a whole number of at least 1"),
        ({"members": 2.5}, "members is 2.5"),
        ({"members": True}, "members is True"),
        ({"sampler": "uniformly"}, "unknown sampler 'uniformly'. Did you mean 'uniform'?"),
        ({"sampler": "tree"}, "is for one supernet, and this search has 3 members"),
        ({"sampler": 3.5}, "sampler is a float without ask, tell, state, load_state"),
        ({"rules": MixtureRules(4)}, "members is 3, and the rules are for 4"),
        ({"members": 1, "rules": MixtureRules(1, balance_every="epoch")}, "need steps_per_epoch"),
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0"),
        ({"space": Space(60, 8, Placement.of_blocks([52, *[1] * 8]))}, r"space.subset\(20_000, seed=0\)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_search_that_cannot_be_made_says_why(changes, says):
    with pytest.raises(PoolsearchError, match=says):
        search(**changes)


def test_a_sampler_of_ones_own_is_asked_and_watched():
    class Own(Uniform):
        bad = False

        def ask(self):
            return Placement.of_blocks([9, 9]) if self.bad else SPACE[3]

    own = Own(SPACE, 0)
    ours = search(sampler=own)
    assert [ours.ask().placement for _ in range(4)] == [SPACE[3]] * 4
    with pytest.raises(PoolsearchError, match="are drawn uniformly, and this search has the sampler Own"):
        ours.ask(2)
    own.bad = True
    with pytest.raises(PoolsearchError, match=r"the sampler Own asked for .*not one of the 36 placements"):
        ours.ask()
    assert ours.step == 4 and ours.mixture.trained_AM.sum() == 4


def test_by_epoch_the_scalings_are_found_at_its_first_step_alone():
    ours = search(members=None, rules=MixtureRules(3, balance_every="epoch"), steps_per_epoch=10)
    found = []
    for _ in range(30):
        ours.tell(trial := ours.ask(), accuracy(trial))
        found.append(ours.mixture.iterations)
    assert [step for step in range(1, 30) if found[step] > found[step - 1]] == [10, 20]


def test_steps_beyond_the_last_go_on_at_the_final_temperature():
    ours = search(steps=3)
    assert [ours.progress(step) for step in range(5)] == [0, 0.5, 1, 1, 1]
    assert [trial.step for trial in play(ours, 6)] == list(range(6))


def test_a_state_is_plain_values_and_a_copy():
    ours = search(members=1, sampler="tree")
    play(ours, 20)
    state = ours.state_dict()
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    text = json.dumps(state)
    play(ours, 20)
    assert json.dumps(state) == text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": SPACE.take(range(30))}, "space: 36 placements .* in the state, 30 placements"),
        ({"members": 2}, "members: 3 in the state, 2 here"),
        ({"seed": 6}, "seed: 5 in the state, 6 here"),
        ({"steps": 61}, "steps: 60 in the state, 61 here"),
        ({"members": 1, "sampler": "tree"}, "members: .*sampler: uniform in the state, tree here"),
        ({"members": None, "rules": MixtureRules(3, beta=0.5)}, "rules: "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_state_of_another_search_is_refused_and_nothing_has_changed(changes, says):
    ours, other = search(), search(**changes)
    play(ours, 5)
    before = json.dumps(other.state_dict())
    with pytest.raises(PoolsearchError, match=says):
        other.load_state_dict(ours.state_dict())
    assert json.dumps(other.state_dict()) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: None,
        lambda _: {},
        lambda state: state | {"kind": "TrialSearch"},
        lambda state: {name: value for name, value in state.items() if name != "mixture"},
        lambda state: state | {"mixture": state["mixture"] | {"score_AM": [[0.5]]}},
        lambda state: state | {"told": "zz"},
        lambda state: state | {"told": ""},
        lambda state: state | {"sampler": {"no": 1}},
        lambda state: state | {"step": None},
    ],
)
def test_a_damaged_state_is_refused_and_nothing_has_changed(damage):
    ours = search(members=1, sampler="boltzmann")
    play(ours, 9)
    before = json.dumps(ours.state_dict())
    with pytest.raises(PoolsearchError, match="state"):
        ours.load_state_dict(damage(json.loads(before)))
    assert json.dumps(ours.state_dict()) == before


def quality(member, placement):
    return 0.5 + SPACE.index(placement) / 100 - member / 1000


def test_a_ranking_asks_each_placement_s_member_and_leaves_the_search_as_it_is():
    ours, same = search(), search()
    play(ours, 30), play(same, 30)
    asked = []
    ranking = ours.ranking(lambda member, placement: asked.append((member, placement)) or quality(member, placement))
    assert sorted(asked, key=str) == sorted(((m, p) for m, ps in ours.to_evaluate().items() for p in ps), key=str)
    assert [row.number for row in ranking] == list(range(35, -1, -1))
    assert all(row.val_metric == quality(row.member, row.placement) for row in ranking)
    assert [row.rank for row in ranking] == list(range(1, 37))
    assert [row.placement for row in ranking if row.is_default] == [SPACE.default]
    assert ranking == ours.ranking({(m, p): quality(m, p) for m, ps in ours.to_evaluate().items() for p in ps})
    play(ours, 30), play(same, 30)
    assert tables(ours) == tables(same), "to the bit"


def test_the_mean_of_all_members_ranks_on_request():
    ours = search()
    play(ours, 30)
    ranking = ours.ranking(quality, members="mean")
    assert ranking[0].val_metric == pytest.approx(0.5 + 35 / 100 - 1 / 1000)
    assert {len(placements) for placements in ours.to_evaluate("mean").values()} == {36}


def test_by_scores_what_was_never_scored_comes_last_and_has_none():
    ours = search()
    play(ours, 10)
    ranking = ours.ranking()
    scores = [row.score for row in ranking]
    seen = [score for score in scores if score is not None]
    assert 0 < len(seen) <= 10 and scores == [*sorted(seen, reverse=True), *[None] * (36 - len(seen))]
    assert all(row.val_metric is None for row in ranking)


def test_of_a_large_space_the_best_by_score_and_the_default_are_evaluated():
    ours = search()
    play(ours, 50)
    first = [row.number for row in ours.ranking()[:5]]
    found = ours.ranking(quality, top=5)
    assert {row.number for row in found} == {*first, SPACE.index(SPACE.default)}


def test_ties_are_decided_by_fewer_macs_then_by_number():
    ours, macs_A = search(), np.full(36, 9.0)
    macs_A[[4, 20]] = 5.0
    ranking = ours.ranking(lambda *_: 0.5, macs=macs_A)
    assert [row.number for row in ranking[:4]] == [4, 20, 0, 1]
    assert (ranking[0].macs, ranking[0].macs_ratio) == (5, 5 / 9)
    with pytest.raises(PoolsearchError, match=r"macs has the shape \(3,\): give a positive number for each of the 36"):
        ours.ranking(macs=[1, 2, 3])


def test_an_evaluation_that_fails_is_the_user_s_own_error_and_loses_nothing():
    ours = search()
    play(ours, 5)
    before = json.dumps(ours.state_dict())

    def fails(member, placement):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        ours.ranking(fails)
    if sys.version_info >= (3, 11):
        assert f"with placement {SPACE[0].shown}" in caught.value.__notes__[0]
    for evaluate, says in [
        (lambda *_: 50.0, "metric of member . with placement .* is 50"),
        ({}, r"there is no metric for member . with placement"),
    ]:
        with pytest.raises(PoolsearchError, match=says):
            ours.ranking(evaluate)
    with pytest.raises(PoolsearchError, match="unknown value for members"):
        ours.ranking(members="best")
    assert json.dumps(ours.state_dict()) == before


def test_a_ranking_prints_as_a_table_and_gives_plain_rows():
    ours = search()
    ranking = ours.ranking(quality, macs=np.arange(1, 37))
    lines = repr(ranking).splitlines()
    assert lines[0].split() == [
        "rank", "placement", "number", "val_metric", "member", "assignment", "macs", "macs_ratio", "is_default",
    ]  # fmt: skip
    assert lines[1].split()[:4] == ["1", SPACE[35].shown, "35", f"{quality(ranking[0].member, SPACE[35]):.4f}"]
    assert len(lines) == 22 and lines[-1] == "and 16 more"
    assert repr(ranking[:0]) == "no placements" and len(ranking[:3]) == 3
    row = ranking.to_dicts()[0]
    assert json.loads(json.dumps(row)) == row and Placement.parse(row["placement"]) == ranking[0].placement


def test_a_trial_says_what_it_is():
    trial = search().ask()
    assert isinstance(trial, Trial) and "search=" not in repr(trial)
