"""Every placement once, in a random order: random search without replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.space import Placement, Space


class EachOnce:
    """Goes through all placements in a random order; then again, in another.

    Args:
        space: to draw from.
        seed: of the orders.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._asked = 0
        self._round, self._order_A = -1, np.empty(0, np.int64)

    def ask(self) -> Placement:
        number = int(self._order(self._asked // self._space.size)[self._asked % self._space.size])
        self._asked += 1
        return self._space[number]

    def tell(self, placement: Placement, reward: float) -> None:
        """Nothing to learn: the order does not depend on rewards.

        Args:
            placement, reward: ignored.
        """

    def state(self) -> int:
        return self._asked

    def load_state(self, state: int) -> None:
        self._asked = state

    def _order(self, number: int) -> NDArray[np.int64]:
        if number != self._round:
            self._round = number
            self._order_A = rng.generator(self._seed, "each-once", number).permutation(self._space.size)
        return self._order_A
