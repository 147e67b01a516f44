"""Memory of a training step: by hand, against whole steps without numbers, and against what torch's allocator gave."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from poolsearch.cost.macs import cost_table
from poolsearch.cost.memory import MemoryChange, StepTable, _fake, peak_bytes, run_step, step_table
from poolsearch.cost.routes import Grid, Routes
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import Block, Poolable
from poolsearch.nets.restride.assemble import restride
from poolsearch.nets.restride.trace import blank_copy, copy_with
from poolsearch.space import HALVE, KEEP, Placement
from poolsearch.tasks.classification import classification
from poolsearch.train.machine import Machine
from poolsearch.train.optim import sgd
from poolsearch.train.step import backward, train_step

pytestmark = pytest.mark.usefixtures("one_thread")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Plain(Block):
    """1x1 convolution without bias, ReLU: keeps its input (for the weights' gradient) and its output (the ReLU's)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x_BCHW, exponents=KEEP):
        return F.relu(self.conv(x_BCHW))


class Mean(nn.Module):
    def forward(self, x_BCHW):
        return x_BCHW.mean((2, 3))


def plain(device="meta"):
    with torch.device(device):
        return Poolable(nn.Identity(), [Plain() for _ in range(4)], Mean(), Placement.of_blocks((2, 2)), "max")


def test_a_block_by_hand():
    net = plain()
    table = step_table(net, cost_table(net, 8, 8), net.space, 8, 8, 4, torch.float32)
    image, labels, weight = 4 * 3 * 8 * 8 * 4, 4 * 8, 9 * 4
    assert table.stem == (MemoryChange(image + labels, image + labels), MemoryChange())
    full = (1, (8, 8), KEEP)
    # forward: the convolution's map, then the ReLU's; the former is let go
    assert table.forward[full] == MemoryChange(2 * image, image)
    # backward, where the gradient of its map is alive: the gradient behind the ReLU comes, then that of the map and the
    # ReLU's own go; last comes that of the input, which takes the place of the one at the beginning, and the weights'
    assert table.backward[full] == MemoryChange(image, -image + weight)
    halved = (2, (8, 8), HALVE)
    # max pooling keeps a quarter, and 64-bit places of the largest: as much again twice
    assert table.forward[halved].left == image // 4 + 2 * image // 4 + image // 4


def test_the_peak_by_hand():
    full, half = (8, 8), (4, 4)
    table = StepTable(
        batch=1,
        stem=(MemoryChange(50, 20), MemoryChange(7, -3)),
        forward={
            (0, full, KEEP): MemoryChange(90, 30),
            (1, full, KEEP): MemoryChange(60, 30),
            (1, full, HALVE): MemoryChange(20, 10),
        },
        backward={
            (0, full, KEEP): MemoryChange(8, -20),
            (1, full, KEEP): MemoryChange(70, -20),
            (1, full, HALVE): MemoryChange(5, -5),
        },
        head={(full,): MemoryChange(10, 5), (half,): MemoryChange(3, 1)},
    )
    grid = Grid(
        [half, full],
        [(0, 0), (0, 1), (1, 0), (1, 1)],
        1,
        np.array([[0] * 4 + [1] * 4, [0] * 4 + [1, 0, 0, 0]], np.int16),
    )
    routes = Routes(np.array([[4, 4], [4, 7]], np.int16), [(half,), (full,)], np.array([1, 0], np.int32))
    kept = max(50, 20 + 90, 50 + 60, 80 + 10, 85 + 70, 65 + 8, 45 + 7)
    halved = max(50, 20 + 90, 50 + 20, 60 + 3, 61 + 5, 56 + 8, 36 + 7)
    assert peak_bytes(table, grid, routes).tolist() == [kept, halved] == [155, 110]


def running(changes):
    now = most = 0
    for change in changes:
        most, now = max(most, now + change.rise), now + change.left
    return most


def meta(spec):
    with torch.device("meta"):
        return build(spec)


@pytest.mark.parametrize(
    ("spec", "size", "axes", "precision"),
    [
        (NetSpec("cifar-resnet20", 5, 2, "max"), 16, "hw", "fp32"),
        (NetSpec("cifar-resnet20", 5, 2, "max"), 16, "hw", "bf16"),
        (NetSpec("cifar-resnet20", 5, 2, "stride"), 13, "h,w", "fp32"),
        pytest.param(NetSpec("cifar-resnet20", 5, 2, "stride"), 13, "h,w", "bf16", marks=pytest.mark.nightly),
        pytest.param(NetSpec("resnet18", 5, 2, "stride"), 64, "hw", "fp32", marks=pytest.mark.nightly),
        (NetSpec("resnet18", 5, 2, "stride"), 64, "hw", "bf16"),
        (NetSpec("cifar-resnet20", 5, 2, "blur"), 16, "hw", "fp32"),
        pytest.param(NetSpec("cifar-resnet20", 5, 2, "blur"), 16, "hw", "bf16", marks=pytest.mark.nightly),
    ],
)
def test_the_table_gives_what_whole_steps_give(spec, size, axes, precision):
    net = meta(spec)
    space = dataclasses.replace(net.space, axes=axes)
    table = cost_table(net, size, size, space)
    steps = step_table(net, table, space, size, size, 8, DTYPES[precision])
    grid = Grid.of(table)
    numbers = [*range(0, space.size, 1 + space.size // 12)]
    found = peak_bytes(steps, grid, grid.routes(space, numbers))
    with FakeTensorMode():
        fake = copy_with(net, _fake).train()
        whole = [running(run_step(fake, space[n], size, size, 8, DTYPES[precision])) for n in numbers]
    assert found.tolist() == whole


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_the_table_gives_what_whole_steps_give_for_networks_that_are_not_ours(name, images):
    """DenseNet keeps many maps alive together, which later blocks let go."""
    import torchvision

    growth = {"growth_rate": 4, "block_config": (2, 3, 2)} if name == "densenet121" else {}
    model = torchvision.models.DenseNet(num_classes=5, num_init_features=8, **growth) if growth else (
        torchvision.models.resnet18(num_classes=5)
    )  # fmt: skip
    net = blank_copy(restride(model, images(64)))
    space, table = net.space, cost_table(net, 64, 64)
    steps = step_table(net, table, space, 64, 64, 4, torch.float32)
    grid = Grid.of(table)
    found = peak_bytes(steps, grid, grid.routes(space))
    with FakeTensorMode():
        fake = copy_with(net, _fake).train()
        whole = [running(run_step(fake, placement, 64, 64, 4, torch.float32)) for placement in space]
    assert found.tolist() == whole


def allocated(net, placement, x, optimizer, machine):
    """The most that torch's allocator gave out in a real training step, by its profiler."""
    label, scaler = torch.zeros(len(x), dtype=torch.int64), torch.amp.GradScaler("cpu", enabled=False)
    optimizer.zero_grad(set_to_none=True)
    with torch.profiler.profile(profile_memory=True) as found:
        train_step(
            lambda: backward(classification("accuracy"), lambda x: net(x, placement), x, label, scaler, machine),
            optimizer,
            scaler,
        )
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(
    ("spec", "size", "batch"),
    [(NetSpec("cifar-resnet20", 5, 4), 32, 16), (NetSpec("resnet18", 5, 8), 64, 8)],
    ids=["cifar-resnet20", "resnet18"],
)
def test_it_is_what_the_allocator_gives_out(spec, size, batch, precision):
    machine = Machine(torch.device("cpu"), precision)
    flat = meta(spec)
    space, table = flat.space, cost_table(flat, size, size)
    grid = Grid.of(table)
    steps = step_table(flat, table, space, size, size, batch, DTYPES[precision])
    peak_A = peak_bytes(steps, grid, grid.routes(space)) - batch * 3 * size * size * 4  # the images are there already
    net = machine.place(build(spec)).train()
    optimizer = sgd(net.parameters(), 0.01, 0.9, 1e-4)
    x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    allocated(net, space.default, x, optimizer, machine)  # the first step makes the momentum
    drawn = torch.randperm(space.size, generator=torch.Generator().manual_seed(0))[:10].tolist()
    for number in {int(peak_A.argmax()), space.index(space.default), *drawn}:
        found = allocated(net, space[number], x, optimizer, machine)
        assert peak_A[number] == pytest.approx(found, rel=0.05), space[number].shown


def test_twice_the_images_take_twice_what_is_not_weights():
    net = plain()
    table, grid = cost_table(net, 8, 8), Grid.of(cost_table(net, 8, 8))
    routes = grid.routes(net.space)
    one, two, three = (
        peak_bytes(step_table(net, table, net.space, 8, 8, batch, torch.float32), grid, routes) for batch in (8, 16, 24)
    )
    assert ((three - two) == (two - one)).all() and (two > one).all()


def test_nothing_is_left_in_the_network_or_alive():
    net = plain()
    before = {name: p.device.type for name, p in net.named_parameters()}
    step_table(net, cost_table(net, 8, 8), net.space, 8, 8, 4, torch.float32)
    assert {name: p.device.type for name, p in net.named_parameters()} == before
    assert all(p.grad is None and not p._backward_hooks for p in net.parameters())
