"""A sampler of one's own in one file: epsilon-greedy. Mostly the best placement so far, sometimes any.

poolsearch search --method examples/my_sampler.py:make

``make`` is called with the space, the seed, and the number of draws in the whole search. ``python
examples/my_sampler.py`` sees that the sampler keeps what every sampler owes (seeded, resumable, legal placements). To
give it a name, move the file to src/poolsearch/samplers/ and add a line to SAMPLERS in samplers/make.py,
``"greedy": lambda space, settings, seed, draws: make(space, seed, draws)``, and ``"greedy": "sampled"`` to METHODS in
methods.py.
"""

from __future__ import annotations

import numpy as np

from poolsearch import Placement, Space, rng
from poolsearch.samplers.contract import check_sampler


class EpsilonGreedy:
    """Asks for the placement of the highest mean reward, or with probability ``epsilon`` for any.

    Means begin with one reward of 1, so that every placement is tried.
    """

    def __init__(self, space: Space, seed: int, epsilon: float = 0.2) -> None:
        self.space, self.seed, self.epsilon = space, seed, epsilon
        self.asked = 0
        self.count_A = np.ones(space.size)
        self.sum_A = np.ones(space.size)

    def ask(self) -> Placement:
        draw = rng.generator(self.seed, "placement", self.asked)  # keyed by the step: nothing to save but the step
        self.asked += 1
        if draw.random() < self.epsilon:
            return self.space[int(draw.integers(self.space.size))]
        return self.space[int(np.argmax(self.sum_A / self.count_A))]

    def tell(self, placement: Placement, reward: float) -> None:
        number = self.space.index(placement)
        self.count_A[number] += 1
        self.sum_A[number] += reward

    def state(self) -> list:
        return [self.asked, self.count_A.tolist(), self.sum_A.tolist()]

    def load_state(self, state: list) -> None:
        self.asked = state[0]
        self.count_A, self.sum_A = np.array(state[1]), np.array(state[2])


def make(space: Space, seed: int, draws: int) -> EpsilonGreedy:
    return EpsilonGreedy(space, seed)


if __name__ == "__main__":
    check_sampler(make, Space(10, 2, Placement.parse("4,3,3")))
    print("It keeps what every sampler owes.")
