"""Receptive fields: by hand, against published figures, and against where gradients of whole networks reach."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn

from poolsearch.cost.field import Field, field_of, field_table, receptive_fields
from poolsearch.cost.macs import cost_table
from poolsearch.cost.routes import Grid
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import pool
from poolsearch.nets.restride.assemble import restride
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.space import Placement

IMAGE = torch.zeros(2, 3, 64, 64, device="meta")


def of(run, x=IMAGE):
    return field_of(run, x)[0]


def conv(kernel, stride=1, dilation=1, padding=0):
    return nn.Conv2d(3, 3, kernel, stride, padding, dilation, device="meta")


@pytest.mark.parametrize(
    ("layers", "reach", "jump"),
    [
        ([conv(3)], (2, 2), (1, 1)),
        ([conv(3), conv(3)], (4, 4), (1, 1)),
        ([conv(7, 2), nn.MaxPool2d(3, 2)], (6 + 2 * 2, 6 + 2 * 2), (4, 4)),
        ([conv(3, dilation=4)], (8, 8), (1, 1)),
        ([conv((5, 1), (2, 1)), conv((1, 3))], (4, 2), (2, 1)),
        ([nn.AvgPool2d(2), conv(3)], (1 + 2 * 2, 1 + 2 * 2), (2, 2)),
        ([conv(1, 2), conv(3)], (4, 4), (2, 2)),
        ([nn.AdaptiveAvgPool2d(32)], (1, 1), (2, 2)),
        ([nn.BatchNorm2d(3, device="meta"), nn.ReLU(inplace=True)], (0, 0), (1, 1)),
    ],
)
def test_windows_one_after_the_other(layers, reach, jump):
    assert of(nn.Sequential(*layers)) == Field(reach, jump)


@pytest.mark.parametrize(
    ("op", "reach"), [("max", (1, 0)), ("avg", (1, 0)), ("blur", (2, 0))]
)  # blur has three taps along the axis that is halved, and none along the other
def test_pooling_in_front_of_a_block(op, reach):
    assert of(lambda x: pool(x, (1, 0), op)) == Field(reach, (2, 1))


def test_where_branches_meet_the_widest_counts():
    wide, narrow = conv(5, 2, padding=2), conv(3, 2, padding=1)
    assert of(lambda x: wide(x) + narrow(x)) == Field((4, 4), (2, 2))
    assert of(lambda x: torch.cat([narrow(x), wide(x)], 1)) == Field((4, 4), (2, 2))
    assert of(lambda x: narrow(x) + x[..., ::2, ::2]) == Field((2, 2), (2, 2))


@pytest.mark.parametrize("squeeze", [lambda x: x.mean((2, 3), keepdim=True), nn.AdaptiveAvgPool2d(1)])
def test_squeeze_excitation_is_left_out(squeeze):
    one, gate = conv(3), conv(1)

    def run(x):
        x = one(x)
        return x * torch.sigmoid(gate(squeeze(x)))

    assert of(run) == Field((2, 2), (1, 1))


def test_a_mean_over_channels_is_not_one_over_the_map():
    one, gate = conv(3, padding=1), nn.Conv2d(1, 1, 7, padding=3, device="meta")
    assert of(lambda x: (y := one(x)) * torch.sigmoid(gate(y.mean(1, keepdim=True)))) == Field((8, 8), (1, 1))


@pytest.mark.parametrize(
    ("model", "pixels"),
    # VGG16 (212) and AlexNet (195) as published by Araujo et al. 2019; ResNets with the stride in the 3x3 convolution:
    # 7x7/2, 3x3/2, then per stage the stride's 3x3 and the others, 11 + 24 + (8 + 48) + (16 + 160) + (32 + 128) = 427
    [("vgg16", 212), ("alexnet", 195), ("resnet50", 427), ("resnet18", 435)],
)
def test_published_fields(model, pixels):
    with torch.device("meta"):
        net = getattr(torchvision.models, model)()
    parts = net.features if hasattr(net, "features") else nn.Sequential(*[*net.children()][:-2])
    assert of(parts, torch.zeros(2, 3, 224, 224, device="meta")).reach == (pixels - 1, pixels - 1)


def fields_of(net, size, axes="hw"):
    space = dataclasses.replace(net.space, axes=axes)
    grid = Grid.of(cost_table(net, size, size, space))
    return space, *receptive_fields(field_table(net, size, size, space), grid, grid.routes(space), space)


def blank(name, op, width=2):
    with torch.device("meta"):
        return build(NetSpec(name, 5, width, op))


def test_resnet20_by_hand():
    space, height_AR, width_AR = fields_of(blank("cifar-resnet20", "max"), 32)
    # a 3x3 stem, then two 3x3 convolutions a block, each 2 x jump more; 2x2 pooling adds one jump
    assert height_AR[space.index(Placement.parse("4,3,3"))].tolist() == [
        3 + 3 * 4, 15 + 1 + 3 * 2 * 4, 40 + 2 + 3 * 4 * 4
    ]  # fmt: skip
    assert height_AR[space.index(Placement.parse("1,1,8"))].tolist() == [3, 3 + 1 + 8, 12 + 2 + 8 * 16]
    assert (height_AR == width_AR).all()


def test_resnet20_with_unequal_axes_by_hand():
    space, height_AR, width_AR = fields_of(blank("cifar-resnet20", "max"), 32, "h,w")
    number = space.index(Placement.parse("h 4,3,3 w 1,1,8"))
    assert height_AR[number].tolist() == [15, 40, 90]
    assert width_AR[number].tolist() == [3, 12, 142]


def test_torchvisions_resnet50_restrided_has_that_of_the_original_at_its_default(images):
    model = torchvision.models.resnet50(num_classes=3)
    net = blank_copy(restride(model, images(64)))
    space, height_AR, _ = fields_of(net, 64)
    assert height_AR[space.index(space.default)].tolist() == [35, 91, 267, 427]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("op", "axes"), [("avg", "hw"), ("stride", "hw"), ("avg", "h,w"), ("blur", "hw")])
def test_a_gradient_reaches_so_far(op, axes):
    """With positive weights nothing cancels: a pixel of the last map depends on all that it sees."""
    net = build(NetSpec("cifar-resnet20", 5, 1, op)).double().eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    with torch.device("meta"):
        flat = build(NetSpec("cifar-resnet20", 5, 1, op))
    space, height_AR, width_AR = fields_of(flat, 64, axes)
    for number in range(0, space.size, 7 if axes == "hw" else 301):
        x = torch.ones(1, 3, 384, 384, dtype=torch.float64, requires_grad=True)
        out = net.stem(x)
        for index in range(10):
            out = net.run_block(index, out, space[number].at(index))
        out[0, 0, 48, 48].backward()
        seen = x.grad[0].sum(0) != 0
        extents = [int(line.nonzero()[-1] - line.nonzero()[0]) + 1 for line in (seen.any(1), seen.any(0))]
        assert extents == [height_AR[number, -1], width_AR[number, -1]], space[number].shown
