"""Commands that leave no run. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from poolsearch.cli.commands.run_commands import ALL_GROUPS
from poolsearch.settings import Settings
from poolsearch.settings.rule import setting


@dataclass(frozen=True)
class NetworkOptions:
    """The network that is looked at, without any data."""

    net: str = setting(
        "",
        "timm:NAME, torchvision:NAME, FILE.py:FACTORY (a function of yours that takes the number of classes and "
        "gives a torch.nn.Module), or one of poolsearch's own, such as cifar-resnet20.",
        positional="required",
    )
    image_size: int | str | None = setting(
        None,
        "Size of the images: 64 for squares, 48x96 for 48 pixels high and 96 wide. Default: 32 for poolsearch's "
        "cifar-..., else 224.",
    )
    channels: int | None = setting(
        None,
        "Channels of the images. Default: those that the network takes by itself, mostly 3.",
        at_least=1,
    )
    classes: int = setting(
        10,
        "Outputs of the network.",
    )
    op: Literal["max", "avg", "blur", "stride", "native"] | None = setting(
        None,
        "How a site downsamples, as in 'poolsearch run'. Default: the network's own way.",
    )
    search_stem: bool = setting(
        False,
        "Move the downsampling of the stem, too.",
    )
    blocks: tuple[str, ...] = setting(
        (),
        "The submodules between which the downsampling may move: names, or patterns such as 'layer?.*' in which a * "
        "stands for one part of a name, between dots. Default: they are found.",
    )
    axes: Literal["hw", "h,w"] = setting(
        "hw",
        "h,w: halve height and width each by itself.",
    )
    halvings: str = setting(
        "default",
        "How often a placement halves its maps: 3, 2-5, or default, as often as the network itself.",
    )


@dataclass(frozen=True)
class Check(NetworkOptions):
    """Show how the downsampling of a network can be moved, and prove it. Needs no data.

      poolsearch check timm:regnety_002
      poolsearch check torchvision:resnet50 --classes 1000 --all
      poolsearch check my_net.py:make_net --image-size 64 --op max

    Shown are the blocks, between which a halving may stand, and how each halves its maps. Proved is, with fresh
    weights: that every placement shrinks its maps at exactly its sites; that gradients are finite and reach every
    parameter; that parameters and, at the network's own placement, logits are the original's. Last comes one training
    step, as a run makes it. Exit code: 0 when all of it holds, 1 when something does not, 2 when the network cannot be
    restrided or trained, with the reason.
    """

    whole: bool = setting(
        False,
        "Look at all placements. Default: at all of up to 1,000, else at 200 random ones.",
        flag="all",
    )
    task: Literal["classification", "multi-label", "regression", "dense"] = setting(
        "classification",
        "What the training step is of; --classes are then labels, values, or classes of pixels.",
    )
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )


@dataclass(frozen=True)
class Costs(NetworkOptions):
    """Show what the placements of a network cost, and how many are within a budget. Needs no data, trains nothing.

    poolsearch costs cifar-resnet20
    poolsearch costs timm:regnety_002 --batch 64 --max-macs 1.0x --max-memory 2GB
    poolsearch costs resnet18 --latency-device auto --max-latency 20ms
    """

    batch: int = setting(
        256,
        "Images of a training step, whose memory is told.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        "Of a training step, as in 'poolsearch run'.",
    )
    takes: ClassVar[tuple[str, ...]] = ("budget",)
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class PlanResult:
    """What becomes of the plan."""

    json: Path | None = setting(
        None,
        "Write it to this file, too.",
    )
    config: Path | None = setting(
        None,
        "A TOML file of settings, such as the config.toml of a run. What is typed wins over it.",
    )
    trust: bool = setting(
        False,
        "Run the Python files that --config names (a network, a sampler) though you did not name them yourself, on "
        "this machine and as they are now. Look at them first: they can do whatever you can.",
    )
    quiet: bool = setting(
        False,
        "No progress, only the result.",
    )


@dataclass(frozen=True)
class Plan:
    """What fits into some hours on this machine, or what each method would cost. Trains a few steps, keeps nothing.

      poolsearch plan --data my_photos --hours 8
      poolsearch plan --data cifar10 --net cifar-resnet20

    With --hours: the command that fits into them, why each of its settings is what it is, and the smallest difference
    that its seeds and test images can show. 'poolsearch run --hours' chooses the same, and runs it. Without:
    Steps of a few placements are timed, from the cheapest to the dearest, and the rest is reckoned from their MACs and
    maps: the search with one or several supernets, a sweep, a proxy, successive halving, and the retraining that
    follows them all. First of all, a step of the placement that needs the most memory is tried. --method is not
    looked at; 'poolsearch run --method auto' plans and takes the method that is advised.
    """

    takes: ClassVar[tuple[str, ...]] = ALL_GROUPS
    result: PlanResult = field(default_factory=PlanResult)
    settings: Settings = field(default_factory=Settings)
