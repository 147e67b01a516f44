"""Where should this network downsample? A mixture of four supernets, in a training loop of one's own.

``python examples/own_loop.py`` takes a minute. All that is poolsearch's is marked; the rest is any PyTorch script.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import poolsearch


class Unit(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Net(nn.Module):
    """Six convolutions, the second and the fourth strided; ten digits."""

    def __init__(self) -> None:
        super().__init__()
        widths, strides = (1, 8, 8, 16, 16, 32, 32), (1, 2, 1, 2, 1, 1)
        pairs = zip(widths[:-1], widths[1:], strides, strict=True)
        self.units = nn.Sequential(*(Unit(before, after, stride) for before, after, stride in pairs))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.units(x).mean((2, 3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    digits = load_digits()
    images, targets = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(digits.target)
    halves = random_split(TensorDataset(images, targets), [900, 897])
    train, val = (DataLoader(half, 60, shuffle=True, drop_last=True) for half in halves)

    example = images[:2]
    members = [poolsearch.SuperNet(poolsearch.restride(Net(), example)) for _ in range(4)]  # poolsearch
    space = members[0].space  # poolsearch
    search = poolsearch.MixtureSearch(space, members=4, steps=epochs * len(train))  # poolsearch
    optimizers = [torch.optim.SGD(member.parameters(), 0.1, momentum=0.9) for member in members]
    for _ in range(epochs):
        for (x, y), (val_x, val_y) in zip(train, val, strict=False):
            trial = search.ask()  # poolsearch
            member, optimizer = members[trial.member], optimizers[trial.member]
            loss = nn.functional.cross_entropy(member(x, trial.placement), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                right = member(val_x, trial.placement).argmax(1) == val_y
            search.tell(trial, right.float().mean())  # poolsearch

    found = {}
    for number, placements in search.to_evaluate().items():  # poolsearch
        for placement, metric in poolsearch.evaluate_tree(members[number], val, placements).items():
            found[number, placement] = metric
    costs = poolsearch.placement_costs(poolsearch.restride(Net(), example), 8)
    print(search.ranking(found, macs=costs.macs_A))


if __name__ == "__main__":
    main()
