"""Whether the trainings of a network failed, by what they say of the test images. Pure."""

from __future__ import annotations

import math

import numpy as np

from poolsearch.evaluation.measure import ClassMeasure, ImageMeasure, Measure, Responses
from poolsearch.evaluation.metrics import chance, effective_images
from poolsearch.evaluation.verdict import FEW_IMAGES

NEVER_PREDICTED = 0.05
"""A network that never predicts this part of the classes has not learnt its task: one of ten, not one of a hundred."""

_ONE_SIDED = 1.645


def failure_of(measure: Measure, response_SN: Responses, diverged: bool) -> str:
    """What shows that a network's training failed, in words that follow its name; empty where nothing does.

    It diverged; or on the mean over seeds it is not better than chance, beyond what so few test images can tell (95 %,
    one-sided); or one of its trainings is no better than chance at all; or it never predicts a class. Without classes
    chance is what the same output reaches for every image.

    Args:
        measure: of the test images.
        response_SN: what the training of each seed says of them.
        diverged: whether a training ended with a loss that is no finite number.

    Returns:
        The first of these that holds, as ``reached only 9.80% of ...``; or an empty text.
    """
    value_S = measure.score(response_SN)
    least, margin = _chance(measure, response_SN)
    told = f"{{:.2%}} of test {measure.name}" + ("" if least is None else f" ({measure.chance_is}: {least:.2%})")
    if diverged:
        return f"diverged, and reached {told.format(value_S.mean())}"
    if least is None:
        return ""
    if value_S.mean() <= least + margin:
        told = told.format(value_S.mean())
        return f"reached {told}, which {measure.images:,} images do not tell from {measure.chance_is}"
    if value_S.min() <= least:
        return f"reached only {told.format(value_S.min())} with seed {int(value_S.argmin())}"
    return _never(measure, response_SN) if isinstance(measure, ClassMeasure) else ""


def _chance(measure: Measure, response_SN: Responses) -> tuple[float | None, float]:
    """What a network reaches that has learnt nothing, None where that is not known; and by how much more is needed."""
    if isinstance(measure, ClassMeasure):
        least = chance(measure.metric, measure.true_N, len(measure.class_names))
        images = measure.images if measure.class_N is None else effective_images(measure.true_N)
        return least, _ONE_SIDED * math.sqrt(least * (1 - least) / images)
    if not isinstance(measure, ImageMeasure) or not len(measure.guess_GN):
        return None, 0.0
    guess_N = measure.guess_GN[measure.guess_GN.mean(1).argmax()]
    if not measure.per_image:
        return float(guess_N.mean()), 0.0
    difference_N = response_SN.mean(0) - guess_N
    return float(guess_N.mean()), _ONE_SIDED * float(difference_N.std()) / math.sqrt(measure.images)


def _never(measure: ClassMeasure, predicted_SN: Responses) -> str:
    """Which classes a network never sees, where these are too many."""
    true_N, class_names = measure.true_N, measure.class_names
    size_K = np.bincount(true_N, minlength=len(class_names))
    never = np.flatnonzero((size_K >= FEW_IMAGES) & (np.bincount(predicted_SN.ravel(), minlength=len(size_K)) == 0))
    if len(never) and len(never) >= NEVER_PREDICTED * np.sum(size_K > 0):
        listed = ", ".join(f"'{class_names[k]}'" for k in never[:5]) + (", ..." if len(never) > 5 else "")
        return f"never predicts class {listed}, of which {size_K[never].sum():,} images were tested"
    return ""
