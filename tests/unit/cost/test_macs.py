"""MACs: published numbers, closed forms, and torch's counter on the whole network."""

import math

import numpy as np
import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from poolsearch.cost import cost_table, macs_of
from poolsearch.evaluation.stats import kendall_tau
from poolsearch.nets.build import NetSpec, build
from poolsearch.space import Placement


def table_of(name, size, **spec):
    with torch.device("meta"):
        net = build(NetSpec(name, spec.pop("classes", 10), **spec))
    return net, cost_table(net, size, size)


@pytest.fixture(scope="module")
def resnet20():
    return table_of("cifar-resnet20", 32)[1]


def test_resnet20_default_is_40_8_million(resnet20):
    assert resnet20.macs(Placement.parse("4,3,3")) == pytest.approx(40.8e6, rel=1e-3)


def test_resnet50_default_is_4_09_thousand_million():
    net, table = table_of("resnet50", 224, classes=1000)
    assert table.macs(net.default) == pytest.approx(4.09e9, rel=1e-3)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_defaults_are_what_torchvision_publishes(depth):
    published = getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1.meta["_ops"]  # thousand millions
    net, table = table_of(f"resnet{depth}", 224, classes=1000)
    assert table.macs(net.default) / 1e9 == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(("text", "ratio"), [("7,1,2", 2.23), ("5,3,2", 1.54)])
def test_the_papers_best_placements_cost_more(resnet20, text, ratio):
    default = resnet20.macs(Placement.parse("4,3,3"))
    assert resnet20.macs(Placement.parse(text)) / default == pytest.approx(ratio, abs=5e-3)


def test_best_at_or_below_the_defaults_cost_is_3_4_3(resnet20, table6):
    budget = resnet20.macs(Placement.parse("4,3,3"))
    affordable = [
        (accuracy, blocks) for _, blocks, accuracy in table6 if resnet20.macs(Placement.of_blocks(blocks)) <= budget
    ]
    assert max(affordable) == (90.92, (3, 4, 3))  # docs/differences.md#equal-macs


def test_ranking_table_6_by_macs_alone_has_the_kendall_tau_of_a_count_of_pairs(resnet20, table6):
    macs = macs_of(resnet20, [Placement.of_blocks(blocks) for _, blocks, _ in table6])
    accuracy = [a for *_, a in table6]
    # of 630 pairs: 463 agree, 153 disagree, 13 tie in MACs and 1 in accuracy (counted from weights x area, by hand)
    expected = (463 - 153) / math.sqrt((630 - 13) * (630 - 1))
    assert kendall_tau(macs, accuracy) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(0.504, abs=0.01)  # docs/experiments.md#ranking-table-6-by-macs


def test_every_placement_of_resnet20_is_weights_times_area(resnet20):
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10))
    weights = [sum(p.numel() for p in block.parameters() if p.dim() == 4) for block in net.blocks]
    expected = []
    for placement in net.space:
        area, macs = 32 * 32, 64 * 10
        for block, weight in enumerate(weights):
            area //= 4 if placement.at(block) == (1, 1) else 1
            macs += weight * area
        expected.append(macs)
    assert macs_of(resnet20, net.space).tolist() == expected


@pytest.mark.parametrize("op", ["max", "avg", "blur", "stride"])
@pytest.mark.parametrize(("name", "size", "width"), [("cifar-resnet20", 13, 3), ("resnet50", 75, 2)])
def test_the_sum_of_entries_is_torchs_count_of_the_whole_network(name, size, width, op):
    net, table = table_of(name, size, width=width, op=op)
    x = torch.zeros(1, 3, size, size, device="meta")
    net.eval()
    for number in {0, net.space.index(net.default), net.space.size // 3, net.space.size - 1}:
        placement = net.space[number]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(x, placement)
        assert table.macs(placement) == counter.get_total_flops() // 2
        (head,) = table.head.values()
        assert table.macs(placement) == table.stem.macs + sum(table.block_macs(placement)) + head


def test_a_later_downsampling_never_costs_less(resnet20):
    # moving one site later leaves more blocks at the larger map
    for first, second, third in ((a, b, 10 - a - b) for a in range(1, 8) for b in range(2, 9 - a)):
        before = resnet20.macs(Placement.of_blocks([first, second, third]))
        after = resnet20.macs(Placement.of_blocks([first + 1, second - 1, third]))
        assert after > before


def test_macs_of_is_a_column_in_the_order_given(resnet20):
    order = [Placement.parse(t) for t in ("7,1,2", "1,1,8", "4,3,3")]
    column = macs_of(resnet20, order)
    assert column.dtype == np.int64
    assert column.tolist() == [resnet20.macs(p) for p in order]
