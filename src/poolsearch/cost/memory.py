"""Peak memory of a training step for every placement, known before any training.

At any moment of a step the bytes alive are what earlier parts have left, and what the part at hand needs beside that.
A part is the stem, a block or the head, forward or backward; what it leaves and needs is decided by the size of its
input and by its site. So a few whole steps, on tensors without numbers (torch's fake CPU tensors, under the same
autocast as a real step), give a table for all placements, and a placement's peak is the largest of its running sums.

Counted are activations, gradients, casts of weights and the minibatch; not what is there between two steps (weights,
statistics, momentum). A convolution of a CPU's also lays its weights out anew inside: once forward, twice backward (as
measured, of oneDNN). Other libraries' work space is not known.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from poolsearch.cost.macs import BlockKey, CostTable
from poolsearch.cost.routes import Grid, Routes, block_keys, covering_placements, head_of
from poolsearch.errors import PoolsearchError
from poolsearch.nets.live_bytes import LiveBytes
from poolsearch.nets.poolable import HeadKey, Poolable
from poolsearch.nets.restride.trace import copy_with
from poolsearch.space import Placement, Space
from poolsearch.tasks.task import main_output


@dataclass(frozen=True)
class MemoryChange:
    """What a part of a step does to the bytes alive: how far they rise above where it begins, and where they end."""

    rise: int = 0
    left: int = 0


@dataclass
class StepTable:
    """Bytes of every part of a training step; blocks and the head are keyed as in ``CostTable``.

    Attributes:
        batch: images of the minibatch.
        stem: forward (with the minibatch) and backward.
        forward, backward: of each block.
        head: with the loss, forward and backward.
    """

    batch: int
    stem: tuple[MemoryChange, MemoryChange] = (MemoryChange(), MemoryChange())
    forward: dict[BlockKey, MemoryChange] = field(default_factory=dict)
    backward: dict[BlockKey, MemoryChange] = field(default_factory=dict)
    head: dict[HeadKey, MemoryChange] = field(default_factory=dict)


class _Step(LiveBytes):
    """Bytes alive in a step, part after part."""

    _INSIDE: Mapping[Any, int] = {torch.ops.aten.convolution: 1, torch.ops.aten.convolution_backward: 2}

    def __init__(self) -> None:
        super().__init__()
        self._began = 0

    def part(self) -> MemoryChange:
        """What changed since the last call."""
        change = MemoryChange(self.most - self._began, self.now - self._began)
        self._began = self.most = self.now
        return change

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if copies := self._INSIDE.get(func.overloadpacket):
            weight = args[1] if copies == 1 else args[2]
            self.most = max(self.most, self.now + copies * weight.numel() * weight.element_size())
        return out


def step_table(
    net: Poolable,
    table: CostTable,
    space: Space,
    height: int,
    width: int,
    batch: int,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.channels_last,
) -> StepTable:
    """Bytes of a training step at every (block, size, site).

    Args:
        net: on the meta device, in training mode.
        table: its MACs, for the sizes of its maps.
        space: the placements that are to be covered.
        height, width: of the images.
        batch: images of a minibatch.
        dtype: that autocast computes in; float32 is without.
        memory_format: of maps and weights.

    Returns:
        Bytes by which each part raises and changes what is alive; weights, statistics and momentum are not counted.
    """
    found = StepTable(batch)
    with FakeTensorMode():
        fake = copy_with(net, partial(_fake, memory_format=memory_format)).train()
        for placement in covering_placements(table, space):
            _add(found, table, placement, run_step(fake, placement, height, width, batch, dtype, memory_format))
    return found


def _fake(tensor: Tensor, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    layout = memory_format if tensor.dim() == 4 else torch.contiguous_format
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", memory_format=layout)


def _add(found: StepTable, table: CostTable, placement: Placement, changes: list[MemoryChange]) -> None:
    """Take in a step: forward of the stem and the blocks, the head, backward of the blocks and the stem."""
    blocks = block_keys(table, placement)
    count = len(blocks)
    found.stem = changes[0], changes[-1]
    found.forward.update(zip(blocks, changes[1 : count + 1], strict=True))
    found.backward.update(zip(reversed(blocks), changes[count + 2 : -1], strict=True))
    found.head[head_of(table, placement)] = changes[count + 1]


def run_step(
    net: Poolable,
    placement: Placement,
    height: int,
    width: int,
    batch: int,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.channels_last,
) -> list[MemoryChange]:
    """What each part of a step does.

    Args:
        net: of fake tensors, in training mode; inside their mode.
        placement: what is trained.
        height, width, batch, dtype, memory_format: as in :func:`step_table`.

    Returns:
        2L + 3 changes in the order of the step: stem and L blocks forward, head with loss, forward and backward, L
        blocks backward from the last, stem backward.
    """
    with _Step() as live:
        x_BCHW = torch.empty((batch, net.channels, height, width), memory_format=memory_format)
        label_B = torch.zeros(batch, dtype=torch.int64)
        backward = _Backward(live, len(net.blocks) + 1)
        with _autocast(dtype):
            state = net.stem(x_BCHW)
            forward = [live.part()]
            backward.watch(state, 0)
            for index in range(len(net.blocks)):
                state = net.run_block(index, state, placement.at(index))
                forward.append(live.part())
                backward.watch(state, index + 1)
            loss = _loss(net.head(state), label_B)
        del state
        loss.backward()
        changes = forward + backward.changes()
    for parameter in net.parameters():
        parameter.grad = None
    return changes


def _loss(outputs: Any, label_B: Tensor) -> Tensor:
    """Cross entropy of the output that counts, of each pixel where it is a map: the loss of other tasks takes about as
    much. All others are summed up, and so are the maps of a backbone, whose loss is not known."""
    rest = [out for out in tree_leaves(outputs) if isinstance(out, Tensor) and out.requires_grad]
    main = _main(outputs)
    if main is None:
        return torch.stack([out.sum() for out in rest]).sum()
    pixels = main.shape[2:]
    loss = F.cross_entropy(main, label_B.view(-1, *(1 for _ in pixels)).expand(len(label_B), *pixels))
    for out in rest:
        if out is not main:
            loss = loss + out.sum()
    return loss


def _main(outputs: Any) -> Tensor | None:
    """The output that counts; None of a list of maps, and of what has no tensor in front."""
    try:
        main = main_output(outputs)
    except PoolsearchError:
        return None
    return None if isinstance(outputs, (tuple, list)) and main.dim() == 4 else main


def _autocast(dtype: torch.dtype) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)


class _Backward:
    """Notes where the backward pass goes from one part to the one before: when the gradient of its output is whole."""

    def __init__(self, live: _Step, parts: int) -> None:
        self._live = live
        self._found = [MemoryChange()] * (parts + 1)  # of the stem, the blocks, the head
        self._begins = parts  # the part that is at hand
        self._before: list[weakref.ref[Tensor]] = []

    def watch(self, state: Any, part: int) -> None:
        """``state`` is what ``part`` gives; of several maps those that were there before say nothing."""
        maps = [leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor) and leaf.requires_grad]
        for leaf in maps:
            if all(known() is not leaf for known in self._before):
                leaf.register_hook(lambda _: self._reached(part))
        self._before = [weakref.ref(leaf) for leaf in maps]

    def _reached(self, part: int) -> None:
        if part < self._begins:
            self._found[part + 1] = self._live.part()
            self._begins = part

    def changes(self) -> list[MemoryChange]:
        """Of the head, the blocks from the last to the first, the stem, when the pass has ended."""
        self._found[self._begins] = self._live.part()
        return self._found[::-1]


def peak_bytes(table: StepTable, grid: Grid, routes: Routes) -> NDArray[np.int64]:
    """The most bytes alive in a training step of each placement.

    Args:
        table: changes of the parts.
        grid: of the same network and space as the table.
        routes: of A placements, by ``grid``.

    Returns:
        Shape (A,), in bytes; weights, statistics and momentum are not counted.
    """
    forward, backward = (_tables(grid, part) for part in (table.forward, table.backward))
    first, last = table.stem
    now_A = np.full(routes.entry_LA.shape[1], float(first.left))
    peak_A = np.full(routes.entry_LA.shape[1], float(first.rise))

    def take(rise_A: Any, left_A: Any) -> None:
        np.maximum(peak_A, now_A + rise_A, out=peak_A)
        np.add(now_A, left_A, out=now_A)

    for index, entry_A in enumerate(routes.entry_LA):
        take(*(values_LE[index][entry_A] for values_LE in forward))
    heads = ({key: getattr(change, name) for key, change in table.head.items()} for name in ("rise", "left"))
    take(*map(routes.of_head, heads))
    for index, entry_A in reversed([*enumerate(routes.entry_LA)]):
        take(*(values_LE[index][entry_A] for values_LE in backward))
    take(last.rise, last.left)
    return peak_A.astype(np.int64)


def _tables(grid: Grid, found: Mapping[BlockKey, MemoryChange]) -> list[NDArray[np.float64]]:
    return [grid.values({key: getattr(change, name) for key, change in found.items()}) for name in ("rise", "left")]
