"""The job that fits into the hours: its sizes and prices from an open run, what is chosen, why, what it can show."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from poolsearch.evaluation.smallest_difference import StudySize, alike_images, smallest_difference
from poolsearch.inspection_results import ChosenSetting, Estimate, HoursFit, SmallestDifference
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.settings.check import used, with_method
from poolsearch.settings.methods import usual_method
from poolsearch.settings.resolve import trials_of
from poolsearch.settings.settings import DECLARED
from poolsearch.stages.planning.hours import (
    LEAST_RETRAIN_STEPS,
    LEAST_SEARCH_STEPS,
    LEAST_SEEDS,
    LEAST_TRIALS,
    MOST_SEEDS,
    JobPrices,
    JobSize,
    ladder,
    largest_within,
    least_epochs,
)
from poolsearch.stages.planning.jobs import Job, rankings_after
from poolsearch.stages.planning.options import Measurements, rank_estimate, search_estimate, test_seconds
from poolsearch.storage.run_record import typed
from poolsearch.texts import command

SIZES = tuple(field.name for field in dataclasses.fields(JobSize))
"""The settings that are fitted to the hours."""

_ACCURACIES = (0.9, 0.7)  # at which the smallest difference is told
_REPORT_SECONDS = 3.0


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        settings: as given.
        keep: names of settings that stay as they are though they have their default's value.
        hours: that the job may take.
    """

    settings: Settings
    keep: Collection[str]
    hours: float

    @property
    def method(self) -> str:
        """As in ``--method``; where it is left to us, that of the defaults."""
        given = self.settings.search.method
        return usual_method(self.settings.search.preset) if given == "auto" else given

    def fixed(self, name: str) -> bool:
        """Whether a setting stays as it is.

        Args:
            name: of the setting.

        Returns:
            Whether it was given.
        """
        values = {item: value for _, item, value in self.settings.flat()}
        return name in self.keep or values[name] != DECLARED[name].default


def members_to_price(run: Run, asked: Asked) -> list[int]:
    """Every M that a size may have.

    Args:
        run: open.
        asked: what the user fixed.

    Returns:
        Ascending; the M that is set is the last.
    """
    most = run.settings.search.members if asked.method == "mixture" else 1
    return [most] if asked.fixed("members") else [*(2**i for i in range(most.bit_length()) if 2**i < most), most]


def sizes_of(run: Run, asked: Asked) -> list[JobSize]:
    """The ladder of sizes that the job may have.

    Args:
        run: open; what its settings say is the full job.
        asked: what the user fixed, and so is the same in all.

    Returns:
        From the least to the full one.
    """
    settings, searched = run.settings, used("epochs", asked.method)
    full = JobSize(
        epochs=settings.search.epochs if searched else 0,
        members=members_to_price(run, asked)[-1],
        retrain_epochs=settings.retrain.retrain_epochs,
        retrain_seeds=settings.retrain.retrain_seeds if asked.fixed("retrain_seeds") else MOST_SEEDS,
        top_k=settings.retrain.top_k,
        control=settings.retrain.control,
        trials=trials_of(with_method(settings.given, asked.method)) if used("trials", asked.method) else 0,
    )
    search_steps, retrain_steps = _steps(run)
    least = JobSize(
        epochs=least_epochs(search_steps, LEAST_SEARCH_STEPS, full.epochs) if searched else 0,
        members=1,
        retrain_epochs=least_epochs(retrain_steps, LEAST_RETRAIN_STEPS, full.retrain_epochs),
        retrain_seeds=LEAST_SEEDS,
        top_k=1,
        control=(),
        trials=min(LEAST_TRIALS, full.trials) if asked.method == "bayes" else 0,
    )
    kept = {name: getattr(full, name) for name in SIZES if asked.fixed(name)}
    return ladder(dataclasses.replace(least, **kept), full)


def _steps(run: Run) -> tuple[int, int]:
    """Training steps of an epoch, of the search and of the retraining."""
    split, settings = run.split, run.settings
    return len(split.search_train) // settings.search.batch, len(split.train_all) // settings.retrain.retrain_batch


def prices_of(run: Run, last: Job, prices: Measurements, opened: float, members: list[int], trials: int) -> JobPrices:
    """What the parts of the job cost here.

    Args:
        run: open, with the mixture as its method.
        last: the retraining that was measured.
        prices: measured for it, and for these members.
        opened: seconds that opening the run took.
        members: each M to price.
        trials: as many as the job may have.

    Returns:
        Prices of all sizes with one of these M.
    """
    alone = prices.alone[last]
    once = {m: run.settings.changed(members=m, epochs=1, preset="robust") for m in members}
    default, settings = run.space.default, run.settings
    test = test_seconds(run, prices)
    # a process starts about as the workers do
    start = Estimate.of(opened + alone.crew.opening + _REPORT_SECONDS, 0.5)
    return JobPrices(
        start,
        {m: search_estimate(run, one.search, prices) for m, one in once.items()},
        {m: rank_estimate(run, m, prices) for m in members},
        alone.step,
        _steps(run)[1],
        alone.crew,
        test + alone.crew.begin,
        run.macs_A / run.costs.macs(default),
        run.space.index(default) if default in run.space else None,
        settings.retrain.answer_at,
        trial_steps=_steps(run)[0],
        trial_epochs=settings.given.alone.trial_epochs,
        trial_score=float(test.mean()) * len(run.split.search_val) / len(run.split.test),
        by_trials=rankings_after(run, trials),
    )


@dataclass(frozen=True)
class Fitted:
    """What was chosen: the method, the size and its prices, and whether it fits; where nothing does, the least."""

    method: str
    size: JobSize
    prices: JobPrices
    fits: bool


def fit(run: Run, asked: Asked, prices: JobPrices, sweep: Estimate, spent: float) -> Fitted:
    """The largest job that fits.

    With ``--method auto`` that is a sweep where the hours are enough for one that trains in full and three seeds.

    Args:
        run: open.
        asked: the hours, and what is fixed.
        prices: of all sizes.
        sweep: what training all placements by themselves would take.
        spent: seconds that are gone already.

    Returns:
        The largest that fits, or the least.
    """
    sizes, room = sizes_of(run, asked), 3600 * asked.hours - spent

    def largest(of: list[JobSize], prices: JobPrices) -> JobSize | None:
        return largest_within(of, lambda size: prices.takes(size).seconds, room)

    if asked.settings.search.method == "auto":
        alone, full = dataclasses.replace(prices, sweep=sweep), sizes[-1]
        whole = [s for s in sizes if (s.retrain_epochs, s.members) == (full.retrain_epochs, full.members)]
        if found := largest(whole, alone):
            return Fitted("sweep", found, alone, True)
    found = largest(sizes, prices)
    return Fitted(asked.method, found or sizes[0], prices, found is not None)


def told(run: Run, asked: Asked, fitted: Fitted) -> HoursFit:
    """What was chosen, as plain values.

    Args:
        run: open.
        asked: the hours, and what is fixed.
        fitted: what was chosen.

    Returns:
        Settings with their reasons, the command, its time, and what it can show.
    """
    size, prices, fits = fitted.size, fitted.prices, fitted.fits
    chosen = _chosen(asked, fitted, sizes_of(run, asked))
    given = with_settings(asked.settings, {one.name: one.value for one in chosen})
    answers = 1 + len(set(run.settings.retrain.answer_at))
    study = StudySize(max(2, int(prices.networks(size))), size.retrain_seeds, _images(run), answers)
    return HoursFit(
        asked.hours,
        fits,
        command("run", *typed(given)),
        chosen,
        prices.start,
        prices.takes(size),
        tuple(SmallestDifference(accuracy, smallest_difference(study, accuracy)) for accuracy in _ACCURACIES)
        if size.retrain_seeds > 1
        else (),
        len(run.split.test),
        size.retrain_seeds,
        answers,
    )


def with_settings(settings: Settings, chosen: Mapping[str, Any]) -> Settings:
    """The settings of the job that was chosen; the hours are used up.

    Args:
        settings: as given.
        chosen: values by the names of settings, the method perhaps among them.

    Returns:
        What the run is given.
    """
    method = chosen.get("method", settings.search.method)
    return with_method(settings, method).changed(**chosen).changed(hours=None)


def _chosen(asked: Asked, fitted: Fitted, sizes: list[JobSize]) -> tuple[ChosenSetting, ...]:
    method, size, least, full = fitted.method, fitted.size, sizes[0], sizes[-1]
    named = asked.fixed("method") and asked.settings.search.method != "auto"
    single = method == "mixture" and size.members == 1 < full.members and not (named or asked.fixed("members"))
    found: list[ChosenSetting] = []
    if single:
        why = f"one supernet; {full.members} when there is more time"
        found.append(ChosenSetting("method", "spos", why))
    elif asked.settings.search.method == "auto":
        why = "the hours are enough to train every placement by itself" if method == "sweep" else "the default"
        found.append(ChosenSetting("method", method, why))
    for name in SIZES:
        if not used(name, method) or (name == "members" and (single or method != "mixture")):
            continue
        value = getattr(size, name)
        if name == "trials" and not (full.trials or asked.fixed(name)):
            continue
        if asked.fixed(name):
            why = "as given"
        elif name == "retrain_seeds":
            why = _why_seeds(size.retrain_seeds)
        elif value == getattr(full, name):
            why = "the default"
        elif value == getattr(least, name):
            why = f"the least that is of use; {_text(getattr(full, name))} by default"
        else:
            why = f"as many as fit; {_text(getattr(full, name))} by default"
        found.append(ChosenSetting(name, value, why))
    return tuple(found)


def _why_seeds(seeds: int) -> str:
    usual = int(DECLARED["retrain_seeds"].default)
    if seeds == usual:
        return "the default"
    return f"a verdict needs two; {usual} by default" if seeds < usual else "the more, the smaller a difference shows"


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _images(run: Run) -> float:
    """Test images, or as many that count alike."""
    class_N = run.measure(run.split.test).class_N
    if class_N is None:
        return len(run.split.test)
    counts = np.bincount(class_N)
    return alike_images([int(count) for count in counts if count])
