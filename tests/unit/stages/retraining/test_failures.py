"""What shows that a training failed."""

import numpy as np
import pytest

from poolsearch.evaluation.measure import ClassMeasure
from poolsearch.stages.retraining.failures import failure_of

NAMES = [f"c{k}" for k in range(10)]
TRUE = np.repeat(np.arange(10), 30)


def wrong_of(part: float, seeds: int = 3, seed: int = 0) -> np.ndarray:
    """Predictions of which this part is drawn at random."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random((seeds, 300)) < part, draw.integers(0, 10, (seeds, 300)), TRUE)


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "macro-f1"])
def test_trained_networks_did_not_fail_and_random_ones_did(metric: str) -> None:
    assert failure_of(ClassMeasure(metric, TRUE, NAMES), wrong_of(0.6), False) == ""
    found = failure_of(ClassMeasure(metric, TRUE, NAMES), wrong_of(1.0), False)
    assert "(chance: 10.00%), which 300 images do not tell from chance" in found


def test_what_diverged_is_said_with_what_it_reached() -> None:
    predicted = np.zeros((2, 300), int)
    found = failure_of(ClassMeasure("accuracy", TRUE, NAMES), predicted, True)
    assert found == "diverged, and reached 10.00% of test accuracy (chance: 10.00%)"


def test_one_training_of_several_that_names_one_class_only_is_a_failure() -> None:
    predicted = wrong_of(0.1)
    predicted[1] = 4
    found = failure_of(ClassMeasure("accuracy", TRUE, NAMES), predicted, False)
    assert found == "reached only 10.00% of test accuracy (chance: 10.00%) with seed 1"


def test_a_class_that_is_never_predicted() -> None:
    predicted = np.where(TRUE == 3, 4, wrong_of(0.0))
    found = failure_of(ClassMeasure("accuracy", TRUE, NAMES), predicted, False)
    assert found == "never predicts class 'c3', of which 30 images were tested"
    predicted[2, 0] = 3  # one training does
    assert failure_of(ClassMeasure("accuracy", TRUE, NAMES), predicted, False) == ""


def test_one_of_a_hundred_classes_or_one_of_four_images_may_be_missed() -> None:
    hundred = np.repeat(np.arange(100), 5)
    predicted = np.tile(np.where(hundred == 3, 4, hundred), (2, 1))
    assert failure_of(ClassMeasure("accuracy", hundred, [str(k) for k in range(100)]), predicted, False) == ""
    true = np.repeat([0, 1, 2], [50, 50, 4])
    assert (
        failure_of(
            ClassMeasure("accuracy", true, ["a", "b", "rare"]), np.tile(np.where(true == 2, 1, true), (2, 1)), False
        )
        == ""
    )


def test_a_network_that_names_the_large_class_alone_is_at_chance_whatever_its_accuracy() -> None:
    true = np.repeat([0, 1], [950, 50])
    found = failure_of(ClassMeasure("accuracy", true, ["large", "small"]), np.zeros((3, 1000), int), False)
    assert "reached 95.00% of test accuracy (chance: 95.00%)" in found
