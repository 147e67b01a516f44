"""Responses of networks become a metric, an interval and what each image adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from poolsearch.evaluation.measure import ClassMeasure, ImageMeasure
from poolsearch.evaluation.stats import paired_difference, pooled_variance, probability_above, wilson
from poolsearch.evaluation.verdict import TrainedNetwork, judge_picks, pooled_variance_of, verdict
from poolsearch.stages.retraining.failures import failure_of


def of_images(images: int, per_image: bool = True, guess: float | None = None) -> ImageMeasure:
    guess_GN = np.zeros((0, images)) if guess is None else np.full((1, images), guess)
    return ImageMeasure("IoU", images, per_image, guess_GN)


def test_right_or_wrong_as_a_metric_of_each_image_is_accuracy() -> None:
    draw = np.random.default_rng(0)
    true_N, response_SN = draw.integers(0, 3, 200), draw.integers(0, 3, (2, 200))
    classes, images = ClassMeasure("accuracy", true_N, "abc"), of_images(200)
    value_SN = (response_SN == true_N).astype(np.float32)
    assert images.score(value_SN) == pytest.approx(classes.score(response_SN))
    assert images.interval(value_SN[0]) == pytest.approx(classes.interval(response_SN[0]))
    assert np.array_equal(images.contributions(value_SN), classes.contributions(response_SN))
    assert images.accuracy(value_SN[0]) == pytest.approx(classes.accuracy(response_SN[0]))


def test_intervals_of_a_fraction_of_each_image_cover_its_mean() -> None:
    draw, inside = np.random.default_rng(1), 0
    for _ in range(400):
        low, high = of_images(60).interval(draw.beta(6, 2, 60).astype(np.float32))
        inside += low <= 0.75 <= high
    assert inside / 400 > 0.93
    assert of_images(60).interval(np.ones(60, np.float32)) == pytest.approx(wilson(60, 60))


def test_without_a_metric_of_each_image_the_trainings_alone_are_the_chance() -> None:
    value_S, other_S = np.array([0.60, 0.64, 0.62]), np.array([0.50, 0.55, 0.51])
    a, b = (of_images(9, per_image=False).contributions(np.repeat(v[:, None], 9, 1)) for v in (value_S, other_S))
    assert a.shape == (3, 1)
    found = paired_difference(a, b)
    difference_S = value_S - other_S
    spread = pooled_variance([value_S, other_S])
    variance = max(difference_S.var(ddof=1), 2 * spread.variance)
    half = scipy_stats.t.ppf(0.975, spread.freedom) * math.sqrt(variance / 3)
    assert (found.mean, found.high - found.mean) == pytest.approx((difference_S.mean(), half))
    assert 0.9 < probability_above(a, b, np.random.default_rng(0)) < 1


def test_the_verdict_says_what_its_interval_does_not_know() -> None:
    value_S = np.array([[0.60], [0.64], [0.62], [0.61], [0.63]])
    pick, default = TrainedNetwork("2,2,6", 1.1, value_S), TrainedNetwork("4,3,3", 1.0, value_S - 0.3)
    judged = judge_picks([(None, pick)], default, pooled_variance_of([pick, default]), 0)
    said = verdict(judged, default, "AP")
    assert said.startswith("Move the downsampling to 2,2,6") and "no mean over images" in said
    same = TrainedNetwork("4,3,3", 1.0, value_S[::-1])
    said = verdict(judge_picks([(None, pick)], same, None, 0), same, "AP")
    assert "no evidence" in said and "no mean over images" in said and "test images" not in said


def test_small_classes_are_named_only_where_classes_count_alike() -> None:
    draw = np.random.default_rng(3)
    pick, default = (TrainedNetwork(name, 1.0, draw.uniform(0.4, 0.6, (3, 40))) for name in ("2,2,6", "4,3,3"))
    judged = judge_picks([(None, pick)], default, None, 0)
    assert "test images (there were 40)" in verdict(judged, default, "IoU")
    assert "small classes" not in verdict(judged, default, "IoU")
    assert "small classes" in verdict(judged, default, "macro F1")


def test_what_always_says_the_same_has_failed() -> None:
    draw = np.random.default_rng(2)
    good = draw.uniform(0.5, 0.9, (3, 50)).astype(np.float32)
    assert failure_of(of_images(50, guess=0.4), good, False) == ""
    assert failure_of(of_images(50), good - 0.5, False) == ""  # what chance is is not known
    said = failure_of(of_images(50, guess=0.7), good, False)
    told = "reached 69.76% of test IoU (the same output for every image: 70.00%), which 50 images do not tell from "
    assert said == f"{told}the same output for every image"
    good[1] = 0.1
    assert failure_of(of_images(50, guess=0.3), good, False).startswith("reached only 10.00% of test IoU")
    assert failure_of(of_images(50), good, True).startswith("diverged, and reached")


def test_answers_from_a_file_are_looked_at() -> None:
    measure = of_images(3)
    assert measure.fits(np.array([0, 1, 0.5], np.float32))
    for wrong in (np.zeros(4, np.float32), np.zeros(3), np.array([0, 2, 0], np.float32), np.full(3, np.nan, "f4")):
        assert not measure.fits(wrong)
    classes = ClassMeasure("accuracy", np.array([0, 1, 2]), "abc")
    assert classes.fits(np.array([2, 0, 0], np.uint8)) and not classes.fits(np.array([3, 0, 0], np.uint8))
