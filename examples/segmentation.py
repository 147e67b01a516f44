"""Where should a segmenter's encoder downsample? A supernet's ranking against trainings of every placement alone.

``python examples/segmentation.py [STEPS]`` takes some minutes: circles and squares are told apart, pixel by pixel.
"""

import sys

import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor, nn

import poolsearch

SIDE, BATCH, WIDTHS, STRIDES = 32, 32, (8, 8, 16, 16, 32, 32), (1, 2, 1, 2, 1, 1)


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
    """A head on the maps of three blocks of an encoder, resized to one size; the encoder's placement is an argument."""

    def __init__(self) -> None:
        super().__init__()
        sizes = zip((1, *WIDTHS), WIDTHS, STRIDES, strict=False)
        units = [nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
        encoder = nn.Sequential(nn.Sequential(*units), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.encoder = poolsearch.SuperNet(poolsearch.restride(encoder, torch.zeros(2, 1, SIDE, SIDE)))
        self.laterals = nn.ModuleList(nn.Conv2d(width, 16, 1) for width in WIDTHS[1::2])
        self.head = nn.Conv2d(16, 3, 3, padding=1)
        self.optimizer = torch.optim.AdamW(self.parameters(), 3e-3)

    def forward(self, x: Tensor, placement: poolsearch.Placement) -> Tensor:
        maps = zip(self.laterals, self.encoder.maps(x, placement)[1::2], strict=True)
        summed = torch.stack([F.interpolate(conv(one), SIDE // 2) for conv, one in maps]).sum(0)
        return F.interpolate(self.head(F.relu(summed)), SIDE, mode="bilinear")

    @torch.no_grad()
    def iou(self, placement: poolsearch.Placement, x: Tensor, y: Tensor) -> float:  # of circles and squares, the mean
        predicted = self(x, placement).argmax(1)
        both = [(predicted == shape, y == shape) for shape in (1, 2)]
        return sum(float((a & b).sum() / (a | b).sum()) for a, b in both) / 2

    def step(self, x: Tensor, y: Tensor, placement: poolsearch.Placement) -> None:
        rows = torch.randint(len(x), (BATCH,))
        self.optimizer.zero_grad()
        F.cross_entropy(self(x[rows], placement), y[rows]).backward()
        self.optimizer.step()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    torch.manual_seed(0)
    supernet, train, (x, y) = Segmenter(), shapes(2000, seed=0), shapes(400, seed=1)
    search = poolsearch.MixtureSearch(supernet.encoder.space, members=1, steps=steps)

    for trial in (search.ask() for _ in range(steps)):
        supernet.step(*train, trial.placement)
        search.tell(trial, supernet.iou(trial.placement, x[:BATCH], y[:BATCH]))
    ranking, values = search.ranking(lambda _, placement: supernet.iou(placement, x, y)), []
    print(ranking, "trained alone:", sep="\n")
    for row in ranking:
        alone = Segmenter()
        for _ in range(steps):
            alone.step(*train, row.placement)
        values.append(alone.iou(row.placement, x, y))
        print(f"{row.placement.shown} {values[-1]:.1%}", flush=True)
    kendall_tau = kendalltau([row.val_metric for row in ranking], values).statistic
    print(f"kendall_tau of the ranking with these: {kendall_tau:.2f} (n = {len(values)})")
