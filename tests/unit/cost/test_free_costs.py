"""Costs of placements with upsampling: torch's counter, gradients of whole networks, and steps one by one."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from poolsearch.cost.costs import profile
from poolsearch.cost.field import Field, field_of, field_table, receptive_fields
from poolsearch.cost.macs import cost_table, macs_of
from poolsearch.cost.memory import _fake, peak_bytes, run_step, step_table
from poolsearch.cost.routes import Grid, block_keys, covering_placements
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import FixedPlacementNet, resize
from poolsearch.nets.restride.trace import copy_with
from poolsearch.space import FreeSpace, Placement

NUMBERS = [0, 1, 728, 9_841, 12_345, 19_000, 19_682]


def blank(name="cifar-resnet20", op="max", width=2):
    with torch.device("meta"):
        net = build(NetSpec(name, 5, width, op))
    return net, FreeSpace.of(net.space)


@pytest.mark.parametrize("size", [32, 13])
@pytest.mark.parametrize("op", ["max", "stride", "blur"])
def test_macs_are_torchs_count_of_the_whole_network(op, size):
    net, space = blank(op=op)
    found = profile(net, space, size, size, 2, torch.float32)
    costs = found.costs(space, NUMBERS)
    with torch.random.fork_rng(devices=[]):
        real = build(NetSpec("cifar-resnet20", 5, 2, op)).eval()
    for number, macs in zip(NUMBERS, costs.macs_A.tolist(), strict=True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            FixedPlacementNet(real, space[number])(torch.zeros(1, 3, size, size))
        assert macs == counter.get_total_flops() // 2 == found.table.macs(space[number])


def test_the_space_of_all_paths_costs_what_its_placements_cost_one_by_one():
    net, space = blank()
    table = cost_table(net, 13, 13, space)
    some = space.subset(100, seed=0)
    grid = Grid.of(table)
    assert grid.sites == [(e, e) for e in (-2, -1, 0, 1, 2)]
    blocks = grid.values({key: part.macs for key, part in table.block.items()})
    routes = grid.routes(some)
    sums_A = table.stem.macs + sum(values_E[entry_A] for values_E, entry_A in zip(blocks, routes.entry_LA, strict=True))
    expected = macs_of(table, some) - [table.head[routes.heads[place]] for place in routes.head_A]
    assert np.array_equal(sums_A, expected)


def test_a_default_is_a_placement_of_a_limited_space_too():
    net, space = blank()
    found = profile(net, space, 32, 32, 2, torch.float32)
    kept = space.keep([space[5]])
    assert (
        found.of(space.default, kept).macs_A.tolist()
        == found.costs(space, [space.index(space.default)]).macs_A.tolist()
    )


def test_few_placements_meet_every_class():
    net, space = blank()
    table = cost_table(net, 32, 32, space)
    found = covering_placements(table, space)
    assert {key for placement in found for key in block_keys(table, placement)} == {*table.block}
    # block 0 once, block 1 from one resolution to three, all others from three to three
    assert len(table.block) == 1 + 3 + 8 * 9
    assert found[0] == space.default and len(found) < 20


def test_windows_on_an_enlarged_map():
    def conv(kernel):
        return nn.Conv2d(3, 3, kernel, padding=kernel // 2, device="meta")

    x = torch.zeros(2, 3, 64, 64, device="meta")
    assert field_of(lambda x: resize(x, (-1, 0), "max"), x)[0] == Field((0, 0), (0.5, 1))
    # 3 pixels of a map of doubled pixels are 2 of the map
    assert field_of(lambda x: conv(3)(resize(x, (-1, -1), "max")), x)[0] == Field((1, 1), (0.5, 0.5))
    # pooled by 4 (3 more pixels), then doubled: a window of 3 sees 2 of the cells, 4 pixels apart
    assert field_of(lambda x: conv(3)(resize(resize(x, (2, 2), "max"), (-1, -1), "max")), x)[0] == Field((7, 7), (2, 2))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "text",
    [
        "1x1_0x0_-1x-1_0x0_0x0_0x0_0x0_0x0_0x0",
        "2x2_-2x-2_0x0_0x0_0x0_0x0_0x0_0x0_0x0",
        "1x1_1x1_-1x-1_0x0_0x0_0x0_0x0_0x0_0x0",
    ],
)
def test_a_gradient_reaches_so_far(text):
    """With positive weights nothing cancels. Pixels of an enlarged map see more or less: the mean over neighbours."""
    net, space = blank(op="avg")
    placement = Placement.parse(text)
    grid = Grid.of(cost_table(net, 64, 64, space))
    numbers = [space.index(placement)]
    height_AR, _ = receptive_fields(field_table(net, 64, 64, space), grid, grid.routes(space, numbers), space)
    real = build(NetSpec("cifar-resnet20", 5, 1, "avg")).double().eval()
    for parameter in real.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    extents = []
    for place in range(24, 28):
        x = torch.ones(1, 3, 192, 192, dtype=torch.float64, requires_grad=True)
        out = real.stem(x)
        for index in range(10):
            out = real.run_block(index, out, placement.at(index))
        out[0, 0, place, place].backward()
        rows = (x.grad[0].sum(0) != 0).any(1).nonzero()
        extents.append(int(rows[-1] - rows[0]) + 1)
    assert height_AR[0].max() == pytest.approx(np.mean(extents), abs=1)
    unused = {0, 1, 2} - {placement.resolution(block)[0] for block in range(10)}
    assert all((height_AR[0, level] == 0) == (level in unused) for level in range(3))


def test_peak_memory_is_that_of_a_step_by_itself():
    net, space = blank()
    net.train()
    table = cost_table(net, 16, 16, space)
    steps = step_table(net, table, space, 16, 16, 4, torch.float32)
    grid = Grid.of(table)
    peaks = peak_bytes(steps, grid, grid.routes(space, NUMBERS)).tolist()
    with FakeTensorMode():
        fake = copy_with(net, _fake).train()
        for number, peak in zip(NUMBERS, peaks, strict=True):
            changes, now, most = run_step(fake, space[number], 16, 16, 4, torch.float32), 0, 0
            for change in changes:
                most, now = max(most, now + change.rise), now + change.left
            assert peak == most, space[number]
