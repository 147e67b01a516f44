"""One training step and one evaluation of a minibatch."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.train.machine import Machine

Forward = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to logits (B, classes)."""


def train_step(
    forward: Forward,
    x_BCHW: Tensor,
    y_B: Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    machine: Machine,
) -> Tensor:
    """Forward, cross entropy, backward, step (paper, Eq. 1). Gives the loss, detached and still on the device."""
    optimizer.zero_grad(set_to_none=True)
    with machine.autocast():
        loss = F.cross_entropy(forward(x_BCHW), y_B)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


@torch.inference_mode()
def hits(forward: Forward, x_BCHW: Tensor, y_B: Tensor, machine: Machine) -> Tensor:
    """Whether each image's most probable class is right, shape (B,), on the device."""
    with machine.autocast():
        return forward(x_BCHW).argmax(1) == y_B
