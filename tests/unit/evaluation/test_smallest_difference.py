"""The smallest difference against studies that are drawn with the variances that it assumes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poolsearch.evaluation.smallest_difference import (
    OTHER_PLACEMENT,
    SAME_PLACEMENT,
    SEED_SPREAD,
    StudySize,
    alike_images,
    smallest_difference,
)
from poolsearch.evaluation.stats import paired_difference, pooled_variance


def drawn(study: StudySize, accuracy: float, gain: float, draw: np.random.Generator) -> list[np.ndarray]:
    """Values of each network, (seeds, images): normal, with the means, variances and correlations that are assumed."""
    single = accuracy * (1 - accuracy)
    images = int(study.images)
    shared_N = math.sqrt(OTHER_PLACEMENT * single) * draw.standard_normal(images)
    found = []
    for number in range(study.networks):
        own_N = math.sqrt((SAME_PLACEMENT - OTHER_PLACEMENT) * single) * draw.standard_normal(images)
        seed_S1 = SEED_SPREAD * (1 - accuracy) * draw.standard_normal((study.seeds, 1))
        both_SN = math.sqrt((1 - SAME_PLACEMENT) * single) * draw.standard_normal((study.seeds, images))
        found.append(accuracy + (gain if number == 0 else 0.0) + shared_N + own_N + seed_S1 + both_SN)
    return found


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("networks", "images", "accuracy"), [(3, 400, 0.7), (5, 2000, 0.9)])
def test_it_is_the_half_width_of_studies_and_a_gain_of_its_size_shows_in_half_of_them(
    seeds: int, networks: int, images: int, accuracy: float
) -> None:
    study = StudySize(networks, seeds, images)
    expected = smallest_difference(study, accuracy)
    draw, widths, shown = np.random.default_rng(seeds), [], []
    for _ in range(200):
        values = drawn(study, accuracy, expected, draw)
        spread = pooled_variance([value_SN.mean(1) for value_SN in values])
        found = paired_difference(values[0], values[1], spread=spread)
        assert found.half is not None
        widths.append(found.half.whole)
        shown.append(found.p <= 0.05)
    assert np.median(widths) == pytest.approx(expected, rel=0.2)
    assert 0.35 <= np.mean(shown) <= 0.65


def test_more_of_anything_shows_less() -> None:
    one = smallest_difference(StudySize(4, 3, 500), 0.8)
    assert smallest_difference(StudySize(4, 5, 500), 0.8) < one
    assert smallest_difference(StudySize(6, 3, 500), 0.8) < one
    assert smallest_difference(StudySize(4, 3, 2000), 0.8) < one
    assert smallest_difference(StudySize(4, 3, 500), 0.95) < one
    assert smallest_difference(StudySize(4, 3, 500, answers=3), 0.8) > one


def test_images_of_rare_classes_count_for_all_of_their_class() -> None:
    assert alike_images([50, 50]) == pytest.approx(100)
    assert alike_images([90, 10]) == pytest.approx(4 / (1 / 90 + 1 / 10))
    # the variance of a mean of class means, of images that differ alike, is that of a mean over so many images
    draw = np.random.default_rng(0)
    means = (draw.standard_normal((20_000, 90)).mean(1) + draw.standard_normal((20_000, 10)).mean(1)) / 2
    assert 1 / means.var() == pytest.approx(alike_images([90, 10]), rel=0.05)
