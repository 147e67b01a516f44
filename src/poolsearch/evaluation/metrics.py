"""What a network's predictions are worth: accuracy, and what counts every class alike. Pure NumPy.

The classes that count are those with images: a class that a split does not have can be predicted, which is then wrong,
but has no recall or F1 of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poolsearch.evaluation.stats import Ints, wilson
from poolsearch.settings.groups import Metric

Floats = NDArray[np.float64]

_ROUNDING = 1e-18  # a smaller variance of a mean is none


@dataclass(frozen=True)
class PerClass:
    """What the predictions are worth for each of K classes, shape (..., K).

    Attributes:
        support: images of the class.
        guessed: images predicted as the class.
        recall: part of the class's images that is right; NaN for a class without images.
        precision: part of the images predicted as the class that is right; 0 where there are none.
        f1: harmonic mean of the two; NaN for a class without images.
    """

    support: NDArray[np.int64]
    guessed: NDArray[np.int64]
    recall: Floats
    precision: Floats
    f1: Floats


def per_class(true_N: Ints, predicted_N: Ints, classes: int) -> PerClass:
    """Recall, precision and F1 of every class.

    Args:
        true_N, predicted_N: class numbers in 0..K-1, shape (..., N); the leading axes are broadcast against each other.
        classes: K.

    Returns:
        Counts and fractions of shape (..., K), classes in the order of their numbers.
    """
    true_N, predicted_N = np.broadcast_arrays(true_N, predicted_N)
    every_N, right_N = np.ones(true_N.shape, np.bool_), true_N == predicted_N
    support_K, guessed_K = _count(true_N, every_N, classes), _count(predicted_N, every_N, classes)
    right_K = _count(true_N, right_N, classes)
    there_K = np.where(support_K > 0, 1.0, np.nan)
    return PerClass(
        support_K,
        guessed_K,
        recall=there_K * right_K / np.maximum(support_K, 1),
        precision=right_K / np.maximum(guessed_K, 1),
        f1=there_K * 2 * right_K / np.maximum(support_K + guessed_K, 1),
    )


def score(metric: Metric, true_N: Ints, predicted_N: Ints, classes: int) -> Floats:
    """The metric of predictions, by itself for each of the leading axes.

    Args:
        metric: accuracy; balanced-accuracy, the mean recall of the classes; or macro-f1, the mean of their F1.
        true_N, predicted_N: as in :func:`per_class`.
        classes: K.

    Returns:
        Fractions in [0, 1], of the broadcast leading axes' shape (...); NaN where there are no images.
    """
    if metric == "accuracy":
        return (true_N == predicted_N).mean(-1)
    found = per_class(true_N, predicted_N, classes)
    return np.nanmean(found.recall if metric == "balanced-accuracy" else found.f1, -1)


def contributions(
    metric: Metric, true_N: Ints, predicted_N: Ints, classes: int, about: Literal["metric", "class"] = "metric"
) -> Floats:
    """What each image adds to the metric: the mean over images is the metric.

    To first order in the images' weights, so that the variance of the mean is that of the metric (the infinitesimal
    jackknife). For accuracy it is 1 for a right image and 0 for a wrong one, and exact.

    Args:
        metric, true_N, predicted_N, classes: as in :func:`score`.
        about: where classes count alike, the contributions scatter about the metric, or those of each class about its
            own share of it, so that what tells two networks apart in a class stands in the images of the class.

    Returns:
        Shape (..., N), in units of the metric; a single value may lie outside [0, 1].
    """
    true_N, predicted_N = np.broadcast_arrays(true_N, predicted_N)
    right_N = true_N == predicted_N
    if metric == "accuracy":
        return right_N.astype(float)
    found = per_class(true_N, predicted_N, classes)
    if metric == "balanced-accuracy":
        value_K, weight_K = found.recall, 1 / np.maximum(found.support, 1)
        change_N = _at(weight_K, true_N) * (right_N - _at(value_K, true_N))
    else:
        # 2 right / (support + guessed): an image changes the F1 of its class, and that of the class it is taken for
        value_K, weight_K = found.f1, 1 / np.maximum(found.support + found.guessed, 1)
        lost_K = weight_K * np.nan_to_num(value_K)
        change_N = 2 * right_N * _at(weight_K, true_N) - _at(lost_K, true_N) - _at(lost_K, predicted_N)
    images = true_N.shape[-1]
    counted = np.sum(found.support > 0, -1, keepdims=True)
    if about == "class":
        middle = _at(value_K / np.maximum(found.support, 1), true_N) * images / counted
    else:
        middle = np.nanmean(value_K, -1, keepdims=True)
    return middle + change_N * images / counted


def chance(metric: Metric, true_N: Ints, classes: int) -> float:
    """What a network reaches that has learnt nothing from the images: it names one class always, or any alike.

    Args:
        metric, true_N, classes: as in :func:`score`, without leading axes.

    Returns:
        The larger of the two expected metrics, a fraction in [0, 1].
    """
    size_K = np.bincount(true_N, minlength=classes)
    one_class = float(score(metric, true_N, np.full(len(true_N), size_K.argmax()), classes))
    share_K = size_K[size_K > 0] / len(true_N)
    any_alike = float((2 * share_K / (1 + classes * share_K)).mean()) if metric == "macro-f1" else 1 / classes
    return max(one_class, any_alike)


def interval(metric: Metric, true_N: Ints, predicted_N: Ints, classes: int, level: float = 0.95) -> tuple[float, float]:
    """An interval of the metric of one network.

    Wilson's, with as many images as would give the variance of the metric, were it a proportion of right images: for
    accuracy these are the N images themselves. Balanced accuracy is not taken to be known better than if all classes
    were equally hard, K^2 / sum of 1 / images of a class: where a class has a few images and all are right, their
    variance says nothing.

    Args:
        metric, true_N, predicted_N, classes: as in :func:`score`, without leading axes.
        level: coverage of the interval, in (0, 1).

    Returns:
        (low, high), fractions in [0, 1].
    """
    images = len(true_N)
    if metric == "accuracy":
        return wilson(int((true_N == predicted_N).sum()), images, level)
    added_N = contributions(metric, true_N, predicted_N, classes)
    value, variance = float(added_N.mean()), float(added_N.var()) / images
    value = min(max(value, 0.0), 1.0)  # from rounding
    most = effective_images(true_N)
    effective = value * (1 - value) / variance if variance > _ROUNDING else most
    if metric == "balanced-accuracy":
        effective = min(effective, most)
    return wilson(value * effective, effective, level)


def effective_images(true_N: Ints) -> float:
    """How many images of equal weight tell a mean over classes as well as these, were all classes equally hard.

    Args:
        true_N: class numbers, shape (N,); classes without images do not count.

    Returns:
        K^2 / sum of 1 / images of a class; N where all classes have equally many images, else less.
    """
    support_K = np.bincount(true_N)
    return float(np.sum(support_K > 0) ** 2 / np.sum(1 / support_K[support_K > 0]))


def _count(class_N: Ints, which_N: NDArray[np.bool_], classes: int) -> NDArray[np.int64]:
    """How often each class occurs among ``which_N``, shape (..., K)."""
    rows = class_N.reshape(-1, class_N.shape[-1])
    keys = rows + classes * np.arange(len(rows))[:, None]
    counts = np.bincount(keys[which_N.reshape(rows.shape)], minlength=len(rows) * classes)
    return counts.reshape(*class_N.shape[:-1], classes)


def _at(value_K: Floats, class_N: Ints) -> Floats:
    """The value of each image's class, (..., K) at (..., N)."""
    return np.take_along_axis(value_K, class_N.astype(np.int64), -1)
