"""Latency of every placement, from blocks timed inside whole forward passes.

A few placements together meet every (block, size of its input, site). They are run in turns, whole, and each block is
timed where it stands, so that caches are as in real use and whatever else the machine does meets all of them. A
placement's latency is the sum of its parts' medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.cost.macs import BlockKey, CostTable
from poolsearch.cost.routes import Grid, Routes, block_keys, covering_placements, head_of, sum_entries
from poolsearch.nets.poolable import HeadKey, Poolable
from poolsearch.progress import Progress
from poolsearch.space import Placement, Space

_WARM_UP = 3  # rounds not counted: the first passes build kernels
_LEAST, _MOST = 7, 100  # rounds
_SECONDS = 10.0  # after which no round more than the least is begun

Mark = Any
Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of each part for one batch, keyed as in ``CostTable``."""

    stem: float
    block: dict[BlockKey, float]
    head: dict[HeadKey, float]


@dataclass(frozen=True)
class Clock:
    """How time is taken on a device: a mark may be read only when the device has come to it.

    Attributes:
        mark: a moment.
        between: milliseconds from each mark to the next, once all are reached.
    """

    mark: Callable[[], Mark]
    between: Callable[[Sequence[Mark]], list[float]]


def clock_of(device: torch.device) -> Clock:
    """The clock of a device: a GPU's events, which do not hold it up, or the processor's clock.

    Args:
        device: cpu, cuda or mps.

    Returns:
        A clock whose marks may be taken while the device is still working.
    """
    if device.type == "cpu":
        return Clock(time.perf_counter, lambda marks: [1e3 * (b - a) for a, b in pairwise(marks)])
    kind: Any = torch.cuda.Event if device.type == "cuda" else torch.mps.event.Event

    def mark() -> Mark:
        event = kind(enable_timing=True)
        event.record()
        return event

    def between(marks: Sequence[Mark]) -> list[float]:
        marks[-1].synchronize()
        return [a.elapsed_time(b) for a, b in pairwise(marks)]

    return Clock(mark, between)


def latency_table(
    net: Poolable,
    table: CostTable,
    space: Space,
    x_BCHW: Tensor,
    autocast: Autocast,
    progress: Progress,
    clock: Clock | None = None,
) -> LatencyTable:
    """Time every (block, size, site), in inference mode.

    Args:
        net: with weights, on the device and in the memory format that it is to be timed in.
        table: its MACs, for the sizes of its maps.
        space: the placements that are to be covered.
        x_BCHW: the batch.
        autocast: makes the context that forward passes run in.
        progress: where work shows itself.
        clock: the device's if None.

    Returns:
        Milliseconds of each part for the batch: medians over 7 to 100 rounds.
    """
    clock = clock or clock_of(x_BCHW.device)
    placements = covering_placements(table, space)
    times: list[list[list[float]]] = [[] for _ in placements]
    began, net = time.monotonic(), net.eval()
    with progress.bar("latency", _MOST) as update:
        for round_ in range(_WARM_UP + _MOST):
            for place, placement in enumerate(placements):
                found = _pass(net, placement, x_BCHW, autocast, clock)
                if round_ >= _WARM_UP:
                    times[place].append(found)
            done = round_ + 1 - _WARM_UP
            update(max(0, done), "")
            if done >= _LEAST and time.monotonic() - began > _SECONDS:
                break
    return _medians(table, placements, times)


@torch.inference_mode()
def _pass(net: Poolable, placement: Placement, x_BCHW: Tensor, autocast: Autocast, clock: Clock) -> list[float]:
    """Milliseconds of the stem, each block and the head in one forward pass."""
    with autocast():
        marks = [clock.mark()]
        state = net.stem(x_BCHW)
        marks.append(clock.mark())
        for index in range(len(net.blocks)):
            state = net.run_block(index, state, placement.at(index))
            marks.append(clock.mark())
        net.head(state)
        marks.append(clock.mark())
    return clock.between(marks)


def _medians(
    table: CostTable, placements: Sequence[Placement], times: Sequence[Sequence[Sequence[float]]]
) -> LatencyTable:
    """The median of all times of the same part."""
    stem: list[float] = []
    block: dict[BlockKey, list[float]] = {}
    head: dict[HeadKey, list[float]] = {}
    for placement, passes in zip(placements, times, strict=True):
        keys = block_keys(table, placement)
        for first, *blocks, last in passes:
            stem.append(first)
            for key, value in zip(keys, blocks, strict=True):
                block.setdefault(key, []).append(value)
            head.setdefault(head_of(table, placement), []).append(last)
    return LatencyTable(
        median(stem), {key: median(found) for key, found in block.items()}, {k: median(v) for k, v in head.items()}
    )


def latencies(table: LatencyTable, grid: Grid, routes: Routes) -> NDArray[np.float64]:
    """Latency of a forward pass of each placement: the sum of its parts.

    Args:
        table: milliseconds of the parts.
        grid: of the same network and space as the table.
        routes: of A placements, by ``grid``.

    Returns:
        Shape (A,), in milliseconds for the batch that was timed.
    """
    return table.stem + sum_entries(grid.values(table.block), routes) + routes.of_head(table.head)
