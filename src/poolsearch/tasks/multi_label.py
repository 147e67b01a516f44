"""Multi-label: any number of labels for an image, each there or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import metric_name
from poolsearch.tasks.task import NamedTask, main_output


def multi_label(metric: Metric) -> NamedTask:
    """Binary cross entropy of logits (B, K), one for each label; a label is seen where its logit is above zero.

    Args:
        metric: of each image. "sample-f1": F1 of its labels, 1 where none is there and none seen. "label-accuracy":
            the part of all labels that is right. "exact-match": 1 where all are right.

    Returns:
        The task.
    """
    return NamedTask(
        binary_cross_entropy, _METRICS[metric], targets="labels", metric_name=metric_name(metric), guesses=guesses
    )


def binary_cross_entropy(outputs: Any, y_BK: Tensor) -> Tensor:
    """The mean loss over images and labels.

    Args:
        outputs: logits (B, K), or a structure with these.
        y_BK: 1 for each label that is there, else 0.

    Returns:
        Shape ().
    """
    logits_BK = main_output(outputs)
    return F.binary_cross_entropy_with_logits(logits_BK, y_BK.to(logits_BK.dtype))


def guesses(y_NK: Tensor) -> Sequence[Tensor]:
    """What can be said without looking: the labels that most training images have, or all labels.

    Args:
        y_NK: labels of the training images.

    Returns:
        Two vectors of logits, (K,).
    """
    return y_NK.float().mean(0) - 0.5, torch.ones(y_NK.shape[1])


def _sample_f1(outputs: Any, y_BK: Tensor) -> Tensor:
    seen_BK, there_BK = main_output(outputs) > 0, y_BK > 0
    both_B, all_B = (seen_BK & there_BK).sum(1), seen_BK.sum(1) + there_BK.sum(1)
    return torch.where(all_B > 0, 2 * both_B / all_B.clamp(min=1), 1.0)


def _label_accuracy(outputs: Any, y_BK: Tensor) -> Tensor:
    return ((main_output(outputs) > 0) == (y_BK > 0)).float().mean(1)


def _exact_match(outputs: Any, y_BK: Tensor) -> Tensor:
    return ((main_output(outputs) > 0) == (y_BK > 0)).all(1).float()


_METRICS: dict[Metric, Callable[[Any, Tensor], Tensor]] = {
    "sample-f1": _sample_f1, "label-accuracy": _label_accuracy, "exact-match": _exact_match,
}  # fmt: skip
