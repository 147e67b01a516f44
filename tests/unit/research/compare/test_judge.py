"""Differences between what methods find: hand-worked intervals, and how often they miss by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from poolsearch.research.compare.judge import FoundPlacements, MeanDifference, difference_of, verdict_text


def test_against_a_fixed_placement_by_hand():
    found = FoundPlacements(["a", "b", "c"], [0.80, 0.82, 0.84], [2, 2, 2])
    got = difference_of(found, FoundPlacements(["d"], [0.79], [2]), noise=0.006, freedom=36)
    # the seeds: variance 0.0004 over three, t of 2 degrees; the truths: each of a, b, c counts a third, d one
    seeds = stats.t.ppf(0.975, 2) ** 2 * 0.0004 / 3
    truths = stats.t.ppf(0.975, 36) ** 2 * 0.006**2 / 2 * (3 / 9 + 1)
    assert got.mean == pytest.approx(0.03)
    assert got.high - got.mean == pytest.approx(math.sqrt(seeds + truths))
    assert got.mean - got.low == pytest.approx(got.high - got.mean)
    assert got.n == 3


def test_what_both_found_cancels_out():
    found = FoundPlacements(["a", "a"], [0.8, 0.8], [2, 2])
    assert difference_of(found, FoundPlacements(["a"], [0.8], [2]), noise=0.01, freedom=36) == MeanDifference(
        0.0, 0.0, 0.0, 1.0, 2
    )


def test_the_same_placement_at_every_seed_is_as_uncertain_as_its_truth():
    found, other = FoundPlacements(["a"] * 3, [0.8] * 3, [4] * 3), FoundPlacements(["b"], [0.7], [1])
    half = stats.t.ppf(0.975, 10) * 0.02 * math.sqrt(1 / 4 + 1)
    got = difference_of(found, other, noise=0.02, freedom=10)
    assert got.high - got.mean == pytest.approx(half)


def test_p_is_where_the_interval_touches_zero():
    found, other = FoundPlacements(["a"] * 2, [0.8] * 2, [1, 1]), FoundPlacements(["b"], [0.75], [1])
    got = difference_of(found, other, noise=0.02, freedom=12)
    t = 0.05 / (0.02 * math.sqrt(2))
    assert got.p == pytest.approx(2 * stats.t.sf(t, 12), rel=1e-6)


@pytest.mark.parametrize(
    ("found", "noise", "freedom"),
    [(FoundPlacements(["a"], [0.8], [2]), 0.01, 9), (FoundPlacements(["a"] * 2, [0.8] * 2, [1] * 2), math.nan, 0)],
)
def test_too_little_is_no_interval(found, noise, freedom):
    assert difference_of(found, FoundPlacements(["b"], [0.7], [1]), noise, freedom) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_misses_seldom_enough(seeds):
    """Searches find placements of a table at random; truths are measured with noise. 95 % are to hold the mean."""
    draw, noise, trainings, studies = np.random.default_rng(0), 0.004, 2, 1000
    mean_A = draw.normal(0.75, 0.01, 36)
    missed = 0
    for _ in range(studies):
        measured_A = mean_A + draw.normal(0, noise / math.sqrt(trainings), 36)
        picks = draw.integers(1, 36, seeds)
        names = [str(p) for p in picks]
        found = FoundPlacements(names, measured_A[picks].tolist(), [trainings] * seeds)
        got = difference_of(found, FoundPlacements(["0"], [float(measured_A[0])], [trainings]), noise, 36)
        missed += not got.low <= mean_A[1:].mean() - mean_A[0] <= got.high
    assert missed / studies < 0.07


def test_words():
    gaps = {
        "default": MeanDifference(0.012, 0.004, 0.02, 0.01, 3),
        "macs": MeanDifference(-0.003, -0.01, 0.004, 0.3, 3),
        "random": None,
    }
    assert verdict_text(gaps, {"default": 0.02, "macs": 0.3}) == (
        "better than the default (+1.20 points, +0.40 to +2.00); no evidence of a difference from MACs alone (-0.30 "
        "points, -1.00 to +0.40); not known against random placements at its cost"
    )
    assert verdict_text(gaps, {"default": 0.2, "macs": 0.3}).startswith(
        "no evidence of a difference from the default"
    ), "after adjustment"
