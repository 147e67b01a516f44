"""A task: three functions, which know nothing of networks or placements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

TargetKind = Literal["classes", "labels", "values", "masks"]
"""What there is to learn of each image: the number of its class; 0 or 1 for each label, (K,); numbers of any shape;
the number of the class of each pixel, (H, W), where 255 does not count."""


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Attributes:
        loss: (outputs, targets) of a minibatch to its mean loss, shape ().
        metric: (outputs, targets) of a minibatch to a number for each image, shape (B,), from 0 to 1, higher is better;
            or to one for all of them, shape (), where it is no mean over images.
        collate: the targets of some images, as a dataset gives them, to an array (B, ...); None: they are stacked.
        targets: what they are; those of an image are kept as int64, uint8 (K,), float32 (...) or uint8 (H, W). Masks
            are cropped and mirrored with their images.
        metric_name: of the metric, for people.
    """

    loss: Callable[[Any, Tensor], Tensor]
    metric: Callable[[Any, Tensor], Tensor]
    collate: Callable[[Sequence[Any]], Any] | None = None
    targets: TargetKind = "values"
    metric_name: str = "metric"
