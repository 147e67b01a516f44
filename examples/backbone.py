"""Where should the backbone of a detector downsample? timm's, in a detector of one's own, searched by ask and tell.

``python examples/backbone.py [STEPS]`` takes some minutes: the centres and radii of noisy discs are found, by a head
that says at each place of the finest map whether a centre is there, and what its radius is.
"""

import sys

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import poolsearch

SIDE, BATCH, WIDTH = 64, 16, 32


def discs(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images with a disc each, and its (y, x, radius) in pixels."""
    draw = torch.Generator().manual_seed(seed)
    least, most = torch.tensor([12.0, 12.0, 4.0]), torch.tensor([SIDE - 12.0, SIDE - 12.0, 11.0])
    boxes = least + torch.rand(number, 3, generator=draw) * (most - least)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    inside = (y - boxes[:, 0, None, None]) ** 2 + (x - boxes[:, 1, None, None]) ** 2 < boxes[:, 2, None, None] ** 2
    return inside[:, None] + torch.randn(number, 3, SIDE, SIDE, generator=draw), boxes


class Detector(nn.Module):
    """A head on the maps of three stages, whatever their sizes; the placement of the backbone is an argument."""

    def __init__(self) -> None:
        super().__init__()
        backbone = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3))
        self.backbone = poolsearch.SuperNet(poolsearch.restride(backbone, torch.zeros(2, 3, SIDE, SIDE)))
        self.laterals = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in self.backbone.out_channels)
        self.head = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, 2, 1))

    def forward(self, images: Tensor, placement: poolsearch.Placement) -> tuple[Tensor, Tensor]:
        maps = [lateral(m) for lateral, m in zip(self.laterals, self.backbone(images, placement), strict=True)]
        finest = maps[0].shape[-2:]  # the first stage is never coarser than the others
        centre, radius = self.head(F.relu(sum(F.interpolate(m, finest) for m in maps))).unbind(1)
        return centre, radius

    def loss(self, images: Tensor, boxes: Tensor, placement: poolsearch.Placement) -> Tensor:
        centre, radius = self(images, placement)
        rows, columns = self.backbone.strides(placement)[0]  # of the finest map: which place is that of a centre?
        place = (boxes[:, 0] // rows * centre.shape[-1] + boxes[:, 1] // columns).long()
        there = radius.flatten(1).gather(1, place[:, None])[:, 0]
        return F.cross_entropy(centre.flatten(1), place) + F.l1_loss(there, boxes[:, 2] / 8)

    @torch.no_grad()
    def hits(self, images: Tensor, boxes: Tensor, placement: poolsearch.Placement) -> float:
        """The part of the discs whose centre is found within four pixels, and their radius within two."""
        centre, radius = self(images, placement)
        rows, columns = self.backbone.strides(placement)[0]
        place = centre.flatten(1).argmax(1)
        y, x = (place // centre.shape[-1] + 0.5) * rows, (place % centre.shape[-1] + 0.5) * columns
        near = (y - boxes[:, 0]) ** 2 + (x - boxes[:, 1]) ** 2 <= 16
        there = radius.flatten(1).gather(1, place[:, None])[:, 0] * 8
        return float((near & ((there - boxes[:, 2]).abs() <= 2)).float().mean())


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    torch.manual_seed(0)
    detector, (images, boxes), val = Detector(), discs(1000, seed=0), discs(64, seed=1)
    optimizer = torch.optim.AdamW(detector.parameters(), 1e-3)
    search = poolsearch.MixtureSearch(detector.backbone.space, members=1, steps=steps)
    for trial in (search.ask() for _ in range(steps)):
        rows = torch.randint(len(images), (BATCH,))
        optimizer.zero_grad()
        detector.loss(images[rows], boxes[rows], trial.placement).backward()
        optimizer.step()
        search.tell(trial, detector.hits(val[0][:BATCH], val[1][:BATCH], trial.placement))
    print(search.ranking(lambda _, placement: detector.hits(*val, placement)))
    print("strides of its maps by default:", detector.backbone.strides(detector.backbone.space.default))
