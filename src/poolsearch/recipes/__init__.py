"""One function for each published experiment: a folder and options in, a page out.

A recipe trains by the same functions as everything else (:mod:`poolsearch.pipeline`), and leaves a folder that is
readable without this package. To add one: a module with its function, a line here, and its name in
:data:`poolsearch.commands.recipe.RecipeName`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from poolsearch.commands.recipe import RecipeName, RecipeOptions
from poolsearch.progress import Progress
from poolsearch.recipes.figure1 import figure1
from poolsearch.recipes.folder import Made


@dataclass(frozen=True)
class Recipe:
    """A published experiment.

    Attributes:
        make: makes it, given the folder, the options, whether to go on with what is there, and where work shows itself;
            gives what there is to say and the page.
        text: what it is.
    """

    make: Callable[[Path, RecipeOptions, bool, Progress], Made]
    text: str


RECIPES: dict[RecipeName, Recipe] = {
    "figure1": Recipe(figure1, "Figure 1: two placements in one supernet disturb each other (claim C3)"),
}
"""Every recipe by its name."""
