"""What keeping freed memory brings (``process.keep_memory``): processes with it and without it take turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

_CODE = """
import resource, sys, time
import torch
from functools import partial
from itertools import cycle
import torch.nn.functional as F
from poolsearch.cli import process
from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.groups import MachineSettings
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train.machine import pick_machine
keep, kind, name, side, batch, width = sys.argv[1] == "keep", *sys.argv[2:4], *map(int, sys.argv[4:7])
process.limit_threads()
if keep and not process.keep_memory():
    sys.exit("the allocator is not glibc's, or was chosen by the environment")
machine = pick_machine(MachineSettings(device="cpu"))
net = machine.place(SinglePath(partial(build, NetSpec(name, 10, width)), "batch"))
x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
y = torch.arange(batch) % 10
space = list(net.net.space)[:: max(1, net.net.space.size // 12)]
optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
def step():
    for placement in space:
        optimizer.zero_grad(set_to_none=True)
        with machine.autocast():
            loss = F.cross_entropy(net(x, placement), y)
        loss.backward()
        optimizer.step()
def rank():
    with torch.inference_mode(), machine.autocast():
        for _ in run_tree(net.eval(), x, space):
            pass
work = step if kind == "step" else rank
work()
work()
faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
work()
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
print(seconds / len(space), (usage.ru_minflt - faults) / len(space), usage.ru_maxrss * 1024)
"""

CASES = (("step", "cifar-resnet20", 32, 128, 16), ("rank", "cifar-resnet20", 32, 512, 16))
LONGER = (("step", "cifar-resnet20", 32, 512, 16), ("step", "resnet18", 224, 32, 64))
"""Four minutes more; ``main(cases=LONGER)``."""


def measured(keep: str, case: tuple[object, ...]) -> tuple[float, float, float]:
    """Seconds and page faults per placement, and peak bytes, of a process of its own."""
    arguments = [sys.executable, "-c", _CODE, keep, *map(str, case)]
    found = subprocess.run(arguments, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    seconds, faults, peak = map(float, found.stdout.split())
    return seconds, faults, peak


def main(rounds: int = 3, cases: tuple[tuple[object, ...], ...] = CASES) -> list[str]:
    """Lines for the report."""
    lines = []
    for case in cases:
        found: dict[str, list[tuple[float, float, float]]] = {"give back": [], "keep": []}
        for _ in range(rounds):
            for keep, each in found.items():
                each.append(measured(keep, case))
        ratios = sorted(a[0] / b[0] for a, b in zip(found["give back"], found["keep"], strict=True))
        faults = {keep: statistics.median(f for _, f, _ in each) for keep, each in found.items()}
        peak = {keep: max(p for _, _, p in each) for keep, each in found.items()}
        kind, net, side, batch, _ = case
        lines.append(
            f"{kind}, {net}, {batch} images of {side}x{side}: without / with {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f}, {rounds} rounds); page faults for each placement "
            f"{faults['give back']:.0f} and {faults['keep']:.0f}; peak memory {peak['give back'] / 1e6:.0f} and "
            f"{peak['keep'] / 1e6:.0f} MB"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(main()))
