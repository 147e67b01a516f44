"""The downsampling ops by hand, map sizes of every placement, and what an input must measure."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import (
    FixedPlacementNet,
    Poolable,
    check_maps,
    map_sizes,
    parameters_of,
    pool,
    shrink_factors,
    smallest_input,
)
from poolsearch.nets.resnet import BasicBlock, Bottleneck, Head, StemBlock
from poolsearch.space import HALVE, KEEP, Placement

pytestmark = pytest.mark.usefixtures("one_thread")

OPS = ("max", "avg", "blur", "stride")
POOLS = ("max", "avg", "blur")
ROW = [1.0, 5.0, 3.0, -2.0, 7.0]


def row(values):
    return torch.tensor(values).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("max", [5.0, 3.0, 7.0]),
        ("avg", [3.0, 0.5, 7.0]),
        # [1, 2, 1] / 4 around positions 0, 2 and 4, the border repeated
        ("blur", [(1 + 2 + 5) / 4, (5 + 6 - 2) / 4, (-2 + 14 + 7) / 4]),
    ],
)
def test_a_row_of_five_by_hand(op, expected):
    assert pool(row(ROW), (0, 1), op).flatten().tolist() == expected
    assert pool(row(ROW).mT, (1, 0), op).flatten().tolist() == expected


def test_blur_over_both_axes_is_the_product_of_rows_and_columns():
    x = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool(x, HALVE, "blur"), pool(pool(x, (1, 0), "blur"), (0, 1), "blur"))


@pytest.mark.parametrize("op", POOLS)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), site=st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 0)]))
@settings(max_examples=40)
def test_pools_round_sizes_up_and_keep_constants(op, size, site):
    x = torch.full((1, 2, *size), 3.0)
    out = pool(x, site, op)
    assert out.shape[2:] == tuple(-(-n // f) for n, f in zip(size, shrink_factors(site), strict=True))
    torch.testing.assert_close(out, torch.full_like(out, 3.0))


@pytest.mark.parametrize("make", [lambda: BasicBlock(4, 4, nn.BatchNorm2d), lambda: Bottleneck(4, 3, nn.BatchNorm2d)])
@pytest.mark.parametrize("size", [(1, 4), (5, 5), (7, 2), (8, 9)])
def test_strided_blocks_round_sizes_up_in_both_branches(make, size):
    out = make()(torch.randn(2, 4, *size), HALVE)
    assert out.shape[2:] == tuple((n + 1) // 2 for n in size)


def test_a_site_pools_in_front_of_both_branches(tiny_net, images, randomise_norms):
    net = randomise_norms(tiny_net(op="max", width=4)).eval()
    x = images(9, channels=4)
    block = net.blocks[1]
    assert block.downsample is None
    pooled = F.max_pool2d(x, 2, ceil_mode=True)
    expected = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(pooled))))) + pooled)
    assert torch.equal(net.run_block(1, x, HALVE), expected)


@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_identity_shortcut_of_a_strided_block_is_every_second_pixel(kind):
    channels = 4 * kind.expansion
    block = kind(channels, 4, nn.BatchNorm2d).eval()
    assert block.downsample is None
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)  # the branch gives zero: what remains is relu(shortcut)
    x = torch.randn(2, channels, 7, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x, HALVE), F.relu(x[..., ::2, ::2]))
    assert torch.equal(block(x, (0, 1)), F.relu(x[..., :, ::2]))


def test_a_blocks_input_is_left_as_it_was(images):
    # a branch of the prefix tree is read again by the next
    for block in (BasicBlock(3, 3, nn.Identity), Bottleneck(12, 3, nn.Identity), StemBlock(3, nn.Identity)):
        for site in (KEEP, HALVE):
            channels = 12 if isinstance(block, Bottleneck) else 3
            x = images(6, channels=channels)
            before = x.clone()
            block(x, site)
            assert torch.equal(x, before)


def halved(size, placement):
    """Sizes after each block when every halving rounds up."""
    sizes = []
    for block in range(placement.length):
        size = -(-size // 2) if placement.at(block) == HALVE else size
        sizes.append((size, size))
    return sizes


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", ["cifar-resnet20", "resnet18"])
def test_sizes_shrink_at_exactly_the_asked_sites(tiny_net, op, name):
    net = tiny_net(name, width=1, op=op).eval()
    stem = 4 if name == "resnet18" else 1  # the fixed stem shrinks by four
    for placement in (net.space[number] for number in range(0, net.space.size, 5)):
        assert map_sizes(net, 11 * stem, 11 * stem, placement) == halved(11, placement)


@pytest.mark.parametrize(
    ("name", "placements"),
    [("cifar-resnet20", 36), ("cifar-resnet18", 56), ("cifar-resnet50", 560), ("resnet50", 455), ("resnet18", 35)],
)
def test_every_placement_shows_p_plus_1_sizes_on_the_smallest_image(tiny_net, name, placements):
    net = tiny_net(name, width=1).eval()
    poolings = net.space.poolings
    side = smallest_input(poolings) * (1 if name.startswith("cifar") else 4)
    known = {}  # a block's output size depends on its input's size and its site only

    def run_block(index, x, site):
        at = (index, x.shape, site)
        if at not in known:
            known[at] = Poolable.run_block(net, index, x, site)
        return known[at]

    net.run_block = run_block
    seen = [len({*map_sizes(net, side, side, placement)}) for placement in net.space]
    assert seen == [poolings + 1] * placements  # docs/differences.md#last-pooling


@pytest.mark.parametrize("poolings", [1, 2, 3, 4])
def test_the_smallest_input_is_the_least_that_shrinks_every_time(poolings):
    def shrinks(size):
        sizes = [size]
        for _ in range(poolings):
            sizes.append(-(-sizes[-1] // 2))
        return len({*sizes}) == poolings + 1

    least = smallest_input(poolings)
    assert shrinks(least) and not any(shrinks(n) for n in range(1, least))
    check_maps(least, least + 3, poolings)
    with pytest.raises(PoolsearchError, match=f"at least {least}x{least} is needed.*--image-size"):
        check_maps(least + 3, least - 1, poolings)


@pytest.mark.parametrize("op", OPS)
def test_every_parameter_is_used_at_every_placement(tiny_net, images, op):
    net, x = tiny_net(op=op), images(8, count=2)
    shapes = {n: p.shape for n, p in net.named_parameters()}
    for placement in (net.space[number] for number in (0, 7, 23, 35)):
        net.zero_grad(set_to_none=True)
        net(x, placement).square().sum().backward()
        assert {n: p.grad.shape for n, p in net.named_parameters()} == shapes


def test_placements_differ_in_what_they_compute(tiny_net, images):
    net = tiny_net(width=4).eval()
    logits = {tuple(net(images(), p).flatten().tolist()) for p in net.space}
    assert len(logits) == 36


def test_fixed_is_the_network_at_its_placement(tiny_net, images):
    net = tiny_net().eval()
    placement = Placement.parse("5,3,2")
    fixed = FixedPlacementNet(net, placement)
    assert torch.equal(fixed(images()), net(images(), placement))
    assert parameters_of(fixed) == parameters_of(net)


@pytest.mark.parametrize("text", ["4,3,2", "4,3,4"])
def test_a_placement_of_another_length_is_refused_with_the_default(tiny_net, images, text):
    with pytest.raises(PoolsearchError, match=r"this network has 10.*4,3,3"):
        tiny_net()(images(), Placement.parse(text))


def test_a_default_of_another_length_is_a_mistake_in_the_network():
    with pytest.raises(ValueError, match="has 3 blocks, the network 1"):
        Poolable(nn.Identity(), [BasicBlock(3, 3, nn.BatchNorm2d)], Head(3, 2), Placement.parse("2,1"), "max")
