"""Resizers in the place of a network's downsampling: ours, a library's, a user's."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.poolable import Poolable, parameters_of
from poolsearch.resizers import (
    DiffStride,
    Resized,
    ShapeAdaptor,
    freeze,
    map_sizes,
    parameter_groups,
    replace_downsampling,
    resizer_parameters,
)
from poolsearch.space import Placement

IMAGES = torch.zeros(2, 3, 32, 32)
METHODS = ("diffstride", "shape-adaptor", "dynopool")


class Users(nn.Module):
    """Two strided convolutions and a pooling, as a user may write it."""

    def __init__(self, flatten: bool = False, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, padding=1)
        self.one = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 6, 3, padding=1)
        self.three = nn.Conv2d(6, 6, 3, padding=1)
        self.flatten = flatten
        self.fc = nn.Linear(6 * 8 * 8 if flatten else 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.one(F.relu(self.stem(x)))))
        x = F.relu(self.two(x))
        x = F.relu(self.three(F.max_pool2d(x, 2)))
        return self.fc(x.flatten(1) if self.flatten else x.mean((2, 3)))


@pytest.fixture(scope="module")
def ours() -> Poolable:
    torch.manual_seed(0)
    return build(NetSpec("cifar-resnet20", 10, width=2)).eval()


def sizes(net: nn.Module, side: int = 32) -> list[int]:
    return [height for height, _ in map_sizes(net, torch.zeros(1, 3, side, side)).values()]


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_are_those_of_the_network_and_a_few_of_the_resizers(ours: Poolable, method) -> None:
    net = replace_downsampling(ours, method, IMAGES)
    each = 1 if method == "shape-adaptor" else 2
    assert parameters_of(net) == parameters_of(ours) + each * len(net.resizers)
    assert {id(p) for p in net.model.parameters()} == {id(p) for p in ours.parameters()}
    assert [*net.model.state_dict()] == [*ours.state_dict()]
    assert [key for key in net.state_dict() if not key.startswith("model.")] == [
        f"resizers.{block}.{'logit' if each == 1 else 'stride'}" for block in net.resizers
    ]
    assert net(torch.rand(3, 3, 32, 32)).shape == (3, 10)


def test_where_resizers_keep_all_sizes_the_network_computes_what_it_does_without_downsampling(ours: Poolable) -> None:
    net = replace_downsampling(ours, "diffstride", start={4: 1.0, 7: (1.0, 1.0)})
    images = torch.rand(2, 3, 32, 32)
    plain = ours(images, Placement.of_resolutions([0] * 10))
    torch.testing.assert_close(net(images), plain, atol=1e-5, rtol=1e-4)
    assert net.macs(32, 32) > replace_downsampling(ours, "dynopool").macs(32, 32)


def test_a_pooling_of_two_is_dynopool_at_its_start(ours: Poolable) -> None:
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(replace_downsampling(ours, "dynopool")(images), ours(images, ours.default))


def test_each_start_begins_where_it_says(ours: Poolable) -> None:
    own = replace_downsampling(ours, "dynopool", IMAGES)
    assert ([*own.resizers], sizes(own)) == (["4", "7"], [16, 8])
    equal = replace_downsampling(ours, "dynopool", IMAGES, "equal")
    assert len(equal.resizers) == 9
    assert all(layer.scales().tolist() == pytest.approx([2 ** (-2 / 9)] * 2) for layer in equal.layers())
    assert sizes(equal)[-1] == 8
    uniform = replace_downsampling(ours, "shape-adaptor", IMAGES)
    assert [*uniform.resizers] == ["2", "4", "6", "8"]
    assert all(layer.scales().tolist() == pytest.approx([0.25**0.25] * 2) for layer in uniform.layers())
    assert sizes(uniform)[-1] == 8
    given = replace_downsampling(ours, "dynopool", IMAGES, {"blocks.3": 4, 5: (1.0, 2.0)})
    assert map_sizes(given, IMAGES) == {"resizers.3": (8, 8), "resizers.5": (8, 4)}


def test_random_starts_are_those_of_their_seed(ours: Poolable) -> None:
    def strides(seed: int, method="diffstride") -> list[float]:
        net = replace_downsampling(ours, method, IMAGES, "random", seed=seed)
        return [1 / s for layer in net.layers() for s in layer.scales().tolist()]

    found = strides(1)
    assert found == strides(1) != strides(2)
    assert len({*found}) == 4
    assert all(1 <= s <= 3 for s in found)
    assert all(1 <= s <= 2 for s in strides(1, "shape-adaptor"))


@pytest.mark.parametrize("method", METHODS)
def test_a_short_training_moves_the_sizes_and_can_be_frozen_and_resumed(ours: Poolable, method) -> None:
    def begin() -> tuple[Resized, torch.optim.Optimizer]:
        net = replace_downsampling(copy.deepcopy(ours), method, IMAGES).train()
        return net, torch.optim.SGD(parameter_groups(net, 0.05, 1e-3, resizer_lr=0.5), momentum=0.9)

    def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            draws = torch.Generator().manual_seed(step)
            images, targets = torch.rand(4, 3, 32, 32, generator=draws), torch.arange(4)
            loss = F.cross_entropy(net(images), targets) + 3 * net.cost()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    net, optimizer = begin()
    before = [p.detach().clone() for p in resizer_parameters(net)]
    train(net, optimizer, range(2))
    state = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    train(net, optimizer, range(2, 4))
    assert all((p != was).all() for p, was in zip(resizer_parameters(net), before, strict=True))
    other, optimizer = begin()
    other.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    train(other, optimizer, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    images = torch.rand(2, 3, 32, 32)
    learned = net.eval()(images)
    found = freeze(net, images)
    torch.testing.assert_close(net(images), learned, atol=1e-4, rtol=1e-4)
    assert found == map_sizes(net, images)


@pytest.mark.parametrize("method", METHODS)
def test_hostile_learning_rates_keep_the_network_running(ours: Poolable, method) -> None:
    net = replace_downsampling(copy.deepcopy(ours), method, IMAGES, "equal").train()
    optimizer = torch.optim.SGD(resizer_parameters(net), 1e8)
    for sign in (1, -1, 1):
        loss = sign * net(torch.rand(2, 3, 32, 32)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert all(2 <= side <= 32 for size in map_sizes(net, IMAGES).values() for side in size)


def test_cost_draws_scales_down(ours: Poolable) -> None:
    for method in METHODS:
        net = replace_downsampling(ours, method, IMAGES)
        net.cost().backward()
        grads = torch.cat([p.grad for p in resizer_parameters(net) if p.grad is not None])
        assert (grads > 0).all() if method == "shape-adaptor" else (grads < 0).all()


def test_multiply_adds_are_those_of_the_placement_with_these_sizes(ours: Poolable) -> None:
    from poolsearch.cost.macs import cost_table
    from poolsearch.nets.restride.trace import blank_copy

    net = replace_downsampling(ours, "dynopool", IMAGES)
    table = cost_table(blank_copy(ours), 32, 32)
    assert net.macs(32, 32) == table.macs(ours.default)
    blocks = table.block_macs(ours.default)
    assert net.cost().item() == pytest.approx(sum(blocks[4:]) / 1e9)
    assert net.nearest_placement(32, 32) == ours.default


def test_the_nearest_placement_rounds_every_resolution(ours: Poolable) -> None:
    net = replace_downsampling(ours, "dynopool", IMAGES, {2: 1.3, 4: 1.3, 6: 3.0, 8: (1.0, 2.0)})
    # halvings so far, of height 0.38, 0.76, 2.34 and 2.34, of width the same but 3.34 at last
    assert str(net.nearest_placement(32, 32)) == str(
        Placement(((0, 0), (0, 0), (0, 0), (1, 1), (0, 0), (1, 1), (0, 0), (0, 1), (0, 0)))
    )


def test_the_last_map_of_shape_adaptors_is_limited(ours: Poolable) -> None:
    free, limited = (replace_downsampling(ours, "shape-adaptor", IMAGES, limit=limit) for limit in (None, 5))
    assert sizes(free)[-1] == 8
    assert 4 <= sizes(limited)[-1] <= 6
    scales = {round(s, 6) for layer in limited.layers() for s in layer.scales().tolist()}
    assert scales == {round((5 / 32) ** 0.25, 6)}


def test_networks_of_libraries_and_users_are_taken() -> None:
    timm = pytest.importorskip("timm")
    cases = [
        (timm.create_model("test_resnet", num_classes=4), {"search_stem": True}, [3, 48, 64]),
        (Users(), {}, [3, 32, 32]),
    ]
    for model, options, shape in cases:
        names = [*model.state_dict()]
        images = torch.rand(2, *shape)
        net = replace_downsampling(model, "dynopool", images, **options)
        assert [*net.model.state_dict()] == names
        made = net(images)
        assert made.shape[0] == 2
        made.sum().backward()
        assert all(p.grad is not None for p in net.parameters())
        assert "before '" in net.layers()[0].label


def test_a_copy_is_a_network_of_its_own() -> None:
    net = replace_downsampling(Users(), "dynopool", IMAGES)
    before, other = net(IMAGES), copy.deepcopy(net).double()
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert torch.equal(net(IMAGES), before)
    assert (other(IMAGES.double()) == 0).all()  # it computes with its own parameters
    assert other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other.eval()(IMAGES.double()).float(), net.eval()(IMAGES))


def test_a_frozen_network_is_exported() -> None:
    torch.manual_seed(0)
    net = replace_downsampling(Users(), "diffstride", IMAGES, smoothness=1.0).eval()
    freeze(net, IMAGES)
    program = torch.export.export(net, (torch.rand(2, 3, 32, 32),))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(program.module()(images), net(images))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda net: replace_downsampling(net, "diffstrid"), "unknown resizer 'diffstrid'. Did you mean 'diffstride'"),
        (
            lambda net: replace_downsampling(net, "diffstride", points=4),
            "'points' is an option of dynopool, not of diffstride. Allowed: smoothness, smallest",
        ),
        (lambda net: replace_downsampling(net, "dynopool", colour=4), "'colour' is no option of dynopool"),
        (lambda net: replace_downsampling(net, "dynopool", limit=4), "'limit' is an option of shape-adaptor"),
        (lambda net: replace_downsampling(net, "shape-adaptor"), "depends on the size of the maps: give images"),
        (lambda net: replace_downsampling(net, "dynopool", start="fast"), "unknown start of resizers 'fast'"),
        (
            lambda net: replace_downsampling(net, "dynopool", start={0: 2}),
            "start has a stride for 0; resizers stand before the blocks 1 to 9: 'blocks.1'",
        ),
        (lambda net: replace_downsampling(net, "dynopool", start={1: 0.5}), "the stride for 1 is 0.5"),
        (lambda net: replace_downsampling(net, "dynopool", start={}), "start has no strides"),
        (
            lambda net: replace_downsampling(net, "diffstride", smoothness=-1),
            "the resizer before 'blocks.4' cannot be made: DiffStride: smoothness is -1",
        ),
        (
            lambda net: replace_downsampling(net, "shape-adaptor", start={1: (1, 2)}),
            "a Shape Adaptor resizes both axes alike",
        ),
        (lambda net: replace_downsampling(net, "dynopool", search_stem=True), "has been cut into blocks already"),
        (lambda _: replace_downsampling(Users(flatten=True), "dynopool", IMAGES), "average its maps|averages its maps"),
        (
            lambda _: replace_downsampling(nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)), "dynopool", IMAGES),
            "has 0 blocks that downsampling could move between",
        ),
        (
            lambda net: replace_downsampling(net, "diffstride", torch.zeros(2, 3, 4, 4), {4: 5.0}),
            "DiffStride before 'blocks.4' was given maps of 4x4, too small to be divided by 5x5",
        ),
    ],
)
def test_what_cannot_be_replaced_is_refused(ours: Poolable, call, said: str) -> None:
    with pytest.raises(PoolsearchError, match=said):
        call(ours)


def test_errors_name_the_layer_and_where_it_stands(ours: Poolable) -> None:
    net = replace_downsampling(ours, "diffstride")
    freeze(net, IMAGES)
    with pytest.raises(ValueError, match=r"DiffStride before 'blocks.4' was frozen for maps of 32x32"):
        net(torch.rand(1, 3, 40, 40))
    assert isinstance(net.layers()[0], DiffStride)
    assert not any(isinstance(layer, ShapeAdaptor) for layer in net.layers())
