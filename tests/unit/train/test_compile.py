"""Compiled blocks: the number of graphs does not grow with the number of placements, and results stay."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.groups import MachineSettings
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train import machine as machines
from poolsearch.train.machine import Machine, pick_machine

pytestmark = pytest.mark.skipif(
    "recompile_limit" not in torch.compile.__code__.co_varnames, reason="this torch cannot keep as many graphs"
)


def nets(monkeypatch: pytest.MonkeyPatch, name: str, width: int) -> tuple[SinglePath, SinglePath, list[int]]:
    """An eager and a compiled network of the same weights, and where the graphs of the second are counted."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    graphs: list[int] = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(1)
        return counter(graph, inputs)

    monkeypatch.setattr(machines, "_GRAPHS", 64)
    plain, compiled = (SinglePath(partial(build, NetSpec(name, 3, width)), "batch") for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    Machine(torch.device("cpu"), "fp32").place(plain)
    Machine(torch.device("cpu"), "fp32", compiler=count).place(compiled)  # type: ignore[arg-type]
    return plain, compiled, graphs


def test_the_graphs_of_resnet20_are_those_of_its_pairs_of_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stem, 16-16, 16-32, 32-32, 32-64, 64-64: six, with gradients and without; not 36 placements times ten blocks."""
    plain, compiled, graphs = nets(monkeypatch, "cifar-resnet20", 2)
    x = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for placement in plain.net.space:
        plain(x, placement).sum().backward()
        compiled(x, placement).sum().backward()
        with torch.inference_mode():
            assert torch.allclose(plain(x, placement), compiled(x, placement), atol=1e-5), placement
    assert len(graphs) == 2 * 6
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-4)


def test_names_of_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, compiled, _ = nets(monkeypatch, "cifar-resnet20", 2)
    assert plain.weights().keys() == compiled.weights().keys()


def test_an_unknown_backend_is_said_with_the_nearest_name() -> None:
    with pytest.raises(PoolsearchError, match=r"indutcor.*inductor"):
        pick_machine(MachineSettings(device="cpu", precision="fp32", compile="indutcor"))
