"""What each way trains stand-alone: how many placements and seeds, by which recipe, for how many steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poolsearch.calibration.features import Features
from poolsearch.samplers.successive_halving import Rung, concurrent_rungs, rungs
from poolsearch.session.run import Run
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.check import with_method
from poolsearch.settings.methods import named
from poolsearch.settings.resolve import resolve
from poolsearch.stages.planning.rankings import Ranking, by_macs, by_prediction, retrained
from poolsearch.stages.retrain import retrain_config
from poolsearch.stages.standalone.rung import sweep_config
from poolsearch.stages.standalone.trial import TrainingConfig
from poolsearch.stages.sweep import at_fidelity

_PREDICTED = 48  # placements of which rankings by prediction are drawn: how many are retrained hardly depends on it
_TRIALS = 12  # and after how many trials at most


@dataclass(frozen=True)
class WidthAndBatch:
    """What the price of a training step depends on, beside its placement."""

    width: int | None
    batch: int


@dataclass(frozen=True)
class Job:
    """Stand-alone trainings that are done by the same processes, several at once.

    Attributes:
        recipe: of each.
        width: of the network; None is its own.
        placements, seeds: how many.
        epochs: that each is trained, at this time.
        images: that each learns from.
        scored: images of the search-val half by which each is scored afterwards.
    """

    recipe: TrainingConfig
    width: int | None
    placements: int
    seeds: int
    epochs: int
    images: int
    scored: int = 0

    @property
    def network(self) -> WidthAndBatch:
        """What its steps cost depends on it."""
        return WidthAndBatch(self.width, self.recipe.batch)

    @property
    def begins(self) -> bool:
        """Whether the trainings have not been begun before."""
        return self.recipe.until in (None, self.epochs)

    @property
    def trials(self) -> int:
        """How many trainings."""
        return self.placements * self.seeds

    @property
    def steps(self) -> int:
        """Of each training."""
        return self.epochs * (self.images // self.recipe.batch)


def rankings_after(run: Run, trials: int) -> list[list[Ranking]]:
    """Rankings by prediction that may come out of a run, see :func:`.by_prediction`.

    Args:
        run: open.
        trials: at most.

    Returns:
        After 0, 1, ... ``trials`` (or some, where there are more), of numbers of placements; of a large space of some
        of its placements.
    """
    ratio_A = run.macs_A / run.costs.macs(run.space.default)
    own = run.space.index(run.space.default) if run.space.default in run.space else int(np.abs(ratio_A - 1).argmin())
    numbers = np.arange(run.space.size)
    if run.space.size > _PREDICTED:
        others = np.random.default_rng(0).choice(run.space.size, _PREDICTED, replace=False)
        numbers = np.unique([*others, own])
    placements = [run.space[int(number)] for number in numbers]
    features = Features.of(placements, run.macs_A[numbers], int(np.flatnonzero(numbers == own)[0]))
    found = by_prediction(features, ratio_A[numbers], run.settings.retrain.answer_at, min(trials, _TRIALS))
    return [[ranking.of_numbers(numbers) for ranking in each] for each in found]


def retraining_job(run: Run, trials: int = 0) -> Job:
    """Retraining of the top-k, the default, the picks of the answers and the controls.

    They may coincide, and who they are is not known before the ranking: counted is their mean over rankings that may
    come out.

    Args:
        run: open; its settings say how many there are.
        trials: that the ranking learns from; 0: it is one by supernets, or by trainings of all placements.

    Returns:
        All of these trainings as one job.
    """
    settings, ratio_A = run.settings, run.macs_A / run.costs.macs(run.space.default)
    control, limits = settings.retrain.control, settings.retrain.answer_at
    rankings = rankings_after(run, trials)[-1] if trials else by_macs(ratio_A, limits)
    always = [int(np.abs(ratio_A - 1).argmin()), *([int(ratio_A.argmax())] * ("macs" in control))]
    chosen = [len(retrained(ranking, settings.retrain.top_k, always)) for ranking in rankings]
    finalists = round(float(np.mean(chosen))) + ("random" in control) + ("input-size" in control)
    recipe, images = retrain_config(settings), len(run.split.train_all)
    return Job(recipe, settings.net.width, finalists, settings.retrain.retrain_seeds, recipe.epochs, images)


def standalone_jobs(run: Run, given: Settings) -> dict[str, list[Job]]:
    """The rungs of each method that trains stand-alone; those of several brackets that are trained at once are one.

    Args:
        run: open; its data and space count, its method does not.
        given: settings as the user gave them: what they leave open is resolved for each method by itself.

    Returns:
        Jobs by method, in the order in which they are done.
    """
    return {method: alone_jobs(run, given, method) for method in named("alone")}


def alone_jobs(run: Run, given: Settings, method: str) -> list[Job]:
    """The rungs of one such method.

    Args:
        run, given: as of :func:`standalone_jobs`.
        method: a value of ``--method``.

    Returns:
        Jobs in the order in which they are done.
    """
    images, val = len(run.split.search_train), len(run.split.search_val)
    settings = resolve(with_method(given, method), images, val, run.image_size)
    all_rungs = rungs(settings, run.space.size, images)
    at_once = concurrent_rungs(all_rungs, run.space.size)
    return [_job(run, settings, rung, all_rungs[-1].epochs) for rung in at_once]


def _job(run: Run, settings: ResolvedSettings, rung: Rung, epochs: int) -> Job:
    recipe = sweep_config(settings, epochs, rung.epochs)
    width = at_fidelity(run, rung).settings.net.width
    more = rung.epochs - rung.begun
    return Job(recipe, width, rung.placements, rung.seeds, more, rung.images, len(run.split.search_val))
