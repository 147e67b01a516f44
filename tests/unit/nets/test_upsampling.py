"""Networks whose maps are enlarged again: against plain torch modules written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import map_sizes, pool, resize
from poolsearch.nets.restride import prove, restride
from poolsearch.nets.restride.walk import has_resized
from poolsearch.space import FreeSpace, Placement

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "1x1_0x0_-1x-1_2x2_0x0_-2x-2_1x1_1x1_-1x-1"


def test_a_row_is_enlarged_by_repeating_its_pixels():
    x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    assert resize(x, (0, -1), "max").flatten().tolist() == [1, 1, 2, 2, 3, 3]
    assert torch.equal(resize(x.mT, (-2, 0), "avg"), x.mT.repeat_interleave(4, 2))
    assert resize(x, (0, 0), "max") is x


def test_axes_are_resized_each_by_itself(images):
    x = images(8)
    assert torch.equal(resize(x, (1, -1), "max"), F.max_pool2d(x, (2, 1)).repeat_interleave(2, 3))
    assert torch.equal(resize(x, (-1, 2), "avg"), F.avg_pool2d(x, (1, 4)).repeat_interleave(2, 2))


@pytest.mark.parametrize("size", [5, 7, 8])
def test_a_quarter_by_max_is_one_window_and_by_blur_two_halvings(images, size):
    x = images(size)
    assert torch.equal(resize(x, (2, 2), "max"), F.max_pool2d(x, 4, ceil_mode=True))
    assert torch.equal(pool(x, (2, 2), "blur"), pool(pool(x, (1, 1), "blur"), (1, 1), "blur"))
    assert torch.equal(pool(x, (2, 1), "blur"), pool(pool(x, (1, 1), "blur"), (1, 0), "blur"))


def test_of_several_maps_each_is_resized_and_all_else_stays(images):
    maps, vector = images(8), torch.ones(3)
    out = resize((maps, vector, None, 2 * maps), (-1, -1), "max")
    assert torch.equal(out[0], F.interpolate(maps, scale_factor=2)) and torch.equal(out[3], 2 * out[0])
    assert out[1] is vector and out[2] is None


def by_hand(net, x, op):
    """A ResNet20 at TEXT, in torch's own functions."""

    def plain(block, x, stride=1):
        shortcut = x[..., ::stride, ::stride]
        if block.downsample is not None:
            shortcut = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=stride))
        out = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, stride=stride, padding=1)))
        return F.relu(block.bn2(block.conv2(out)) + shortcut)

    def up(x, factor):
        return F.interpolate(x, scale_factor=float(factor), mode="nearest")

    def down(block, x, factor):
        if op == "stride":
            return plain(block, x, factor)
        pooled = F.max_pool2d if op == "max" else F.avg_pool2d
        return plain(block, pooled(x, factor, ceil_mode=True))

    stem, *b = net.blocks
    x = F.relu(stem.bn1(stem.conv1(x)))
    x = plain(b[1], down(b[0], x, 2))
    x = plain(b[2], up(x, 2))
    x = plain(b[4], down(b[3], x, 4))
    x = plain(b[5], up(x, 4))
    x = down(b[7], down(b[6], x, 2), 2)
    return net.head(plain(b[8], up(x, 2)))


@pytest.mark.parametrize("size", [16, 13])
@pytest.mark.parametrize("op", ["max", "avg", "stride"])
def test_a_network_is_the_one_written_out(tiny_net, images, randomise_norms, op, size):
    net = randomise_norms(tiny_net(op=op)).eval()
    x, placement = images(size), Placement.parse(TEXT)
    assert placement in FreeSpace.of(net.space)
    with torch.no_grad():
        assert torch.equal(net(x, placement), by_hand(net, x, op))


def test_sizes_are_those_of_the_resolutions(tiny_net):
    net, placement = tiny_net(), Placement.parse(TEXT)
    expected = [16, 8, 8, 16, 4, 4, 16, 8, 4, 8]
    assert map_sizes(net, 16, 16, placement) == [(n, n) for n in expected]


class Small(nn.Module):
    """Two convolutions with strides of their own, and two without."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()]
        for inputs, outputs, stride in ((4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 8, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.layers(x).mean((2, 3)))


@pytest.mark.parametrize("op", ["native", "avg"])
def test_a_restrided_network_enlarges_before_its_blocks_and_quarters_by_both(images, randomise_norms, op):
    torch.manual_seed(0)
    model = randomise_norms(Small()).eval()
    net = restride(model, images(16), op=op)
    space, x = FreeSpace.of(net.space), images(16)
    net.check_input(16, 16, space)
    assert space.size == 3**4
    placement = Placement.parse("0x0_2x2_-1x-1_-1x-1")
    layers = [*model.layers]

    def block(i, x, stride):
        convolution, *rest = layers[2 + 3 * i : 5 + 3 * i]
        x = F.conv2d(x, convolution.weight, convolution.bias, stride, padding=1)
        return nn.Sequential(*rest)(x)

    with torch.no_grad():
        expected = block(0, F.relu(layers[0](x)), 1)
        native = op == "native"
        expected = block(1, F.max_pool2d(expected, 2), 2) if native else block(1, F.avg_pool2d(expected, 4), 1)
        for i in (2, 3):
            expected = block(i, F.interpolate(expected, scale_factor=2.0), 1)
        torch.testing.assert_close(net(x, placement), model.fc(expected.mean((2, 3))))
    assert all(proof.holds for proof in prove(net, model, space, images(16)))


def test_maps_that_cannot_be_quartered_are_told(images):
    net = restride(Small(), images(16))
    with pytest.raises(PoolsearchError, match=r"before 'layers.*cannot be halved 2 times.*--image-size"):
        net.check_input(2, 2, FreeSpace.of(net.space))


@pytest.mark.parametrize(
    ("before", "after", "exponent", "holds"),
    [(8, 4, 1, True), (9, 5, 1, True), (9, 4, 1, True), (9, 3, 2, True), (9, 1, 2, False), (5, 10, -1, True),
     (5, 9, -1, False), (5, 20, -2, True), (5, 5, 0, True), (5, 4, 0, False)],
)  # fmt: skip
def test_what_an_exponent_asks_for(before, after, exponent, holds):
    assert has_resized(before, after, exponent) == holds
