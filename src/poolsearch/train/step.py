"""One training step and one evaluation of a minibatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from poolsearch.space import Placement
from poolsearch.supernet.prefix_tree import Group, children, root_group, run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.task import Task, minibatch_metric, responses
from poolsearch.train.machine import Machine

Forward = Callable[[Tensor], Any]
"""Images (B, C, H, W) to a network's outputs, such as logits (B, classes)."""


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


def backward(
    task: Task, forward: Forward, x_BCHW: Tensor, targets: Tensor, scaler: torch.amp.GradScaler, machine: Machine
) -> Tensor:
    """Forward, loss, backward (paper, Eq. 1): gradients are added to those of the parameters.

    Args:
        task: for its loss.
        forward: the network at a placement.
        x_BCHW: images, normalised, on the device.
        targets: what there is to learn of them, (B, ...), on the device: of classes their numbers.
        scaler: of the loss, for fp16; one that is not enabled changes nothing.
        machine: for its precision.

    Returns:
        The mean loss, not scaled, detached and still on the device.
    """
    with machine.autocast():
        loss = task.loss(forward(x_BCHW), targets)
    scaler.scale(loss).backward()
    return loss.detach()


def tree_backward(
    task: Task,
    supernet: SinglePath,
    x_BCHW: Tensor,
    targets: Tensor,
    placements: Sequence[Placement],
    scaler: torch.amp.GradScaler,
    machine: Machine,
) -> Tensor:
    """As :func:`backward`, for the mean loss over placements, which are run as a tree (a placement may come twice).

    Depth first, and each branch backward as soon as it was run forward: the gradient of a fork's map is summed over its
    branches and sent further back once. What is alive is one path from the root to a leaf, so that many placements
    need no more memory than the most expensive one, and the map of each fork.

    Args:
        task: for its loss.
        supernet: whose gradients are added to.
        x_BCHW: images, normalised, on the device.
        targets: what there is to learn of them, (B, ...), on the device.
        placements: at least one.
        scaler: of the loss, for fp16; one that is not enabled changes nothing.
        machine: for its precision.

    Returns:
        The mean loss over images and placements, not scaled, detached and still on the device.

    Raises:
        PoolsearchError: a placement has another number of blocks than the network.
    """
    work = _TreeBackward(task, supernet, targets, len(placements), scaler, machine)
    group = root_group(supernet, placements)
    with machine.autocast():
        x_BCHW = supernet.run_stem(x_BCHW)
    return work.branch(x_BCHW, group, 0)


@dataclass(frozen=True)
class _TreeBackward:
    task: Task
    supernet: SinglePath
    targets: Tensor
    placements: int
    scaler: torch.amp.GradScaler
    machine: Machine

    def branch(self, x_BCHW: Any, group: Group, block: int) -> Tensor:
        """From ``block`` to the leaves and back to ``x_BCHW``, for placements that agree on everything before it."""
        with self.machine.autocast():
            x_BCHW, branches, block = self._to_fork(x_BCHW, group, block)
        if not branches:
            return self._leaf(x_BCHW, group)
        fork = tree_map(_detached, x_BCHW)
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
            loss = self.task.loss(self.supernet.run_head(x_BCHW, group[0][1]), self.targets)
        loss = loss * share if share != 1 else loss
        self.scaler.scale(loss).backward()
        return loss.detach()


def _detached(part: Any) -> Any:
    return part.detach().requires_grad_(part.requires_grad) if isinstance(part, Tensor) else part


def _send_back(state: Any, fork: Any) -> None:
    """From the gradients gathered at a fork's copy of what is alive there, on towards the root."""
    pairs = zip(tree_leaves(state), tree_leaves(fork), strict=True)
    arrived = [(part, copy.grad) for part, copy in pairs if isinstance(copy, Tensor) and copy.grad is not None]
    if arrived:
        torch.autograd.backward([part for part, _ in arrived], [gradient for _, gradient in arrived])


@torch.inference_mode()
def predict(task: Task, forward: Forward, x_BCHW: Tensor, targets: Tensor, machine: Machine) -> Tensor:
    """What is kept of each image, see :func:`poolsearch.tasks.task.responses`.

    Args:
        task: what is learned.
        forward: the network at a placement, in evaluation mode.
        x_BCHW: images, normalised, on the device.
        targets: what there is to learn of them, (B, ...), on the device.
        machine: for its precision.

    Returns:
        Numbers of classes, or the metric of each image, shape (B,), on the device.
    """
    with machine.autocast():
        return responses(task, forward(x_BCHW), targets)


@torch.inference_mode()
def tree_scores(
    task: Task,
    supernet: SinglePath,
    x_BCHW: Tensor,
    targets: Tensor,
    placements: Sequence[Placement],
    machine: Machine,
) -> list[tuple[int, Tensor]]:
    """The metric of placements on one minibatch, run as a tree.

    Args:
        task: for its metric.
        supernet: in evaluation mode.
        x_BCHW: images, normalised, on the device.
        targets: what there is to learn of them, (B, ...), on the device.
        placements: at least one; one may come twice.
        machine: for its precision.

    Returns:
        (position in ``placements``, metric) of each, in the order of the tree; the metric is a fraction, still on the
        device.
    """
    with machine.autocast():
        return [
            (position, minibatch_metric(task, outputs, targets))
            for position, outputs in run_tree(supernet, x_BCHW, placements)
        ]
