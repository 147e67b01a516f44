"""What stand-alone trainings so far say about all placements, and which to train next."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch import rng
from poolsearch.calibration.choose import next_placements
from poolsearch.calibration.features import Features
from poolsearch.calibration.model import Observations, Posterior, posterior
from poolsearch.space import Placement
from poolsearch.storage.trials_record import Prediction, RecordedTrial

MOST_PREDICTED = 500
"""The model holds a covariance of all pairs of placements: of a longer ranking the first, without one a random part."""

_NORMAL_95 = 1.959964  # half the width of a 95 % interval, in standard deviations


@dataclass(frozen=True)
class PlacementModel:
    """The placements that are predicted, and what is known of each before any training.

    Attributes:
        placements: A of them.
        numbers: of each, in the space.
        macs_A: of each.
        features: of these; their ``default`` is the reference, which predictions are told against.
        macs_ratio_A: MACs in times the default's.
        limits: on MACs, in times the default's, within which the best is looked for.
        images: of the validation half.
    """

    placements: Sequence[Placement]
    numbers: Sequence[int]
    macs_A: NDArray[np.float64]
    features: Features
    macs_ratio_A: NDArray[np.float64]
    limits: tuple[float, ...]
    images: int

    @classmethod
    def of(
        cls,
        placements: Sequence[Placement],
        numbers: Sequence[int],
        macs_A: ArrayLike,
        macs_ratio_A: ArrayLike,
        reference: int,
        score_A: ArrayLike | None,
        limits: Sequence[float],
        images: int,
        seed: int,
    ) -> PlacementModel:
        """Of these placements, or of a part of them where there are more than :data:`MOST_PREDICTED`.

        Args:
            placements: where there are scores, the most promising first.
            numbers: of each, in the space.
            macs_A, macs_ratio_A: of each, also in times the default's.
            reference: the place of the one that predictions are told against.
            score_A: what is known of each without training it alone, higher is better; None: nothing but its MACs.
            limits, images: see the attributes.
            seed: of the part, which is random where there are no scores.

        Returns:
            The model.
        """
        kept = _kept(len(placements), reference, score_A is not None, seed)
        placements, macs_A = [placements[place] for place in kept], np.asarray(macs_A, float)[kept]
        score_A = None if score_A is None else np.asarray(score_A)[kept]
        return cls(
            placements, [numbers[place] for place in kept], macs_A,
            Features.of(placements, macs_A, kept.index(reference), score_A), np.asarray(macs_ratio_A, float)[kept],
            tuple(limits), images,
        )  # fmt: skip

    @property
    def reference(self) -> Placement:
        """Which placement predictions are told against."""
        return self.placements[self.features.default]

    def belief(self, trials: Sequence[RecordedTrial]) -> Posterior:
        """What is known of all placements.

        Args:
            trials: that have ended; with none it is what is believed before any.

        Returns:
            The posterior.
        """
        return posterior(self.features, self._observed(trials), noise_floor(trials, self.images))

    def predictions(self, belief: Posterior) -> dict[str, Prediction]:
        """What is expected of every placement.

        Args:
            belief: from :meth:`belief`.

        Returns:
            Points against the reference, by the placement's text in files.
        """
        low_A, high_A = belief.interval_A()
        values = zip(self.placements, belief.mean_A.tolist(), low_A.tolist(), high_A.tolist(), strict=True)
        return {str(placement): Prediction(*own) for placement, *own in values}

    def next_round(self, trials: Sequence[RecordedTrial], at_once: int, most: int) -> list[RecordedTrial]:
        """The trainings to begin now: a round, or what is left of one that ``most`` cut short.

        A round follows from the rounds before it alone. So whoever stops anywhere and goes on, with a larger ``most``
        or the same, trains the same placements as who never stopped.

        Args:
            trials: all so far, all of which have ended.
            at_once: trainings of a round.
            most: trainings in all.

        Returns:
            None where ``most`` are done, or no training promises enough.
        """
        last = trials[-1].round if trials else 1
        for number in (last, last + 1):
            before = [one for one in trials if one.round < number]
            begun = [one for one in trials if one.round == number]
            left = self._round(before, number, at_once)[len(begun) :][: max(0, most - len(trials))]
            if left:
                return left
        return []

    def _round(self, before: Sequence[RecordedTrial], number: int, at_once: int) -> list[RecordedTrial]:
        """All trainings of a round."""
        suggested = next_placements(
            self.features, self._observed(before), noise_floor(before, self.images), self.macs_ratio_A, self.limits,
            at_once,
        )  # fmt: skip
        expected = self.predictions(self.belief(before))
        seeds = [one.placement for one in before]
        found: list[RecordedTrial] = []
        for one in suggested:
            placement = str(self.placements[one.index])
            seed, seeds = seeds.count(placement), [*seeds, placement]
            found.append(RecordedTrial(placement, seed, number, one.why, one.gain, one.limit, expected[placement]))
        return found

    def _observed(self, trials: Sequence[RecordedTrial]) -> Observations:
        index = {str(placement): place for place, placement in enumerate(self.placements)}
        known = [
            (index[one.placement], 100 * one.value)
            for one in trials
            if one.value is not None and one.placement in index  # another --rank-top may have left it out since
        ]
        return Observations.of([place for place, _ in known], [points for _, points in known])


def noise_floor(trials: Sequence[RecordedTrial], images: int) -> float:
    """The least standard deviation of a training's metric, in points: what the choice of search-val images makes of it.

    Two networks are told apart on the same n images. Let each be wrong in a part e of them, and let half of what one
    gets wrong be wrong in the other, too, as is usual of networks of one kind. Then a part e of the images is right in
    one network alone, and the variance of the difference is e / n. Each training has half of it:

        floor = 100 sqrt(e / (2 n)) = 100 s sqrt(1 / (2 p)),   with s = sqrt(p (1 - p) / n) and p = 1 - e.

    s is taken from the 95% interval of the training, so that it holds for every metric; the factor is 1 at most. Of
    several trainings it is the root of the mean square.

    Args:
        trials: that have ended; with none half of the images count as wrong.
        images: n.

    Returns:
        Points.
    """
    known = [(one.value, one.low, one.high) for one in trials if one.value is not None]
    squares = [
        ((high - low) / (2 * _NORMAL_95)) ** 2 * min(1.0, 1 / (2 * value) if value > 0 else 1.0)
        for value, low, high in known
        if low is not None and high is not None
    ]
    return 100 * math.sqrt(statistics.fmean(squares) if squares else 0.25 / images)


def _kept(size: int, reference: int, scored: bool, seed: int) -> list[int]:
    """Which placements the model holds."""
    if size <= MOST_PREDICTED:
        return list(range(size))
    order = range(size) if scored else rng.generator(seed, "predicted").permutation(size).tolist()
    return sorted({*order[:MOST_PREDICTED], reference})
