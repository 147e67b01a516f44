"""What each way trains: how many placements and seeds, by which recipe, for how many steps."""

from __future__ import annotations

from dataclasses import dataclass

from poolsearch.context import Run
from poolsearch.stages.alone import Recipe
from poolsearch.stages.retrain import retrain_recipe


@dataclass(frozen=True)
class Network:
    """What the price of a training step depends on, beside its placement."""

    width: int | None
    batch: int


@dataclass(frozen=True)
class Job:
    """Stand-alone trainings that are done by the same processes, several at once.

    Attributes:
        name: of the stage in run.json.
        recipe: of each.
        width: of the network; None is its own.
        placements, seeds: how many.
        images: that each learns from.
        scored: images of the search-val half by which each is scored afterwards.
    """

    name: str
    recipe: Recipe
    width: int | None
    placements: int
    seeds: int
    images: int
    scored: int = 0

    @property
    def network(self) -> Network:
        """What its steps cost depends on it."""
        return Network(self.width, self.recipe.batch)

    @property
    def trials(self) -> int:
        """How many trainings."""
        return self.placements * self.seeds

    @property
    def steps(self) -> int:
        """Of each training."""
        return self.recipe.epochs * (self.images // self.recipe.batch)


def retraining(run: Run) -> Job:
    """Retraining of the finalists: at most the top-k and the default."""
    settings = run.settings
    finalists = min(settings.retrain.top_k + 1, run.space.size)
    seeds, images = settings.retrain.retrain_seeds, len(run.split.train_all)
    return Job("retrain", retrain_recipe(settings), settings.net.width, finalists, seeds, images)


def alone_ways(run: Run) -> dict[str, list[Job]]:
    """The rounds of each method that trains stand-alone."""
    return {}
