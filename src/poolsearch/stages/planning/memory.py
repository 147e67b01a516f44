"""Trying the step that needs the most memory, before anything else is timed or trained."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import blank
from poolsearch.nets.poolable import parameters_of
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.planning.steps import SearchSteps
from poolsearch.train.machine import Machine

_KEPT = 3 * 4  # bytes of a parameter between steps: itself, its momentum, its gradient until it is trained again
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class TrainingMemory:
    """Memory of training, in bytes.

    Attributes:
        placement: the one whose training step needs the most.
        step: what its step took beside what was there before.
        image: of that, for one image.
        member: what a network keeps between two steps.
        process: what a process holds before it trains.
        free: what was free before; None when the system does not say.
    """

    placement: Placement
    step: int
    image: float
    member: int
    process: int
    free: int | None

    def search(self, members: int) -> int:
        """Of a search with so many members.

        Args:
            members: M, all of them kept in memory.

        Returns:
            Bytes of the process at its peak.
        """
        return self.process + self.step + members * self.member

    def alone(self, workers: int, batch: int) -> int:
        """Of so many stand-alone trainings at once.

        Args:
            workers: processes, with one training each.
            batch: images of a step.

        Returns:
            Bytes of all processes together at their peak.
        """
        return workers * int(self.process + self.image * batch + self.member)


def largest_step(run: Run) -> tuple[Placement, int]:
    """The placement whose training step needs the most memory, and the bytes for one image.

    Where they are not known the one with the most MACs, and 0.

    Args:
        run: open; its table of costs is asked, nothing is run.

    Returns:
        The placement, and bytes per image beside weights and momentum.
    """
    memory_A, batch = run.space_costs.memory_A, run.settings.search.batch
    if memory_A is None:
        return run.space[int(run.macs_A.argmax())], 0
    return run.space[int(memory_A.argmax())], int(memory_A.max()) // batch


def try_largest_step(run: Run) -> TrainingMemory:
    """Do one real step of the search with that placement, with all members.

    Args:
        run: open, with the mixture as its method.

    Returns:
        What the step took and what was there before; its step is at least what the table of costs says.

    Raises:
        PoolsearchError: it does not fit into the memory; the message says which batch would.
    """
    placement, image = largest_step(run)
    members, batch = run.settings.search.members, run.settings.search.batch
    member = _KEPT * parameters_of(blank(run.net_spec))
    free = run.machine.free_memory()
    room = None if free is None else free - members * member
    if room is not None and batch * image > room:
        raise _too_large(placement, batch, batch * image, room, largest_batch(batch, image, room))
    process = _held(run.machine, "VmRSS")
    try:
        taken = _taken_by_a_step(run, placement)
    except RuntimeError as error:  # CUDA has a kind of its own for it; a CPU says it in words
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise _too_large(placement, batch, batch * image, room, batch // 2) from error
    step = max(taken - members * member, batch * image)
    return TrainingMemory(placement, step, step / batch, member, process, free)


def largest_batch(batch: int, image: int, room: float) -> int:
    """``batch``, halved until so many bytes for each image fit into ``room``; 0 where not even one does.

    Args:
        batch: images to begin with.
        image: bytes of one image.
        room: bytes that there are.

    Returns:
        Images of a batch that fits.
    """
    while batch and batch * image > room:
        batch //= 2
    return batch


def _too_large(placement: Placement, batch: int, needed: float, room: float | None, fits: int) -> PoolsearchError:
    free = "" if room is None else f", and {max(0.0, room) / 1e9:.2f} GB are free beside the networks themselves"
    advice = f"Use --batch {fits} or less" if fits else "Not even one image fits"
    return PoolsearchError(
        f"a training step of {placement.shown}, the placement that needs the most memory, takes about "
        f"{needed / 1e9:.2f} GB with --batch {batch}{free}. {advice}, fewer --members, a smaller --image-size, or keep "
        "such placements out of the space with --max-blocks."
    )


def _taken_by_a_step(run: Run, placement: Placement) -> int:
    """Bytes that making the members and one step take at their peak, beside what was held; 0 where nobody counts."""
    one = replace(run, settings=run.settings.changed(placements_per_step=1))
    cuda = run.machine.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(run.machine.device)
    else:
        with suppress(OSError):
            _CLEAR.write_text("5", encoding="ascii")  # Linux: the peak of the resident memory begins anew
    before = _held(run.machine, "VmRSS")
    steps = SearchSteps(one)
    steps.train([placement])
    run.machine.wait()
    return _held(run.machine, "VmHWM") - before


def _held(machine: Machine, which: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes of this process's tensors on a GPU, or of the process: now (VmRSS), or at the peak (VmHWM)."""
    if machine.device.type == "cuda":
        now = which == "VmRSS"
        return (torch.cuda.memory_allocated if now else torch.cuda.max_memory_allocated)(machine.device)
    with suppress(OSError):
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(which))
    return 0
