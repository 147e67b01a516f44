"""Tree search against UCB1 by hand, and against visits counted anew from what was drawn."""

import math

import numpy as np
import pytest

from poolsearch.options import SearchSettings
from poolsearch.placement import Placement
from poolsearch.samplers.tree import PlacementTree, TreeSearch, Visits, bounds
from poolsearch.samplers.uniform import Uniform
from poolsearch.space import Space

SPACE = Space(6, 2, Placement.of_blocks([2, 2, 2]))
SPACES = {
    "whole": SPACE,
    "limited": Space(8, 2, Placement.of_blocks([3, 3, 2]), low=(2, 1, 1), high=(4, 4, 8)),
    "kept": SPACE.take([0, 3, 4, 8]),
    "axes": Space(4, 1, Placement.of_blocks([2, 2]), axes="h,w"),
}
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def sampler(space, draws=100, seed=0, **changes):
    return TreeSearch(space, SearchSettings(**changes), seed, draws)


def begins(space, prefix):
    return {p for p in space if p.sites[: len(prefix)] == prefix}


def deciding(space):
    """Prefixes after which several choices are possible, with these choices, found by looking at all placements."""
    prefixes = {p.sites[:n] for p in space for n in range(space.length - 1)}
    choices = {prefix: {p.sites[len(prefix)] for p in begins(space, prefix)} for prefix in prefixes}
    return {prefix: found for prefix, found in choices.items() if len(found) > 1}


@spaces
def test_the_nodes_are_the_prefixes_after_which_something_is_decided(space):
    tree = PlacementTree(space)
    found, open_nodes = {}, [tree.root]
    for node in open_nodes:
        members = [frozenset(space[int(n)] for n in tree.number_A[slice(*child)]) for child in tree.children(node)]
        if members:
            found[frozenset().union(*members)] = set(members)
        open_nodes += tree.children(node)
    assert found == {
        frozenset(begins(space, prefix)): {frozenset(begins(space, (*prefix, site))) for site in sites}
        for prefix, sites in deciding(space).items()
    }


@spaces
@pytest.mark.parametrize("changes", [{}, {"warm_up": 0.3}, {"ucb_pick": "softmax"}, {"ucb_c": 0.1}])
def test_every_draw_and_all_visits_follow_from_the_history(space, changes):
    mcts, c = sampler(space, **changes), changes.get("ucb_c", math.sqrt(2))
    history: list[tuple[Placement, float]] = []
    decided = deciding(space)
    for draw in range(100):
        placement = mcts.ask()
        if draw >= 100 * changes.get("warm_up", 0):
            for prefix, sites in decided.items():
                if placement.sites[: len(prefix)] != prefix:
                    continue
                rewards = {s: [r for p, r in history if p in begins(space, (*prefix, s))] for s in sites}
                total = sum(map(len, rewards.values()))
                taken = placement.sites[len(prefix)]
                if any(not seen for seen in rewards.values()):
                    assert not rewards[taken]
                elif changes.get("ucb_pick") != "softmax":
                    ucb = {s: np.mean(seen) + c * math.sqrt(math.log(total) / len(seen)) for s, seen in rewards.items()}
                    assert ucb[taken] >= max(ucb.values()) - 1e-12
        history.append((placement, space.index(placement) / space.size))
        mcts.tell(*history[-1])
    for (low, high), seen in mcts.visits.items():
        below = {space[int(n)] for n in mcts.tree.number_A[low:high]}
        rewards = [r for p, r in history if p in below]
        assert (seen.asked, seen.told) == (len(rewards), len(rewards))
        assert seen.reward == pytest.approx(sum(rewards))


def test_one_decision_is_ucb1_by_hand():
    """Rewards 1 and 0, c = sqrt 2. Each once; then with n, m visits of the good and the bad, by the bounds
    1 + sqrt(2 log(n+m)/n) and sqrt(2 log(n+m)/m):

    n=1 m=1: 2.177, 1.177 good. 2, 1: 2.048, 1.482 good. 3, 1: 1.961, 1.665 good. 4, 1: 1.897, 1.794 good.
    5, 1: 1.847, 1.893 bad. 5, 2: 1.882, 1.395 good. 6, 2: 1.833, 1.442 good.
    """
    space = SPACE.take([0, 9])
    mcts, asked = sampler(space), []
    for _ in range(9):
        asked.append(mcts.ask())
        mcts.tell(asked[-1], float(asked[-1] == space[1]))
    assert {*asked[:2]} == {*space}
    assert [space.index(p) for p in asked[2:]] == [1, 1, 1, 1, 0, 1, 1]


def test_bounds_by_hand():
    parent = Visits(asked=8, told=6, reward=3.0)
    found = bounds(parent, [Visits(4, 4, 2.4), Visits(3, 2, 0.6), Visits(1, 0, 0.0)], 0.5)
    log = math.log(8)
    expected = [0.6 + 0.5 * math.sqrt(log / 4), 0.3 + 0.5 * math.sqrt(log / 3), 0.5 + 0.5 * math.sqrt(log)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_equal_children_are_picked_at_random():
    """Without rewards or exploration all bounds are 0, so both of two are drawn about as often."""
    space = SPACE.take([0, 9])
    mcts = sampler(space, ucb_c=0.0)
    first = sum(mcts.ask() == space[0] for _ in range(200))
    assert abs(first - 100) < 4 * math.sqrt(50)


def test_the_warm_up_is_uniform_over_placements_and_ends_at_its_part():
    mcts, uniform = sampler(SPACE, draws=40, warm_up=0.5, ucb_c=0.0), Uniform(SPACE, 0)
    asked = []
    for _ in range(20):
        asked.append(mcts.ask())
        mcts.tell(asked[-1], 0.0)
    assert asked == [uniform.ask() for _ in range(20)]
    assert mcts.visits[mcts.tree.root].told == 20
    assert [mcts.ask() for _ in range(20)] != [uniform.ask() for _ in range(20)]


def test_the_state_holds_visited_nodes_only():
    space = Space(20, 5, Placement.of_blocks([4, 4, 3, 3, 3, 3]))
    mcts = sampler(space)
    mcts.tell(mcts.ask(), 0.5)
    assert len(mcts.state()["nodes"]) <= space.length
