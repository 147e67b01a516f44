"""Stand-alone trainings as ask and tell: which to train next, and what is then expected of every placement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch.ask_tell.checks import as_metric, check_space, check_whole, macs_of
from poolsearch.ask_tell.placement_model import PlacementModel
from poolsearch.ask_tell.ranking import Ranking
from poolsearch.ask_tell.saved_state import check_same_search
from poolsearch.calibration.model import Posterior
from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.stats import wilson
from poolsearch.space import Placement, Space
from poolsearch.storage.trials_record import Prediction, RecordedTrial, recorded_trial


@dataclass(frozen=True)
class StandaloneTrial:
    """A stand-alone training that a search asks for. It holds plain values and may be pickled.

    Attributes:
        number: how many trials were asked for before this one.
        placement: to be trained alone, from its initial weights.
        seed: of the training: each placement's count from 0.
        why: ``default``: everything is told against it, and two trainings of it show the noise. ``promising``: it may
            well be the best within ``limit``.
        gain: points that it promised.
        limit: on MACs, in times the default's; None: none.
        prediction: what was expected of it, in points against the default.
    """

    number: int
    placement: Placement
    seed: int
    why: str
    gain: float
    limit: float | None
    prediction: Prediction
    search: str = field(repr=False)


@dataclass(frozen=True)
class PredictedPlacement:
    """A line of a ranking by prediction; the names are those of the columns of ranking.csv.

    Attributes:
        rank: from 1.
        placement, number: the placement, and its number in the space.
        prediction: points of the metric expected of a stand-alone training, against the default.
        prediction_low, prediction_high: its 90 % interval.
        trials: how often it was trained and told.
        macs, macs_ratio: multiply-adds, and in times the default's.
        is_default: it is what predictions are told against.
    """

    rank: int
    placement: Placement
    number: int
    prediction: float
    prediction_low: float
    prediction_high: float
    trials: int
    macs: int
    macs_ratio: float
    is_default: bool


class TrialSearch:
    """The calibrated ranking, to be asked and told; the trainings are yours.

    ::

        macs = poolsearch.placement_costs(net, image_size=224).macs_A
        search = poolsearch.TrialSearch(net.space, macs, images=len(validation_set))
        for _ in range(8):
            trial = search.ask()
            if trial is None:
                break
            search.tell(trial, train_and_validate(trial.placement, trial.seed))
        best = search.best(limit=1.0).placement

    A Bayesian model learns from the trainings what supernet scores, multiply-adds and the places of the halvings are
    worth here (docs/calibration.md#the-model). The default is trained twice first; then each time the placement that
    may well be the best, without a limit on MACs and within each limit in turns. Nothing is drawn but the part of a
    large space that is predicted: the same metrics give the same trials.

    Args:
        space: the placements. Of more than 500 the 500 best by score are predicted, without scores a random 500.
        macs: multiply-adds of each placement, in the order of the space, shape (A,).
        scores: what is known of each without training it alone, such as the metric in a supernet, higher is better, in
            any unit, shape (A,); None: nothing. Of several supernets
            :func:`poolsearch.calibration.features.mean_of_members` makes one.
        images: of the validation half that the trainings are scored on: they limit how exact a metric can be.
        default: what predictions are told against; None is the network's own.
        limits: on MACs, in times the default's, within which the best is looked for; without a limit it always is.
        at_once: trainings that are chosen together, to be done in parallel: a round.
        seed: of the random part of a large space.

    Attributes:
        model: what is known before any training. To be read.
        at_once: as given.

    Raises:
        PoolsearchError: an argument is not as above.
    """

    def __init__(
        self,
        space: Space,
        macs: ArrayLike,
        scores: ArrayLike | None = None,
        *,
        images: int,
        default: Placement | None = None,
        limits: Sequence[float] = (1.0, 1.5),
        at_once: int = 1,
        seed: int = 0,
    ) -> None:
        check_space(space)
        check_whole("images", images, "the images of the validation half")
        check_whole("at_once", at_once, "the trainings of a round")
        macs_A = macs_of(macs, space)
        score_A = None if scores is None else _scores(scores, space)
        number = _default_number(space, default)
        order = np.arange(space.size) if score_A is None else np.argsort(-score_A, kind="stable")
        model = PlacementModel.of(
            [space[int(each)] for each in order], order.tolist(), macs_A[order], macs_A[order] / macs_A[number],
            order.tolist().index(number), None if score_A is None else score_A[order], _limits(limits), int(images),
            seed,
        )  # fmt: skip
        self._begin(model, int(at_once), ())

    @classmethod
    def of_model(cls, model: PlacementModel, at_once: int, trials: Sequence[RecordedTrial] = ()) -> TrialSearch:
        """A search that goes on from recorded trials.

        Args:
            model: of the placements.
            at_once: trainings of a round.
            trials: in the order in which they were asked for; those without a value are still to be told.

        Returns:
            The search.
        """
        made = cls.__new__(cls)
        made._begin(model, at_once, trials)
        return made

    def _begin(self, model: PlacementModel, at_once: int, trials: Sequence[RecordedTrial]) -> None:
        self.model, self.at_once = model, at_once
        self._trials = list(trials)
        self._left: list[RecordedTrial] = []  # of the round, not yet asked for
        self._key = uuid4().hex  # tells trials of two searches apart; nothing is drawn by it
        self._forget()

    @property
    def trials(self) -> tuple[RecordedTrial, ...]:
        """All trials asked for, with what came of them; where a round has ended, with the predictions after it."""
        if not self._trials or self._waiting():
            return tuple(self._trials)
        last, after = self._trials[-1].round, self.predictions()
        return tuple(replace(one, after=after.get(one.placement)) if one.round == last else one for one in self._trials)

    def ask(self) -> StandaloneTrial | None:
        """The next stand-alone training.

        Returns:
            The trial; None where no placement promises a tenth of a point more than the best is expected to have.

        Raises:
            PoolsearchError: all trials of the round were asked for, and not all of them were told.
        """
        if not self._left:
            self._left = self._next_round(len(self._trials) + self.at_once)
        if not self._left:
            return None
        self._settle()
        self._trials.append(self._left.pop(0))
        return self._given(len(self._trials) - 1)

    def ask_round(self, most: int) -> list[StandaloneTrial]:
        """The trainings to begin now: a round, or what is left of one that ``most`` cut short.

        A round follows from the rounds before it alone. So whoever stops anywhere and goes on, with a larger ``most``
        or the same, trains the same placements as who never stopped.

        Args:
            most: trainings in all.

        Returns:
            None where ``most`` are done, or no training promises enough.

        Raises:
            PoolsearchError: not all trials of the rounds before were told.
        """
        found = self._next_round(most)
        self._settle()
        first, self._left = len(self._trials), []
        self._trials += found
        return [self._given(number) for number in range(first, len(self._trials))]

    def tell(self, trial: StandaloneTrial, metric: float, low: float | None = None, high: float | None = None) -> None:
        """Take in what came of a training. Trials of one round may be told in any order.

        Args:
            trial: of this search.
            metric: on the validation images, from 0 to 1, higher is better. Of a training that failed give what
                guessing reaches.
            low, high: its 95 % interval, where the metric is no mean over the images; else it follows from their
                number.

        Raises:
            PoolsearchError: the metric is no number from 0 to 1; the trial was told before, or was not asked for by
                this search. Nothing has changed then.
        """
        self._check_open(trial)
        of = f"trial {trial.number} ({trial.placement.shown}, seed {trial.seed})"
        value = as_metric(metric, of)
        if low is None or high is None:
            low, high = wilson(value * self.model.images, self.model.images)
        if not -np.inf < low <= high < np.inf:
            raise PoolsearchError(f"the interval of {of} is {low:g} to {high:g}: give its lower end, then its upper.")
        self._trials[trial.number] = replace(self._trials[trial.number], value=value, low=low, high=high)
        self._forget()

    def belief(self) -> Posterior:
        """What is known of all placements that are predicted, by the trials told so far.

        Returns:
            The posterior; its ``trust`` is the probability that the scores say anything, its ``noise`` the standard
            deviation of a training in points.
        """
        if self._belief is None:
            self._belief = self.model.belief(self._trials)
        return self._belief

    def predictions(self) -> dict[str, Prediction]:
        """What is expected of every placement that is predicted, by the trials told so far.

        Returns:
            Points against the default with their 90 % interval, by the placement's text in files.
        """
        if self._predicted is None:
            self._predicted = self.model.predictions(self.belief())
        return self._predicted

    def ranking(self) -> Ranking[PredictedPlacement]:
        """Rank the placements by what is expected of them.

        Returns:
            Rows, best first; ties are decided by fewer MACs, then by number.
        """
        model, predicted = self.model, self.predictions()
        trained = [one.placement for one in self._trials if one.value is not None]

        def place(index: int) -> tuple[float, float, int]:
            return -predicted[str(model.placements[index])].mean, float(model.macs_A[index]), model.numbers[index]

        rows: list[PredictedPlacement] = []
        for rank, index in enumerate(sorted(range(len(model.placements)), key=place), 1):
            placement = model.placements[index]
            known = predicted[str(placement)]
            rows.append(PredictedPlacement(
                rank, placement, model.numbers[index], known.mean, known.low, known.high, trained.count(str(placement)),
                int(model.macs_A[index]), float(model.macs_ratio_A[index]), placement == model.reference,
            ))  # fmt: skip
        return Ranking(rows)

    def best(self, limit: float | None = None) -> PredictedPlacement:
        """The first of the ranking within a limit.

        Args:
            limit: on MACs, in times the default's; None: none.

        Returns:
            Its row.

        Raises:
            PoolsearchError: nothing that is predicted is within the limit.
        """
        rows = self.ranking()
        within = [row for row in rows if limit is None or row.macs_ratio <= limit]
        if not within:
            least = min(row.macs_ratio for row in rows)
            raise PoolsearchError(
                f"no placement needs at most {limit:g} times the MACs of the default; the least is {least:.3g} times."
            )
        return within[0]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next trial depends on.

        Returns:
            Numbers, texts, lists and dictionaries, as of :meth:`MixtureSearch.state_dict`.
        """
        trials = [asdict(one) for one in self._trials]
        return {"kind": type(self).__name__, "of": self._identity(), "key": self._key, "trials": trials}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the same trials follow as if the search had never stopped.

        Trials that were asked for and not told are still to be told: :meth:`waiting` gives them.

        Args:
            state: of a search that was made with the same arguments.

        Raises:
            PoolsearchError: it is of other placements, scores or arguments, or damaged. Nothing has changed then.
        """
        check_same_search(type(self).__name__, state, self._identity())
        try:
            trials, key = [recorded_trial(one) for one in state["trials"]], str(state["key"])
        except (KeyError, TypeError) as error:
            raise PoolsearchError(
                f"the state is damaged ({type(error).__name__}: {error}): give what state_dict() gave, unchanged."
            ) from error
        self._begin(self.model, self.at_once, trials)
        self._key = key

    def waiting(self) -> list[StandaloneTrial]:
        """The trials that were asked for and not told.

        Returns:
            In the order in which they were asked for.
        """
        return [self._given(number) for number in self._waiting()]

    def _forget(self) -> None:
        """What was computed by the trials told so far is to be computed anew."""
        self._belief: Posterior | None = None
        self._predicted: dict[str, Prediction] | None = None

    def _waiting(self) -> list[int]:
        return [number for number, one in enumerate(self._trials) if one.value is None]

    def _next_round(self, most: int) -> list[RecordedTrial]:
        found = self.model.next_round(self._trials, self.at_once, most)
        waiting = self.waiting()
        if waiting and not (found and found[0].round == self._trials[-1].round):
            told = ", ".join(f"{trial.placement.shown} (seed {trial.seed})" for trial in waiting)
            raise PoolsearchError(
                f"the next trials are chosen by what the {self.at_once} of this round show: tell first what came of "
                f"{told}. To train more at once, make the search with a larger at_once."
            )
        return found

    def _settle(self) -> None:
        """Keep the predictions after a round that has ended, before the next one begins."""
        self._trials = list(self.trials)

    def _given(self, number: int) -> StandaloneTrial:
        one = self._trials[number]
        return StandaloneTrial(
            number, Placement.parse(one.placement), one.seed, one.why, one.gain, one.limit, one.before, self._key
        )

    def _check_open(self, trial: StandaloneTrial) -> None:
        if not isinstance(trial, StandaloneTrial):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PoolsearchError(
                f"tell() takes a trial that ask() gave, and its metric; this is a {type(trial).__name__}."
            )
        which = f"trial {trial.number} ({trial.placement.shown}, seed {trial.seed})"
        if trial.search != self._key:
            raise PoolsearchError(f"{which} was asked for by another search: tell it to that one.")
        if not 0 <= trial.number < len(self._trials) or self._given(trial.number) != trial:
            raise PoolsearchError(f"{which} was not asked for by this search: tell only what ask() gave.")
        if self._trials[trial.number].value is not None:
            raise PoolsearchError(f"{which} has been told before: tell each trial once, and ask() for the next.")

    def _identity(self) -> dict[str, Any]:
        """What a state must have in common with this search."""
        model, hashed = self.model, hashlib.sha256()
        for values in (model.macs_A, model.features.score_A):
            hashed.update(b"none" if values is None else np.ascontiguousarray(values, np.float64).tobytes())
        hashed.update("\n".join(map(str, model.placements)).encode())
        return {
            "placements": f"{len(model.placements)} placements, their MACs and scores, hash {hashed.hexdigest()[:16]}",
            "default": str(model.reference), "limits": list(model.limits), "images": model.images,
            "at_once": self.at_once,
        }  # fmt: skip


def _scores(scores: ArrayLike, space: Space) -> NDArray[np.float64]:
    score_A = np.asarray(scores, np.float64)
    if score_A.shape != (space.size,) or not np.isfinite(score_A).all():
        raise PoolsearchError(
            f"scores have the shape {score_A.shape} and {int((~np.isfinite(score_A)).sum())} that are no numbers: give "
            f"one for each of the {space.size} placements, in the order of the space, or leave them out."
        )
    return score_A


def _default_number(space: Space, default: Placement | None) -> int:
    own = space.default if default is None else default
    if own not in space:
        raise PoolsearchError(
            f"the default {own.shown} is not one of the {space.size} placements: give as default one that is, such as "
            f"space[0], which is {space[0].shown}; everything is told against it."
        )
    return space.index(own)


def _limits(limits: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(limit) for limit in limits)
    if not all(0 < limit < np.inf for limit in found):
        raise PoolsearchError(f"limits are {list(found)}: give numbers above 0, in times the MACs of the default.")
    return found
