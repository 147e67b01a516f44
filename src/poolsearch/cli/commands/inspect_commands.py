"""Commands that leave no run. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from poolsearch.cli.commands.run_commands import AllSettings
from poolsearch.settings.groups import Auto, BudgetSettings


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
class Plan(AllSettings):
    """What each method would cost on this machine, and which is advised. Trains a few steps and keeps nothing.

      poolsearch plan --data cifar10 --net cifar-resnet20
      poolsearch plan --data my_photos --hours 8

    Steps of a few placements are timed, from the cheapest to the dearest, and the rest is reckoned from their MACs and
    maps: the search with one or several supernets, a sweep, a proxy, successive halving, and the retraining that
    follows them all. First of all, a step of the placement that needs the most memory is tried. --method is not
    looked at; 'poolsearch run --method auto' plans and takes the method that is advised.
    """

    told: Told = field(default_factory=Told)
