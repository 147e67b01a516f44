"""(j) Costs known before training against measured ones: peak memory of a step, latency; time for 10^5 placements."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from allocated import most_allocated
from poolsearch.cost import Profile, profile
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.poolable import Poolable
from poolsearch.progress import SilentProgress
from poolsearch.session.apply_budget import measure_latency
from poolsearch.space import Placement, Space
from poolsearch.tasks.classification import classification
from poolsearch.train.machine import Machine
from poolsearch.train.optim import sgd
from poolsearch.train.step import backward, train_step

Case = tuple[str, int, int, str]
"""Network, image size, batch, precision."""

MEMORY: tuple[Case, ...] = (
    ("cifar-resnet20", 32, 128, "fp32"), ("cifar-resnet20", 32, 128, "bf16"), ("resnet18", 64, 32, "fp32"),
    ("resnet18", 64, 32, "bf16"), ("timm:regnety_002", 96, 16, "fp32"), ("timm:regnety_002", 96, 16, "bf16"),
)  # fmt: skip
LATENCY: tuple[Case, ...] = tuple(
    (name, size, batch, "fp32")
    for name, size in (("cifar-resnet20", 32), ("resnet18", 64), ("timm:regnety_002", 96))
    for batch in (1, 32)
)
LARGE = ("cifar-resnet50", 32, "h,w")
TASK = classification("accuracy")


def allocated(net: Poolable, placement: Placement, x_BCHW: torch.Tensor, machine: Machine) -> int:
    """Most bytes that torch's allocator gave out in the second of two training steps, with the minibatch's own."""
    label_B = torch.zeros(len(x_BCHW), dtype=torch.int64)
    optimizer, scaler = sgd(net.parameters(), 0.01, 0.9, 1e-4), torch.amp.GradScaler("cpu", enabled=False)

    def step() -> None:
        train_step(
            lambda: backward(TASK, lambda x: net(x, placement), x_BCHW, label_B, scaler, machine), optimizer, scaler
        )  # fmt: skip

    step()
    optimizer.zero_grad(set_to_none=True)
    return most_allocated(step) + x_BCHW.nbytes


def _numbers(space: Space, values: Sequence[float], count: int) -> list[int]:
    """The largest, the default and random placements."""
    ends = [max(range(space.size), key=lambda n: values[n]), space.index(space.default)]
    return ends + random.Random(0).sample(range(space.size), max(0, count - len(ends)))


def _profiled(case: Case) -> tuple[NetSpec, Space, Profile, Machine]:
    name, size, batch, precision = case
    spec, machine = NetSpec(name, 10, image_size=size), Machine(torch.device("cpu"), precision)
    net = blank(spec)
    return spec, net.space, profile(net, net.space, size, size, batch, machine.dtype), machine


def memory_errors(case: Case, count: int) -> list[float]:
    """Predicted / measured - 1 of some placements."""
    spec, space, found, machine = _profiled(case)
    bytes_A = found.costs(space).memory_A
    assert bytes_A is not None
    net = machine.place(build(spec)).train()
    x_BCHW = torch.randn(case[2], 3, case[1], case[1]).contiguous(memory_format=torch.channels_last)
    numbers = _numbers(space, bytes_A.tolist(), count)
    return [float(bytes_A[n]) / allocated(net, space[n], x_BCHW, machine) - 1 for n in numbers]


def latency_errors(case: Case, count: int, rounds: int) -> list[float]:
    """Predicted / measured - 1 of some placements, which take turns."""
    spec, space, found, machine = _profiled(case)
    found = replace(found, latency=measure_latency(spec, found, space, case[2], machine, SilentProgress()))
    predicted_A = found.costs(space).latency_A
    assert predicted_A is not None
    net = machine.place(build(spec)).eval()
    x_BCHW = torch.rand(case[2], 3, case[1], case[1]).contiguous(memory_format=torch.channels_last)
    numbers = _numbers(space, predicted_A.tolist(), count)
    seconds: dict[int, list[float]] = {n: [] for n in numbers}
    for _ in range(rounds + 1):
        for number, times in seconds.items():
            with torch.inference_mode(), machine.autocast():
                start = time.perf_counter()
                net(x_BCHW, space[number])
                times.append(time.perf_counter() - start)
    return [float(predicted_A[n]) / (1e3 * statistics.median(seconds[n][1:])) - 1 for n in numbers]


def _row(kind: str, case: Case, errors: Sequence[float]) -> str:
    name, size, batch, precision = case
    middle, worst = statistics.median(map(abs, errors)), max(map(abs, errors))
    signed = statistics.median(errors)
    return f"| {kind} | {name}, {size}px, batch {batch}, {precision} | {middle:.1%} | {worst:.1%} | {signed:+.1%} |"


def _large(large: tuple[str, int, str], count: int) -> list[str]:
    """Seconds for the tables of a large space, and for many of its placements."""
    name, size, axes = large
    net = blank(NetSpec(name, 10, image_size=size))
    space = replace(net.space, axes=axes)
    start = time.perf_counter()
    found = profile(net, space, size, size, 64, torch.float32)
    tables = time.perf_counter() - start
    numbers = random.Random(0).sample(range(space.size), min(count, space.size))
    start = time.perf_counter()
    found.costs(space, numbers)
    return [
        "",
        f"{name}, axes {axes} ({space.size:,} placements): all tables {tables:.1f} s, once; then MACs, memory and "
        f"receptive fields of {len(numbers):,} placements in {time.perf_counter() - start:.2f} s",
    ]


def main(
    memory: Sequence[Case] = MEMORY,
    latency: Sequence[Case] = LATENCY,
    large: tuple[str, int, str] = LARGE,
    placements: int = 12,
    rounds: int = 30,
    many: int = 100_000,
) -> list[str]:
    """Lines for the report."""
    return [
        "| of | network | median error | largest | signed median |",
        "| --- | --- | --- | --- | --- |",
        *(_row("memory", case, memory_errors(case, placements)) for case in memory),
        *(_row("latency", case, latency_errors(case, placements, rounds)) for case in latency),
        *_large(large, many),
    ]


if __name__ == "__main__":
    print("\n".join(main()))
