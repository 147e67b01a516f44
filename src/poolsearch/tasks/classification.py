"""Classification: the class of an image (paper, Eq. 1)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import metric_name
from poolsearch.tasks.task import NamedTask, main_output


def classification(metric: Metric) -> NamedTask:
    """Cross entropy of logits (B, classes).

    Args:
        metric: "accuracy", "balanced-accuracy" or "macro-f1".

    Returns:
        The task.
    """
    return NamedTask(
        cross_entropy, partial(class_metric, metric), targets="classes", metric_name=metric_name(metric),
        per_image=metric == "accuracy", class_metric=metric,
    )  # fmt: skip


def cross_entropy(outputs: Any, y_B: Tensor) -> Tensor:
    """The mean loss of a minibatch (paper, Eq. 1).

    Args:
        outputs: logits (B, classes), or a structure with these, see :func:`~poolsearch.tasks.task.main_output`.
        y_B: classes as numbers.

    Returns:
        Shape ().
    """
    return F.cross_entropy(main_output(outputs), y_B)


def class_metric(metric: Metric, outputs: Any, y_B: Tensor) -> Tensor:
    """The metric of a minibatch, as :func:`poolsearch.evaluation.metrics.score`, without waiting for the device.

    Of the classes, those with images in the minibatch count.

    Args:
        metric: "accuracy", "balanced-accuracy" or "macro-f1".
        outputs: as of :func:`cross_entropy`.
        y_B: classes as numbers, shape (B,), on the same device.

    Returns:
        For accuracy 1 for each image that is right, shape (B,); else a fraction, shape ().
    """
    logits_BK = main_output(outputs)
    predicted_B = logits_BK.argmax(1)
    right_B = predicted_B == y_B
    if metric == "accuracy":
        return right_B.float()
    zeros_K = torch.zeros(logits_BK.shape[1], device=y_B.device)
    ones_B = torch.ones(len(y_B), device=y_B.device)
    support_K, right_K = zeros_K.index_add(0, y_B, ones_B), zeros_K.index_add(0, y_B, right_B.float())
    guessed_K = zeros_K.index_add(0, predicted_B, ones_B)
    value_K = right_K / support_K if metric == "balanced-accuracy" else 2 * right_K / (support_K + guessed_K)
    there_K = support_K > 0
    return torch.where(there_K, value_K, 0).sum() / there_K.sum()
