"""Networks that are given as Python objects."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.objects import NetworkObject


class Small(nn.Module):
    """Two convolutions that can change places with a halving."""

    def __init__(self, num_classes: int = 7, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("given", "name", "outputs"),
    [
        (Small, "object:Small", 5),
        (partial(Small, width=2), "object:Small", 5),
        (lambda classes: Small(classes), "object:network", 5),
        (lambda: Small(3), "object:network", 3),
        (lambda *_, **__: Small(2), "object:network", 2),
        (Small(6), "object:Small", 6),
    ],
)
def test_what_may_be_given(given: Any, name: str, outputs: int) -> None:
    found = NetworkObject.of(given)
    assert found.name == name and found.make(5).head.out_features == outputs  # pyright: ignore[reportAttributeAccessIssue]


def test_a_compiled_module_is_what_was_compiled() -> None:
    module = Small()
    assert isinstance(NetworkObject.of(torch.compile(module)).make(7), Small)


def test_a_module_without_weights_is_refused() -> None:
    with pytest.raises(PoolsearchError, match="meta device"):
        NetworkObject.of(Small().to("meta"))


@pytest.mark.parametrize("given", [3, lambda _, __: Small(), lambda *, _: Small(), {"net": Small}])
def test_what_may_not(given: Any) -> None:
    with pytest.raises(PoolsearchError, match=r"from the number of classes|Give a function of the number of classes"):
        NetworkObject.of(given)


def test_a_module_is_copied() -> None:
    """Neither what is trained nor what the user does to their own afterwards changes the other."""
    module = Small()
    found = NetworkObject.of(module)
    with torch.no_grad():
        found.make(7).head.weight.zero_()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        before = module.head.weight.clone()
        module.head.weight.fill_(1)
    assert torch.equal(found.make(7).head.weight, before)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def test_whether_it_was_trained() -> None:
    module = Small()
    assert not NetworkObject.of(Small).is_trained and not NetworkObject.of(module).is_trained
    module.train()(torch.randn(4, 3, 8, 8))  # which moves the running statistics
    assert NetworkObject.of(module).is_trained
    fresh = nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4))
    assert not NetworkObject.of(fresh).is_trained
    nn.init.normal_(fresh[0].weight)  # pyright: ignore[reportArgumentType]
    assert NetworkObject.of(fresh).is_trained


def test_the_digest_is_of_the_network_and_not_of_its_weights() -> None:
    state = torch.random.get_rng_state()
    one, same, wider = (NetworkObject.of(make).digest(5) for make in (Small, Small(5), partial(Small, width=8)))
    assert one == same != wider
    torch.manual_seed(1)
    torch.random.set_rng_state(state)
    NetworkObject.of(Small).digest(5)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_is_built_and_cut_as_one_by_name() -> None:
    net = build(NetSpec("object:Small", 5, image_size=8, make=NetworkObject.of(Small).make))
    assert len(net.blocks) > 1 and net(torch.randn(2, 3, 8, 8), net.default).shape == (2, 5)


def test_without_the_object_it_is_said_how_to_give_it() -> None:
    with pytest.raises(PoolsearchError, match=r"given as a Python object.*resume=True, net="):
        build(NetSpec("object:Small", 5))
