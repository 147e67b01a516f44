"""Rankings that may come out: from them a plan knows how many placements will be retrained, and which. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolsearch.calibration.choose import next_placements
from poolsearch.calibration.features import Features
from poolsearch.calibration.model import Observations, posterior
from poolsearch.evaluation.budget_picks import answers_of

Floats = NDArray[np.float64]

_LIKE_MACS = 0.7  # correlation of a ranking with log MACs; kendall_tau 0.5, as MACs alone have with Table 6
_BY_MACS = 16  # drawn of these
_BY_PREDICTION = 8  # and of these, each of which takes a tenth of a second
_NOISE_FLOOR = 0.7  # points: of some 2,000 validation images


@dataclass(frozen=True)
class Ranking:
    """One that may come out.

    Attributes:
        order: places of the placements, best first.
        picks: of the answers: the first within each limit, and the first of all.
    """

    order: list[int]
    picks: list[int]

    @classmethod
    def of(cls, order: list[int], macs_ratio_A: Floats, limits: Sequence[float]) -> Ranking:
        """From an order.

        Args:
            order: places of the placements, best first.
            macs_ratio_A: MACs of each placement, in times the default's.
            limits: of the answers, in times the default's MACs.

        Returns:
            The ranking with its picks.
        """
        answers = answers_of(macs_ratio_A[order].tolist(), limits)
        return cls(order, [order[answer.place] for answer in answers if answer.place is not None])

    def of_numbers(self, numbers: NDArray[np.int64]) -> Ranking:
        """The same ranking of the placements that these places stand for.

        Args:
            numbers: of the placement at each place.

        Returns:
            A ranking of numbers.
        """
        return Ranking(numbers[self.order].tolist(), numbers[self.picks].tolist())


def by_macs(macs_ratio_A: Floats, limits: Sequence[float]) -> list[Ranking]:
    """Rankings by supernets, or by trainings of all placements.

    They agree with MACs as much as rankings do: so costly placements are in front more often.

    Args:
        macs_ratio_A: MACs of each placement, in times the default's.
        limits: of the answers.

    Returns:
        The same ones for the same placements.
    """
    draw = np.random.default_rng(0)
    like_A = np.log(macs_ratio_A)
    like_A = (like_A - like_A.mean()) / (like_A.std() or 1.0)
    found: list[Ranking] = []
    for _ in range(_BY_MACS):
        luck_A = draw.standard_normal(len(like_A))
        order = np.argsort(-(_LIKE_MACS * like_A + math.sqrt(1 - _LIKE_MACS**2) * luck_A)).tolist()
        found.append(Ranking.of(order, macs_ratio_A, limits))
    return found


def by_prediction(features: Features, macs_ratio_A: Floats, limits: Sequence[float], most: int) -> list[list[Ranking]]:
    """Rankings by what a model learned from trials.

    What a placement is worth is drawn from what the model believes before any trial, and trials are then chosen and
    learned from as in a run: so few trials leave the default and one other in front, in most runs.

    Args:
        features: of the placements, without scores.
        macs_ratio_A: MACs of each placement, in times the default's.
        limits: of the answers.
        most: trials.

    Returns:
        After 0, 1, ... ``most`` trials, several rankings each; the same ones for the same placements.
    """
    found: list[list[Ranking]] = [[] for _ in range(most + 1)]
    before = posterior(features, Observations.of())
    weight_C = np.array([one.weight for one in before.components])
    for seed in range(_BY_PREDICTION):
        draw = np.random.default_rng(seed)
        drawn = before.components[int(draw.choice(len(weight_C), p=weight_C / weight_C.sum()))]
        worth_A = draw.multivariate_normal(drawn.mean_A, drawn.covariance_AA, method="eigh")
        noise = math.hypot(drawn.noise, _NOISE_FLOOR)
        index_T, points_T = list[int](), list[float]()
        for trials in range(most + 1):
            observed = Observations.of(index_T, points_T)
            mean_A = posterior(features, observed, _NOISE_FLOOR).mean_A
            order = np.lexsort((macs_ratio_A, -mean_A)).tolist()
            found[trials].append(Ranking.of(order, macs_ratio_A, limits))
            asked = next_placements(features, observed, _NOISE_FLOOR, macs_ratio_A, limits, 1)
            for one in asked:  # none where nothing promises enough
                index_T.append(one.index)
                points_T.append(float(worth_A[one.index]) + noise * float(draw.standard_normal()))
    return found


def retrained(ranking: Ranking, top_k: int, always: Sequence[int]) -> list[int]:
    """Who is retrained after a ranking.

    Args:
        ranking: one that may come out.
        top_k: so many of the first.
        always: who is retrained in any case: the default, controls.

    Returns:
        Places of the placements, each once.
    """
    return sorted({*ranking.order[:top_k], *ranking.picks, *always})
