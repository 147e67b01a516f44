"""Height and width halved each by itself: against networks built by hand with the same strides, and hand counts."""

import copy
import itertools

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from poolsearch.cost import cost_table, macs_of
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import map_sizes
from poolsearch.nets.restride import restride
from poolsearch.space import Placement, Space
from poolsearch.supernet.prefix_tree import tree_macs

pytestmark = pytest.mark.usefixtures("one_thread")


def both(net):
    """Its space with height and width each by itself."""
    own = net.space
    return Space(own.length, own.poolings, own.default, axes="h,w")


def factors(site):
    return 2 ** site[0], 2 ** site[1]


class Every(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return x[..., :: self.stride[0], :: self.stride[1]]


def resnet20(placement, width, classes, op):
    """cifar-resnet20 from torchvision's blocks; a pooling is a layer of its own."""
    layers, inputs = [], width
    for index in range(placement.length):
        down = factors(placement.at(index))
        if down != (1, 1) and op != "stride":
            layers.append({"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[op](down))
        stride = down if op == "stride" else (1, 1)
        outputs = width * 2 ** max(0, (index - 1) // 3)
        if index == 0:
            layers.append(
                nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            )
            continue
        shortcut = Every(stride)
        if inputs != outputs:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        layers.append(BasicBlock(inputs, outputs, stride, shortcut))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


@pytest.mark.parametrize("op", ["max", "avg", "stride"])
@pytest.mark.parametrize("training", [False, True])
def test_our_resnet20_is_torchvisions_blocks_at_any_unequal_placement(op, training, tiny_net, images, randomise_norms):
    net = randomise_norms(tiny_net(op=op, width=3)).train(training)
    tensors, x, space = [*net.state_dict().values()], images(16), both(net)
    for number in range(5 + training, space.size, 173):
        other = resnet20(space[number], 3, 5, op).train(training)
        theirs = other.state_dict()
        assert [t.shape for t in theirs.values()] == [t.shape for t in tensors]
        other.load_state_dict(dict(zip(theirs, tensors, strict=True)))
        with torch.no_grad():
            before = [t.clone() for t in tensors]
            torch.testing.assert_close(net(x, space[number]), other(x), rtol=1e-5, atol=1e-5)
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)  # undo the running statistics of a pass in training mode


def strided(model, placement):
    """torchvision's ResNet with its strides set by hand; block 0 is the first of layer1, after the fixed stem."""
    model = copy.deepcopy(model)
    blocks = [b for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for b in layer]
    for index, block in enumerate(blocks):
        stride = factors(placement.at(index))
        (block.conv2 if isinstance(block, Bottleneck) else block.conv1).stride = stride
        if block.downsample is None:
            block.downsample = Every(stride)
        else:
            block.downsample[0].stride = stride
    return model


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("training", [False, True])
def test_a_restrided_resnet_is_the_one_with_its_strides_set_by_hand(depth, training, images, randomise_norms):
    torch.manual_seed(0)
    model = getattr(torchvision.models, f"resnet{depth}")(num_classes=5)
    randomise_norms(model).train(training)
    net, x = restride(model, images(64)), images(64)
    ours = build(NetSpec(f"resnet{depth}", 5, op="stride")).train(training)
    ours.load_state_dict(dict(zip(ours.state_dict(), model.state_dict().values(), strict=True)))
    space = both(net)
    for number in range(7 + training, space.size, space.size // 5):
        by_hand = strided(model, space[number])
        with torch.no_grad():
            kept = copy.deepcopy(model.state_dict())
            expected = by_hand(x)
            assert torch.equal(net.train(training)(x, space[number]), expected)
            model.load_state_dict(kept)
            kept = copy.deepcopy(ours.state_dict())
            assert torch.equal(ours(x, space[number]), expected)
            ours.load_state_dict(kept)


def test_text_lines_keep_their_width_for_longer(tiny_net):
    # a line of 8 x 32 whose width is halved later than its height: sizes by hand
    placement = Placement.parse("h 1,2,7 w 6,3,1")
    expected = [(8, 32)] + [(4, 32)] * 2 + [(2, 32)] * 3 + [(2, 16)] * 3 + [(2, 8)]
    for op in ("max", "avg", "blur", "stride"):
        net = tiny_net(op=op, width=1).eval()
        assert map_sizes(net, 8, 32, placement) == expected
        assert both(net).index(placement) >= 0


def areas(placement, height, width):
    """Pixels of each block's map, for sizes that halve evenly."""
    found = []
    for index in range(placement.length):
        down = factors(placement.at(index))
        height, width = height // down[0], width // down[1]
        found.append(height * width)
    return found


@pytest.mark.parametrize("op", ["max", "avg", "stride"])
def test_macs_of_unequal_placements_are_weights_times_area(op):
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10, op=op))
    space = both(net)
    table = cost_table(net, 32, 64, space)
    weights = [sum(p.numel() for p in block.parameters() if p.dim() == 4) for block in net.blocks]
    placements = [space[n] for n in range(0, space.size, 11)]
    expected = [sum(w * a for w, a in zip(weights, areas(p, 32, 64), strict=True)) + 64 * 10 for p in placements]
    assert macs_of(table, placements).tolist() == expected


def test_macs_of_three_blocks_with_every_pair_of_sites_by_hand():
    torch.manual_seed(0)
    units = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)]
    model = nn.Sequential(
        *itertools.chain.from_iterable((u, nn.ReLU()) for u in units), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    net = restride(model, torch.zeros(2, 3, 8, 12), blocks=["0", "2", "4"]).to("meta")
    space = both(net)
    table = cost_table(net, 8, 12, space)
    first, weight = 9 * 3 * 4, 9 * 4 * 4
    assert {p.shown: table.block_macs(p) for p in space} == {
        "2,1": [first * 96, weight * 96, weight * 24],
        "1,2": [first * 96, weight * 24, weight * 24],
        "h 1,2 · w 2,1": [first * 96, weight * 48, weight * 24],
        "h 2,1 · w 1,2": [first * 96, weight * 48, weight * 24],
    }


def test_macs_of_a_tree_of_unequal_placements_are_those_of_its_distinct_prefixes():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10))
    space = both(net)
    placements = [space[n] for n in range(0, space.size, 3)]
    table = cost_table(net, 32, 32, space)
    weights = [sum(p.numel() for p in block.parameters() if p.dim() == 4) for block in net.blocks]
    nodes = {(block, p.sites[:block]) for p in placements for block in range(10)}
    by_hand = sum(
        weights[block] * (32 >> sum(h for h, _ in sites)) * (32 >> sum(w for _, w in sites)) for block, sites in nodes
    )
    assert tree_macs([table.block_macs(p) for p in placements], placements) == by_hand


class Square(nn.Module):
    """Works on square maps only; kept whole when it is traced, since it decides by sizes."""

    def forward(self, x_BCHW):
        if x_BCHW.shape[2] != x_BCHW.shape[3]:
            raise ValueError("not square")
        return x_BCHW


def test_blocks_are_tried_at_every_size_that_the_wider_space_has(images):
    units = [[nn.Conv2d(a, 4, 3, b, 1), nn.ReLU()] for a, b in ((3, 1), (4, 1), (4, 2), (4, 1))]
    model = nn.Sequential(*units[0], *units[1], *units[2], Square(), *units[3], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = restride(model, images(16), blocks=["0", "2", "4", ("6", "7")])
    assert net.space.size == 3
    net.check_input(16, 16)  # halved together, maps stay square
    with pytest.raises(PoolsearchError, match=r"does not run on maps of .* not square"):
        net.check_input(16, 16, both(net))
