"""Commands that work in a run's folder. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from poolsearch.settings.groups import (
    AloneSettings,
    Auto,
    BudgetSettings,
    DataSettings,
    MachineSettings,
    NetSettings,
    RankSettings,
    RelaxedSettings,
    RetrainSettings,
    SearchSettings,
)


@dataclass(frozen=True)
class AllSettings:
    data: DataSettings = field(default_factory=DataSettings)
    net: NetSettings = field(default_factory=NetSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    relaxed: RelaxedSettings = field(default_factory=RelaxedSettings)
    alone: AloneSettings = field(default_factory=AloneSettings)
    rank: RankSettings = field(default_factory=RankSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)


@dataclass(frozen=True)
class Where:
    """The run."""

    out: Auto[Path] = None
    """The run's folder. Default: runs/DATA for a new run; else the newest run in runs/."""
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class GoOn(Where):
    """The run."""

    trust: bool = False
    """Run the Python files that the run's folder names (its network, its sampler) though you did not name them
    yourself, on this machine and as they are now. Look at them first: they can do whatever you can."""


@dataclass(frozen=True)
class Begin(GoOn):
    """The run."""

    resume: bool = False
    """Go on with the run in --out (the newest in runs/ when not given), with its own settings."""


@dataclass(frozen=True)
class BeginOrJoin(Begin):
    """The run."""

    join: bool = False
    """Help with the trainings of the sweep, proxy or halving that another process began in --out, here or on another
    machine that has the folder. Give each process of a machine its share of the cores: OMP_NUM_THREADS, --workers."""


@dataclass(frozen=True)
class _Somewhere:
    where: Begin = field(default_factory=Begin)


@dataclass(frozen=True)
class _SomewhereToJoin:
    where: BeginOrJoin = field(default_factory=BeginOrJoin)


@dataclass(frozen=True)
class _NewRun(AllSettings, _Somewhere):
    pass


@dataclass(frozen=True)
class _NewSearch(AllSettings, _SomewhereToJoin):
    pass


class Run(_NewRun):
    """The whole job: search, rank, retrain the best, open the test split once, write the report."""


class Search(_NewSearch):
    """Train the supernets only; with a method without any all that the ranking rests on, and rank.

    poolsearch search --data cifar10 --method sweep --out runs/mine
    poolsearch search --join --out runs/mine          in another terminal, or on a machine that has the same folder
    """


@dataclass(frozen=True)
class Rank:
    """Evaluate the placements of a finished search on the search-val half."""

    where: GoOn = field(default_factory=GoOn)
    rank: RankSettings = field(default_factory=RankSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)


@dataclass(frozen=True)
class Retrain:
    """Train the best of a ranking and the default stand-alone, then open the test split once."""

    where: GoOn = field(default_factory=GoOn)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)


@dataclass(frozen=True)
class Report:
    """Write report.html and the figures of a run, finished or not.

      poolsearch report --out runs/digits
      poolsearch report --out runs/digits --truth runs/truth

    With --truth the page also shows how the ranking agrees with what the placements are worth when trained alone.
    """

    where: Where = field(default_factory=Where)
    truth: Auto[str] = None
    """Show how the ranking agrees with a ground truth (for research): the folder of a finished sweep over the same
    network and space, or 'table6', the paper's table of ResNet20 on CIFAR-10. Default: nothing is compared."""


@dataclass(frozen=True)
class Export:
    """Write a retrained network as plain PyTorch code, weights and ONNX, which run without poolsearch.

      poolsearch export runs/digits
      poolsearch export runs/digits --placement default --seed 1

    RUN/export/ then has model.py, model.safetensors, model.onnx, export.json and a README.md. All is run in a process
    of its own and compared with the network, before it is kept.
    """

    run: tyro.conf.Positional[Annotated[Auto[Path], tyro.conf.arg(metavar="[RUN]")]] = None
    """The run's folder, as --out. Default: the newest run in runs/."""
    where: GoOn = field(default_factory=GoOn)
    placement: Auto[str] = None
    """One that was retrained, such as 4,3,3, or 'default'. Default: the first of the ranking."""
    seed: int = 0
    """Which of its trainings."""
