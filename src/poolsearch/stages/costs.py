"""Costs of a network's placements before anything is trained, and how many are within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from poolsearch import rng
from poolsearch.cost.choose import WHOLE_UP_TO, costs_of_kind, quantiles, within_limits
from poolsearch.cost.costs import Costs, Profile, profile
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.inspection_results import PARTS, CostColumn, CostReport
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.objects import named_network
from poolsearch.progress import Progress, SilentProgress
from poolsearch.session.apply_budget import check_memory, latency_machine, measure_latency
from poolsearch.session.prepare import with_halvings
from poolsearch.settings.cost_limits import Kind, limits_of, shown_amount
from poolsearch.settings.groups import BudgetSettings, MachineSettings
from poolsearch.space import Axes, Space
from poolsearch.stages.check import image_size_for
from poolsearch.train.first_step import first_step
from poolsearch.train.machine import pick_machine

_SAMPLE = 100_000  # placements of larger spaces


def costs(
    net: str | nn.Module | Callable[..., nn.Module],
    image_size: ImageSize | int | str | None = None,
    classes: int = 10,
    op: str | None = None,
    search_stem: bool = False,
    axes: Axes = "hw",
    batch: int = 256,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    budget: BudgetSettings | None = None,
    progress: Progress | None = None,
    *,
    halvings: str = "default",
    blocks: Sequence[str] = (),
    channels: int | None = None,
) -> CostReport:
    """Count, and where ``budget`` asks for it measure, what the placements of a network cost.

    Args:
        net: a name, as in ``--net``; a module; or a function or class that makes one from the number of classes or
            from nothing.
        image_size: of the images, the side of a square, "48x96" or a pair, height first; 32 for poolsearch's ``cifar-``
            networks and 224 for others if None.
        classes: outputs.
        op: how a site downsamples; the network's own way if None.
        search_stem: move the downsampling of the stem, too.
        axes: see :class:`~poolsearch.space.Space`.
        halvings: of a placement: ``3``, ``2-5``, or ``default``, as many as the network's own.
        channels: of the images; those that the network takes by itself if None.
        batch: images of a training step, for its memory.
        precision: of a training step.
        budget: limits, and where latency is measured; not at all where it says nothing about latency.
        blocks: names, or shell patterns of names, of the submodules between which the downsampling may move; found if
            none are given.
        progress: where work shows itself; silent by default.

    Returns:
        Quantiles of each cost over the placements, what the default costs, and how many placements are within the
        budget; of a space of more than 2,097,152 placements by 100,000 random ones.

    Raises:
        PoolsearchError: there is no such network, it does not run at this size, an amount cannot be read, a batch is
            too small, or memory is limited and that of a training step is not known.
    """
    progress, budget = progress or SilentProgress(), budget or BudgetSettings()
    limits = limits_of(budget)
    name, make = named_network(net)
    size = image_size_for(name, image_size, classes)
    _check_batches(batch, budget.latency_batch)
    machine = pick_machine(MachineSettings(precision=precision))
    spec = NetSpec(
        name, classes, op=op, image_size=size, search_stem=search_stem, blocks=tuple(blocks), channels=channels,
        make=make,
    )  # fmt: skip
    progress.say(f"building {name} and trying its blocks at every size, without computing anything")
    with torch.random.fork_rng(devices=[]):
        movable = blank(spec)
    space = with_halvings(replace(movable.space, axes=axes), halvings)
    movable.check_input(*size, space)
    found, on = profile(movable, space, *size, batch, machine.dtype), None
    check_memory(found, budget, name, progress)
    if budget.max_latency is not None or budget.latency_device is not None:
        on = latency_machine(budget.latency_device, MachineSettings(), machine)
        with torch.random.fork_rng(devices=[]):
            on = first_step(build(spec), name, size, classes, [], max(2, budget.latency_batch), on).machine
        found = replace(found, latency=measure_latency(spec, found, space, budget.latency_batch, on, progress))
    every, default = _every(found, space), found.of(space.default, space)
    step = f"most of a training step beside the weights, batch {batch}, {machine.precision}"
    columns = [
        _column("MACs", "multiply-adds of a forward pass on one image", "macs", every, default),
        _fields(every, default),
    ]
    if every.memory_A is not None:
        columns.append(_column("memory", step, "memory", every, default))
    if on is not None:
        passed = f"a forward pass, batch {budget.latency_batch}, {on}"
        columns.append(_column("latency", passed, "latency", every, default))
    return CostReport(
        net=name,
        image_size=size,
        default=space.default.shown,
        placements=space.size,
        looked_at=len(every.macs_A),
        columns=tuple(columns),
        budget=", ".join(f"{limit.flag} {limit.text}" for limit in limits),
        within=int(within_limits(limits, every, default).sum()),
    )


def _check_batches(batch: int, latency_batch: int) -> None:
    for flag, value, least in (("--batch", batch, 2), ("--latency-batch", latency_batch, 1)):
        if value < least:
            why = ": BatchNorm cannot train on one image" if least == 2 else ""
            raise PoolsearchError(f"{flag} is {value}; allowed is at least {least}{why}.")


def _every(found: Profile, space: Space) -> Costs:
    """Costs of all placements, or of random ones of a space that is too large."""
    if space.size <= WHOLE_UP_TO:
        return found.costs(space)
    return found.costs(space.subset(_SAMPLE, rng.key(0, "costs")))


def _column(title: str, note: str, kind: Kind, every: Costs, default: Costs) -> CostColumn:
    values = quantiles(costs_of_kind(every, kind), PARTS)
    own = shown_amount(kind, float(costs_of_kind(default, kind)[0]))
    return CostColumn(title, note, own, tuple(shown_amount(kind, value) for value in values))


def _fields(every: Costs, default: Costs) -> CostColumn:
    """Receptive fields after the last block, which are the largest."""

    def shown(pair: Sequence[float]) -> str:
        return "x".join(f"{value:.0f}" for value in pair)

    axes = [(c.field_height_AR.max(1), c.field_width_AR.max(1)) for c in (default, every)]
    heights, widths = (quantiles(axis.astype(np.float64), PARTS) for axis in axes[1])
    own = (float(axes[0][0][0]), float(axes[0][1][0]))
    note = "height x width in pixels of the image, after the last block; borders and poolings of whole maps left out"
    return CostColumn("receptive field", note, shown(own), tuple(map(shown, zip(heights, widths, strict=True))))
