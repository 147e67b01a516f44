"""The commands and what each can be told: with the settings, all that ``--help`` shows. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from poolsearch.options import (
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

DESCRIPTION = """Find where a CNN should downsample, on your data.

  poolsearch run                                          the whole job on built-in digits, some minutes
  poolsearch run --data FOLDER                            on a folder of class folders of images
  poolsearch run --data cifar10 --net cifar-resnet20      on a torchvision data set
  poolsearch run --resume --out runs/NAME                 go on after Ctrl-C, a crash or kill -9
  poolsearch plan --data FOLDER                           what each method would cost on this machine
  poolsearch export runs/NAME                             the network that was found, as files that stand alone
  poolsearch check timm:regnety_002                       whether the downsampling of a network can be moved
  poolsearch costs timm:regnety_002                       what its placements cost: MACs, memory, latency

'run' is search, rank, retrain and report in turn; each is a command too. 'poolsearch run --help' lists all settings."""


@dataclass(frozen=True)
class Where:
    """The run."""

    out: Auto[Path] = None
    """The run's folder. Default: runs/DATA for a new run; else the newest run in runs/."""
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class Begin(Where):
    """The run."""

    resume: bool = False
    """Go on with the run in --out (the newest in runs/ when not given), with its own settings."""


@dataclass(frozen=True)
class _AllSettings:
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
class _Somewhere:
    where: Begin = field(default_factory=Begin)


@dataclass(frozen=True)
class _NewRun(_AllSettings, _Somewhere):
    pass


class Run(_NewRun):
    """The whole job: search, rank, retrain the best, open the test split once, write the report."""


class Search(_NewRun):
    """Train the supernets only; with --method sweep, proxy or halving all that the ranking rests on, and rank."""


@dataclass(frozen=True)
class Rank:
    """Evaluate the placements of a finished search on the search-val half."""

    where: Where = field(default_factory=Where)
    rank: RankSettings = field(default_factory=RankSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)


@dataclass(frozen=True)
class Retrain:
    """Train the best of a ranking and the default stand-alone, then open the test split once."""

    where: Where = field(default_factory=Where)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)


@dataclass(frozen=True)
class Report:
    """Write report.html and the figures of a run, finished or not."""

    where: Where = field(default_factory=Where)


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
    where: Where = field(default_factory=Where)
    placement: Auto[str] = None
    """One that was retrained, such as 4,3,3, or 'default'. Default: the first of the ranking."""
    seed: int = 0
    """Which of its trainings."""


@dataclass(frozen=True)
class Check:
    """Show how the downsampling of a network can be moved, and prove it. Needs no data and trains nothing.

      poolsearch check timm:regnety_002
      poolsearch check torchvision:resnet50 --classes 1000 --all
      poolsearch check my_net.py:make_net --image-size 64 --op max

    Shown are the blocks, between which a halving may stand, and how each halves its maps. Proved is, with fresh
    weights: that every placement shrinks its maps at exactly its sites; that gradients are finite and reach every
    parameter; that parameters and, at the network's own placement, logits are the original's. Exit code: 0 when all
    of it holds, 1 when something does not, 2 when the network cannot be restrided, with the reason.
    """

    net: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NET")]]
    """timm:NAME, torchvision:NAME, FILE.py:FACTORY (a function of yours that takes the number of classes and gives a
    torch.nn.Module), or one of poolsearch's own, such as cifar-resnet20."""
    image_size: Auto[int] = None
    """Height and width of the images. Default: 32 for poolsearch's cifar-..., else 224."""
    classes: int = 10
    """Outputs of the network."""
    op: Auto[Literal["max", "avg", "blur", "stride", "native"]] = None
    """How a site downsamples, as in 'poolsearch run'. Default: the network's own way."""
    search_stem: bool = False
    """Move the downsampling of the stem, too."""
    axes: Literal["hw", "h,w"] = "hw"
    """h,w: halve height and width each by itself."""
    whole: Annotated[bool, tyro.conf.arg(name="all")] = False
    """Look at all placements. Default: at all of up to 1,000, else at 200 random ones."""
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class Costs:
    """Show what the placements of a network cost, and how many are within a budget. Needs no data, trains nothing.

    poolsearch costs cifar-resnet20
    poolsearch costs timm:regnety_002 --batch 64 --max-macs 1.0x --max-memory 2GB
    poolsearch costs resnet18 --latency-device auto --max-latency 20ms
    """

    net: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NET")]]
    """As in 'poolsearch check'."""
    image_size: Auto[int] = None
    """Height and width of the images. Default: 32 for poolsearch's cifar-..., else 224."""
    classes: int = 10
    """Outputs of the network."""
    op: Auto[Literal["max", "avg", "blur", "stride", "native"]] = None
    """How a site downsamples, as in 'poolsearch run'. Default: the network's own way."""
    search_stem: bool = False
    """Move the downsampling of the stem, too."""
    axes: Literal["hw", "h,w"] = "hw"
    """h,w: halve height and width each by itself."""
    batch: int = 256
    """Images of a training step, whose memory is told."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of a training step, as in 'poolsearch run'."""
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class Told:
    """What becomes of the plan."""

    json: Auto[Path] = None
    """Write it to this file, too."""
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class Plan(_AllSettings):
    """What each method would cost on this machine, and which is advised. Trains a few steps and keeps nothing.

      poolsearch plan --data cifar10 --net cifar-resnet20
      poolsearch plan --data my_photos --hours 8

    Steps of a few placements are timed, from the cheapest to the dearest, and the rest is reckoned from their MACs and
    maps: the search with one or several supernets, a sweep, a proxy, successive halving, and the retraining that
    follows them all. First of all, a step of the placement that needs the most memory is tried. --method is not
    looked at; 'poolsearch run --method auto' plans and takes the method that is advised.
    """

    told: Told = field(default_factory=Told)


Command = Run | Search | Rank | Retrain | Report | Export
"""Commands that work in a run's folder."""
Apart = Check | Costs | Plan
"""Commands that leave none."""
COMMANDS: dict[str, type[Command] | type[Apart]] = {
    "run": Run, "search": Search, "rank": Rank, "retrain": Retrain, "report": Report, "export": Export,
    "check": Check, "costs": Costs, "plan": Plan,
}  # fmt: skip
