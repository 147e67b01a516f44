"""Dense prediction: the class of every pixel. What a network gives is resized to the masks, whatever its placement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import metric_name
from poolsearch.tasks.task import NamedTask, main_output

IGNORED = 255
"""A pixel of this class does not count."""


def dense(metric: Metric) -> NamedTask:
    """Cross entropy of each pixel, of logits (B, K, height, width).

    Args:
        metric: of each image. "iou": intersection over union, the mean over the classes that are in its mask or seen
            in it. "pixel-accuracy": the part of its pixels that is right. An image without a pixel that counts has 1.

    Returns:
        The task.
    """
    return NamedTask(
        pixel_cross_entropy, _METRICS[metric], targets="masks", metric_name=metric_name(metric), outputs="maps",
        guesses=guesses,
    )  # fmt: skip


def pixel_cross_entropy(outputs: Any, y_BHW: Tensor) -> Tensor:
    """The mean loss over all pixels that count; 0 where none does.

    Args:
        outputs: logits (B, K, height, width) of any size, or a structure with these.
        y_BHW: the class of each pixel, or :data:`IGNORED`.

    Returns:
        Shape ().
    """
    logits_BKHW, y_BHW = _resized(outputs, y_BHW), y_BHW.long()
    total = F.cross_entropy(logits_BKHW, y_BHW, ignore_index=IGNORED, reduction="sum")
    return total / (y_BHW != IGNORED).sum().clamp(min=1)


def guesses(y_NHW: Tensor) -> Sequence[Tensor]:
    """What can be said without looking: the class that most pixels of the training images have.

    Args:
        y_NHW: masks of the training images.

    Returns:
        One map of logits, (K, 1, 1).
    """
    counts = torch.bincount(y_NHW.flatten().long(), minlength=IGNORED + 1)[:IGNORED]
    classes = int(counts.nonzero().max()) + 1
    return [F.one_hot(counts[:classes].argmax(), classes).float()[:, None, None]]


def _resized(outputs: Any, y_BHW: Tensor) -> Tensor:
    logits_BKHW = main_output(outputs).float()
    if logits_BKHW.shape[2:] == y_BHW.shape[1:]:
        return logits_BKHW
    return F.interpolate(logits_BKHW, y_BHW.shape[1:], mode="bilinear", align_corners=False)


def _seen(outputs: Any, y_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """The class seen at each pixel, and which pixels count."""
    return _resized(outputs, y_BHW).argmax(1), y_BHW != IGNORED


def _pixel_accuracy(outputs: Any, y_BHW: Tensor) -> Tensor:
    seen_BHW, counts_BHW = _seen(outputs, y_BHW)
    wrong_B = ((seen_BHW != y_BHW) & counts_BHW).sum((1, 2))
    return 1 - wrong_B / counts_BHW.sum((1, 2)).clamp(min=1)


def _iou(outputs: Any, y_BHW: Tensor) -> Tensor:
    seen_BHW, counts_BHW = _seen(outputs, y_BHW)
    images, classes = len(y_BHW), main_output(outputs).shape[1]
    # pixels that do not count go into one class more, which is left out
    seen_BN = torch.where(counts_BHW, seen_BHW, classes).flatten(1)
    true_BN = torch.where(counts_BHW, y_BHW.long(), classes).flatten(1)
    zeros_BK = torch.zeros(images, classes + 1, device=y_BHW.device)
    ones_BN = torch.ones_like(seen_BN, dtype=torch.float32)
    of_seen_BK = zeros_BK.scatter_add(1, seen_BN, ones_BN)[:, :classes]
    of_true_BK = zeros_BK.scatter_add(1, true_BN, ones_BN)[:, :classes]
    both_BK = zeros_BK.scatter_add(1, true_BN, (seen_BN == true_BN).float())[:, :classes]
    either_BK = of_seen_BK + of_true_BK - both_BK
    present_BK = either_BK > 0
    total_B = torch.where(present_BK, both_BK / either_BK.clamp(min=1), 0.0).sum(1)
    there_B = present_BK.sum(1)
    return torch.where(there_B > 0, total_B / there_B.clamp(min=1), 1.0)


_METRICS: dict[Metric, Callable[[Any, Tensor], Tensor]] = {"iou": _iou, "pixel-accuracy": _pixel_accuracy}
