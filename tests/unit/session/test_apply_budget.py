"""The space within a budget, and what is said where something is not known."""

import pytest
import torch

from poolsearch.cost.costs import profile
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, blank
from poolsearch.progress import SilentProgress
from poolsearch.session import apply_budget as budgets
from poolsearch.session.apply_budget import CostedSpace, apply_budget, budget_note
from poolsearch.settings import Settings
from poolsearch.storage.run_dir import RunDir
from poolsearch.train.machine import Machine

pytestmark = pytest.mark.usefixtures("one_thread")

MINE = """
import torch
from torch import nn

class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(gradient.numpy() * 2)

class Layer(nn.Module):
    def forward(self, x):
        return Twice.apply(x)

def layers(a, b, stride):
    return [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU()]

def net(classes):
    parts = [*layers(3, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1), Layer()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""


class Told(SilentProgress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def opened(tmp_path, net, told, **changes) -> CostedSpace:
    spec = NetSpec(net, 5, image_size=32)
    settings = Settings.of(net=net, batch=8, **changes)
    space = blank(spec).space
    return apply_budget(RunDir(tmp_path), {}, spec, space, settings, Machine(torch.device("cpu"), "fp32"), told)


def test_without_a_budget_nothing_is_left_out_and_nothing_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(budgets, "latency_table", None)
    told = Told()
    found = opened(tmp_path, "cifar-resnet20", told)
    assert found.budget is None and found.space.size == 36 and found.costs.latency_A is None
    assert found.about["latency_device"] is None and not any("budget" in text for text in told.said)
    assert opened(tmp_path, "cifar-resnet20", told, max_placements=7).costs.macs_A.shape == (7,)


def test_asking_for_a_device_measures_without_a_limit(tmp_path):
    found = opened(tmp_path, "cifar-resnet20", Told(), latency_device="auto", latency_batch=2, width=2)
    assert found.budget is None and (found.costs.latency_A > 0).all()
    assert found.about["latency_batch"] == 2 and found.about["latency_dtype"] == "fp32"


def test_a_network_that_does_not_run_without_numbers_has_no_memory_but_may_be_searched(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    told = Told()
    found = opened(tmp_path, f"{tmp_path}/mine.py:net", told)
    assert found.costs.memory_A is None and found.space.size == 6
    assert any("the memory of a training step" in text and "is not known" in text for text in told.said)
    assert opened(tmp_path, f"{tmp_path}/mine.py:net", told, max_macs="1x").budget["after"] >= 1
    with pytest.raises(PoolsearchError, match=r"--max-memory 1x: the memory .* is not known.*Leave --max-memory out"):
        opened(tmp_path, f"{tmp_path}/mine.py:net", told, max_memory="1x")


def test_the_note_says_what_was_looked_at():
    net = blank(NetSpec("cifar-resnet20", 10))
    default = profile(net, net.space, 32, 32, 8, torch.float32).of(net.default, net.space)
    record = {"given": {"max_macs": "1x", "max_memory": "2GB"}, "before": 36, "tried": 36, "after": 12}
    told = budget_note(record, default)
    assert told.startswith("budget: --max-macs 1x, --max-memory 2GB: 12 of 36 placements are within it; the default")
    assert "40.81M MACs, " in told and told.endswith("a training step")
    assert "12 of 30 random placements" in budget_note(record | {"tried": 30}, default)
