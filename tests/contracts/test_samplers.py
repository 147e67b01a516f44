"""What every sampler owes, whatever it learns: legal placements, seeded and resumable draws, all of the space."""

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from poolsearch.samplers import contract
from poolsearch.samplers.contract import check_sampler, favourite, play
from poolsearch.samplers.make import make_sampler
from poolsearch.samplers.tree import PlacementTree
from poolsearch.samplers.uniform import Uniform
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space
from poolsearch.user_code import factory_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_sampler.py"


def of_method(method, **changes):
    """As FACTORY of a user's file: a sampler from the space, the seed and the number of draws."""
    settings = SearchSettings(method=method, members=1, inv_temp_end=100.0, **changes)
    return lambda space, seed, draws: make_sampler(method, space, settings, seed, draws)


LEARNING = {
    "bse": of_method("bse"),
    "bse, first": of_method("bse", score_init="first"),
    "bse, warm-up": of_method("bse", warm_up=0.25),
    "mcts": of_method("mcts"),
    "mcts, warm-up": of_method("mcts", warm_up=0.25),
    "mcts, advantage": of_method("mcts", ucb_reward="advantage", ucb_c=0.1),
    "mcts, leaves": of_method("mcts", ucb_prior="leaves", ucb_reward="advantage"),
    "mcts, forget": of_method("mcts", ucb_prior="leaves", ucb_reward="advantage", warm_up=0.25, ucb_warm_up="forget"),
    "example": factory_of(EXAMPLE, "make", "sampler"),
}
HARDLY_LEARNING = {
    "mcts, softmax": of_method("mcts", ucb_pick="softmax"),
    "mcts, softmax, warm-up": of_method("mcts", ucb_pick="softmax", warm_up=0.25),
}
SAMPLERS = {"uniform": of_method("spos"), "own": of_method(f"{EXAMPLE}:make"), **LEARNING, **HARDLY_LEARNING}


def full():
    return Space(6, 2, Placement.of_blocks([2, 2, 2]))


SPACES = {
    "whole": full,
    "limited": lambda: Space(6, 2, Placement.of_blocks([2, 2, 2]), low=(2, 1, 1)),
    "kept": lambda: full().keep([full()[n] for n in (1, 4, 7)]),
    "single": lambda: full().keep([full()[3]]),
    "axes": lambda: Space(4, 1, Placement.of_blocks([2, 2]), axes="h,w"),
    "axes, kept": lambda: Space(4, 1, Placement.of_blocks([2, 2]), axes="h,w").take([0, 1, 5, 8]),
}
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def nearly_flat(space, placement, step):
    """Rewards from 0.5 to 0.6."""
    return 0.5 + 0.1 * space.index(placement) / space.size


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
class TestEverySampler:
    @spaces
    def test_keeps_the_contract(self, make, space):
        check_sampler(make, space())

    @spaces
    def test_reaches_every_placement(self, make, space):
        """In tree search by the bound below; by softmax a child that was visited less than another is drawn with a
        probability of at least 1/e^0.1 of the other's. In warm-ups and for the example: 100 uniform draws miss one of
        10 with a probability of 3e-4. Boltzmann: a placement not drawn has the highest score, or the mean, and then
        odds of at least e^(-0.05/temperature) against any other: on average 7 draws before 1/temperature is 100."""
        assert {*play(make(space(), 0, 400), space(), 0, 400, nearly_flat)} == {*space()}

    def test_another_seed_another_sequence(self, make):
        assert len({tuple(play(make(full(), seed, 50), full(), 0, 50)) for seed in range(10)}) == 10

    @pytest.mark.parametrize("after", [9, 10, 11, 37])  # the warm-ups have 10 of the contract's 40 draws
    def test_goes_on_from_its_state(self, make, after):
        contract.check_resumable(make, full(), after)


@pytest.mark.parametrize("make", LEARNING.values(), ids=LEARNING)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("space", ["whole", "kept", "axes"])
def test_a_sampler_that_learns_finds_the_best_of_a_bandit(make, seed, space):
    space = SPACES[space]()
    assert favourite(make, space, 300, seed) == contract.best(space)


@pytest.mark.parametrize("make", HARDLY_LEARNING.values(), ids=HARDLY_LEARNING)
@pytest.mark.parametrize("seed", [0, 1])
def test_softmax_of_bounds_prefers_the_better_of_two(make, seed):
    """By odds of e^0.7 at most, however long it goes on: rewards of 0 and 1 are only e to 1. In a deeper tree the
    placements behind few decisions are drawn more often than the best."""
    space = full().keep([full()[1], full()[8]])
    assert favourite(make, space, 300, seed) == contract.best(space)


def fewest(visits, children, c, spread):
    """What each child of a tree search has got after so many visits of its parent, at the very least.

    The child visited most has had visits / children of them. When it was picked last, its bound was the highest:
    mean + c sqrt(log(N) / n) >= mean' + c sqrt(log(N) / n') with another child's n', means that differ by at most
    ``spread``, n its visits but the last, and N no less than that. Solved for n'.
    """
    most = math.ceil(visits / children) - 1
    if most < 2:
        return 1 if visits >= children else 0
    return max(1, math.ceil((spread / (c * math.sqrt(math.log(most))) + most**-0.5) ** -2))


def fewest_of_leaves(tree, node, visits, c, spread):
    children = tree.children(node)
    if not children:
        return visits
    each = fewest(visits, len(children), c, spread)
    return min(fewest_of_leaves(tree, child, each, c, spread) for child in children)


@spaces
def test_tree_search_is_sure_to_reach_every_placement_in_time(space):
    """Whatever the rewards, as long as they differ by no more than 0.1."""
    tree = PlacementTree(space())
    assert fewest_of_leaves(tree, tree.root, 400, math.sqrt(2), 0.1) >= 1


UNIFORM = {
    "spos": of_method("spos"),
    "mixture": of_method("mixture"),
    "warm-up of bse": of_method("bse", warm_up=1.0),
    "warm-up of mcts": of_method("mcts", warm_up=1.0),
}


@pytest.mark.parametrize("make", UNIFORM.values(), ids=UNIFORM)
def test_uniform_is_uniform_and_stays_so_whatever_the_rewards(make):
    asked = play(make(full(), 0, 3000), full(), 0, 3000)
    for part in (asked, asked[-1000:]):
        counts = Counter(part)
        assert stats.chisquare([counts[p] for p in full()]).pvalue > 1e-3


def test_uniform_draws_do_not_depend_on_each_other():
    pairs = Counter()
    asked = [full().index(p) for p in play(Uniform(full(), 0), full(), 0, 8001)]
    for before, after in itertools.pairwise(asked):
        pairs[before, after] += 1
    assert stats.chisquare([pairs[a, b] for a in range(10) for b in range(10)]).pvalue > 1e-3


def test_uniform_ignores_rewards():
    told, untold = Uniform(full(), 3), Uniform(full(), 3)
    assert play(told, full(), 0, 30) == [untold.ask() for _ in range(30)]


class Faulty(Uniform):
    """A sampler with one fault of those that the contract is there for."""

    def __init__(self, fault, space, seed, other):
        super().__init__(space, {"seed": 0, "unseeded": next(other)}.get(fault, seed))
        self.fault, self.asks = fault, [0]

    def ask(self):
        self.asks[0] += 1
        if self.fault == "illegal" and self.asks[0] == 20:
            return Placement.of_blocks([1, 1])
        if self.fault in ("forgets", "shares") and self.asks[0] > 25:
            return self._space[0]
        return super().ask()

    def state(self):
        asked = super().state()
        return {"tuple": (asked,), "set": {asked}, "shares": [asked, self.asks]}.get(self.fault, asked)

    def load_state(self, state):
        if self.fault == "shares":
            state, self.asks = state
        super().load_state(state[0] if self.fault == "tuple" else state)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("illegal", "ask() number 19 gave Placement"),
        ("unseeded", "with the same seed, told the same, asked for different"),
        ("seed", "the seed is not used"),
        ("tuple", "after 0 draws is not the same when read back from JSON"),
        ("set", "no JSON value: Object of type set is not JSON serializable"),
        ("forgets", "resumed from its state after"),
        ("shares", "which changed while the sampler went on"),
    ],
)
def test_the_contract_finds_faults(fault, said):
    other = itertools.count()
    with pytest.raises(AssertionError) as found:
        check_sampler(lambda space, seed, _: Faulty(fault, space, seed, other), full())
    assert said in str(found.value)


def test_the_contract_finds_no_fault_where_there_is_none():
    check_sampler(lambda space, seed, _: Faulty("none", space, seed, itertools.count()), full())
