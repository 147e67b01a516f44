"""One training step and one evaluation of a minibatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.settings.groups import Metric
from poolsearch.space import Placement
from poolsearch.supernet.prefix_tree import Group, children, root_group, run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train.machine import Machine

Forward = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to logits (B, classes)."""


def train_step(
    backward: Callable[[], Tensor], optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Tensor:
    """Gradients from nothing, and one step by them.

    Args:
        backward: leaves gradients, scaled by ``scaler``, and gives the loss.
        optimizer: of the parameters that are trained.
        scaler: skips the step where gradients overflow, in fp16; one that is not enabled changes nothing.

    Returns:
        The loss, detached and still on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = backward()
    scaler.step(optimizer)
    scaler.update()
    return loss


def backward(forward: Forward, x_BCHW: Tensor, y_B: Tensor, scaler: torch.amp.GradScaler, machine: Machine) -> Tensor:
    """Forward, cross entropy, backward (paper, Eq. 1): gradients are added to those of the parameters.

    Args:
        forward: the network at a placement.
        x_BCHW: images, normalised, on the device.
        y_B: their classes as numbers, shape (B,), on the device.
        scaler: of the loss, for fp16; one that is not enabled changes nothing.
        machine: for its precision.

    Returns:
        The mean loss, not scaled, detached and still on the device.
    """
    with machine.autocast():
        loss = F.cross_entropy(forward(x_BCHW), y_B)
    scaler.scale(loss).backward()
    return loss.detach()


def tree_backward(
    supernet: SinglePath,
    x_BCHW: Tensor,
    y_B: Tensor,
    placements: Sequence[Placement],
    scaler: torch.amp.GradScaler,
    machine: Machine,
) -> Tensor:
    """As :func:`backward`, for the mean loss over placements, which are run as a tree (a placement may come twice).

    Depth first, and each branch backward as soon as it was run forward: the gradient of a fork's map is summed over its
    branches and sent further back once. What is alive is one path from the root to a leaf, so that many placements
    need no more memory than the most expensive one, and the map of each fork.

    Args:
        supernet: whose gradients are added to.
        x_BCHW: images, normalised, on the device.
        y_B: their classes as numbers, shape (B,), on the device.
        placements: at least one.
        scaler: of the loss, for fp16; one that is not enabled changes nothing.
        machine: for its precision.

    Returns:
        The mean loss over images and placements, not scaled, detached and still on the device.

    Raises:
        PoolsearchError: a placement has another number of blocks than the network.
    """
    work = _TreeBackward(supernet, y_B, len(placements), scaler, machine)
    group = root_group(supernet, placements)
    with machine.autocast():
        x_BCHW = supernet.run_stem(x_BCHW)
    return work.branch(x_BCHW, group, 0)


@dataclass(frozen=True)
class _TreeBackward:
    supernet: SinglePath
    y_B: Tensor
    placements: int
    scaler: torch.amp.GradScaler
    machine: Machine

    def branch(self, x_BCHW: Any, group: Group, block: int) -> Tensor:
        """From ``block`` to the leaves and back to ``x_BCHW``, for placements that agree on everything before it."""
        with self.machine.autocast():
            x_BCHW, branches, block = self._to_fork(x_BCHW, group, block)
        if not branches:
            return self._leaf(x_BCHW, group)
        fork = tuple(_detached(part) for part in x_BCHW) if isinstance(x_BCHW, tuple) else _detached(x_BCHW)
        loss = torch.stack([self.branch(fork, child, block) for child in branches]).sum()
        _send_back(x_BCHW, fork)
        return loss

    def _to_fork(self, x_BCHW: Any, group: Group, block: int) -> tuple[Any, list[Group], int]:
        """The map at the next fork, its branches, and the block before which it lies; no branches at the end."""
        blocks = len(self.supernet.net.blocks)
        while block < blocks:
            branches = children(group, block)
            if len(branches) > 1:
                return x_BCHW, branches, block
            x_BCHW = self.supernet.run_block(block, x_BCHW, group[0][1])
            block += 1
        return x_BCHW, [], blocks

    def _leaf(self, x_BCHW: Any, group: Group) -> Tensor:
        share = len(group) / self.placements
        with self.machine.autocast():
            loss = F.cross_entropy(self.supernet.run_head(x_BCHW, group[0][1]), self.y_B)
        loss = loss * share if share != 1 else loss
        self.scaler.scale(loss).backward()
        return loss.detach()


def _detached(part: Any) -> Any:
    return part.detach().requires_grad_(part.requires_grad) if isinstance(part, Tensor) else part


def _send_back(state: Any, fork: Any) -> None:
    """From the gradients gathered at a fork's copy of what is alive there, on towards the root."""
    pairs = zip(state, fork, strict=True) if isinstance(state, tuple) else [(state, fork)]
    arrived = [(part, copy.grad) for part, copy in pairs if isinstance(copy, Tensor) and copy.grad is not None]
    if arrived:
        torch.autograd.backward([part for part, _ in arrived], [gradient for _, gradient in arrived])


@torch.inference_mode()
def predict(forward: Forward, x_BCHW: Tensor, machine: Machine) -> Tensor:
    """The most probable class of each image.

    Args:
        forward: the network at a placement, in evaluation mode.
        x_BCHW: images, normalised, on the device.
        machine: for its precision.

    Returns:
        Numbers of classes, shape (B,), on the device.
    """
    with machine.autocast():
        return forward(x_BCHW).argmax(1)


@torch.inference_mode()
def tree_scores(
    supernet: SinglePath, x_BCHW: Tensor, y_B: Tensor, placements: Sequence[Placement], metric: Metric, machine: Machine
) -> list[tuple[int, Tensor]]:
    """The metric of placements on one minibatch, run as a tree.

    Args:
        supernet: in evaluation mode.
        x_BCHW: images, normalised, on the device.
        y_B: their classes as numbers, shape (B,), on the device.
        placements: at least one; one may come twice.
        metric: what to compute, see :func:`batch_score`.
        machine: for its precision.

    Returns:
        (position in ``placements``, metric) of each, in the order of the tree; the metric is a fraction, still on the
        device.
    """
    with machine.autocast():
        return [
            (position, batch_score(metric, logits, y_B)) for position, logits in run_tree(supernet, x_BCHW, placements)
        ]


def batch_score(metric: Metric, logits_BK: Tensor, y_B: Tensor) -> Tensor:
    """The metric of a minibatch, as :func:`poolsearch.evaluation.metrics.score`, without waiting for the device.

    Of the classes, those with images in the minibatch count.

    Args:
        metric: "accuracy", "balanced-accuracy" or "macro-f1".
        logits_BK: of B images and K classes.
        y_B: their classes as numbers, shape (B,), on the same device.

    Returns:
        A fraction, shape (), on the device.
    """
    predicted_B = logits_BK.argmax(1)
    right_B = predicted_B == y_B
    if metric == "accuracy":
        return right_B.float().mean()
    zeros_K = torch.zeros(logits_BK.shape[1], device=y_B.device)
    ones_B = torch.ones(len(y_B), device=y_B.device)
    support_K, right_K = zeros_K.index_add(0, y_B, ones_B), zeros_K.index_add(0, y_B, right_B.float())
    guessed_K = zeros_K.index_add(0, predicted_B, ones_B)
    value_K = right_K / support_K if metric == "balanced-accuracy" else 2 * right_K / (support_K + guessed_K)
    there_K = support_K > 0
    return torch.where(there_K, value_K, 0).sum() / there_K.sum()
