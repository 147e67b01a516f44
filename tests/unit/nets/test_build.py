"""From a name to a network: names, defaults, mistakes."""

import sys

import pytest
import torch

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NAMES, NetSpec, build


@pytest.mark.parametrize("name", NAMES)
def test_every_name_builds_and_runs_at_its_default_and_its_last_placement(name):
    with torch.device("meta"):
        net = build(NetSpec(name, 6, width=2))
        x = torch.zeros(2, 3, 64, 64)
        for placement in (net.default, net.space[net.space.size - 1]):
            assert net(x, placement).shape == (2, 6)


@pytest.mark.parametrize(
    ("name", "width", "op"),
    [("cifar-resnet20", 16, "max"), ("cifar-resnet18", 64, "stride"), ("resnet50", 64, "stride")],
)
def test_width_and_op_default_to_the_papers(name, width, op):
    with torch.device("meta"):
        net = build(NetSpec(name, 6))
    assert net.op == op
    first = net.blocks[0] if name.startswith("cifar") else net.stem
    assert first.conv1.out_channels == width


def test_weights_come_from_torchs_seed(tiny_net):
    a, same, other = (tiny_net(seed=s).blocks[3].conv1.weight for s in (0, 0, 1))
    assert torch.equal(a, same)
    assert not torch.equal(a, other)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (NetSpec("cifar-resnet21", 10), "Did you mean 'cifar-resnet.*Allowed: .*cifar-resnet20.*resnet50"),
        (NetSpec("resnet18", 10, op="strided"), "Did you mean 'stride'.*avg, blur, max, stride"),
        (NetSpec("resnet18", 10, width=0), "width is 0: .*at least 1 .default 64"),
        (NetSpec("cifar-resnet20", 10, width=-3), "width is -3: .*default 16"),
    ],
)
def test_mistakes_are_answered_with_what_is_allowed(spec, message):
    with pytest.raises(PoolsearchError, match=message):
        build(spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet20", "Did you mean 'cifar-resnet20'"),
        ("mobilenet_v2", r"Did you mean 'torchvision:mobilenet_v2'\?"),
        ("torchvision.models.mobilenet_v2", "Did you mean 'torchvision:mobilenet_v2'"),
        ("efficentnet_b0", "Did you mean 'torchvision:efficientnet_b0'"),
        ("resent18", "Did you mean 'resnet18'"),
        ("nowhere.py", "there is no file nowhere.py"),
        ("net.pth", "net.pth is a file of weights.*--init net.pth"),
    ],
)
def test_what_was_probably_meant_is_said(name, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    with pytest.raises(PoolsearchError, match=message):
        build(NetSpec(name, 10))


def test_a_file_without_a_function_is_answered_with_those_that_it_has(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit\ndef small(classes): ...\nclass Net: ...\ndef _helper(): ...\n")
    with pytest.raises(PoolsearchError, match=r"mine.py:FACTORY, where FACTORY\(classes\) .* It has small, Net."):
        build(NetSpec(str(path), 10))


def test_a_name_of_timm_is_known_without_its_prefix():
    pytest.importorskip("timm")
    with pytest.raises(PoolsearchError, match="Did you mean 'timm:resnet18d'"):
        build(NetSpec("resnet18d", 10))
