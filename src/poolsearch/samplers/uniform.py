"""Uniform sampling: every placement is as likely, at every step."""

from __future__ import annotations

from poolsearch import rng
from poolsearch.placement import Placement
from poolsearch.space import Space


class Uniform:
    """Draws placements independently and uniformly (paper, section 2.2 and Eq. 1)."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._asked = 0

    def ask(self) -> Placement:
        draw = rng.generator(self._seed, "placement", self._asked)
        self._asked += 1
        return self._space[int(draw.integers(self._space.size))]

    def tell(self, placement: Placement, reward: float) -> None:
        """Nothing to learn: the draw does not depend on rewards."""

    def state(self) -> int:
        return self._asked

    def load_state(self, state: int) -> None:
        self._asked = state
