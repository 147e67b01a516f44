"""One function for each published experiment: a folder and options in, a page out.

A recipe trains by the same functions as everything else (:mod:`poolsearch.pipeline`), and leaves a folder that is
readable without this package. To add one: a module with its function, a line here, and its name in
:data:`poolsearch.settings.research_groups.RecipeName`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from poolsearch.progress import Progress
from poolsearch.research.recipes.figure1 import figure1
from poolsearch.research.recipes.folder import RecipeResult
from poolsearch.research.recipes.tables import FIGURE3, TABLE1, TABLE2, comparison_recipe
from poolsearch.session.trusted import Trust
from poolsearch.settings.research_groups import RecipeName, RecipeOptions


@dataclass(frozen=True)
class Recipe:
    """A published experiment.

    Attributes:
        make: makes it, given the folder, the options, whether to go on with what is there, where work shows itself, and
            whether Python files that the folder names may run; gives what there is to say and the page.
        text: what it is.
    """

    make: Callable[[Path, RecipeOptions, bool, Progress, Trust], RecipeResult]
    text: str


RECIPES: dict[RecipeName, Recipe] = {
    "figure1": Recipe(figure1, "Figure 1: two placements in one supernet disturb each other (claim C3)"),
    "figure3": Recipe(
        comparison_recipe("figure3", FIGURE3), "Figure 3: how rankings by 1 to 8 supernets agree with the truth"
    ),
    "table1": Recipe(comparison_recipe("table1", TABLE1), "Table 1: weights shared by all resolutions, or not"),
    "table2": Recipe(comparison_recipe("table2", TABLE2), "Table 2: the mixture against other searches"),
}
"""Every recipe by its name."""
