"""What the unit tests share: tiny networks, norms that are not trivial, and the paper's Table 6."""

import csv

import pytest


@pytest.fixture(scope="session")
def table6(shared):
    """Rows of Table 6: (number from 1, blocks, accuracy in percent)."""
    with (shared / "reference" / "table6_cifar10_resnet20.csv").open() as handle:
        return [
            (int(r["number"]), tuple(int(r[f"blocks_at_{s}"]) for s in (32, 16, 8)), float(r["accuracy_percent"]))
            for r in csv.DictReader(handle)
        ]


@pytest.fixture
def one_thread():
    """Tiny tensors gain nothing from threads, which wait for each other on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_net():
    """Makes a small seeded network."""
    import torch

    from poolsearch.nets.build import NetSpec, build, stand_alone_norm

    def make(name="cifar-resnet20", width=2, op=None, norm=stand_alone_norm, seed=0, classes=5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(NetSpec(name, classes, width, op), norm)

    return make


@pytest.fixture(scope="session")
def images():
    """Makes a seeded batch."""
    import torch

    def make(size=16, count=3, seed=1, channels=3):
        return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture(scope="session")
def randomise_norms():
    """Gives every BatchNorm below a module statistics and weights that are not the initial ones."""
    import torch
    from torch import nn

    def randomise(module, seed=2):
        g = torch.Generator().manual_seed(seed)
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            shape = norm.num_features
            norm.running_mean = torch.randn(shape, generator=g) * 0.2
            norm.running_var = torch.rand(shape, generator=g) + 0.5
            if norm.affine:
                norm.weight.data = torch.rand(shape, generator=g) + 0.5
                norm.bias.data = torch.randn(shape, generator=g) * 0.2
        return module

    return randomise
