"""Resizers behind layers that lose their stride, in any module."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.resizers import DynOPool, freeze, map_sizes, replace_strides, resizer_parameters

METHODS = ("diffstride", "shape-adaptor", "dynopool")
IMAGES = torch.zeros(2, 3, 32, 32)


class Residual(nn.Module):
    """A stem, a pooling and a strided residual block; gives its maps beside the logits."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, 6, 1, stride=2)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.pool(F.relu(self.stem(x)))
        x = F.relu(self.conv2(F.relu(self.norm(self.conv1(x)))) + self.shortcut(x))
        return {"maps": x, "logits": self.fc(x.mean((2, 3)))}


@pytest.mark.parametrize("method", METHODS)
def test_paths_of_a_block_share_a_resizer_and_all_parameters_are_the_networks(method) -> None:
    model = Residual()
    before = copy.deepcopy(model.state_dict())
    net = replace_strides(model, method, IMAGES)
    assert [layer.label.split(" behind ")[1] for layer in net.layers()] == ["'pool'", "'conv1'"]
    assert {id(p) for p in net.model.parameters()} == {id(p) for p in model.parameters()}
    assert [*net.model.state_dict()] == [*before]
    assert [name for name in net.state_dict() if name.startswith("resizers.")] == [
        f"resizers.{i}.{'logit' if method == 'shape-adaptor' else 'stride'}" for i in (0, 1)
    ]
    made = net(torch.rand(3, 3, 32, 32))
    assert tuple(made["maps"].shape[2:]) == map_sizes(net, IMAGES)["resizers.1"]
    (made["logits"].sum() + net.cost()).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_the_given_network_is_not_changed() -> None:
    model = Residual().eval()
    x = torch.rand(2, 3, 32, 32)
    before = model(x)["logits"]
    net = replace_strides(model, "diffstride", IMAGES).train()
    net(x)
    assert not model.training
    assert model.conv1.stride == (2, 2)
    assert not model.pool._forward_hooks
    model.norm.reset_running_stats()  # the statistics are shared, too
    torch.testing.assert_close(model(x)["logits"], before)


def test_at_a_scale_of_one_half_pooling_stays_what_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    x = torch.rand(2, 3, 20, 28)
    torch.testing.assert_close(replace_strides(model, "dynopool", x)(x), model(x))


def test_multiply_adds_by_hand() -> None:
    net = replace_strides(Residual(), "dynopool", IMAGES)
    stem, block, last = 32 * 32 * 27 * 4, 16 * 16 * (36 * 6 + 4 * 6), 8 * 8 * 54 * 6
    assert net.macs(32, 32) == stem + block + last + 6 * 5
    assert net.gmacs == pytest.approx((block * 4 / 1e9, last * 16 / 1e9))
    assert net.cost().item() == pytest.approx((block + last) / 1e9)


def test_starts() -> None:
    model = Residual()

    def strides(*args, **kwargs) -> list[float]:
        return [
            round(1 / s, 4) for one in replace_strides(model, *args, **kwargs).layers() for s in one.scales().tolist()
        ]

    assert strides("diffstride", IMAGES) == [2.0] * 4
    drawn = strides("diffstride", IMAGES, "random", seed=3)
    assert drawn == strides("diffstride", IMAGES, "random", seed=3) != strides("diffstride", IMAGES, "random")
    assert strides("dynopool", IMAGES, {"shortcut": (1.5, 1.25)}) == [1.5, 1.25]
    assert replace_strides(model, "dynopool", IMAGES, {"shortcut": 1.0})(IMAGES)["maps"].shape[2:] == (16, 16)


def test_it_can_be_copied_trained_loaded_and_frozen() -> None:
    net = copy.deepcopy(replace_strides(Residual(), "dynopool", IMAGES)).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    x = torch.rand(2, 3, 32, 32)
    before = [p.detach().clone() for p in resizer_parameters(net)]
    (net(x)["logits"].square().sum() + net.cost()).backward()
    optimizer.step()
    assert all((p != was).all() for p, was in zip(resizer_parameters(net), before, strict=True))
    other = replace_strides(Residual(), "dynopool", IMAGES)
    other.load_state_dict(net.state_dict())
    learned = net.eval()(x)["logits"]
    torch.testing.assert_close(other.eval()(x)["logits"], learned)
    freeze(other, x)
    torch.testing.assert_close(other(x)["logits"], learned, atol=1e-5, rtol=1e-5)
    exported = torch.export.export(other, (x,)).module()
    torch.testing.assert_close(exported(x)["logits"], other(x)["logits"])


def test_networks_of_libraries_are_taken() -> None:
    resnet = pytest.importorskip("torchvision.models.resnet")
    model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    net = replace_strides(model, "dynopool", torch.zeros(1, 3, 64, 64))
    assert [*map_sizes(net, torch.zeros(1, 3, 64, 64)).values()] == [(n, n) for n in (32, 16, 8, 4, 2)]
    assert all(isinstance(layer, DynOPool) for layer in net.layers())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(self.pool(x)))


class Unequal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.MaxPool2d(2), nn.MaxPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x).mean((2, 3)) + self.two(x).mean((2, 3))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: replace_strides(Twice(), "dynopool", IMAGES), "layer 'pool' of Twice shrinks maps more than once"),
        (
            lambda: replace_strides(Unequal(), "dynopool", IMAGES),
            r"'one', 'two' of Unequal read maps of 32x32 and have",
        ),
        (lambda: replace_strides(nn.Conv2d(3, 4, 3), "dynopool", IMAGES), "Conv2d has no convolution or pooling layer"),
        (
            lambda: replace_strides(
                nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(768, 2)), "diffstride", IMAGES
            ),
            "Sequential does not run when the maps behind '0' have other sizes: .*let the head average",
        ),
        (
            lambda: replace_strides(build(NetSpec("cifar-resnet20", 10, width=2)), "diffstride", IMAGES),
            "Poolable strides as a placement says",
        ),
        (lambda: replace_strides(Residual(), "diff", IMAGES), "unknown resizer 'diff'"),
        (lambda: replace_strides(Residual(), "diffstride", IMAGES, "equal"), "unknown start of resizers 'equal'"),
        (
            lambda: replace_strides(Residual(), "diffstride", IMAGES, {"fc": 2.0}),
            "start has a stride for 'fc'; resizers stand behind the layers 'pool', 'conv1', 'shortcut'",
        ),
        (lambda: replace_strides(Residual(), "diffstride", IMAGES, points=4), "'points' is an option of dynopool"),
        (
            lambda: replace_strides(Residual(), "diffstride", torch.zeros(2, 3, 8, 8), {"conv1": 5.0}),
            "DiffStride behind 'conv1' was given maps of 4x4, too small to be divided by 5x5",
        ),
    ],
)
def test_what_cannot_be_replaced_is_refused(call, said: str) -> None:
    with pytest.raises(PoolsearchError, match=said):
        call()
