"""SGD and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cosine:
    """Learning rates that fall along half a cosine (paper, appendix B.1).

    A function of the step alone, so that there is no scheduler to save; all members follow the same one, whether
    they were drawn or not. With ``hold`` an epoch's steps it is that of the authors' release, whose last epoch runs
    far above the floor in short trainings: at 51 % of ``start`` after 2 epochs, 16 % after 4.

    Attributes:
        start: at step 0.
        floor: approached at the end; step ``steps``, which is never done, would have it.
        steps: of the whole training.
        hold: how many steps each rate is kept for.
    """

    start: float
    floor: float
    steps: int
    hold: int = 1

    def at(self, step: int) -> float:
        """The learning rate of a step.

        Args:
            step: 0-based, of all epochs together.

        Returns:
            Between ``start`` and ``floor``.
        """
        done = (step - step % self.hold) / self.steps
        return self.floor + (self.start - self.floor) * (1 + math.cos(math.pi * done)) / 2


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Plain momentum SGD (docs/differences.md#optimizer), in one kernel where torch has it for the device.

    Momentum begins at zero, which is the same as torch's beginning without: the first step's is the gradient. torch's
    fused kernel cannot mix parameters with and without.

    Args:
        parameters: those to train, already on their device.
        lr: learning rate; :func:`set_lr` changes it from step to step.
        momentum: part of the last step's direction that is kept.
        weight_decay: of all parameters alike, added to the gradient.

    Returns:
        With a momentum of zeros for each parameter.
    """
    parameters = list(parameters)
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused or None)
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next steps.

    Args:
        optimizer: any; all its parameter groups get the same rate.
        lr: learning rate.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr


def momentum_tensors(optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum of each parameter.

    Args:
        optimizer: made by :func:`sgd`.

    Returns:
        By the parameter's position, as a text; the optimizer's own tensors, not copies.
    """
    return {str(i): optimizer.state[p]["momentum_buffer"] for i, p in enumerate(_parameters(optimizer))}


def load_momentum(optimizer: torch.optim.SGD, tensors: dict[str, Tensor]) -> None:
    """Undo of :func:`momentum_tensors`.

    Args:
        optimizer: made by :func:`sgd`, of parameters of the same shapes.
        tensors: what it gave; they are copied, from any device.
    """
    parameters = _parameters(optimizer)
    for name, tensor in tensors.items():
        optimizer.state[parameters[int(name)]]["momentum_buffer"].copy_(tensor)


def _parameters(optimizer: torch.optim.SGD) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
