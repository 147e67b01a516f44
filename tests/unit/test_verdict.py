"""The sentence a run ends with, for each case."""

import pytest

from poolsearch.stats import Difference
from poolsearch.verdict import verdict


def of(low, mean, high):
    return Difference(mean, low, high, 3)


@pytest.mark.parametrize(
    ("winner", "difference", "starts", "holds"),
    [
        (
            "5,3,2",
            of(0.002, 0.0103, 0.0186),
            "Move the downsampling to 5,3,2: +1.03 points",
            "at 1.54 times its MACs (95% interval +0.20 to +1.86, 3 seeds)",
        ),
        (
            "5,3,2",
            of(-0.03, -0.02, -0.01),
            "Keep the default: 5,3,2",
            "-2.00 points of test accuracy against the default 4,3,3",
        ),
        ("5,3,2", of(-0.01, 0.005, 0.02), "No evidence for a change: 5,3,2", "+0.50 points"),
        ("5,3,2", of(0.0, 0.005, 0.01), "No evidence for a change: 5,3,2", "+0.00 to +1.00"),
        ("5,3,2", of(-0.01, -0.005, 0.0), "No evidence for a change: 5,3,2", "-1.00 to +0.00"),
        ("5,3,2", None, "No verdict: 5,3,2", "--retrain-seeds 3"),
        (
            "4,3,3",
            None,
            "No evidence for a change: the default placement 4,3,3",
            "came out first on the validation images",
        ),
        ("4,3,3", of(0.1, 0.2, 0.3), "No evidence for a change: the default placement 4,3,3", "came out first"),
    ],
)
def test_each_case_has_its_sentence(winner, difference, starts, holds):
    sentence = verdict(winner, "4,3,3", difference, 1.54)
    assert sentence.startswith(starts)
    assert holds in sentence
    assert "4,3,3" in sentence and sentence.endswith(".")


@pytest.mark.parametrize(("diverged", "named"), [({"5,3,2"}, "5,3,2"), ({"4,3,3", "5,3,2"}, "5,3,2 and of 4,3,3")])
def test_a_diverged_training_gives_no_verdict(diverged, named):
    sentence = verdict("5,3,2", "4,3,3", of(0.1, 0.2, 0.3), 1.5, diverged)
    assert sentence == f"No verdict: the training of {named} diverged. Use a lower --retrain-lr in a new run."


def test_another_placement_that_diverged_does_not_matter():
    assert verdict("5,3,2", "4,3,3", of(0.1, 0.2, 0.3), 1.5, {"1,1,8"}).startswith("Move")
