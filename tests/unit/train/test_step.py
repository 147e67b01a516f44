"""Several placements on one minibatch: gradients, scores and memory of the tree against placement by placement."""

from __future__ import annotations

import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from poolsearch.evaluation.metrics import score
from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.groups import Metric
from poolsearch.space import Placement
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.classification import classification
from poolsearch.tasks.task import minibatch_metric
from poolsearch.train.machine import Machine
from poolsearch.train.step import backward, predict, tree_backward, tree_scores

CPU = Machine(torch.device("cpu"), "fp32")
TASK = classification("accuracy")
SCALER = torch.amp.GradScaler("cpu", enabled=False)


def supernet(name: str = "cifar-resnet20", width: int = 4) -> SinglePath:
    torch.manual_seed(0)
    return SinglePath(partial(build, NetSpec(name, 5, width)), "batch").double()


def images(side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, side, side, generator=draw, dtype=torch.float64)
    return x, torch.randint(5, (6,), generator=draw)


def gradients(net: SinglePath) -> list[torch.Tensor]:
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    return found


@pytest.mark.parametrize(
    "names",
    [
        ["4,3,3"],
        ["4,3,3", "4,3,3"],
        ["4,3,3", "4,2,4", "1,1,8", "8,1,1"],
        ["1,1,8", "2,1,7", "1,1,8"],
    ],
)
def test_gradients_are_the_mean_of_those_of_each_placement_alone(names: list[str]) -> None:
    net, (x, y) = supernet(), images()
    placements = [Placement.parse(name) for name in names]
    loss = tree_backward(TASK, net, x, y, placements, SCALER, CPU)
    shared = gradients(net)
    alone = torch.stack([F.cross_entropy(net(x, p), y) for p in placements]).mean()
    alone.backward()
    assert float(loss) == pytest.approx(float(alone.detach()), rel=1e-12)
    for a, b in zip(shared, gradients(net), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_one_placement_is_the_plain_step_to_the_bit() -> None:
    net, (x, y) = supernet(), images()
    placement = net.net.default
    tree_backward(TASK, net, x, y, [placement], SCALER, CPU)
    tree = gradients(net)
    backward(TASK, lambda z: net(z, placement), x, y, SCALER, CPU)
    assert all(torch.equal(a, b) for a, b in zip(tree, gradients(net), strict=True))


def test_a_fixed_stem_gets_its_gradient_from_all_branches() -> None:
    net, (x, y) = supernet("resnet18"), images(40)
    placements = [net.net.space[0], net.net.space[20], net.net.space[34]]
    tree_backward(TASK, net, x, y, placements, SCALER, CPU)
    shared = gradients(net)
    torch.stack([F.cross_entropy(net(x, p), y) for p in placements]).mean().backward()
    for a, b in zip(shared, gradients(net), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_branch_is_freed_before_the_next_is_run() -> None:
    net, (x, y) = supernet(), images()
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    run_block = net.run_block

    def counted(index: int, x_BCHW: torch.Tensor, placement: Placement) -> torch.Tensor:
        nonlocal most
        out = run_block(index, x_BCHW, placement)
        alive.append(weakref.ref(out))
        most = max(most, sum(ref() is not None for ref in alive))
        return out

    net.run_block = counted  # type: ignore[method-assign]
    tree_backward(TASK, net, x, y, list(net.net.space), SCALER, CPU)
    assert len(alive) > 160  # nodes of the tree of all 36 placements
    assert most <= 2 * len(net.net.blocks)  # of each block of one path, its map, and the fork's copy of it


def test_accuracies_of_the_tree_are_those_of_each_placement() -> None:
    net, (x, y) = supernet(), images()
    placements = [net.net.space[i] for i in (3, 30, 7)]
    found = dict(tree_scores(TASK, net, x, y, placements, CPU))
    for i, placement in enumerate(placements):
        alone = (predict(TASK, partial(net, placement=placement), x, y, CPU) == y).float().mean()
        assert torch.equal(found[i], alone)


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "macro-f1"])
def test_scores_of_minibatches_are_those_of_numpy(metric: Metric) -> None:
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        y_B = torch.randint(0, 3 + seed % 5, (24,), generator=draw)  # some of the eight classes are not there
        logits_BK = torch.randn(24, 8, generator=draw) + 2 * F.one_hot(y_B, 8)
        expected = score(metric, y_B.numpy(), logits_BK.argmax(1).numpy(), 8)
        assert float(minibatch_metric(classification(metric), logits_BK, y_B)) == pytest.approx(
            float(expected), abs=1e-6
        )
