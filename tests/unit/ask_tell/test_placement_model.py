"""Which placements are trained next, and what is then expected of all: no training, no images."""

import math

import numpy as np
import pytest

from poolsearch.ask_tell import placement_model
from poolsearch.ask_tell.placement_model import PlacementModel, noise_floor
from poolsearch.calibration.features import Features
from poolsearch.space import Placement, Space
from poolsearch.storage.trials_record import Prediction, RecordedTrial

SPACE = Space(10, 2, Placement.of_blocks([4, 3, 3]))
PLACEMENTS = [SPACE[number] for number in range(SPACE.size)]
DEFAULT = PLACEMENTS.index(SPACE.default)
MACS_A = np.linspace(0.5, 3.0, len(PLACEMENTS)) * 1e6
NOTHING = Prediction(0.0, 0.0, 0.0)


def model(score_A=None, limits=(1.0, 1.5)):
    ratio_A = MACS_A / MACS_A[DEFAULT]
    features = Features.of(PLACEMENTS, MACS_A, DEFAULT, score_A)
    return PlacementModel(PLACEMENTS, range(len(PLACEMENTS)), MACS_A, features, ratio_A, limits, 1000)


def value(trial):
    """Of a training: a curve over placements, and some noise of its own."""
    number = next(i for i, placement in enumerate(PLACEMENTS) if str(placement) == trial.placement)
    noise = np.random.default_rng([number, trial.seed]).normal(0, 0.003)
    return 0.8 + 0.03 * math.sin(number / 6) + noise


def ended(trial):
    return RecordedTrial(
        **{**vars(trial), "value": value(trial), "low": value(trial) - 0.02, "high": value(trial) + 0.02}
    )


def trained(of, at_once, *mosts):
    """All trainings of a run that is given one limit after the other."""
    trials = []
    for most in mosts:
        while begun := of.next_round(trials, at_once, most):
            assert len(trials) + len(begun) <= most
            trials += [ended(one) for one in begun]
    return trials


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_the_default_is_trained_twice_first_and_each_repeat_has_its_own_seed(at_once):
    trials = trained(model(), at_once, 9)
    assert [(one.placement, one.seed, one.why) for one in trials[:2]] == [
        (str(SPACE.default), 0, "default"), (str(SPACE.default), 1, "default")
    ]  # fmt: skip
    assert len({(one.placement, one.seed) for one in trials}) == len(trials)
    of = [one.placement for one in trials]
    assert [one.seed for one in trials] == [of[:place].count(name) for place, name in enumerate(of)]
    rounds = [one.round for one in trials]
    assert rounds == sorted(rounds) and max(map(rounds.count, rounds)) <= at_once


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize("mosts", [(4, 6), (1, 2, 3, 6), (5, 6)], ids=str)
def test_a_run_that_grows_trains_what_one_of_that_size_does(at_once, mosts):
    assert trained(model(), at_once, *mosts) == trained(model(), at_once, 6)


def test_what_is_chosen_follows_from_the_rounds_before_alone():
    of, first = model(), trained(model(), 2, 4)
    changed = [*first[:2], *(RecordedTrial(**{**vars(one), "value": 0.1}) for one in first[2:])]
    assert of.next_round(first[:3], 2, 6) == of.next_round(changed[:3], 2, 6), "the rest of a round that was cut short"
    assert of.next_round(first, 2, 6) != of.next_round(changed, 2, 6), "the next round"


def test_nothing_is_trained_where_nothing_promises_a_tenth_of_a_point(monkeypatch):
    monkeypatch.setattr(placement_model, "next_placements", lambda *_: [])
    assert model().next_round([], 4, 8) == []


def test_no_more_are_trained_than_asked_for():
    assert model().next_round([], 4, 0) == []
    assert len(model().next_round([], 4, 3)) == 3


def test_before_any_training_the_prediction_is_the_prior_s_and_of_the_reference_zero():
    of = model(np.linspace(-1, 1, len(PLACEMENTS)))
    predicted = of.predictions(of.belief([]))
    assert predicted[str(SPACE.default)] == NOTHING
    assert list(predicted) == [str(placement) for placement in PLACEMENTS]
    assert all(one.low <= one.mean <= one.high for one in predicted.values())
    assert predicted[str(PLACEMENTS[-1])].mean > predicted[str(PLACEMENTS[0])].mean


def test_the_noise_floor_is_what_images_alone_make_of_a_training():
    """Two networks, each wrong in a tenth of the images, half of them in common: seen on many draws of images."""
    images, wrong, draw = 400, 0.1, np.random.default_rng(0)
    kind_DN = draw.choice(4, (20_000, images), p=[wrong / 2, wrong / 2, wrong / 2, 1 - 1.5 * wrong])
    one_D, other_D = (kind_DN >= 2).mean(1), ((kind_DN == 0) * 0 + ((kind_DN == 1) | (kind_DN == 3))).mean(1)
    assert one_D.mean() == pytest.approx(1 - wrong, abs=0.002) and other_D.mean() == pytest.approx(1 - wrong, abs=0.002)
    each = float((one_D - other_D).std()) / 2**0.5
    half = 1.96 * (wrong * (1 - wrong) / images) ** 0.5
    trial = RecordedTrial(
        "4,3,3", 0, 1, "default", 0.0, None, NOTHING, None, 1 - wrong, 1 - wrong - half, 1 - wrong + half
    )
    assert noise_floor([trial], images) == pytest.approx(100 * each, rel=0.03)


def test_before_any_training_the_noise_is_that_of_a_coin():
    assert noise_floor([], 2500) == pytest.approx(100 * 0.5 / 50)
    chance = RecordedTrial("4,3,3", 0, 1, "default", 0.0, None, NOTHING, None, 0.1, 0.08, 0.12)
    assert noise_floor([chance], 1000) == pytest.approx(100 * 0.04 / (2 * 1.96), rel=1e-3), (
        "never above the images' own"
    )
