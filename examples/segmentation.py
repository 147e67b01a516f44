"""Where should a segmenter's encoder downsample? A supernet's ranking against trainings of every placement alone.

``python examples/segmentation.py [STEPS]`` takes some minutes: circles and squares are told apart, pixel by pixel.
"""

import sys
from itertools import accumulate

import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor, nn

import poolsearch

SIDE, BATCH, UNITS = 32, 32, ((1, 8, 1), (8, 8, 2), (8, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 1))


def shapes(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images with a circle and a square each; for each pixel 0, or 1 in a circle, or 2 in a square."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.rand(number, 2, 2, 1, 1, generator=draw) * (SIDE - 12) + 6
    size = torch.rand(number, 2, 1, 1, generator=draw) * 4 + 2
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    down, across = (y - place[:, :, 0]).abs(), (x - place[:, :, 1]).abs()
    circle = down[:, 0] ** 2 + across[:, 0] ** 2 < size[:, 0] ** 2
    target = torch.where(torch.maximum(down[:, 1], across[:, 1]) < size[:, 1], 2, circle.long())
    return (target > 0)[:, None] + torch.randn(number, 1, SIDE, SIDE, generator=draw), target


class Segmenter(nn.Module):
    """An ordinary network: the maps of three blocks of an encoder, resized to one size, and a head on their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b)) for a, b, s in UNITS)
        self.laterals = nn.ModuleList(nn.Conv2d(width, 16, 1) for width in (8, 16, 32))
        self.head = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [*accumulate(self.encoder, lambda x, unit: F.relu(unit(x)), initial=x)]
        resized = [F.interpolate(f(one), SIDE // 2) for f, one in zip(self.laterals, maps[2::2], strict=True)]
        return F.interpolate(self.head(F.relu(torch.stack(resized).sum(0))), SIDE, mode="bilinear")


@torch.no_grad()
def iou(net: nn.Module, x: Tensor, y: Tensor, *placement: poolsearch.Placement) -> float:
    predicted = net(x, *placement).argmax(1)
    both = ((predicted == shape, y == shape) for shape in (1, 2))  # circles and squares
    return sum(float((a & b).sum() / (a | b).sum()) for a, b in both) / 2


def step(net: nn.Module, optimizer: torch.optim.Optimizer, *placement: poolsearch.Placement) -> None:
    rows = torch.randint(len(train[0]), (BATCH,))
    optimizer.zero_grad()
    F.cross_entropy(net(train[0][rows], *placement), train[1][rows]).backward()
    optimizer.step()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    torch.manual_seed(0)
    train, (x, y) = shapes(2000, seed=0), shapes(400, seed=1)
    supernet = poolsearch.SuperNet(poolsearch.restride(Segmenter(), x[:2]))
    optimizer = torch.optim.AdamW(supernet.parameters(), 3e-3)
    search = poolsearch.MixtureSearch(supernet.space, members=1, steps=steps)
    for trial in (search.ask() for _ in range(steps)):
        step(supernet, optimizer, trial.placement)
        search.tell(trial, iou(supernet, x[:BATCH], y[:BATCH], trial.placement))
    ranking, pairs = search.ranking(lambda _, placement: iou(supernet, x, y, placement)), []
    print(ranking, "trained alone:", sep="\n")
    for row in ranking:
        alone = poolsearch.restride(Segmenter(), x[:2]).fixed(row.placement)
        optimizer = torch.optim.AdamW(alone.parameters(), 3e-3)
        for _ in range(steps):
            step(alone, optimizer)
        pairs.append((row.val_metric, iou(alone, x, y)))
        print(f"{row.placement.shown} {pairs[-1][1]:.1%}", flush=True)
    print(
        f"kendall_tau of the ranking with these: {kendalltau(*torch.tensor(pairs).T).statistic:.2f} (n = {len(pairs)})"
    )
