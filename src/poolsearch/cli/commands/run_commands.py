"""Commands that work in a run's folder. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from poolsearch.settings import Settings
from poolsearch.settings.rule import setting

ALL_GROUPS = tuple(Settings().groups())


@dataclass(frozen=True)
class Where:
    """The run."""

    run: Path | None = setting(None, "The run's folder, as --out.", positional="optional")
    out: Path | None = setting(
        None,
        "The folder. Default: for what is begun a new one in runs/, named as the data; else the newest in runs/.",
    )
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )


@dataclass(frozen=True)
class GoOn(Where):
    """The run."""

    trust: bool = setting(
        False,
        "Run the Python files that the run's folder names (its network, its sampler) though you did not name them "
        "yourself, on this machine and as they are now. Look at them first: they can do whatever you can.",
    )


@dataclass(frozen=True)
class Begin(GoOn):
    """The run."""

    config: Path | None = setting(
        None,
        "A TOML file of settings, such as the config.toml of another run. What is typed wins over it.",
    )
    resume: bool = setting(
        False,
        "Go on with the run in the folder (the newest in runs/ when none is given), with its own settings.",
    )


@dataclass(frozen=True)
class BeginOrJoin(Begin):
    """The run."""

    join: bool = setting(
        False,
        "Help with the trainings of the sweep, proxy or halving that another process began in --out, here or on "
        "another machine that has the folder. Give each process of a machine its share of the cores: "
        "OMP_NUM_THREADS, --workers.",
    )


@dataclass(frozen=True)
class Run:
    """The whole job: search, rank, retrain the best, open the test split, write the report.

    poolsearch run --data my_photos
    poolsearch run --data my_photos --net timm:regnety_002 --max-macs 1.0x
    poolsearch run runs/my_photos --resume
    poolsearch run --config runs/my_photos/config.toml --seed 1
    """

    takes: ClassVar[tuple[str, ...]] = ALL_GROUPS
    where: Begin = field(default_factory=Begin)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Search:
    """Train the supernets only; with a method without any all that the ranking rests on, and rank.

    poolsearch search --data cifar10 --method sweep --out runs/mine
    poolsearch search runs/mine --join          in another terminal, or on a machine that has the same folder
    """

    takes: ClassVar[tuple[str, ...]] = ALL_GROUPS
    where: BeginOrJoin = field(default_factory=BeginOrJoin)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Rank:
    """Evaluate the placements of a finished search on the search-val half.

    poolsearch rank runs/mine --rank-members mean          by another rule, also when the run has its ranking
    """

    takes: ClassVar[tuple[str, ...]] = ("rank", "machine")
    where: GoOn = field(default_factory=GoOn)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Retrain:
    """Train the best of a ranking and the default stand-alone, then open the test split.

      poolsearch retrain runs/mine --retrain-seeds 5         a tested run grows: only what is missing is trained

    Each further look at the test split is tested at half the level of the one before.
    """

    takes: ClassVar[tuple[str, ...]] = ("retrain", "machine")
    where: GoOn = field(default_factory=GoOn)
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Report:
    """Write report.html and the figures of a run, finished or not.

      poolsearch report runs/digits
      poolsearch report runs/digits --truth runs/truth

    With --truth the page also shows how the ranking agrees with what the placements are worth when trained alone.
    """

    where: Where = field(default_factory=Where)
    truth: str | None = setting(
        None,
        "Show how the ranking agrees with a ground truth (for research): the folder of a finished sweep over the "
        "same network and space, or 'table6', the paper's table of ResNet20 on CIFAR-10. Default: nothing is "
        "compared.",
    )


@dataclass(frozen=True)
class Export:
    """Write a retrained network as plain PyTorch code, weights and ONNX, which run without poolsearch.

      poolsearch export runs/digits
      poolsearch export runs/digits --placement default --seed 1

    RUN/export/ then has model.py, model.safetensors, model.onnx, export.json and a README.md. All is run in a process
    of its own and compared with the network, before it is kept.
    """

    where: GoOn = field(default_factory=GoOn)
    placement: str | None = setting(
        None,
        "One that was retrained, such as 4,3,3, or 'default'. Default: the first of the ranking.",
    )
    seed: int = setting(
        0,
        "Which of its trainings.",
    )
