"""ResNets against torchvision's, with copied weights and norms that are not trivial."""

import re

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import parameters_of
from poolsearch.space import HALVE, Placement
from poolsearch.supernet.norms import batch_norm

pytestmark = pytest.mark.usefixtures("one_thread")

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def renamed(state, depths, searched_stem):
    """torchvision's weights under our names."""
    starts = [sum(depths[:i]) + searched_stem for i in range(len(depths))]
    stem = "blocks.0." if searched_stem else "stem."

    def ours(name):
        if name.startswith("fc."):
            return f"head.{name}"
        if found := re.match(r"layer(\d)\.(\d+)\.(.*)", name):
            return f"blocks.{starts[int(found[1]) - 1] + int(found[2])}.{found[3]}"
        return stem + name

    return {ours(name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize("family", ["resnet", "cifar-resnet"])
def test_default_placement_is_torchvisions_network(depth, family, randomise_norms, images):
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7)
    if family == "cifar-resnet":
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    randomise_norms(theirs).eval()
    with torch.device("meta"):
        ours = build(NetSpec(f"{family}{depth}", 7, op="stride")).eval()
    state = renamed(theirs.state_dict(), DEPTHS[depth], family == "cifar-resnet")
    ours.load_state_dict(state, strict=True, assign=True)
    x = images(64 if family == "resnet" else 16, count=2)
    with torch.no_grad():
        got, expected = ours(x, ours.default), theirs(x)
    assert expected.std() > 1e-3  # not a comparison of zeros
    assert torch.equal(got, expected)  # the same kernels on the same numbers: to the bit


class EverySecond(nn.Module):
    def forward(self, x):
        return x[..., ::2, ::2]


class ByTorchvision(nn.Sequential):
    """cifar-resnet20 at one placement, from torchvision's blocks; a pooling is a layer of its own."""

    def __init__(self, placement, width, classes, op):
        layers, inputs = [], width
        for index in range(placement.length):
            halve = placement.at(index) == HALVE
            if halve and op != "stride":
                layers.append(nn.MaxPool2d(2) if op == "max" else nn.AvgPool2d(2))
            stride = 2 if halve and op == "stride" else 1
            layers.append(self.block(index, inputs, width * 2 ** max(0, (index - 1) // 3), stride))
            inputs = width * 2 ** max(0, (index - 1) // 3)
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))

    @staticmethod
    def block(index, inputs, width, stride):
        if index == 0:
            return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        shortcut = EverySecond() if stride == 2 else None
        if inputs != width:
            shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        return BasicBlock(inputs, width, stride, shortcut)


@pytest.mark.parametrize("op", ["max", "avg", "stride"])
@pytest.mark.parametrize("training", [False, True])
def test_resnet20_is_torchvisions_blocks_with_poolings_between_at_any_placement(
    op, training, tiny_net, images, randomise_norms
):
    net = randomise_norms(tiny_net(op=op, width=3)).train(training)
    tensors = [*net.state_dict().values()]
    x = images(8)
    for placement in (net.space[number] for number in range(training, 36, 4)):
        other = ByTorchvision(placement, 3, 5, op).train(training)
        theirs = other.state_dict()
        assert [t.shape for t in theirs.values()] == [t.shape for t in tensors]  # torchvision's order of parts is ours
        other.load_state_dict(dict(zip(theirs, tensors, strict=True)))
        with torch.no_grad():
            expected = other(x)
            before = [t.clone() for t in tensors]
            torch.testing.assert_close(net(x, placement), expected, rtol=1e-5, atol=1e-5)
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)  # undo the running statistics of a pass in training mode


def test_resnet20_of_the_supernet_has_the_papers_parameters():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10), batch_norm)
    assert parameters_of(net) == 270_906  # docs/differences.md#classifier-of-resnet20
    by_hand = 27 * 16 + 6 * 9 * 16**2  # stem, first stage
    by_hand += 9 * 16 * 32 + 5 * 9 * 32**2 + 16 * 32  # second stage and its projection
    by_hand += 9 * 32 * 64 + 5 * 9 * 64**2 + 32 * 64 + 64 * 10 + 10  # third, and the classifier
    assert parameters_of(net) == by_hand


def test_standard_norms_add_a_weight_and_a_bias_per_channel():
    with torch.device("meta"):
        net = build(NetSpec("cifar-resnet20", 10))
    channels = 16 + 6 * 16 + 6 * 32 + 32 + 6 * 64 + 64
    assert parameters_of(net) == 270_906 + 2 * channels


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_6n_plus_2_counts_convolutions_and_the_classifier(depth):
    with torch.device("meta"):
        net = build(NetSpec(f"cifar-resnet{depth}", 10))
    kernels = [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)]
    per_stage = (depth - 2) // 6
    assert kernels.count((3, 3)) == depth - 1
    assert kernels.count((1, 1)) == 2  # projections, which depth does not count
    assert len(net.blocks) == 1 + 3 * per_stage
    assert net.default == Placement.of_blocks([per_stage + 1, per_stage, per_stage])


@pytest.mark.parametrize("name", ["cifar-resnet20", "resnet18", "resnet50"])
def test_zero_init_makes_every_residual_block_pass_its_shortcut_on(name):
    net = build(NetSpec(name, 3, width=2, zero_init=True))
    plain = build(NetSpec(name, 3, width=2))
    blocks = [b for b in net.blocks if hasattr(b, "last_norm")]
    assert all((b.last_norm.weight == 0).all() for b in blocks)
    others = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m not in [b.last_norm for b in blocks]]
    assert all((m.weight == 1).all() for m in others)
    assert all((m.weight == 1).all() for m in plain.modules() if isinstance(m, nn.BatchNorm2d))
    x = torch.randn(2, blocks[0].conv1.in_channels, 5, 5)
    if blocks[0].downsample is None:
        assert torch.equal(blocks[0](x), x.relu())


def test_convolutions_start_as_he_says():
    net = build(NetSpec("cifar-resnet20", 3, width=32))
    conv = net.blocks[7].conv1  # 64 to 128 channels, 3x3: the deviation is known to about half a percent
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
