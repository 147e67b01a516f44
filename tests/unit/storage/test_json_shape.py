"""Shapes of JSON values: what fits, and what is said of what does not."""

import pytest

from poolsearch.storage.json_shape import misfit

TRIAL = {"placement": str, "seed": int, "loss": (float, None), "rungs?": [{"epochs": int}]}
GOOD = {"placement": "4,3,3", "seed": 0, "loss": 1, "more": object()}


@pytest.mark.parametrize(
    "value", [GOOD, GOOD | {"loss": None}, GOOD | {"loss": 0.5, "rungs": []}, GOOD | {"rungs": [{"epochs": 1}]}]
)
def test_what_fits(value):
    assert misfit(value, TRIAL) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "the value is a list, not an object"),
        (None, "the value is null, not an object"),
        ({"placement": "4,3,3", "seed": 0}, "the value lacks loss"),
        (GOOD | {"seed": "0"}, "seed is text, not a whole number"),
        (GOOD | {"seed": True}, "seed is true or false, not a whole number"),
        (GOOD | {"seed": 0.5}, "seed is a number, not a whole number"),
        (GOOD | {"placement": None}, "placement is null, not text"),
        (GOOD | {"loss": {}}, "loss is an object, not a number"),
        (GOOD | {"rungs": {}}, "rungs is an object, not a list"),
        (GOOD | {"rungs": [{"epochs": 1}, {"epochs": "1"}]}, "rungs, item 2, epochs is text, not a whole number"),
    ],
)
def test_what_does_not_fit_is_told(value, told):
    assert misfit(value, TRIAL) == told


def test_a_switch_is_no_number_and_a_number_no_switch():
    assert misfit(True, bool) is None
    assert misfit(1, bool) == "the value is a whole number, not true or false"
    assert misfit(True, float) == "the value is true or false, not a number"
