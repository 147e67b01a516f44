"""Whether the trainings of a network failed, by what they see in the test images. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poolsearch.evaluation.metrics import Ints, chance, effective_images, metric_name, score
from poolsearch.evaluation.verdict import FEW_IMAGES
from poolsearch.settings.groups import Metric

NEVER_PREDICTED = 0.05
"""A network that never predicts this part of the classes has not learnt its task: one of ten, not one of a hundred."""

_ONE_SIDED = 1.645


def failure_of(
    metric: Metric, true_N: Ints, predicted_SN: NDArray[np.int64], class_names: Sequence[str], diverged: bool
) -> str:
    """What shows that a network's training failed, in words that follow its name; empty where nothing does.

    It diverged; or on the mean over seeds it is not better than chance, beyond what so few test images can tell (95 %,
    one-sided); or one of its trainings is no better than chance at all; or it never predicts a class.

    Args:
        metric: of the run.
        true_N: the class of each test image.
        predicted_SN: what the training of each seed sees in it.
        class_names: of all classes.
        diverged: whether a training ended with a loss that is no finite number.

    Returns:
        The first of these that holds, as ``reached only 9.80% of ...``; or an empty text.
    """
    value_S = score(metric, true_N, predicted_SN, len(class_names))
    least = chance(metric, true_N, len(class_names))
    images = len(true_N) if metric == "accuracy" else effective_images(true_N)
    told = f"{{:.2%}} of test {metric_name(metric)} (chance: {least:.2%})"
    if diverged:
        return f"diverged, and reached {told.format(value_S.mean())}"
    if value_S.mean() <= least + _ONE_SIDED * math.sqrt(least * (1 - least) / images):
        return f"reached {told.format(value_S.mean())}, which {len(true_N):,} images do not tell from chance"
    if value_S.min() <= least:
        return f"reached only {told.format(value_S.min())} with seed {int(value_S.argmin())}"
    size_K = np.bincount(true_N, minlength=len(class_names))
    never = np.flatnonzero((size_K >= FEW_IMAGES) & (np.bincount(predicted_SN.ravel(), minlength=len(size_K)) == 0))
    if len(never) and len(never) >= NEVER_PREDICTED * np.sum(size_K > 0):
        listed = ", ".join(f"'{class_names[k]}'" for k in never[:5]) + (", ..." if len(never) > 5 else "")
        return f"never predicts class {listed}, of which {size_K[never].sum():,} images were tested"
    return ""
