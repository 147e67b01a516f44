"""Boltzmann softmax exploration: the better a placement scored, the likelier it is, and ever more so."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.mixture.temperature import inverse_temperature
from poolsearch.samplers.uniform import uniform_number, warm_up_draws
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

INV_TEMP_END = 100.0
"""Where the inverse temperature ends when nothing else is asked for: as that of a mixture of one."""


class Boltzmann:
    """Draws placement c with p(c) = softmax(inv_temp * a_c) (paper, appendix C, Eq. 7).

    The inverse temperature grows from 1 over all draws, in a warm-up too. (Eq. 7 has the symbol of a temperature for
    it: docs/differences.md#temperature-and-its-inverse.)

    Differs (docs/differences.md#boltzmann-exploration): the text says neither where it ends nor what a_c is. Here it
    ends at ``inv_temp_end`` (100, as that of a mixture of one), and a_c is the moving average of the rewards of c, as
    the score of a mixture (Eq. 2).

    Args:
        space: to draw from.
        settings: ``inv_temp_end`` and ``schedule`` of the inverse temperature; ``beta``, the weight of the past in a
            score; ``score_init``, the score of a placement that never had a reward, "first" being the mean of all that
            had one; ``warm_up``, the part of the draws, from the first, that are uniform.
        seed: of the draws.
        draws: in the whole search.
    """

    def __init__(self, space: Space, settings: SearchSettings, seed: int, draws: int) -> None:
        self._space, self._settings, self._seed, self._draws = space, settings, seed, draws
        self._inv_temp_end = INV_TEMP_END if settings.inv_temp_end is None else settings.inv_temp_end
        self._warm_up = warm_up_draws(settings.warm_up, draws)
        self._asked = 0
        self._score_A = np.full(space.size, 0.0 if settings.score_init == "first" else settings.score_init)
        self._told_A = np.zeros(space.size, bool)

    def ask(self) -> Placement:
        if self._asked < self._warm_up:
            number = uniform_number(self._space, self._seed, self._asked)
        else:
            cumulative_A = self.probability_A().cumsum()
            draw = rng.generator(self._seed, "placement", self._asked).random()
            # below 1, the draw times the last sum stays below the last sum, rounding or not
            number = int(np.searchsorted(cumulative_A, draw * cumulative_A[-1], side="right"))
        self._asked += 1
        return self._space[number]

    def tell(self, placement: Placement, reward: float) -> None:
        number, beta = self._space.index(placement), self._settings.beta
        whole = self._settings.score_init == "first" and not self._told_A[number]
        self._score_A[number] = reward if whole else beta * self._score_A[number] + (1 - beta) * reward
        self._told_A[number] = True

    def state(self) -> Any:
        """Everything that the next draw depends on.

        Returns:
            A JSON value: the number of draws, and the scores of placements that had a reward.
        """
        told = np.flatnonzero(self._told_A)
        return {"asked": self._asked, "numbers": told.tolist(), "scores": self._score_A[told].tolist()}

    def load_state(self, state: Any) -> None:
        self._asked = state["asked"]
        self._score_A[state["numbers"]] = state["scores"]
        self._told_A[state["numbers"]] = True

    def inv_temp(self) -> float:
        """The inverse temperature of the next draw.

        Returns:
            1 at the first draw, ``inv_temp_end`` at the last and after it.
        """
        progress = min(1.0, self._asked / max(1, self._draws - 1))
        return inverse_temperature(progress, self._inv_temp_end, self._settings.schedule)

    def probability_A(self) -> NDArray[np.float64]:
        """The probability of each placement in the next draw, where that is not of the warm-up (Eq. 7).

        Returns:
            Shape (A,), by the numbers of the placements; sums to one.
        """
        return softmax(self.inv_temp() * filled_score_A(self._score_A, self._told_A, self._settings.score_init))


def filled_score_A(
    score_A: NDArray[np.float64], told_A: NDArray[np.bool_], score_init: float | Literal["first"]
) -> NDArray[np.float64]:
    """The scores by which placements are drawn.

    Args:
        score_A: moving averages of rewards, shape (A,).
        told_A: which placements had a reward, shape (A,).
        score_init: with "first" placements without a reward count as the mean of all others; else scores stay.

    Returns:
        Shape (A,); ``score_A`` itself where nothing is to be replaced.
    """
    if score_init != "first" or not told_A.any():
        return score_A
    return np.where(told_A, score_A, score_A[told_A].mean())


def softmax(logit_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(logit) over its sum, without overflow for large logits.

    Args:
        logit_K: K finite numbers.

    Returns:
        Shape (K,), in the same order; sums to one.
    """
    weight_K = np.exp(logit_K - logit_K.max())
    return weight_K / weight_K.sum()
