"""SGD and the cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def cosine(epoch: int, epochs: int, start: float, floor: float) -> float:
    """Learning rate of ``epoch`` (0-based) of ``epochs``: half a cosine from ``start``, to reach ``floor`` at the end.

    A function of the epoch alone, so that there is no scheduler to save; all members follow the same one, whether
    they were drawn or not (paper, appendix B.1; NOTES D16).
    """
    return floor + (start - floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Plain momentum SGD (no Nesterov; NOTES D15)."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def momentum_tensors(optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum buffers that exist, by the parameter's position."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    buffers = {
        str(i): optimizer.state[p].get("momentum_buffer") for i, p in enumerate(parameters) if p in optimizer.state
    }
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def load_momentum(optimizer: torch.optim.SGD, tensors: dict[str, Tensor]) -> None:
    """Undo of :func:`momentum_tensors`; a parameter never stepped stays without a buffer."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, tensor in tensors.items():
        parameter = parameters[int(name)]
        optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(tensor)
