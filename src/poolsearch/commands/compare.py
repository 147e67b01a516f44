"""The command that compares methods. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from poolsearch.cli.commands.run_commands import Begin
from poolsearch.commands.groups import AllSettings
from poolsearch.settings.groups import CompareSettings


@dataclass(frozen=True)
class BeginOrSumUp(Begin):
    """The comparison."""

    so_far: bool = False
    """With --resume: run and train nothing more, but write the page of what has ended so far."""


@dataclass(frozen=True)
class _Begun:
    where: BeginOrSumUp = field(default_factory=BeginOrSumUp)
    compare: CompareSettings = field(default_factory=CompareSettings)


@dataclass(frozen=True)
class Compare(AllSettings, _Begun):
    """Compare methods on the same space, images and budget: what each finds, what it is worth, what it costs.

      poolsearch compare --methods mixture spos random proxy --seeds 3
      poolsearch compare --data cifar10 --methods spos mixture:members=2 mixture:members=8 --epochs 6 --total-epochs 24
      poolsearch compare --data cifar10 --methods spos bse mcts:warm-up=0.5 --truth runs/sweep
      poolsearch compare --resume --out runs/cifar10-compared --methods spos bse mixture --seeds 5
      poolsearch compare --resume --out runs/cifar10-compared --so-far        a look at it meanwhile

    Every method with every seed is a run of its own in OUT/runs/; OUT/report.html compares them by the ground truth of
    what they found. Start the same command with --resume in several terminals, or on several machines that share the
    folder, and each takes runs and trainings that no other has. With --resume, methods and seeds may be added. For
    research: the test split is read, and nothing is chosen by it.
    """
