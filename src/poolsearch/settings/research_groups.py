"""What a user can set of comparisons and published experiments, beside the settings of their runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poolsearch.settings.rule import setting

RecipeName = Literal["figure1", "figure3", "table1", "table2"]
"""The recipes, as :data:`poolsearch.research.recipes.RECIPES` has them."""


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, and with what."""

    methods: tuple[str, ...] = setting(
        ("mixture", "spos", "bayes", "random", "proxy"),
        "Values of --method, each with settings of its own where it needs them: mixture:members=8 bse:warm-up=0.5. "
        "A value of several parts has a plus between them.",
    )
    seeds: int = setting(
        3,
        "Runs of each method; each has its own split of the training images, its own weights and draws.",
    )
    total_epochs: int | None = setting(
        None,
        "Compare methods with supernets at equal total training, too: each also gets as many epochs as are as much "
        "work (multiply-adds, with the scores that it makes use of) as those of a single supernet. Default: only at "
        "their own --epochs x members.",
    )
    truth: str = setting(
        "picks",
        "What is known of placements trained stand-alone on all training images, by the test split. picks: those "
        "that a method finds, and a few to compare with, are trained (--sweep-epochs, --sweep-seeds). all: every "
        "placement, so that whole rankings can be judged. Or the folder of a sweep in benchmark mode that has "
        "ended, or 'table6'.",
    )


@dataclass(frozen=True)
class RecipeOptions:
    """What may be changed in a recipe; all else is as in the paper."""

    scale: Literal["mini", "full"] | None = setting(
        None,
        "mini: on the built-in digits with a narrow network, a minute or two. full: the paper's data, network and "
        "number of epochs, for a GPU. Default: mini.",
    )
    data: str | None = setting(
        None,
        "Other images, as in 'poolsearch run'. Default: digits for mini, cifar10 for full.",
    )
    subset: int | None = setting(None, "Use only this many training images (stratified). Default: all.")
    net: str | None = setting(None, "Another network, as in 'poolsearch run'. Default: cifar-resnet20.")
    width: int | None = setting(
        None,
        "Channels of the first stage. Default: 8 for mini (4 in comparisons), the network's own for full.",
    )
    epochs: int | None = setting(
        None,
        "Length of a search, for each of its supernets. Default: 10 for mini (2 in comparisons), 75 for full.",
    )
    batch: int | None = setting(None, "Images per minibatch. Default: 64 for mini, 256 for full.")
    seeds: int | None = setting(
        None,
        "How often each search is made, each time with other halves, weights and draws. Default: 3 (2 for mini "
        "comparisons).",
    )
    early: str | None = setting(
        None,
        "Of figure1: the placement that pools early, such as 1,1,8. Default: the first of the space, each halving "
        "as early as can be.",
    )
    late: str | None = setting(
        None,
        "Of figure1: the placement that pools late, such as 8,1,1. Default: the last of the space, each halving as "
        "late as can be.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] | None = setting(
        None,
        "Where it runs. Default: auto, which is cuda, else mps, else cpu.",
    )
    precision: Literal["fp32", "bf16", "fp16"] | None = setting(
        None,
        "Number format of all searches. Default: bf16 where the machine is faster with it, else fp32; found out "
        "once, so that every search has the same.",
    )
