"""Regression: one or more numbers of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.tasks.task import NamedTask, main_output


def regression(y_NK: Tensor) -> NamedTask:
    """Smooth L1 loss of standardised values: a network gives (value - mean) / deviation, of the training images.

    The metric is the closeness of each image: 1 - |error| / deviation, 0 where the error is larger than the deviation;
    of several values the mean. Always saying the mean of normal values reaches about 0.37.

    Args:
        y_NK: values of the training images, (N, K) or (N,).

    Returns:
        The task.

    Raises:
        PoolsearchError: a value is the same in all training images, or there are no single values.
    """
    if y_NK.dim() not in (1, 2):
        raise PoolsearchError(
            f"targets of --task regression have the shape {[*y_NK.shape[1:]]}. Give a number or a vector for each "
            "image, or a task of your own (poolsearch.Task)."
        )
    y_NK = y_NK.reshape(len(y_NK), -1).double()
    mean_K, std_K = y_NK.mean(0), y_NK.std(0, correction=0)
    if constant := (std_K <= 1e-12 * mean_K.abs()).nonzero().flatten().tolist():
        raise PoolsearchError(
            f"value {constant[0]} is {float(mean_K[constant[0]]):g} in all training images: there is nothing to learn. "
            "Leave it out."
        )
    scale_K2 = torch.stack([mean_K, std_K], 1).float()
    scale = _Scale(scale_K2)
    return NamedTask(
        scale.loss, scale.closeness, targets="values", metric_name="closeness", guesses=scale.guesses, scale_K2=scale_K2
    )


class Values(nn.Module):
    """From a network's outputs to values.

    Args:
        scale_K2: mean and deviation of each.
    """

    mean_K: Tensor
    std_K: Tensor

    def __init__(self, scale_K2: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean_K", scale_K2[:, 0].clone())
        self.register_buffer("std_K", scale_K2[:, 1].clone())

    def forward(self, outputs: Any) -> Tensor:
        return main_output(outputs).reshape(-1, len(self.mean_K)) * self.std_K + self.mean_K


@dataclass(frozen=True)
class _Scale:
    """Mean and deviation of each value."""

    scale_K2: Tensor

    def standardised(self, outputs: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets of a minibatch, (B, K) each, in deviations."""
        out_BK = main_output(outputs).float()
        mean_K, std_K = self.scale_K2.to(y.device).unbind(1)
        return out_BK.reshape(len(y), -1), (y.reshape(len(y), -1) - mean_K) / std_K

    def loss(self, outputs: Any, y: Tensor) -> Tensor:
        return F.smooth_l1_loss(*self.standardised(outputs, y))

    def closeness(self, outputs: Any, y: Tensor) -> Tensor:
        out_BK, y_BK = self.standardised(outputs, y)
        return (1 - (out_BK - y_BK).abs()).clamp(min=0).mean(1)

    def guesses(self, y: Tensor) -> Sequence[Tensor]:
        """The mean, and the median."""
        mean_K, std_K = self.scale_K2.unbind(1)
        median_K = y.reshape(len(y), -1).median(0).values
        return torch.zeros_like(mean_K), (median_K - mean_K) / std_K
