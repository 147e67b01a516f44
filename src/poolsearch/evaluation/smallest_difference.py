"""The smallest difference that a study can show, before anything is trained. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from poolsearch.evaluation.verdict import ERROR

SEED_SPREAD = 0.03
"""The standard deviation over seeds of a network's accuracy, as a part of its error, beside what seeds do to single
images: 0.7 points at 25 % error in docs/results/sweep-cifar10-width8; half as much after the paper's long trainings."""

SAME_PLACEMENT, OTHER_PLACEMENT = 0.6, 0.5
"""Correlation, over images, of two trainings being right: of one placement with two seeds, and of two placements."""


@dataclass(frozen=True)
class StudySize:
    """How much a study tests.

    Attributes:
        networks: trained with the same seeds, the default among them; at least 2.
        seeds: trainings of each; at least 2.
        images: of the test split, or of as many that count alike.
        answers: picks that are tested against the default.
    """

    networks: int
    seeds: int
    images: float
    answers: int = 1


def smallest_difference(study: StudySize, accuracy: float) -> float:
    """The observed difference from which on the verdict calls one of two networks better, of networks this accurate.

    It is the half width that :func:`~poolsearch.evaluation.stats.paired_difference` is expected to have, with
    variances that are assumed: :data:`SEED_SPREAD`, and from the two correlations how many images the networks
    disagree on, and on how many of these whichever the seeds. A true difference of this size is shown in about half
    of the studies.

    Args:
        study: its size.
        accuracy: of both networks, in (0, 1).

    Returns:
        As a fraction.
    """
    single = 2 * accuracy * (1 - accuracy)
    by_both = single * (1 - SAME_PLACEMENT) / study.images  # of one seed
    by_seeds = (2 * (SEED_SPREAD * (1 - accuracy)) ** 2 + by_both) / study.seeds
    by_images = (single * (SAME_PLACEMENT - OTHER_PLACEMENT) + 2 / study.images) / study.images
    level = 1 - ERROR / study.answers / 2
    few, many = (
        float(special.stdtrit(freedom, level))
        for freedom in ((study.networks - 1) * (study.seeds - 1), max(study.images - 1, 1))
    )
    return math.hypot(few * math.sqrt(by_seeds), many * math.sqrt(by_images))


def alike_images(counts: list[int]) -> float:
    """As many images of one weight as tell as much as these, where every class counts alike.

    Args:
        counts: test images of each class that has any.

    Returns:
        At most their number, which it is where all classes have as many.
    """
    return len(counts) ** 2 / sum(1 / count for count in counts)
