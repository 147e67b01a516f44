"""Costs of the placements before anything is trained, and the space cut down to those within the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from poolsearch.cost.choose import choose_within_budget
from poolsearch.cost.costs import Costs, Profile, profile
from poolsearch.cost.file import CostsFile, read_costs
from poolsearch.cost.latency import LatencyTable, latency_table
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.poolable import Poolable
from poolsearch.progress import Progress
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.cost_limits import limits_of, shown_amount
from poolsearch.settings.groups import BudgetSettings, MachineSettings
from poolsearch.space import Placement, Space
from poolsearch.storage.run_dir import RunDir
from poolsearch.train.machine import Machine, pick_machine


@dataclass(frozen=True)
class CostedSpace:
    """The space that is searched, and what it costs.

    Attributes:
        space: its placements.
        costs: of each.
        about: what the costs are of, for costs.parquet.
        budget: for run.json; None where none was given.
    """

    space: Space
    costs: Costs
    about: Mapping[str, Any]
    budget: dict[str, Any] | None


def apply_budget(
    run_dir: RunDir,
    record: Mapping[str, Any],
    spec: NetSpec,
    space: Space,
    settings: ResolvedSettings,
    machine: Machine,
    progress: Progress,
) -> CostedSpace:
    """The placements within the budget, at most ``--max-placements``, and their costs.

    A run that is resumed takes both from its costs.parquet, so that nothing is measured anew and the space stays.

    Args:
        run_dir: where costs.parquet may be.
        record: run.json.
        spec: the network.
        space: all that may be searched.
        settings: resolved.
        machine: of the run.
        progress: where work shows itself.

    Returns:
        What is searched, at most ``--max-placements`` placements.

    Raises:
        PoolsearchError: nothing is within the budget, the latency's device is not there, or costs.parquet of a run with
            a budget is gone.
    """
    budget: dict[str, Any] | None = record.get("budget")
    most, seed = settings.net.max_placements, settings.machine.seed
    before = read_costs(run_dir.costs) if "space" in record else None
    kept = None if before is None else _kept(before, space, budget, most, seed)
    if kept is not None:
        return kept
    if budget is not None:
        raise PoolsearchError(
            f"{run_dir.costs} is missing or damaged. It says which placements are within the budget: restore it, or "
            "start a new run with --out."
        )
    found, about = _profile(spec, space, settings, machine, progress)
    limits = limits_of(settings.budget)
    if not limits:
        cut = space.subset(most, seed)
        return CostedSpace(cut, found.costs(cut), about, None)
    chosen = choose_within_budget(space, found, limits, most, seed)
    given = {limit.flag.lstrip("-").replace("-", "_"): limit.text for limit in limits}
    budget = {"given": given, "before": space.size, "tried": chosen.tried, "after": chosen.within}
    progress.say(budget_note(budget, found.of(space.default, space)))
    return CostedSpace(chosen.space, found.costs(chosen.space), about, budget)


def _kept(kept: CostsFile, space: Space, budget: dict[str, Any] | None, most: int, seed: int) -> CostedSpace | None:
    """What the file says; None where it is of other placements than it was written for."""
    if budget is None:
        whole = space.subset(most, seed)
        same = kept.placements == [str(placement) for placement in whole]
        return CostedSpace(whole, kept.costs, kept.about, None) if same else None
    if len(kept.placements) != min(most, budget["after"]):
        return None
    return CostedSpace(space.keep(Placement.parse(text) for text in kept.placements), kept.costs, kept.about, budget)


def _profile(
    spec: NetSpec, space: Space, settings: ResolvedSettings, machine: Machine, progress: Progress
) -> tuple[Profile, dict[str, Any]]:
    """The tables, and what they are of."""
    batch, dtype, wanted = settings.search.batch, machine.dtype, settings.budget
    progress.say("costs: trying every block at every size, without computing anything")
    found = profile(blank(spec), space, *spec.size, batch, dtype)
    check_memory(found, settings.budget, spec.name, progress)
    about: dict[str, Any] = {"image_size": spec.size.plain, "batch": batch, "dtype": machine.precision}
    if wanted.max_latency is None and wanted.latency_device is None:
        return found, about | {"latency_device": None, "latency_batch": None, "latency_dtype": None}
    on = latency_machine(wanted.latency_device, settings.machine, machine)
    latency = measure_latency(spec, found, space, wanted.latency_batch, on, progress)
    about |= {
        "latency_device": on.describe()["device_name"], "latency_batch": wanted.latency_batch,
        "latency_dtype": on.precision,
    }  # fmt: skip
    return replace(found, latency=latency), about


def check_memory(found: Profile, budget: BudgetSettings, name: str, progress: Progress) -> None:
    """Say where the memory of a training step is not known.

    Args:
        found: tables of the network; ``memory`` is a text where it is not known.
        budget: the limits.
        name: of the network, for the message.
        progress: where it is said.

    Raises:
        PoolsearchError: there is a limit to it.
    """
    if not isinstance(found.memory, str):
        return
    told = f"the memory of a training step of {name} is not known, as it does not run without numbers: {found.memory}"
    if budget.max_memory is not None:
        raise PoolsearchError(f"--max-memory {budget.max_memory}: {told}. Leave --max-memory out.")
    progress.say(told)


def latency_machine(asked: str | None, settings: MachineSettings, machine: Machine) -> Machine:
    """Where latency is measured: the run's own machine, unless another device was asked for.

    Args:
        asked: ``--latency-device``; None or "auto" is the run's own.
        settings: of the run's machine; what else they say holds for the other device, too, but the precision.
        machine: the run's own.

    Returns:
        ``machine`` itself, or one for the other device, with the precision that suits it.

    Raises:
        PoolsearchError: the device is not there.
    """
    if asked in (None, "auto", machine.device.type):
        return machine
    other = replace(settings, device=asked, precision="auto", memory_format=machine.layout)
    return pick_machine(other, "--latency-device")


def measure_latency(
    spec: NetSpec, found: Profile, space: Space, batch: int, machine: Machine, progress: Progress
) -> LatencyTable:
    """Time the blocks of the network, with fresh weights, on a machine.

    Args:
        spec: the network.
        found: its tables, for the sizes of its maps.
        space: the placements that are to be covered.
        batch: images of a forward pass.
        machine: where to run.
        progress: where work shows itself.

    Returns:
        Milliseconds of each part for the batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: Poolable = machine.place(build(spec))
        x_BCHW = torch.rand(batch, net.channels, *spec.size)
    x_BCHW = x_BCHW.to(machine.device, memory_format=machine.memory_format)
    return latency_table(net, found.table, space, x_BCHW, machine.autocast, progress)


def budget_note(budget: Mapping[str, Any], default: Costs) -> str:
    """How many placements are within the budget, and what the default costs, for people.

    Args:
        budget: as in run.json: limits as given, placements of the space, those tried, and those within.
        default: costs of the default placement, arrays of length 1.

    Returns:
        A sentence.
    """
    given = ", ".join(f"--{name.replace('_', '-')} {text}" for name, text in budget["given"].items())
    of = f"{budget['before']:,}" if budget["tried"] == budget["before"] else f"{budget['tried']:,} random"
    own = [shown_amount("macs", float(default.macs_A[0])) + " MACs"]
    if default.memory_A is not None:
        own.append(shown_amount("memory", float(default.memory_A[0])) + " a training step")
    if default.latency_A is not None:
        own.append(shown_amount("latency", float(default.latency_A[0])) + " a forward pass")
    return f"budget: {given}: {budget['after']:,} of {of} placements are within it; the default has {', '.join(own)}"
