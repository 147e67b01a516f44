"""The model of the placements of a ranking: which it holds, and what it tells them against."""

import math

import numpy as np
import pytest

from poolsearch.ask_tell import placement_model
from poolsearch.space import Placement, Space
from poolsearch.stages.learning.placement_model import model_of

SPACE = Space(10, 2, Placement.of_blocks([4, 3, 3]))
PLACEMENTS = [SPACE[number] for number in range(SPACE.size)]
DEFAULT = PLACEMENTS.index(SPACE.default)
MACS_A = np.linspace(0.5, 3.0, len(PLACEMENTS)) * 1e6


def row(number, **changes):
    macs = int(MACS_A[number])
    return {
        "placement": str(PLACEMENTS[number]), "number": number, "macs": macs, "macs_ratio": macs / MACS_A[DEFAULT],
        "is_default": number == DEFAULT, **changes,
    }  # fmt: skip


class FakeRun:
    """What the model reads of an open run."""

    def __init__(self):
        self.seed = 3
        self.settings = type("", (), {"retrain": type("", (), {"answer_at": (1.0,)})})
        self.split = type("", (), {"search_val": range(500)})


def test_where_the_default_is_not_ranked_predictions_are_against_the_placement_nearest_in_macs():
    rows = [row(number) for number in range(len(PLACEMENTS)) if number != DEFAULT]
    of = model_of(FakeRun(), rows, None)
    nearest = min(rows, key=lambda one: abs(math.log(one["macs_ratio"])))
    assert str(of.reference) == nearest["placement"]
    assert str(model_of(FakeRun(), [row(n) for n in range(36)], None).reference) == str(SPACE.default)


@pytest.mark.parametrize("scored", [True, False])
def test_of_a_long_ranking_a_part_is_predicted_with_the_reference(monkeypatch, scored):
    monkeypatch.setattr(placement_model, "MOST_PREDICTED", 10)
    rows = [row(number) for number in reversed(range(len(PLACEMENTS)))]
    of = model_of(FakeRun(), rows, np.arange(36.0) if scored else None)
    names = [str(placement) for placement in of.placements]
    assert of.numbers == [PLACEMENTS.index(placement) for placement in of.placements]
    assert str(SPACE.default) in names and len(names) in (10, 11)
    assert (names[:10] == [one["placement"] for one in rows[:10]]) == scored
    assert len(of.predictions(of.belief([]))) == len(names)
