"""Latency by a clock that is wound by hand: blocks advance it by what is known."""

import dataclasses
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch

from poolsearch.cost.latency import Clock, clock_of, latencies, latency_table
from poolsearch.cost.macs import cost_table
from poolsearch.cost.routes import Grid, block_keys
from poolsearch.nets.build import NetSpec, build
from poolsearch.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("one_thread")


class Wound:
    """A network whose parts take known times; every so often one of them takes much longer."""

    def __init__(self, net, disturbed):
        self._net, self._disturbed, self._runs = net, disturbed, 0
        self.now = 0.0
        self.blocks = net.blocks

    def eval(self):
        self._net.eval()
        return self

    def cost(self, index, size, site):
        return 1.0 + index + 0.01 * size[0] * size[1] + 0.3 * site[0] + 0.1 * site[1]

    def stem(self, x_BCHW):
        self.now += 0.5
        return self._net.stem(x_BCHW)

    def run_block(self, index, x_BCHW, exponents):
        assert torch.is_inference_mode_enabled()
        self._runs += 1
        self.now += self.cost(index, x_BCHW.shape[2:], exponents)
        if self._disturbed and self._runs % 7 == 0:
            self.now += 1000
        return self._net.run_block(index, x_BCHW, exponents)

    def head(self, x_BCHW):
        self.now += 0.25
        return self._net.head(x_BCHW)


@pytest.mark.parametrize("axes", ["hw", "h,w"])
@pytest.mark.parametrize("disturbed", [False, True])
def test_the_sum_is_the_time_of_the_parts_and_a_disturbance_does_not_count(axes, disturbed):
    net = build(NetSpec("cifar-resnet20", 5, 1, "max"))
    space = dataclasses.replace(net.space, axes=axes)
    table = cost_table(build(NetSpec("cifar-resnet20", 5, 1, "max")).to("meta"), 16, 16, space)
    wound = Wound(net, disturbed)
    clock = Clock(lambda: wound.now, lambda marks: [b - a for a, b in pairwise(marks)])
    found = latency_table(wound, table, space, torch.zeros(1, 3, 16, 16), nullcontext, SilentProgress(), clock)
    assert {*found.block} == {*table.block}
    grid = Grid.of(table)
    numbers = [*range(0, space.size, 1 + space.size // 40)]
    expected = [0.75 + sum(wound.cost(*key) for key in block_keys(table, space[n])) for n in numbers]
    np.testing.assert_allclose(latencies(found, grid, grid.routes(space, numbers)), expected, rtol=1e-9)


def test_the_processors_clock_is_in_milliseconds():
    clock = clock_of(torch.device("cpu"))
    assert clock.between([1.0, 1.5, 1.75]) == [500.0, 250.0]
    assert clock.between([clock.mark(), clock.mark()])[0] >= 0


def test_a_real_network_is_left_in_evaluation_mode_with_its_statistics():
    net = build(NetSpec("cifar-resnet20", 5, 1, "max"))
    table = cost_table(build(NetSpec("cifar-resnet20", 5, 1, "max")).to("meta"), 8, 8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = latency_table(net.train(), table, net.space, torch.zeros(1, 3, 8, 8), nullcontext, SilentProgress())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert min(found.block.values()) > 0 and found.stem >= 0 and min(found.head.values()) > 0
    assert not any(module.training for module in net.modules())
