"""Shortcuts and stems in other styles: slices with padded channels, space to depth, functions in place of layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.nets.restride import prove, restride
from poolsearch.space import HALVE, KEEP

pytestmark = pytest.mark.usefixtures("one_thread")


class Lambda(nn.Module):
    """A function as a childless module, as CIFAR ResNets have it in the wild."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class OptionA(nn.Module):
    """He et al. 2016, option A: the shortcut is every second pixel, with channels of zeros around."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Sequential()
        if stride > 1:
            more = (outputs - inputs) // 2
            self.shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more)))

    def forward(self, x):
        out = self.conv2(self.conv1(x).relu())
        out += self.shortcut(x)
        return F.relu(out)


def stacked(*blocks, channels):
    torch.manual_seed(0)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)).eval()


def test_option_a_is_moved_slices_and_all(images):
    blocks = [OptionA(4, 4, 1), OptionA(4, 8, 2), OptionA(8, 8, 1), OptionA(8, 12, 2)]
    model = stacked(nn.Conv2d(3, 4, 3, padding=1), *blocks, channels=12)
    net, x = restride(model, images(16)), images(7, channels=4)
    assert str(net.default) == "1,2,1"
    block = blocks[1]
    out = block.conv2(F.conv2d(x, block.conv1.weight, padding=1).relu())
    assert torch.equal(net.blocks[1](x, KEEP), F.relu(out + F.pad(x, (0, 0, 0, 0, 2, 2))))
    assert torch.equal(net.blocks[1](x, HALVE), block(x))
    assert [p for p in prove(net, model, net.space, images(16)) if not p.holds] == []


class InPlaceShortcut(nn.Module):
    """Its shortcut comes first, and writes into what its pooling gives: at full size, that is the block's input."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.act = nn.ReLU(inplace=stride > 1)
        self.proj = nn.Conv2d(inputs, outputs, 1)
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)

    def forward(self, x):
        shortcut = self.proj(self.act(self.pool(x)))
        return self.conv(x) + shortcut


def test_a_pooling_left_out_does_not_let_a_branch_write_into_the_other(images):
    blocks = [InPlaceShortcut(4, 4, s) for s in (1, 2, 1, 2)]
    model = stacked(nn.Conv2d(3, 4, 3, padding=1), *blocks, channels=4)
    net, x = restride(model, images(16)), images(6, channels=4)
    for index, site in ((1, KEEP), (1, (0, 1)), (2, HALVE)):
        block, before, stride = blocks[index], x.clone(), tuple(2**e for e in site)
        pooled = F.avg_pool2d(x, stride)
        expected = F.conv2d(x, block.conv.weight, block.conv.bias, stride, 1) + block.proj(F.relu(pooled))
        torch.testing.assert_close(net.blocks[index](x, site), expected)
        assert torch.equal(x, before)


class Split(nn.Module):
    """Res2Net's way: the second part reads the first one's result, which the strided block leaves out."""

    def __init__(self, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels // 2, channels // 2, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels // 2, channels // 2, 3, stride, 1)
        self.strided = stride > 1

    def forward(self, x):
        one, two = x.chunk(2, 1)
        out = self.conv1(one)
        return torch.cat([out, self.conv2(two if self.strided else out + two)], 1)


def test_a_block_that_does_not_fit_the_strided_one_is_pooled_in_front(images):
    model = stacked(nn.Conv2d(3, 4, 3, padding=1), *(Split(4, s) for s in (1, 2, 1, 2)), channels=4)
    net, x = restride(model, images(16)), images(7, channels=4)
    assert net.how(2) == "3: max pooling 2x2 in front: strided as 2 is, its maps do not fit together"
    assert torch.equal(net.blocks[2](x, HALVE), model[3](F.max_pool2d(x, 2, ceil_mode=True)))
    assert [p for p in prove(net, model, net.space, images(16)) if not p.holds] == []


class Functional(nn.Module):
    """No submodules but convolutions: poolings and joins are functions of the forward pass."""

    def __init__(self):
        super().__init__()
        for i, (inputs, outputs) in enumerate([(3, 4), (4, 4), (4, 6), (6, 6), (6, 8)]):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, 3, padding=1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.conv0(x))
        x = F.relu(x + self.conv1(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.conv2(x))
        x = F.relu(x + self.conv3(x))
        x = F.relu(self.conv4(F.avg_pool2d(x, kernel_size=3, stride=2, padding=1)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def test_a_network_of_functions_is_cut_where_one_map_is_alive(images):
    torch.manual_seed(0)
    model = Functional().eval()
    net = restride(model, images(16))
    assert [b.path for b in net.blocks] == [f"conv{i}" for i in range(5)]
    assert str(net.default) == "2,2,1"
    with torch.no_grad():
        x = images(8, channels=4)
        kept = F.relu(model.conv2(x))
        assert torch.equal(net.blocks[2](x, KEEP), kept)  # without its pooling
        x = images(8, channels=6)
        along = F.avg_pool2d(x, (1, 3), (1, 2), (0, 1))
        assert torch.equal(net.blocks[4](x, (0, 1)), F.relu(model.conv4(along)))
        x = images(7, channels=4)
        pooled = F.max_pool2d(x, 2, ceil_mode=True)
        assert torch.equal(net.blocks[1](x, HALVE), F.relu(pooled + model.conv1(pooled)))
    assert [p for p in prove(net, model, net.space, images(16)) if not p.holds] == []


def test_space_to_depth_keeps_its_channels_at_full_size(images):
    torch.manual_seed(0)
    unit = [nn.PixelUnshuffle(2), nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(inplace=True)]
    first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    model = stacked(first, nn.Conv2d(4, 4, 3, padding=1), *unit, nn.Conv2d(8, 8, 3, padding=1), channels=8)
    net = restride(model, images(16), blocks=["0", "1", ("2", "3", "4"), "5"])
    assert str(net.default) == "2,2"
    x = images(6, channels=4)
    neighbours = [F.pad(x, (0, 1, 0, 1))[..., r : r + 6, c : c + 6] for r in (0, 1) for c in (0, 1)]
    dense = torch.stack(neighbours, 2).flatten(1, 2)
    torch.testing.assert_close(net.blocks[2](x, KEEP), F.relu(model[3](dense)))
    assert torch.equal(net.blocks[2](x, HALVE), F.relu(model[3](F.pixel_unshuffle(x, 2))))
    assert [p for p in prove(net, model, net.space, images(16)) if not p.holds] == []


class Squeeze(nn.Module):
    """A gate over channels, from the mean of the map: a value that is no map."""

    def __init__(self, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))


def test_a_gate_over_channels_is_no_map_also_where_maps_are_one_pixel(images):
    model = stacked(nn.Conv2d(3, 4, 3, padding=1), *(Squeeze(4, s) for s in (1, 2, 1, 2)), channels=4)
    net = restride(model, images(3))  # 3 to 2 to 1
    assert str(net.default) == "1,2,1"
    assert torch.equal(net(images(3), net.default), model(images(3)))
    assert [p for p in prove(net, model, net.space, images(3)) if not p.holds] == []


class Whole(nn.Module):
    """A block that looks at sizes: it cannot be traced, and is kept whole."""

    def __init__(self, channels):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.inner(x) if x.shape[-1] > 1 else self.inner(x) * 2


def test_an_untraceable_block_is_pooled_in_front(images):
    blocks = [nn.Conv2d(3, 4, 3, padding=1), Whole(4), nn.Conv2d(4, 4, 3, 2, 1)]
    model = stacked(*blocks, channels=4)
    net, x = restride(model, images(8), blocks=["0", "1", "2"]), images(5, channels=4)
    assert net.how(1).startswith("1: max pooling 2x2 in front")
    assert torch.equal(net.blocks[1](x, HALVE), model[1](F.max_pool2d(x, 2, ceil_mode=True)))
    assert torch.equal(net(images(8), net.default), model(images(8)))
