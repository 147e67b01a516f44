"""(j) A training loop around ask and tell against the same loop without it: same networks, images and placements."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import cycle

import torch
import torch.nn.functional as F

import poolsearch
from poolsearch.nets.build import NetSpec, build
from search_step import InOrder
from timing import alternate, each, ratio

MEMBERS = 4


def step(
    members: list[poolsearch.SuperNet], optimizers: list[torch.optim.SGD], x: torch.Tensor, y: torch.Tensor
) -> Callable[[int, poolsearch.Placement], float]:
    """A step of training and one of validation, as anybody writes it."""

    def one(m: int, placement: poolsearch.Placement) -> float:
        optimizers[m].zero_grad(set_to_none=True)
        F.cross_entropy(members[m](x, placement), y).backward()
        optimizers[m].step()
        with torch.inference_mode():
            return (members[m](x, placement).argmax(1) == y).float().mean().item()

    return one


def main(batch: int = 128, steps: int = 36, rounds: int = 5, width: int = 16) -> list[str]:
    """Lines for the report. ``steps`` of 36 are all placements once."""
    net = build(NetSpec("cifar-resnet20", 10, width))
    members = [poolsearch.SuperNet(net) for _ in range(MEMBERS)]
    optimizers = [torch.optim.SGD(member.parameters(), 0.1, momentum=0.9) for member in members]
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(batch, 3, 32, 32, generator=draw), torch.randint(10, (batch,), generator=draw)
    one = step(members, optimizers, x, y)
    space = net.space
    search = poolsearch.MixtureSearch(space, MEMBERS, steps=10_000, sampler=InOrder(list(space)))
    floor: Iterator[tuple[int, poolsearch.Placement]] = cycle(list(enumerate(space)))

    def asked() -> None:
        for _ in range(steps):
            trial = search.ask()
            search.tell(trial, one(trial.member, trial.placement))

    def bare() -> None:
        for _ in range(steps):
            number, placement = next(floor)
            one(number % MEMBERS, placement)

    def alone() -> None:
        for _ in range(steps):
            search.tell(search.ask(), 0.5)

    seconds = alternate({"ask and tell": asked, "bare": bare, "asking and telling alone": alone}, rounds)
    part = statistics.median(seconds["asking and telling alone"]) / statistics.median(seconds["bare"])
    return [
        f"cifar-resnet20 of width {width}, batch {batch}, fp32, {MEMBERS} members, {space.size} placements in order",
        f"a step: {each(seconds, steps)}",
        f"ask and tell / bare: {ratio(seconds, 'ask and tell', 'bare')}",
        f"asking and telling alone: {part:.2%} of a bare step",
    ]


if __name__ == "__main__":
    print("\n".join(main()))
