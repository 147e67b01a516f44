"""Restrided networks as supernets: prefix trees, statistics by prefix, costs."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from poolsearch.cost import cost_table
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.restride import restride, use_batch_statistics
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.classification import classification
from poolsearch.train.machine import Machine
from poolsearch.train.step import tree_backward

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["torchvision densenet", "timm resnet-d", "timm convnext", "torchvision vgg_bn"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_tree_gives_each_placement_its_own_logits(name, family, images):
    net = copy.deepcopy(family(name)[1])
    use_batch_statistics(net)
    supernet, x = SinglePath(lambda _: net, "batch").eval(), images(64, count=2)
    placements = [net.space[number] for number in range(0, net.space.size, max(1, net.space.size // 12))]
    with torch.no_grad():
        for position, logits in run_tree(supernet, x, placements):
            assert torch.equal(logits, net(x, placements[position]))


def test_statistics_by_prefix_find_every_norm_of_stem_and_blocks(family, images):
    net = copy.deepcopy(family("torchvision resnet")[1])
    supernet, x = SinglePath(lambda _: net, "per_placement").train(), images(64, count=2)
    held = sum(len(norms) for norms in supernet.norms._norms.values())
    assert held == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())  # its head has none
    placements = net.space[0], net.space[30]
    for placement in placements:
        supernet(x, placement)
    before = {key: [s.mean_C.clone() for s in kept] for key, kept in supernet.norms._kept.items()}
    supernet(images(64, count=2, seed=9), placements[1])
    for (block, prefix), kept in supernet.norms._kept.items():
        same = [torch.equal(s.mean_C, old) for s, old in zip(kept, before[block, prefix], strict=True)]
        shared = block < 0 or prefix == placements[1].prefix(block)
        assert not any(same) if shared else all(same)


@pytest.mark.parametrize("size", [64, 75])
def test_costs_of_torchvisions_resnet_are_those_of_ours(size, images):
    with torch.device("meta"):
        ours = build(NetSpec("resnet18", 5, op="stride"))
    model = build_torchvision()
    theirs = cost_table(blank_copy(restride(model, images(size))), size, size)
    table = cost_table(ours, size, size)
    assert [theirs.block_macs(p) for p in ours.space] == [table.block_macs(p) for p in ours.space]
    assert [theirs.macs(p) for p in ours.space] == [table.macs(p) for p in ours.space]


def build_torchvision():
    import torchvision

    return torchvision.models.resnet18(num_classes=5)


@pytest.mark.parametrize("name", [*NAMES, "torchvision efficientnet"])
@pytest.mark.parametrize(
    "size", [64, 72]
)  # 72: where halvings round down and up, sizes are not known from their number
def test_the_sum_of_entries_is_torchs_count_of_the_whole_network(name, size, family):
    net = blank_copy(family(name)[1]).eval()
    table = cost_table(net, size, size)
    x = torch.zeros(1, 3, size, size, device="meta")
    for number in {0, net.space.index(net.default), net.space.size // 3, net.space.size - 1}:
        placement = net.space[number]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(x, placement)
        assert table.macs(placement) == counter.get_total_flops() // 2


def test_sizes_that_round_down_here_and_up_there_have_costs_of_their_own(images):
    torch.manual_seed(0)
    units = [[nn.Conv2d(a, b, 3, padding=1), nn.ReLU()] for a, b in ((3, 4), (4, 4), (4, 4))]
    model = nn.Sequential(*units[0], *units[1], nn.MaxPool2d(2), *units[2], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = blank_copy(restride(model, images(7)))
    table = cost_table(net, 7, 7)
    at = {str(p): table.block_macs(p) for p in net.space}
    weight = 9 * 4 * 4
    # its own pooling makes 3x3 of 7x7, a pooling moved to the block before 4x4
    assert at == {
        "2,1": [9 * 3 * 4 * 49, weight * 49, weight * 9],
        "1,2": [9 * 3 * 4 * 49, weight * 16, weight * 16],
    }


@pytest.mark.parametrize("name", ["torchvision densenet", "torchvision mobilenet_v2"])
def test_a_norm_in_the_head_keeps_statistics_for_each_placement(name, family, images):
    one, other = (SinglePath(lambda _: copy.deepcopy(family(name)[1]), "per_placement") for _ in range(2))
    space = one.net.space
    placements = space[0], space[space.size - 1]
    for placement in placements:
        one.train()(images(64, count=2), placement)
    norms = one.norms.tensors()
    head = {name for name in norms if name.startswith(f"{len(one.net.blocks)}/")}
    assert norms[f"{len(one.net.blocks)}/prefixes"].tolist() == [
        [list(s) for s in p.sites] for p in sorted(placements, key=lambda p: p.sites)
    ]
    assert any(name.endswith("mean_C") and not torch.equal(*norms[name]) for name in head)
    other.load_weights(one.weights())
    x = images(64, count=2, seed=9)
    with torch.no_grad():
        for position, logits in run_tree(other.eval(), x, placements):
            assert torch.equal(logits, one.eval()(x, placements[position]))


def test_a_step_through_a_tree_keeps_a_norm_in_the_head_apart(family, images):
    """Two placements in one step leave what two passes leave."""
    by_tree, alone = (
        SinglePath(lambda _: copy.deepcopy(family("torchvision densenet")[1]), "per_placement") for _ in range(2)
    )
    placements = by_tree.net.space[0], by_tree.net.space[by_tree.net.space.size - 1]
    x, y = images(64, count=2), torch.tensor([0, 1])
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    machine = Machine(torch.device("cpu"), "fp32")
    tree_backward(classification("accuracy"), by_tree.train(), x, y, placements, scaler, machine)
    head = f"{len(alone.net.blocks)}/"
    for placement in placements:
        alone.train()(x, placement)
    expected = {name: t for name, t in alone.norms.tensors().items() if name.startswith(head)}
    found = {name: t for name, t in by_tree.norms.tensors().items() if name.startswith(head)}
    assert found.keys() == expected.keys() and expected
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
