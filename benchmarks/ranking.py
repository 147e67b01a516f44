"""(c) Ranking all 36 placements of ResNet20 by the prefix tree against one by one, for one member and for four."""

from __future__ import annotations

from functools import partial

import torch

from poolsearch.nets.build import NetSpec, build
from poolsearch.placement import Placement
from poolsearch.settings import MachineSettings
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train.machine import Machine, pick_machine
from timing import alternate, each, ratio


def main(batch: int = 512, rounds: int = 5, width: int = 16) -> list[str]:
    """Lines for the report. With four members the placements are dealt to them in runs of nine, and at random."""
    machine = pick_machine(MachineSettings())
    supernet = machine.place(SinglePath(partial(build, NetSpec("cifar-resnet20", 10, width)), "batch")).eval()
    x = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
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
    return lines


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
    print("\n".join(main()))
