"""The command that makes a published experiment again. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from poolsearch.settings.groups import Auto

RecipeName = Literal["figure1", "figure3", "table1", "table2"]
"""The recipes, as :data:`poolsearch.research.recipes.RECIPES` has them."""


@dataclass(frozen=True)
class RecipeOptions:
    """What may be changed in a recipe; all else is as in the paper."""

    scale: Auto[Literal["mini", "full"]] = None
    """mini: on the built-in digits with a narrow network, a minute or two. full: the paper's data, network and number
    of epochs, for a GPU. Default: mini."""
    data: Auto[str] = None
    """Other images, as in 'poolsearch run'. Default: digits for mini, cifar10 for full."""
    subset: Auto[int] = None
    """Use only this many training images (stratified). Default: all."""
    net: Auto[str] = None
    """Another network, as in 'poolsearch run'. Default: cifar-resnet20."""
    width: Auto[int] = None
    """Channels of the first stage. Default: 8 for mini (4 in comparisons), the network's own for full."""
    epochs: Auto[int] = None
    """Length of a search, for each of its supernets. Default: 10 for mini (2 in comparisons), 75 for full."""
    batch: Auto[int] = None
    """Images per minibatch. Default: 64 for mini, 256 for full."""
    seeds: Auto[int] = None
    """How often each search is made, each time with other halves, weights and draws. Default: 3 (2 for mini
    comparisons)."""
    early: Auto[str] = None
    """Of figure1: the placement that pools early, such as 1,1,8. Default: the first of the space, each halving as
    early as can be."""
    late: Auto[str] = None
    """Of figure1: the placement that pools late, such as 8,1,1. Default: the last of the space, each halving as late
    as can be."""
    device: Auto[Literal["auto", "cpu", "cuda", "mps"]] = None
    """Where it runs. Default: auto, which is cuda, else mps, else cpu."""
    precision: Auto[Literal["fp32", "bf16", "fp16"]] = None
    """Number format of all searches. Default: bf16 where the machine is faster with it, else fp32; found out once, so
    that every search has the same."""


@dataclass(frozen=True)
class RecipeFolder:
    """Where the results go."""

    out: Auto[Path] = None
    """The recipe's folder. Default: runs/NAME."""
    resume: bool = False
    """Go on with the recipe in --out, with its own options: what is finished is not done again."""
    quiet: bool = False
    """No progress, only the result."""
    trust: bool = False
    """Run the Python file that the folder names as its network though you did not name it; as in 'poolsearch run'."""


@dataclass(frozen=True)
class Recipe:
    """Make a published experiment again, small or at its full size, with a page of what came out.

      poolsearch recipe figure1
      poolsearch recipe figure1 --data cifar10 --subset 10000 --epochs 8 --batch 128
      poolsearch recipe figure1 --scale full --out runs/figure1-full
      poolsearch recipe figure1 --resume

    figure1: two placements trained in one supernet against each of them trained alone; their accuracies, their feature
    maps, and how alike their representations are.
    figure3: how rankings by 1, 2, 4 and 8 supernets agree with the ground truth of all placements.
    table1, table2: the paper's methods against each other, at their own budget and at the same total training, by the
    ground truth of what they find. Full, all three train every placement alone three times: days on one GPU.
    """

    name: tyro.conf.Positional[Annotated[RecipeName, tyro.conf.arg(metavar="NAME")]]
    """figure1, figure3, table1 or table2."""
    folder: RecipeFolder = field(default_factory=RecipeFolder)
    options: RecipeOptions = field(default_factory=RecipeOptions)

    @property
    def out(self) -> Path:
        """The recipe's folder."""
        return (self.folder.out or Path("runs") / self.name).expanduser()
