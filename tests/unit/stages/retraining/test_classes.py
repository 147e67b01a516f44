"""What each network is worth for each class, by hand."""

import numpy as np
import pytest

from poolsearch.stages.retraining.outcome import class_results


def test_means_over_seeds_by_hand():
    """Class a: 2 images, b: 1, c: none. Seed 0 gets all right; seed 1 takes one a for b, and the b for c."""
    true_N = np.array([0, 0, 1])
    seeds = [np.array([0, 0, 1]), np.array([0, 1, 2])]
    a, b, c = class_results(true_N, {"winner": seeds}, ["a", "b", "c"])
    assert [(line["class"], line["images"]) for line in (a, b, c)] == [("a", 2), ("b", 1), ("c", 0)]
    assert a["winner"] == pytest.approx({"recall": 3 / 4, "precision": 1, "f1": (1 + 2 / 3) / 2})
    assert b["winner"] == pytest.approx({"recall": 1 / 2, "precision": 1 / 2, "f1": 1 / 2})
    assert c["winner"]["precision"] == 0
    assert np.isnan(c["winner"]["recall"]) and np.isnan(c["winner"]["f1"])
