"""The relaxed supernet against plain torch, single paths, and what Eq. 4 says of it."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import Block
from poolsearch.nets.restride import restride
from poolsearch.space import HALVE, KEEP, Placement
from poolsearch.supernet.relaxed import Relaxed, forward, path_of, resolutions
from poolsearch.supernet.single_path import SinglePath

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make():
    def supernet(name="cifar-resnet20", op=None, width=2, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SinglePath(lambda norm: build(NetSpec(name, 5, width, op), norm), "batch").double()

    return supernet


def simplex(blocks, count, seed=3):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(blocks, count, generator=draw, dtype=torch.float64).softmax(1)


def one_hot(path, count):
    return F.one_hot(torch.tensor(path[1:]), count).double()


def in_plain_torch(net, x, weight_LR):
    """Eq. 4, written out for a ResNet20: nothing of the package but its parameters."""

    def norm(y):
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        return (y - mean) / (var + 1e-5).sqrt()

    def block(part, y):
        out = norm(F.conv2d(y, part.conv1.weight, padding=1)).relu()
        out = norm(F.conv2d(out, part.conv2.weight, padding=1))
        return (out + (y if part.downsample is None else norm(F.conv2d(y, part.downsample[0].weight)))).relu()

    h = norm(F.conv2d(x, net.blocks[0].conv1.weight, padding=1)).relu()
    for part, weight_R in zip(net.blocks[1:], weight_LR, strict=True):
        total = 0
        for r, weight in enumerate(weight_R):
            out = block(part, F.max_pool2d(h, 2**r, ceil_mode=True) if r else h)
            wide = out.repeat_interleave(2**r, 2).repeat_interleave(2**r, 3)
            total = total + weight * wide[:, :, : h.shape[2], : h.shape[3]]
        h = total
    return h.mean((2, 3)) @ net.head.fc.weight.T + net.head.fc.bias


@pytest.mark.parametrize("size", [16, 15, 13])
def test_it_is_eq_4_in_plain_torch_and_so_are_its_gradients(make, images, size):
    supernet, x = make(), images(size).double()
    weight_LR = simplex(9, 3).requires_grad_()
    mine, theirs = forward(supernet, x, weight_LR), in_plain_torch(supernet.net, x, weight_LR)
    assert torch.allclose(mine, theirs, atol=1e-9)
    wanted = [weight_LR, *supernet.parameters()]
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (mine, theirs)), strict=True):
        assert torch.allclose(a, b, atol=1e-7)
        assert a.abs().max() > 0, "gradients reach every weight and every parameter"


PATHS = ([0] * 10, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 2, 1, 0, 0, 1, 2, 2, 0, 1], [0] + [2] * 9)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("op", ["max", "avg"])
def test_one_hot_weights_are_the_single_path_at_that_placement(make, images, path, op):
    supernet, x = make(op=op), images(16).double()
    placement = Placement.of_resolutions(path)
    assert torch.allclose(forward(supernet, x, one_hot(path, 3)), supernet(x, placement), atol=1e-9)


def test_of_odd_maps_this_holds_for_paths_that_only_go_down(make, images):
    supernet, x = make(), images(13).double()

    def last_map(net):
        found = []
        handle = net.head.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        return found, handle

    path = PATHS[1]
    maps, handle = last_map(supernet.net)
    forward(supernet, x, one_hot(path, 3))
    supernet(x, Placement.of_resolutions(path))
    handle.remove()
    relaxed, single = maps
    assert relaxed.shape[2:] == (13, 13) and single.shape[2:] == (4, 4)
    wide = single.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, :13, :13]
    assert torch.allclose(relaxed, wide, atol=1e-9)


def test_a_row_at_the_full_resolution_alone_is_the_block_without_any_resizing(make, images):
    """Eq. 4 counts r from 1, with which full resolution could not be reached."""
    supernet, x = make(), images(16).double()
    expected = supernet(x, Placement.of_blocks([10]))
    assert torch.allclose(forward(supernet, x, one_hot([0] * 10, 3)), expected, atol=1e-12)


def test_the_first_block_is_run_once_at_full_size_whatever_the_weights(make, images):
    supernet = make()
    sizes = {index: [] for index in range(10)}
    for index, block in enumerate(supernet.net.blocks):
        block.register_forward_pre_hook(lambda _, given, at=index: sizes[at].append(given[0].shape[2]))
    forward(supernet, images(16).double(), simplex(9, 3))
    assert sizes == {0: [16]} | {index: [16, 8, 4] for index in range(1, 10)}


def test_the_resolutions_are_the_networks_own(make):
    assert [resolutions(make(name).net) for name in ("cifar-resnet20", "cifar-resnet18")] == [3, 4]


@pytest.mark.parametrize("size", [32, 40])
def test_a_strided_network_is_mixed_with_max_pooling(make, images, size):
    supernet, x = make("resnet18"), images(size).double()
    weight_LR = simplex(7, 4).requires_grad_()
    forward(supernet, x, weight_LR).square().sum().backward()
    assert (weight_LR.grad != 0).all()
    full = torch.zeros(7, 4, dtype=torch.float64)
    full[:, 0] = 1
    assert torch.allclose(forward(supernet, x, full), supernet(x, Placement.of_blocks([8])), atol=1e-9)


class Two(nn.Module):
    """A network with two maps alive between its blocks, as a dense one has."""

    def __init__(self):
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.b, self.c = (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(2))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.down(self.first(x))
        y = self.b(x)
        z = self.c(y)
        return self.fc(torch.cat([x, z], 1).mean((2, 3)))


def test_every_map_of_a_restrided_network_is_mixed(images):
    torch.manual_seed(0)
    net = restride(Two(), images(16), blocks=["first", "down", "b", "c"])
    supernet = SinglePath(lambda _: net, "batch").double()
    x, weight_LR = images(16).double(), simplex(3, 2)
    model = net.model

    def wide(h):
        return h.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def at(layer, h, w_R):
        return w_R[0] * layer(h) + w_R[1] * wide(layer(F.max_pool2d(h, 2)))

    def down(h):  # at stride 1
        return F.conv2d(h, model.down.weight, model.down.bias, padding=1)

    x1 = at(down, model.first(x), weight_LR[0])
    y, x2 = at(model.b, x1, weight_LR[1]), at(lambda h: h, x1, weight_LR[1])  # x lives on beside y
    z, x3 = at(model.c, y, weight_LR[2]), at(lambda h: h, x2, weight_LR[2])
    expected = model.fc(torch.cat([x3, z], 1).mean((2, 3)))
    assert torch.allclose(forward(supernet, x, weight_LR), expected, atol=1e-9)


class Passing(Block):
    """A block that passes a value on beside its map."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x_BCHW, exponents=KEEP):
        x_BCHW = x_BCHW[0] if isinstance(x_BCHW, tuple) else x_BCHW
        return x_BCHW, self.of(x_BCHW)


@pytest.mark.parametrize("of", [lambda _: 7, lambda _: torch.ones(2)])
def test_what_is_no_map_is_passed_on_as_it_is(make, images, of):
    supernet = make()
    supernet.net.blocks[2] = Passing(of)
    supernet.net.blocks[3].register_forward_pre_hook(lambda _, given: given[0][0])
    x = images(16).double()
    plain = make()
    plain.net.blocks[2] = nn.Identity()
    assert torch.equal(forward(supernet, x, simplex(9, 3)), forward(plain, x, simplex(9, 3)))


@pytest.mark.parametrize("of", [lambda x: x.shape[2], lambda x: x.mean((2, 3))])
def test_a_value_that_depends_on_the_resolution_is_refused(make, images, of):
    supernet = make()
    supernet.net.blocks[2] = Passing(of)
    with pytest.raises(PoolsearchError, match="cannot be relaxed"):
        forward(supernet, images(16).double(), simplex(9, 3))


def test_in_mixed_precision_it_is_near_and_its_gradients_are_finite(make, images):
    supernet = make().float().to(memory_format=torch.channels_last)
    x, weight_LR = images(16).to(memory_format=torch.channels_last), simplex(9, 3).float().requires_grad_()
    exact = Relaxed(supernet)(x, weight_LR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = Relaxed(supernet)(x, weight_LR)
    assert logits.dtype == torch.bfloat16
    assert torch.allclose(logits.float(), exact, atol=0.1)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), torch.tensor([0, 1, 2])), weight_LR)
    assert gradient.dtype == torch.float32 and gradient.isfinite().all()


def test_the_path_is_that_of_the_largest_weights_and_the_higher_of_equal_ones():
    assert path_of([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.2, 0.7]]) == [0, 1, 0, 2]


@pytest.mark.parametrize(
    ("path", "text"),
    [([0, 0, 1, 1, 2], "2,2,1"), ([0, 0, 0], "3"), ([0, 1, 0, 2, 2], "1x1_-1x-1_2x2_0x0"), ([0, 2, 1], "2x2_-1x-1")],
)
def test_a_path_is_a_placement_with_the_differences_as_its_sites(path, text):
    placement = Placement.of_resolutions(path)
    assert str(placement) == text
    assert Placement.parse(text) == placement
    assert placement.sites == tuple((b - a, b - a) for a, b in pairwise(path))


def test_upsampling_repeats_every_pixel_also_in_restrided_networks(images):
    torch.manual_seed(0)
    net = restride(Two(), images(16), blocks=["first", "down", "b", "c"])
    states = []
    net.blocks[2].register_forward_pre_hook(lambda _, given: states.append(given[0]))
    placement = Placement((HALVE, (-1, -1), KEEP))
    assert net(images(16), placement).shape == (3, 5)
    assert states[0].shape[2:] == (16, 16)
    assert torch.equal(states[0][..., ::2, ::2], states[0][..., 1::2, 1::2])
