"""Restrided networks against networks that were built at the other strides, with the same weights."""

import copy

import pytest
import timm
import timm.models.resnet as timm_resnet
import torch
import torch.nn.functional as F
import torchvision.models as tv
from torch import nn
from torchvision.models.densenet import _Transition
from torchvision.models.mobilenetv2 import InvertedResidual

from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.restride import restride
from poolsearch.space import HALVE, KEEP, Placement

from .families import seeded

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("training", [False, True])
def test_torchvisions_resnet_at_any_placement_is_ours_with_strides(depth, training, images, randomise_norms):
    theirs = randomise_norms(seeded(lambda: getattr(tv, f"resnet{depth}")(num_classes=5)))
    ours = build(NetSpec(f"resnet{depth}", 5, op="stride"))
    tensors = [*theirs.state_dict().values()]
    assert [t.shape for t in ours.state_dict().values()] == [t.shape for t in tensors]
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    net, x = restride(theirs, images(64)).train(training), images(64)
    ours.train(training)
    assert net.space == ours.space
    for number in range(training, net.space.size, 6 if depth == 18 else 75):
        placement = net.space[number]
        with torch.no_grad():
            assert torch.equal(net(x, placement), ours(x, placement))
    for a, b in zip(theirs.buffers(), ours.buffers(), strict=True):
        assert torch.equal(a, b)  # the same statistics were gathered on the way


def block_of(net, path):
    return next(b for b in net.blocks if b.path == path)


def test_a_residual_block_at_full_size_is_the_one_built_without_stride(images):
    model = seeded(lambda: timm.create_model("resnet26d", num_classes=5, channels=(8, 16, 24, 32))).eval()
    net = restride(model, images(64))
    strided = model.layer2[0]
    shortcut = timm_resnet.downsample_avg(32, 64, 1, stride=1)
    plain = timm_resnet.Bottleneck(32, 16, stride=1, downsample=shortcut).eval()
    plain.load_state_dict(strided.state_dict())
    x = images(9, channels=32)
    assert torch.equal(block_of(net, "layer2.0")(x, KEEP), plain(x))
    assert torch.equal(block_of(net, "layer2.0")(x, HALVE), strided(x))


def test_the_average_of_resnet_d_stands_where_a_shortcut_meets_the_strided_branch(images):
    model = seeded(lambda: timm.create_model("resnet26d", num_classes=5, channels=(8, 16, 24, 32))).eval()
    net, block, x = restride(model, images(64)), model.layer1[1], images(7, channels=32)
    with torch.no_grad():
        branch = block.act1(block.bn1(block.conv1(x)))
        branch = F.conv2d(branch, block.conv2.weight, stride=(2, 1), padding=1)
        branch = block.bn3(block.conv3(block.act2(block.bn2(branch))))
        expected = F.relu(branch + F.avg_pool2d(x, (2, 1), ceil_mode=True))
        assert torch.equal(block_of(net, "layer1.1")(x, (1, 0)), expected)


@pytest.mark.parametrize("index", [4, 11])  # strided and not, both without a shortcut: 24 to 32, 64 to 96 channels
def test_inverted_residuals_are_those_built_with_the_other_stride(index, images, randomise_norms):
    model = randomise_norms(seeded(lambda: tv.mobilenet_v2(num_classes=5))).eval()
    block = model.features[index]
    assert block.stride == {4: 2, 11: 1}[index]
    other = InvertedResidual(block.conv[0][0].in_channels, block.out_channels, 3 - block.stride, 6).eval()
    other.load_state_dict(block.state_dict())
    net, x = restride(model, images(64)), images(9, channels=block.conv[0][0].in_channels)
    site = KEEP if block.stride == 2 else HALVE
    assert torch.equal(block_of(net, f"features.{index}")(x, site), other(x))


def test_anti_aliased_blocks_blur_where_the_strided_ones_do(images):
    model = seeded(lambda: timm.create_model("resnetblur18", num_classes=5, channels=(8, 16, 24, 32))).eval()
    net, block, x = restride(model, images(64)), model.layer2[1], images(9, channels=16)
    with torch.no_grad():
        branch = block.act1(block.bn1(block.conv1(x)))
        taps = torch.tensor([0.25, 0.5, 0.25])
        kernel = (taps[:, None] * taps).expand(16, 1, 3, 3)
        branch = F.conv2d(F.pad(branch, (1, 1, 1, 1), "reflect"), kernel, stride=2, groups=16)
        branch = block.bn2(block.conv2(branch))
        torch.testing.assert_close(block_of(net, "layer2.1")(x, HALVE), F.relu(branch + x[..., ::2, ::2]))


def test_a_patch_convolution_at_full_size_looks_at_its_neighbours_to_the_end(images):
    model = seeded(lambda: timm.create_model("convnext_atto", num_classes=5, depths=(1, 2, 2, 1), dims=(8, 12, 16, 24)))
    net, x = restride(model.eval(), images(64)), images(5, channels=8)
    norm, patch = model.stages[1].downsample
    with torch.no_grad():
        normed = F.pad(norm(x), (0, 1, 0, 1))
        expected = model.stages[1].blocks[0](F.conv2d(normed, patch.weight, patch.bias))
        assert expected.shape[2:] == (5, 5)
        assert torch.equal(block_of(net, "stages.1.blocks.0")(x, KEEP), expected)
        # along one axis: patches there, neighbours here; floor there, as the original's
        normed = F.pad(norm(x), (0, 1, 0, 0))
        expected = model.stages[1].blocks[0](F.conv2d(normed, patch.weight, patch.bias, stride=(2, 1)))
        assert expected.shape[2:] == (2, 5)
        assert torch.equal(block_of(net, "stages.1.blocks.0")(x, (1, 0)), expected)


def test_dense_layers_are_pooled_all_together_and_a_transition_keeps_its_convolution(images):
    model = seeded(lambda: tv.DenseNet(4, (2, 2, 2, 2), 8, num_classes=5)).eval()
    net, x = restride(model, images(64)), images(64)
    placement = Placement.of_blocks([1, 2, 4, 1])
    features = model.features

    def layer(block, number, maps):
        return [*maps, features.get_submodule(f"denseblock{block}.denselayer{number}")(maps)]

    def transition(number, maps):
        moved = copy.deepcopy(features.get_submodule(f"transition{number}"))
        assert isinstance(moved, _Transition)
        del moved.pool
        return moved(torch.cat(maps, 1))

    def halve(maps):
        return [F.max_pool2d(m, 2, ceil_mode=True) for m in maps]

    with torch.no_grad():
        stem = features.pool0(features.relu0(features.norm0(features.conv0(x))))
        maps = halve(layer(1, 1, [stem]))
        one = transition(1, layer(1, 2, maps))
        maps = halve(layer(2, 1, [one]))
        two = transition(2, layer(2, 2, maps))
        three = transition(3, layer(3, 2, layer(3, 1, [two])))
        maps = layer(4, 2, halve(layer(4, 1, [three])))
        expected = model.classifier(F.relu(features.norm5(torch.cat(maps, 1))).mean((2, 3)))
        torch.testing.assert_close(net(x, placement), expected)


def test_vgg_is_convolutions_with_poolings_between_wherever_they_stand(images):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip
    net, x = restride(model, images(16)), images(16)
    assert str(net.default) == "1,2,1"
    units = [model[0:3], model[4:7], model[7:10], model[11:14]]
    for placement in net.space:
        map_ = x
        for index, unit in enumerate(units):
            map_ = unit(F.max_pool2d(map_, 2) if placement.at(index) == HALVE else map_)
        assert torch.equal(net(x, placement), model[14:](map_))
