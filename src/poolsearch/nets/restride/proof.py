"""The proof that a restrided network is the original with its downsampling moved, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from poolsearch.nets.poolable import Size, state_size
from poolsearch.nets.restride.network import Restrided
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.placement import Placement


@dataclass(frozen=True)
class Proof:
    """What was found of one placement.

    Attributes:
        placement: the placement.
        sizes: (height, width) of the maps after each block.
        problems: what does not hold, in words; empty where everything does.
    """

    placement: Placement
    sizes: tuple[Size, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.problems


def prove(
    net: Restrided,
    original: nn.Module,
    placements: Iterable[Placement],
    images_BCHW: Tensor,
    run: int | None = None,
) -> list[Proof]:
    """Prove placements of ``net``; the default is always one of them, and comes first.

    Of each placement: maps change their size at exactly its sites. Of those that are run: logits and gradients are
    finite, and every parameter that has a gradient at the default placement has one. Of the default placement:
    parameters are the original's, and with op ``native`` the logits equal the original's exactly, in evaluation and
    in training. Neither network is changed.

    Args:
        original: the network that ``net`` was made from, or an equal one.
        images_BCHW: what to run; more than one image where BatchNorm is to train.
        run: how many placements to run, the default among them; of the others only sizes are looked at, on the meta
            device. None runs all.
    """
    net, theirs = copy.deepcopy(net), copy.deepcopy(original)
    blank = blank_copy(net).eval()
    reached = {name for name, found in _gradients(net, net.default, images_BCHW).items() if found is not None}
    proofs = []
    for number, placement in enumerate([net.default, *(p for p in placements if p != net.default)]):
        sizes, problems = _sizes(blank, placement, images_BCHW)
        if number == 0:
            problems += _parameters(net, original) + _logits(net, theirs, images_BCHW)
        if not problems and (run is None or number < run):
            problems += _backward(net, placement, images_BCHW, reached)
        proofs.append(Proof(placement, tuple(sizes), tuple(problems)))
    return proofs


@torch.no_grad()
def _sizes(blank: Restrided, placement: Placement, images_BCHW: Tensor) -> tuple[list[Size], list[str]]:
    """Sizes after each block, and where they do not change as the placement asks."""
    state = blank.stem(images_BCHW.to("meta"))
    sizes: list[Size] = []
    problems: list[str] = []
    for index in range(len(blank.blocks)):
        before, site = state_size(state), placement.at(index)
        state = blank.run_block(index, state, site)
        sizes.append(state_size(state))
        for axis in (0, 1):
            n, halved = before[axis], 2 ** site[axis]
            if (index or halved > 1) and (sizes[-1][axis] not in (n // halved, -(-n // halved))):
                problems.append(f"block {index} makes {before} into {sizes[-1]} at a site of {site}")
    changes = sum(a != b for a, b in pairwise(sizes))
    asked = sum(site != (0, 0) for site in placement.sites)
    if changes != asked:
        problems.append(f"maps change their size {changes} times, not {asked}")
    return sizes, problems


def _parameters(net: Restrided, original: nn.Module) -> list[str]:
    ours = {name.removeprefix("model."): (p.shape, p.dtype) for name, p in net.named_parameters()}
    theirs = {name: (p.shape, p.dtype) for name, p in original.named_parameters()}
    return [
        f"parameter '{name}' differs" for name in sorted(ours.keys() | theirs) if ours.get(name) != theirs.get(name)
    ]


@torch.no_grad()
def _logits(net: Restrided, theirs: nn.Module, images_BCHW: Tensor) -> list[str]:
    """Whether the default placement computes the original's numbers, from the same statistics and random draws."""
    if net.op != "native":
        return []
    problems: list[str] = []
    theirs.load_state_dict(net.model.state_dict())
    for training in (False, True):
        found = []
        for run in (theirs.train(training), net.train(training).fixed(net.default)):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                found.append(run(images_BCHW))
        if not torch.equal(*found):
            mode = "training" if training else "evaluation"
            gap = (found[0] - found[1]).abs().max().item()
            problems.append(f"in {mode}, the logits at the default placement differ from the original's by {gap:.3g}")
    for (name, a), (_, b) in zip(theirs.named_buffers(), net.model.named_buffers(), strict=True):
        if not torch.equal(a, b):
            problems.append(f"after a pass in training, buffer '{name}' differs from the original's")
    return problems


def _backward(net: Restrided, placement: Placement, images_BCHW: Tensor, reached: set[str]) -> list[str]:
    found = _gradients(net, placement, images_BCHW)
    lost = sorted(name for name in reached if found[name] is None)
    broken = sorted(name for name, g in found.items() if g is not None and not bool(g.isfinite().all()))
    problems = [f"parameters without a gradient: {', '.join(lost)}"] if lost else []
    return problems + ([f"gradients that are not finite: {', '.join(broken)}"] if broken else [])


def _gradients(net: Restrided, placement: Placement, images_BCHW: Tensor) -> dict[str, Tensor | None]:
    """Gradients of the squared logits in training."""
    net.train().zero_grad(set_to_none=True)
    net(images_BCHW, placement).square().sum().backward()
    return {name: p.grad for name, p in net.named_parameters()}
