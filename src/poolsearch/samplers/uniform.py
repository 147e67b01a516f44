"""Uniform sampling: every placement is as likely, at every step."""

from __future__ import annotations

from poolsearch import rng
from poolsearch.space import Placement, Space


class Uniform:
    """Draws placements independently and uniformly (paper, section 2.2 and Eq. 1)."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._asked = 0

    def ask(self) -> Placement:
        number = uniform_number(self._space, self._seed, self._asked)
        self._asked += 1
        return self._space[number]

    def tell(self, placement: Placement, reward: float) -> None:
        """Nothing to learn: the draw does not depend on rewards.

        Args:
            placement: not looked at.
            reward: not looked at.
        """

    def state(self) -> int:
        return self._asked

    def load_state(self, state: int) -> None:
        self._asked = state


def uniform_number(space: Space, seed: int, draw: int) -> int:
    """Draw a placement uniformly, as every sampler does that has nothing to go by yet.

    Args:
        space: to draw from.
        seed: of the run.
        draw: which draw it is (0-based); the same one gives the same placement.

    Returns:
        The number of the placement, 0..A-1.
    """
    return int(rng.generator(seed, "placement", draw).integers(space.size))


def warm_up_draws(part: float, draws: int) -> int:
    """How many draws, from the first, are uniform.

    Source: docs/differences.md#uniform-warm-up.

    Args:
        part: the warm-up as a fraction of all draws.
        draws: in the whole search.

    Returns:
        Rounded to a whole number.
    """
    return round(part * draws)
