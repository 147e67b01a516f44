"""Checking a network before anything is trained: that its downsampling can be moved, nothing else changes, and it
trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.image_size import ImageSize
from poolsearch.inspection_results import CheckReport
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.objects import named_network
from poolsearch.nets.poolable import Poolable, parameters_of
from poolsearch.nets.restride.network import Restrided
from poolsearch.nets.restride.proof import Proof, prove
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.progress import Progress, SilentProgress
from poolsearch.session.prepare import with_halvings
from poolsearch.settings import Settings
from poolsearch.settings.groups import MachineSettings
from poolsearch.settings.tasks import METRICS
from poolsearch.space import Axes, Space
from poolsearch.tasks.by_name import task_by_name
from poolsearch.tasks.names import target_kind
from poolsearch.tasks.task import Task
from poolsearch.train.first_step import FirstStep, first_step
from poolsearch.train.machine import pick_machine

WHOLE_UP_TO = 1000
"""Spaces up to this size are proved whole."""
_SAMPLE = 200  # placements of larger ones
_MOST = 100_000  # placements that can be looked at one by one
_BATCH = 32  # of the training step; on a CPU it takes fewer
_RUNS = 5  # of them run forward and backward: seconds each, where sizes alone take none


def check(
    net: str | nn.Module | Callable[..., nn.Module],
    image_size: ImageSize | int | str | None = None,
    classes: int = 10,
    op: str | None = None,
    search_stem: bool = False,
    axes: Axes = "hw",
    whole: bool = False,
    progress: Progress | None = None,
    *,
    halvings: str = "default",
    blocks: Sequence[str] = (),
    channels: int | None = None,
    task: str = "classification",
) -> CheckReport:
    """Build a network with fresh weights, prove its placements and make a training step, as a run does.

    See :func:`~poolsearch.nets.restride.prove` and :func:`~poolsearch.train.first_step.first_step`.

    Args:
        net: a name, as in ``--net``; a module; or a function or class that makes one from the number of classes or
            from nothing.
        image_size: of the images, the side of a square, "48x96" or a pair, height first; 32 for poolsearch's ``cifar-``
            networks and 224 for others if None.
        classes: outputs; for another task than classification labels, values or classes of pixels.
        op: how a site downsamples; the network's own way if None.
        search_stem: move the downsampling of the stem, too.
        axes: see :class:`~poolsearch.space.Space`.
        halvings: of a placement: ``3``, ``2-5``, or ``default``, as many as the network's own.
        channels: of the images; those that the network takes by itself if None.
        whole: prove all placements of a space of more than 1,000, not 200 random ones.
        blocks: names, or shell patterns of names, of the submodules between which the downsampling may move; found if
            none are given.
        progress: where work shows itself; silent by default.
        task: what the training step is of: "classification", "multi-label", "regression" or "dense".

    Returns:
        What was looked at, and what of it does not hold; ``holds`` says whether all does.

    Raises:
        PoolsearchError: there is no such network, it cannot be restrided (the message says why and what would help),
            it does not run at this size, does not train, gives neither maps nor as many outputs as ``classes``, or
            ``whole`` is asked for with a space of more than 100,000.
    """
    progress = progress or SilentProgress()
    if task not in METRICS:
        raise unknown("task", task, METRICS)
    name, make = named_network(net)
    size = image_size_for(name, image_size, classes)
    progress.say(f"building {name} and trying its blocks at every size, without computing anything")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        movable = build(
            NetSpec(
                name, classes, op=op, image_size=size, search_stem=search_stem, blocks=tuple(blocks), channels=channels,
                make=make,
            )
        )  # fmt: skip
    space = with_halvings(replace(movable.space, axes=axes), halvings)
    blank_copy(movable).check_input(*size, space)
    proofs = _proofs(name, movable, _chosen(space, whole), size, progress)
    ends = [space[0], space[space.size - 1]]
    targets = _made_up_targets(task, size, classes)
    learned = task_by_name(task, METRICS[task][0], lambda: targets)
    if task == "classification" and _gives_maps(movable):
        learned = _SQUARES
    step = first_step(
        movable, name, size, classes, ends, _BATCH, pick_machine(MachineSettings()), task=learned, targets=targets
    )
    return _checked(name, movable, size, space, proofs, step)


def _gives_maps(net: Poolable) -> bool:
    return isinstance(net, Restrided) and net.gives_maps


def _mean_square(outputs: Any, targets: Tensor) -> Tensor:
    return torch.stack([out.float().square().mean() for out in tree_leaves(outputs) if isinstance(out, Tensor)]).sum()


_SQUARES = Task(_mean_square, lambda _, targets: torch.zeros(len(targets)))
"""What networks that give maps are trained for where no task is named: it is not known what is made of them."""


def _made_up_targets(task: str, size: ImageSize, classes: int) -> Tensor:
    """Targets of a minibatch, (B, ...), that a network of so many outputs can learn."""
    number_B = torch.arange(_BATCH) % classes
    match target_kind(Settings.of(task=task)):
        case "labels":
            return F.one_hot(number_B, classes).byte()
        case "values":
            return torch.linspace(-1, 1, _BATCH)[:, None].expand(-1, classes).contiguous()
        case "masks":
            return number_B.byte().view(-1, 1, 1).expand(-1, *size).contiguous()
        case _:
            return number_B


def image_size_for(name: str, image_size: ImageSize | int | str | None, classes: int) -> ImageSize:
    """The size of the images of a network that is looked at without data.

    Args:
        name: as in ``--net``.
        image_size: as asked for; None: 32 for poolsearch's ``cifar-`` networks, 224 for others.
        classes: outputs; only checked.

    Returns:
        Height and width in pixels.

    Raises:
        PoolsearchError: they, or the classes, are not above zero.
    """
    if classes < 1:
        raise PoolsearchError(f"--classes is {classes}; allowed is at least 1.")
    if isinstance(image_size, int) and image_size < 1:
        raise PoolsearchError(f"--image-size is {image_size}; allowed is at least 1.")
    return ImageSize.of((32 if name.startswith("cifar-") else 224) if image_size is None else image_size)


def _chosen(space: Space, whole: bool) -> Space:
    if space.size <= WHOLE_UP_TO:
        return space
    if not whole:
        return space.subset(_SAMPLE, seed=0)
    if space.size > _MOST:
        raise PoolsearchError(
            f"--all: {space.size:,} placements are more than the {_MOST:,} that can be looked at one by one. Leave it "
            "out: what a block does depends on the size of its maps and on its site alone, and few of these occur."
        )
    return space


def _proofs(name: str, net: Poolable, placements: Space, size: ImageSize, progress: Progress) -> list[Proof]:
    original = None if net.original is net else net.original
    try:
        images_BCHW = torch.randn(2, net.channels, *size, generator=torch.Generator().manual_seed(0))
        return prove(net, original, placements, images_BCHW, _RUNS, progress)
    except RuntimeError as error:  # the network's own, which only shows when it computes
        raise PoolsearchError(f"{name} does not run forward and backward on two images of {size}: {error}") from error


def _checked(
    name: str, net: Poolable, size: ImageSize, space: Space, proofs: list[Proof], step: FirstStep
) -> CheckReport:
    return CheckReport(
        net=name,
        image_size=size,
        own=net.original is net,
        op=net.op,
        blocks=tuple(net.how(index) for index in range(space.length)),
        halved=frozenset(index for index in range(space.length) if any(net.default.at(index))),
        default=net.default.shown,
        axes=space.axes,
        placements=space.size,
        proved=len(proofs),
        ran=sum(proof.ran for proof in proofs),
        parameters=parameters_of(net),
        logit_gap=proofs[0].logit_gap,
        step=str(step),
        problems=tuple((proof.placement.shown, problem) for proof in proofs for problem in proof.problems),
        notes=(*net.notes, *([step.note] if step.note else [])),
        outputs="maps" if _gives_maps(net) else "logits",
    )
