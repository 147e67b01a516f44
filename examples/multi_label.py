"""Several classes in an image: a mixture of two supernets with a loss and a metric of one's own.

``python examples/multi_label.py [EPOCHS]`` takes a minute. Two digits lie side by side; the targets say of each of ten
digits whether it is there.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolsearch


def pairs(number: int) -> TensorDataset:
    """Images (N, 1, 8, 16), and targets (N, 10) of zeros and ones."""
    digits = load_digits()
    both = torch.randint(len(digits.target), (number, 2))
    images = torch.cat([torch.tensor(digits.images, dtype=torch.float32)[one] for one in both.T], dim=2)[:, None]
    targets = torch.zeros(number, 10)
    for one in both.T:
        targets[torch.arange(number), torch.tensor(digits.target)[one]] = 1
    return TensorDataset(images / 8 - 1, targets)


def network() -> nn.Module:
    """Six convolutions, the second and the fourth strided."""
    sizes = zip((1, 8, 8, 16, 16, 32), (8, 8, 16, 16, 32, 32), (1, 2, 1, 2, 1, 1), strict=True)
    units = [nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
    return nn.Sequential(nn.Sequential(*units), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def f1(outputs: Tensor, targets: Tensor) -> Tensor:
    """The F1 of each image over its classes, the mean over images: from 0 to 1."""
    predicted = (outputs > 0).float()
    found = (predicted * targets).sum(1)
    return (2 * found / (predicted.sum(1) + targets.sum(1))).mean()


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    torch.manual_seed(0)
    train, val = (DataLoader(pairs(2000), 100, shuffle=True) for _ in range(2))
    example = torch.zeros(2, 1, 8, 16)
    members = [poolsearch.SuperNet(poolsearch.restride(network(), example)) for _ in range(2)]
    optimizers = [torch.optim.Adam(member.parameters(), 2e-3) for member in members]
    search = poolsearch.MixtureSearch(members[0].space, members=2, steps=epochs * len(train))
    for _ in range(epochs):
        for (x, y), (val_x, val_y) in zip(train, val, strict=True):
            trial = search.ask()
            member = members[trial.member]
            loss = nn.functional.binary_cross_entropy_with_logits(member(x, trial.placement), y)
            member.zero_grad()
            loss.backward()
            optimizers[trial.member].step()
            with torch.no_grad():
                search.tell(trial, f1(member(val_x, trial.placement), val_y))

    found = {}
    for number, placements in search.to_evaluate(members="mean").items():
        for placement, metric in poolsearch.evaluate_tree(members[number], val, placements, metric=f1).items():
            found[number, placement] = metric
    print(search.ranking(found, members="mean"))
