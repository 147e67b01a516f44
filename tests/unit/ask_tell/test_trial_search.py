"""Stand-alone trainings as ask and tell, on made up trainings."""

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from poolsearch.ask_tell import TrialSearch
from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.stats import wilson
from poolsearch.space import Placement, Space

SPACE = Space(6, 1, Placement.of_blocks([3, 3]))  # five placements
MACS_A = np.array([2.0, 3.0, 4.0, 5.0, 6.0]) * 1e6
WORTH = (0.70, 0.74, 0.80, 0.86, 0.83)


def search(**changes):
    return TrialSearch(**{"space": SPACE, "macs": MACS_A, "images": 1000} | changes)


def worth(trial):
    noise = np.random.default_rng([SPACE.index(trial.placement), trial.seed]).normal(0, 0.003)
    return float(WORTH[SPACE.index(trial.placement)] + noise)


def play(of, most):
    trials = []
    while len(trials) < most and (trial := of.ask()) is not None:
        of.tell(trial, worth(trial))
        trials.append(trial)
    return trials


def test_the_default_comes_first_twice_and_then_what_promises_most():
    ours = search()
    trials = play(ours, 6)
    assert [(trial.placement, trial.seed, trial.why) for trial in trials[:2]] == [
        (SPACE.default, 0, "default"), (SPACE.default, 1, "default")
    ]  # fmt: skip
    assert {trial.why for trial in trials[2:]} == {"promising"} and all(trial.gain >= 0.1 for trial in trials[2:])
    ranking = ours.ranking()
    assert ours.best().placement == SPACE[3] == ranking[0].placement
    assert ours.best(limit=1.0).placement == SPACE.default
    own = next(row for row in ranking if row.is_default)
    assert (own.prediction, own.trials, own.macs, own.macs_ratio) == (0, 2, 4_000_000, 1)
    assert [row.prediction for row in ranking] == sorted((row.prediction for row in ranking), reverse=True)
    assert sum(row.trials for row in ranking) == len(trials)
    assert repr(ranking).splitlines()[0].split()[:4] == ["rank", "placement", "number", "prediction"]


def test_it_ends_where_nothing_promises_a_tenth_of_a_point():
    alone = SPACE.keep([SPACE.default])
    ours = search(space=alone, macs=[4e6])
    assert len(play(ours, 9)) == 2 and ours.ask() is None


def test_a_search_that_is_saved_anywhere_goes_on_as_one_that_never_stopped():
    whole, parts = search(at_once=2), search(at_once=2)
    for _ in range(4):
        one, other = whole.ask(), parts.ask()
        saved = json.loads(json.dumps(parts.state_dict()))
        parts = search(at_once=2)
        parts.load_state_dict(saved)
        assert replace(one, search="") == replace(other, search="")
        assert parts.waiting()[-1] == pickle.loads(pickle.dumps(other))
        if one.number % 2:  # a round is told in any order
            for of, trials in ((whole, whole.waiting()), (parts, parts.waiting())):
                for trial in reversed(trials):
                    of.tell(trial, worth(trial))
    assert whole.trials == parts.trials and whole.ranking() == parts.ranking()
    assert all(one.after is not None for one in whole.trials)


def test_a_round_is_told_before_the_next_is_asked_for():
    ours = search(at_once=2)
    trials = [ours.ask(), ours.ask()]
    ours.tell(trials[1], 0.8)
    before = json.dumps(ours.state_dict())
    with pytest.raises(PoolsearchError, match=r"what the 2 of this round show: tell first what came of 3,3 \(seed 0\)"):
        ours.ask()
    assert json.dumps(ours.state_dict()) == before
    ours.tell(trials[0], 0.8)
    assert ours.ask().number == 2


def test_rounds_at_once_are_those_asked_for_one_by_one():
    together, single = search(at_once=3), search(at_once=3)
    for most in (2, 3, 6):
        for trial in together.ask_round(most):
            together.tell(trial, worth(trial))
    while len(single.trials) < len(together.trials):
        try:
            single.ask()
        except PoolsearchError:  # of the round all were asked for
            for trial in single.waiting():
                single.tell(trial, worth(trial))
    for trial in single.waiting():
        single.tell(trial, worth(trial))
    assert single.trials == together.trials and len(single.trials) > 3


def test_scores_of_a_supernet_count_before_any_training():
    ours = search(scores=[0.1, 0.2, 0.3, 0.4, 0.9])
    last = str(SPACE[4])
    assert ours.predictions()[last].mean > search().predictions()[last].mean
    assert 0 < ours.belief().trust < 1 and search().belief().trust == 0


def test_the_interval_of_a_metric_follows_from_the_images_unless_it_is_told():
    ours = search(images=100)
    ours.tell(ours.ask(), 0.7)
    ours.tell(ours.ask(), 0.7, 0.5, 0.9)
    assert [(one.low, one.high) for one in ours.trials] == [wilson(70, 100), (0.5, 0.9)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": "4,3,3"}, "space is a str"),
        ({"macs": [1, 2]}, r"macs has the shape \(2,\): give a positive number for each of the 5"),
        ({"macs": [0, 1, 1, 1, 1]}, "positive"),
        ({"scores": [1, 2, 3, 4, math.nan]}, r"scores have the shape \(5,\) and 1 that are no numbers"),
        ({"images": 0}, "images is 0"),
        ({"at_once": 0}, "at_once is 0"),
        ({"limits": (1.0, -1)}, r"limits are \[1.0, -1.0\]: give numbers above 0"),
        ({"default": Placement.of_blocks([4, 4])}, "the default 4,4 is not one of the 5 placements"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_search_that_cannot_be_made_says_why(changes, says):
    with pytest.raises(PoolsearchError, match=says):
        search(**changes)


def test_what_is_told_wrongly_changes_nothing():
    ours, other = search(), search()
    first, foreign = ours.ask(), other.ask()
    before = json.dumps(ours.state_dict())
    for trial, metric, says in [
        (first, math.nan, r"the metric of trial 0 \(3,3, seed 0\) is nan"), (first, 80, "which gives 0.8"),
        (foreign, 0.5, "asked for by another search"), (replace(first, number=1), 0.5, "was not asked for"),
        (replace(first, seed=4), 0.5, "was not asked for"), (first.placement, 0.5, "this is a Placement"),
    ]:  # fmt: skip
        with pytest.raises(PoolsearchError, match=says):
            ours.tell(trial, metric)
    with pytest.raises(PoolsearchError, match=r"the interval of trial 0 .* is 0.9 to 0.1"):
        ours.tell(first, 0.5, 0.9, 0.1)
    assert json.dumps(ours.state_dict()) == before
    ours.tell(first, 0.5)
    with pytest.raises(PoolsearchError, match="told before"):
        ours.tell(first, 0.5)
    with pytest.raises(PoolsearchError, match=r"at most 0.1 times the MACs of the default; the least is 0.5 times"):
        ours.best(limit=0.1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"macs": MACS_A + 1}, "placements: "), ({"at_once": 2}, "at_once: 1 in the state, 2 here"),
        ({"images": 999}, "images: "), ({"limits": (1.0,)}, "limits: "), ({"default": SPACE[0]}, "default: "),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_the_state_of_another_search_is_refused(changes, says):
    ours, other = search(), search(**changes)
    play(ours, 2)
    with pytest.raises(PoolsearchError, match=says):
        other.load_state_dict(ours.state_dict())
    with pytest.raises(PoolsearchError, match="the state is damaged"):
        ours.load_state_dict(ours.state_dict() | {"trials": [{}]})
    with pytest.raises(PoolsearchError, match="no state of a TrialSearch"):
        ours.load_state_dict({})
    assert other.trials == () and len(ours.trials) == 2
