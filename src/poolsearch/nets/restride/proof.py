"""The proof that a restrided network is the original with its downsampling moved, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from poolsearch.nets.poolable import FixedPlacementNet, Poolable, Size, state_size
from poolsearch.nets.restride.modes import outputs_of
from poolsearch.nets.restride.trace import blank_copy, copy_with, generators_kept
from poolsearch.nets.restride.walk import has_resized
from poolsearch.progress import Progress, SilentProgress
from poolsearch.space import Exponents, Placement


@dataclass(frozen=True)
class Proof:
    """What was found of one placement.

    Attributes:
        placement: the placement.
        sizes: (height, width) of the maps after each block.
        problems: what does not hold, in words; empty where everything does.
        ran: whether it was run forward and backward.
        logit_gap: of the default placement with op ``native``, the largest difference of its logits, or of other
            outputs, to the original's; None elsewhere.
    """

    placement: Placement
    sizes: tuple[Size, ...]
    problems: tuple[str, ...]
    ran: bool
    logit_gap: float | None = None

    @property
    def holds(self) -> bool:
        return not self.problems


def prove(
    net: Poolable,
    original: nn.Module | None,
    placements: Iterable[Placement],
    images_BCHW: Tensor,
    run: int | None = None,
    progress: Progress | None = None,
) -> list[Proof]:
    """Prove placements of ``net``; the default is always one of them, and comes first.

    Of each placement: maps change their size at exactly its sites, and by as much as these ask for. Of those that are
    run: gradients are finite, and every parameter that has one at the default placement has one. Of the default
    placement: parameters are the original's, and with op ``native`` the logits (or maps, or whatever the network gives)
    equal the original's exactly, in evaluation and in training.
    Neither network is changed.

    Args:
        net: the network that takes placements.
        original: the network that ``net`` was made from, or an equal one; None where there is none to compare with.
        placements: what to prove, in any order.
        images_BCHW: what to run; more than one image where BatchNorm is to train.
        run: about how many placements to run, evenly spread, the default among them; of the others only sizes are
            looked at, on the meta device. None runs all.
        progress: where work shows itself; silent by default.

    Returns:
        What was found of each placement: the default first, then ``placements`` in their order.
    """
    net = copy_with(net, _copied)
    theirs = None if original is None else copy_with(original, _copied)
    sizes_of = _Sizes(net, images_BCHW)
    reached = {name for name, found in _gradients(net, net.default, images_BCHW).items() if found is not None}
    asked = [net.default, *(p for p in placements if p != net.default)]
    every = 1 if run is None else -(-len(asked) // max(run, 1))
    proofs: list[Proof] = []
    with (progress or SilentProgress()).bar("proof", len(asked)) as update:
        for number, placement in enumerate(asked):
            sizes, gap = sizes_of(placement), None
            problems = _moved(net, sizes, placement)
            if number == 0 and theirs is not None:
                problems += (other := _parameters(net, theirs))
                if net.op == "native" and not other:
                    gap, unequal = _logits(net, theirs, images_BCHW)
                    problems += unequal
            if ran := number % every == 0 and not problems:
                problems += _backward(net, placement, images_BCHW, reached)
            proofs.append(Proof(placement, tuple(sizes[1:]), tuple(problems), ran, gap))
            update(number + 1, "")
    return proofs


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


class _Sizes:
    """Sizes before the first block and after each, found on the meta device.

    A block's output is decided, in size, by its input's size and its site: what was run once is not run again.
    """

    def __init__(self, net: Poolable, images_BCHW: Tensor) -> None:
        self._blank = blank_copy(net).eval()
        with torch.no_grad():
            self._start = self._blank.stem(images_BCHW.to("meta"))
        self._known: dict[tuple[int, Size, Exponents], Any] = {}

    @torch.no_grad()
    def __call__(self, placement: Placement) -> list[Size]:
        state, sizes = self._start, [state_size(self._start)]
        for index in range(placement.length):
            key = (index, sizes[-1], placement.at(index))
            if key not in self._known:
                self._known[key] = self._blank.run_block(index, state, placement.at(index))
            state = self._known[key]
            sizes.append(state_size(state))
        return sizes


def _moved(net: Poolable, sizes: list[Size], placement: Placement) -> list[str]:
    """Where sizes do not change as the placement asks."""
    problems: list[str] = []
    for index, (before, after) in enumerate(pairwise(sizes[1:]), start=1):
        trims, slacks = (getattr(net.blocks[index], name, (0, 0)) for name in ("trim", "slack"))
        axes = zip(before, after, placement.at(index), trims, slacks, strict=True)
        if not all(has_resized(n, got, e, t, s) and (not e or got != n) for n, got, e, t, s in axes):
            problems.append(f"block {index} makes {before} into {after} at a site of {placement.at(index)}")
    return problems


def _parameters(net: Poolable, original: nn.Module) -> list[str]:
    ours = {name: (p.shape, p.dtype) for name, p in net.original.named_parameters()}
    theirs = {name: (p.shape, p.dtype) for name, p in original.named_parameters()}
    return [
        f"parameter '{name}' differs" for name in sorted(ours.keys() | theirs) if ours.get(name) != theirs.get(name)
    ]


@torch.no_grad()
def _logits(net: Poolable, theirs: nn.Module, images_BCHW: Tensor) -> tuple[float, list[str]]:
    """The largest difference of the logits at the default placement to the original's, from the same statistics and
    random draws, and what differs."""
    problems: list[str] = []
    largest = 0.0
    main, left_out = getattr(net, "main", None), getattr(net, "left_out", ())
    theirs.load_state_dict(net.original.state_dict())
    for training in (False, True):
        found, forms = list[list[Tensor]](), list[Any]()
        for run in (theirs.train(training), FixedPlacementNet(net.train(training), net.default)):
            with _seeded(with_python=training and not problems), nullcontext() if main is None else _SameDraws():
                given = run(images_BCHW)
            outputs = outputs_of(given)
            found.append([outputs[main.at[training]]] if main is not None and len(outputs) > 1 else outputs)
            forms.append(given)
        if main is None and type(forms[0]) is not type(forms[1]):
            problems.append(f"it gives a {type(forms[1]).__name__}, the original a {type(forms[0]).__name__}")
        if gaps := [(a - b).abs().max().item() for a, b in zip(*found, strict=True) if not torch.equal(a, b)]:
            mode = "training" if training else "evaluation"
            what = "logits" if found[0][0].dim() == 2 else "outputs"
            largest = max(largest, *gaps)
            problems.append(
                f"in {mode}, the {what} at the default placement differ from the original's by {max(gaps):.3g}"
            )
    for (name, a), (_, b) in zip(theirs.named_buffers(), net.original.named_buffers(), strict=True):
        if not torch.equal(a, b) and not name.startswith(tuple(f"{module}." for module in left_out)):
            problems.append(f"after a pass in training, buffer '{name}' differs from the original's")
    return largest, problems


@contextmanager
def _seeded(with_python: bool) -> Generator[None]:
    """All generators from one seed on; Python's and NumPy's only where they are meant to be drawn from."""
    with torch.random.fork_rng(), generators_kept() if with_python else nullcontext():
        torch.manual_seed(0)
        if with_python:
            random.seed(0)
            np.random.seed(0)
        yield


class _SameDraws(TorchFunctionMode):
    """Every random function draws the same numbers, whatever was drawn before: by an auxiliary output, say."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        torch.random.default_generator.manual_seed(0)
        return func(*args, **(kwargs or {}))


def _backward(net: Poolable, placement: Placement, images_BCHW: Tensor, reached: set[str]) -> list[str]:
    found = _gradients(net, placement, images_BCHW)
    lost = sorted(name for name in reached if found[name] is None)
    broken = sorted(name for name, g in found.items() if g is not None and not bool(g.isfinite().all()))
    problems = [f"parameters without a gradient: {', '.join(lost)}"] if lost else []
    return problems + ([f"gradients that are not finite: {', '.join(broken)}"] if broken else [])


def _gradients(net: Poolable, placement: Placement, images_BCHW: Tensor) -> dict[str, Tensor | None]:
    """Gradients of the squared outputs in training; the same blocks are dropped each time, where chance drops some."""
    net.train().zero_grad(set_to_none=True)
    with _seeded(with_python=True):
        outputs = [out for out in outputs_of(net(images_BCHW, placement)) if isinstance(out, Tensor)]
        torch.stack([out.square().sum() for out in outputs if out.requires_grad]).sum().backward()
    return {name: p.grad for name, p in net.named_parameters()}
