"""Digits by a small convolutional network, and where it should downsample: docs/library.md shows what was changed."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import poolsearch


class Unit(nn.Sequential):
    def __init__(self, before, after, stride):
        super().__init__(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        widths, strides = (1, 8, 8, 16, 16, 32, 32), (1, 2, 1, 2, 1, 1)
        self.units = nn.Sequential(*map(Unit, widths[:-1], widths[1:], strides))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.units(x).mean((2, 3)))


def accuracy(net, batches, placement):
    right = [(net(x, placement).argmax(1) == y).float() for x, y in batches]
    return torch.cat(right).mean().item()


def main(epochs):
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    halves = random_split(TensorDataset(images, torch.tensor(digits.target)), [900, 897])
    train, val = (DataLoader(half, 60, shuffle=True, drop_last=True) for half in halves)
    nets = [poolsearch.SuperNet(poolsearch.restride(Net(), images[:2])) for _ in range(4)]
    optimizers = [torch.optim.SGD(net.parameters(), 0.1, momentum=0.9) for net in nets]
    search = poolsearch.MixtureSearch(nets[0].space, members=4, steps=epochs * len(train))
    for _ in range(epochs):
        for x, y in train:
            trial = search.ask()
            net, optimizer = nets[trial.member], optimizers[trial.member]
            loss = nn.functional.cross_entropy(net(x, trial.placement), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                search.tell(trial, accuracy(net, [next(iter(val))], trial.placement))
    with torch.no_grad():
        print(search.ranking(lambda member, placement: accuracy(nets[member], val, placement)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    main(parser.parse_args().epochs)
