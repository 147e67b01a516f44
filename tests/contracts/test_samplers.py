"""What every sampler owes, whatever it learns: legal placements, seeded and resumable draws, all of the space."""

import itertools
import json
from collections import Counter

import pytest
from scipy import stats

from poolsearch.placement import Placement
from poolsearch.samplers.uniform import Uniform
from poolsearch.space import Space

SAMPLERS = {"uniform": Uniform}


def full():
    return Space(6, 2, Placement.of_blocks([2, 2, 2]))


SPACES = {
    "whole": full,
    "limited": lambda: Space(6, 2, Placement.of_blocks([2, 2, 2]), low=(2, 1, 1)),
    "kept": lambda: full().keep([full()[n] for n in (1, 4, 7)]),
    "single": lambda: full().keep([full()[3]]),
}


def reward(placement):
    """Some opinion on placements, as a validation accuracy."""
    return placement.blocks[0] / 10


def draws(sampler, count):
    """So many rounds of ask and tell."""
    asked = []
    for _ in range(count):
        asked.append(sampler.ask())
        sampler.tell(asked[-1], reward(asked[-1]))
    return asked


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
class TestEverySampler:
    @pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
    def test_asks_for_placements_of_the_space_only(self, make, space):
        assert all(placement in space() for placement in draws(make(space(), 0), 200))

    @pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
    def test_reaches_every_placement(self, make, space):
        assert {*draws(make(space(), 0), 600)} == {*space()}

    def test_same_seed_same_sequence(self, make):
        assert draws(make(full(), 5), 50) == draws(make(full(), 5), 50)

    def test_another_seed_another_sequence(self, make):
        sequences = {tuple(draws(make(full(), seed), 50)) for seed in range(10)}
        assert len(sequences) == 10

    @pytest.mark.parametrize("after", [0, 1, 37])
    def test_goes_on_from_its_state(self, make, after):
        old = make(full(), 5)
        draws(old, after)
        state = old.state()
        rest = draws(old, 50)
        new = make(full(), 5)
        new.load_state(state)
        assert draws(new, 50) == rest

    def test_its_state_is_json(self, make):
        sampler = make(full(), 5)
        draws(sampler, 20)
        state = sampler.state()
        assert json.loads(json.dumps(state)) == state

    def test_asking_twice_before_telling_is_allowed(self, make):
        sampler = make(full(), 0)
        first, second = sampler.ask(), sampler.ask()
        sampler.tell(second, reward(second))
        sampler.tell(first, reward(first))
        assert sampler.ask() in full()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_uniform_is_uniform(seed):
    counts = Counter(draws(Uniform(full(), seed), 4000))
    assert stats.chisquare([counts[p] for p in full()]).pvalue > 1e-3


def test_uniform_draws_do_not_depend_on_each_other():
    pairs = Counter()
    asked = [full().index(p) for p in draws(Uniform(full(), 0), 8001)]
    for before, after in itertools.pairwise(asked):
        pairs[before, after] += 1
    assert stats.chisquare([pairs[a, b] for a in range(10) for b in range(10)]).pvalue > 1e-3


def test_uniform_ignores_rewards():
    told, untold = Uniform(full(), 3), Uniform(full(), 3)
    assert draws(told, 30) == [untold.ask() for _ in range(30)]
