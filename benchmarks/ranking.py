"""(c) Ranking by the prefix tree: against one by one, and at the scale of 560 and 4,960 placements."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from poolsearch.cost import cost_table
from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.groups import MachineSettings
from poolsearch.space import Placement
from poolsearch.supernet.norms import batch_norm
from poolsearch.supernet.prefix_tree import run_tree, tree_macs
from poolsearch.supernet.single_path import SinglePath
from poolsearch.supernet.tree_memory import memory_table, tree_bytes
from poolsearch.train.machine import Machine, pick_machine
from timing import alternate, each, ratio

Size = tuple[int, int, int]
"""Width of a network, images, and their side."""
LARGE = {"cifar-resnet50": (8, 32, 32), "resnet101": (2, 4, 64)}
"""Spaces of 560 and of 4,960 placements, at a size that is done in half a minute."""
REAL = {"cifar-resnet50": (64, 1, 32), "resnet101": (64, 1, 224)}
"""The same as they are used."""


def main(batch: int = 512, rounds: int = 5, width: int = 16, large: Mapping[str, Size] = LARGE) -> list[str]:
    """Lines for the report. With four members the placements are dealt to them in runs of nine, and at random."""
    machine = pick_machine(MachineSettings())
    supernet = _supernet(NetSpec("cifar-resnet20", 10, width), machine)
    x = _images(batch, 32)
    space = list(supernet.net.space)
    mixed = [space[i] for i in torch.randperm(36, generator=torch.Generator().manual_seed(0)).tolist()]
    deals = {
        "one member": [space],
        "four members, neighbours together": [space[i : i + 9] for i in range(0, 36, 9)],
        "four members, dealt at random": [mixed[i : i + 9] for i in range(0, 36, 9)],
    }
    lines = []
    for name, groups in deals.items():
        alone, tree = (partial(work, supernet, x, groups, machine) for work in (_alone, _tree))
        seconds = alternate({"one by one": alone, "tree": tree}, rounds)
        same = all(torch.equal(a, b) for a, b in zip(alone(), tree(), strict=True))
        faster = ratio(seconds, "one by one", "tree")
        lines.append(f"{name}: one by one / tree {faster}, logits equal to the bit: {same}; {each(seconds, 36)}")
    return lines + [line for name, size in large.items() for line in _large(name, size, machine)]


def _large(name: str, size: Size, machine: Machine) -> list[str]:
    """One tree over a whole large space, its memory, and one by one on an even choice of some placements."""
    width, batch, side = size
    supernet, x = _supernet(NetSpec(name, 10, width), machine), _images(batch, side)
    space = list(supernet.net.space)
    some = space[:: -(-len(space) // 40)]
    _alone(supernet, x, [some[:2]], machine)  # builds kernels
    start = time.perf_counter()
    found = _tree(supernet, x, [space], machine)
    middle = time.perf_counter()
    alone = _alone(supernet, x, [some], machine)
    tree_ms = 1e3 * (middle - start) / len(space)
    alone_ms = 1e3 * (time.perf_counter() - middle) / len(some)
    same = all(torch.equal(found[space.index(p)], logits) for p, logits in zip(some, alone, strict=True))
    bound, grown = batch * _exact(name, size, machine)[1] / 1e6, _growth(name, size)
    real_ratio, real_bytes = _exact(name, REAL[name], machine)
    return [
        f"all {len(space):,} of {name} in one tree, width {width}, {batch} images of {side}x{side}: one by one / tree "
        f"{alone_ms / tree_ms:.2f}, logits equal to the bit: {same}; one by one {alone_ms:.3g} ms (of {len(some)}), "
        f"tree {tree_ms:.3g} ms; maps alive at most {bound:.1f} MB, the process grew by {grown:.1f} MB",
        f"the same at width {REAL[name][0]} and {REAL[name][2]}x{REAL[name][2]}, counted: MACs of the blocks one by "
        f"one / tree {real_ratio:.2f}; maps alive at most {real_bytes / 1e6:.2f} MB an image",
    ]


def _exact(name: str, size: Size, machine: Machine) -> tuple[float, int]:
    """MACs of the blocks of all placements one by one over those of the tree, and the most bytes alive per image."""
    width, _, side = size
    with torch.device("meta"):
        net = build(NetSpec(name, 10, width), batch_norm)
        costs = cost_table(net, side, side)
    space = list(net.space)
    rows = [costs.block_macs(placement) for placement in space]
    return sum(map(sum, rows)) / tree_macs(rows, space), tree_bytes(
        memory_table(net.to(machine.dtype), side, side), space
    )


def _growth(name: str, size: Size) -> float:
    """MB by which a process of its own grows at the most while it runs a whole tree, after two images to warm up."""
    command = [sys.executable, __file__, name, *map(str, size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _measure_growth(name: str, width: int, batch: int, side: int) -> float:
    machine = pick_machine(MachineSettings())
    supernet, x = _supernet(NetSpec(name, 10, width), machine), _images(batch, side)
    _alone(supernet, x[:2], [[supernet.net.default]], machine)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is from now on
    before = _status("VmRSS")
    _tree(supernet, x, [list(supernet.net.space)], machine)
    return (_status("VmHWM") - before) / 1e6


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _supernet(spec: NetSpec, machine: Machine) -> SinglePath:
    return machine.place(SinglePath(partial(build, spec), "batch")).eval()


def _images(batch: int, side: int) -> torch.Tensor:
    return torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)


def _alone(
    supernet: SinglePath, x: torch.Tensor, groups: list[list[Placement]], machine: Machine
) -> list[torch.Tensor]:
    with torch.inference_mode(), machine.autocast():
        return [supernet(x, placement) for group in groups for placement in group]


def _tree(supernet: SinglePath, x: torch.Tensor, groups: list[list[Placement]], machine: Machine) -> list[torch.Tensor]:
    with torch.inference_mode(), machine.autocast():
        found = [dict(run_tree(supernet, x, group)) for group in groups]
        return [logits[i] for logits in found for i in range(len(logits))]


if __name__ == "__main__":
    if sys.argv[1:]:
        print(_measure_growth(sys.argv[1], *map(int, sys.argv[2:])))
    else:
        print("\n".join(main()))
