"""Tree search against UCB1 by hand, and against visits counted anew from what was drawn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsearch.evaluation.stats import kendall_tau
from poolsearch.samplers.tree import PlacementTree, TreeSearch, Visits, bounds, bounds_by_leaves
from poolsearch.samplers.uniform import Uniform
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

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


def worths(rewards, changes):
    """What counts of each reward: itself, or less the running mean, as the documentation of the class has it."""
    if changes.get("ucb_reward") != "advantage":
        return rewards
    beta, mean, found = changes.get("beta", 0.9), rewards[0] if rewards else 0.0, []
    for reward in rewards:
        mean = beta * mean + (1 - beta) * reward  # of the first: the reward itself
        found.append(reward - mean)
    return found


def allowed(seen, choices, changes):
    """The sites that may follow, by a brute-force reading of both rules.

    Args:
        seen: what counts of each reward below each site.
        choices: how many placements each site leads to.
    """
    c, n = changes.get("ucb_c", math.sqrt(2)), {site: len(values) for site, values in seen.items()}
    everything, total = [value for values in seen.values() for value in values], sum(n.values())
    if changes.get("ucb_prior") == "leaves":
        share = {site: count / sum(choices.values()) for site, count in choices.items()}
        unknown = np.mean(everything) if everything else 0.0
        mean = {site: np.mean(values) if values else unknown for site, values in seen.items()}
        bound = {site: mean[site] + c * share[site] * math.sqrt(total) / (1 + n[site]) for site in seen}
    elif 0 in n.values():
        return {site for site in n if n[site] == 0}
    else:
        bound = {site: np.mean(seen[site]) + c * math.sqrt(math.log(total) / n[site]) for site in seen}
    return {site for site in bound if bound[site] >= max(bound.values()) - 1e-12}


@spaces
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"warm_up": 0.3},
        {"ucb_pick": "softmax"},
        {"ucb_c": 0.1},
        {"ucb_reward": "advantage", "warm_up": 0.3, "ucb_c": 0.1, "beta": 0.8},
        {"ucb_prior": "leaves", "ucb_c": 0.3},
        {"ucb_prior": "leaves", "ucb_reward": "advantage", "ucb_c": 0.3},
        {"ucb_prior": "leaves", "ucb_pick": "softmax"},
        {"warm_up": 0.3, "ucb_warm_up": "forget", "ucb_reward": "advantage"},
        {"warm_up": 0.3, "ucb_warm_up": "forget", "ucb_prior": "leaves"},
    ],
    ids=str,
)
def test_every_draw_and_all_visits_follow_from_the_history(space, changes):
    mcts = sampler(space, **changes)
    asked: list[Placement] = []
    rewards: list[float] = []
    decided = deciding(space)
    warm_up = round(100 * changes.get("warm_up", 0))
    forgotten = 0
    for draw in range(100):
        placement = mcts.ask()
        if draw == warm_up and changes.get("ucb_warm_up") == "forget":
            forgotten = draw
        known = list(zip(asked, worths(rewards, changes), strict=True))[forgotten:]
        if draw >= warm_up and changes.get("ucb_pick") != "softmax":
            for prefix, sites in decided.items():
                if placement.sites[: len(prefix)] == prefix:
                    below = {site: begins(space, (*prefix, site)) for site in sites}
                    seen = {site: [worth for p, worth in known if p in below[site]] for site in sites}
                    choices = {site: len(below[site]) for site in sites}
                    assert placement.sites[len(prefix)] in allowed(seen, choices, changes)
        asked.append(placement)
        rewards.append(space.index(placement) / space.size + 0.005 * draw)
        mcts.tell(placement, rewards[-1])
    known = list(zip(asked, worths(rewards, changes), strict=True))[forgotten:]
    for (low, high), seen in mcts.visits.items():
        below = {space[int(n)] for n in mcts.tree.number_A[low:high]}
        values = [worth for p, worth in known if p in below]
        assert (seen.asked, seen.told) == (len(values), len(values))
        assert seen.reward == pytest.approx(sum(values))


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


def test_bounds_by_leaves_by_hand():
    """P = 1/2, 3/8, 1/8 of 16 visits, c = 2: c P sqrt(16) = 4, 3, 1, divided by 1 + n."""
    parent = Visits(asked=16, told=10, reward=5.0)
    found = bounds_by_leaves(
        parent, [Visits(9, 8, 4.8), Visits(7, 2, 0.2), Visits(0, 0, 0.0)], [0.5, 0.375, 0.125], 2.0
    )
    np.testing.assert_allclose(found, [0.6 + 4 / 10, 0.1 + 3 / 8, 0.5 + 1 / 1], rtol=1e-12)


@spaces
@pytest.mark.parametrize("reward", [0.0, 0.7])
@pytest.mark.parametrize("of", ["raw", "advantage"])
def test_with_equal_rewards_priors_by_leaves_draw_every_placement_equally_often(space, reward, of):
    """To take the highest P / (1 + n) is d'Hondt's division of seats: at a multiple of the leaves it is exact, in
    every node. Eq. 6 draws children equally often instead, and so placements behind few decisions more often."""
    by_leaves, by_branch = sampler(space, ucb_prior="leaves", ucb_reward=of), sampler(space, ucb_reward=of)
    counts = [[0] * space.size for _ in range(2)]
    for turn in range(1, 13):
        for _ in range(space.size):
            for count, mcts in zip(counts, (by_leaves, by_branch), strict=True):
                placement = mcts.ask()
                count[space.index(placement)] += 1
                mcts.tell(placement, reward)
        if reward == 0:  # of sums of 0.7 the means are only nearly equal
            assert counts[0] == [turn] * space.size
        else:
            assert max(counts[0]) - min(counts[0]) <= 2
    tree = by_branch.tree
    visits = [by_branch.visits[child].asked for child in tree.children(tree.root)]
    assert max(visits) - min(visits) <= 1


@given(
    reward=st.lists(st.integers(0, 64), min_size=60, max_size=60),
    above=st.integers(-64, 64),
    prior=st.sampled_from(["none", "leaves"]),
    warm_up=st.sampled_from([0.0, 0.4]),
)
@settings(max_examples=30, deadline=None)
def test_an_advantage_does_not_change_when_all_rewards_are_higher(reward, above, prior, warm_up):
    """Every draw is the same, to the bit: of 64ths and halves, 40 running means need 47 bits: none is rounded."""
    changes = {"ucb_reward": "advantage", "beta": 0.5, "ucb_prior": prior, "warm_up": warm_up, "ucb_c": 0.1}
    one, other = sampler(SPACE, draws=60, **changes), sampler(SPACE, draws=60, **changes)
    for value in reward[:40]:
        placement = one.ask()
        assert other.ask() == placement
        one.tell(placement, value / 64)
        other.tell(placement, (value + above) / 64)


RISES = {
    "none": lambda part: 0.0 * part,
    "linear": lambda part: 0.6 * part,
    "root": lambda part: 0.6 * math.sqrt(part),
    "saturating": lambda part: 0.6 * (1 - math.exp(-5 * part)),
}


def late_draws(space, rise, draws=1500, **changes):
    """How often each placement is drawn in the last third, when its reward is its number's and all rise alike."""
    mcts, found = sampler(space, draws, **changes), np.zeros(space.size)
    value_A = np.random.default_rng(5).permutation(space.size) / space.size * 0.08
    for draw in range(draws):
        placement = mcts.ask()
        mcts.tell(placement, 0.1 + value_A[space.index(placement)] + RISES[rise](draw / draws))
        found[space.index(placement)] += draw >= draws * 2 / 3
    return kendall_tau(found, value_A), value_A[found.argmax()] / value_A.max()


@pytest.mark.parametrize("warm_up", [0.0, 0.5])
@pytest.mark.parametrize("rise", RISES)
def test_advantages_find_the_best_placements_while_all_rewards_rise(rise, warm_up):
    space = Space(10, 2, Placement.of_blocks([4, 3, 3]))  # 36 placements
    changes = {"ucb_reward": "advantage", "ucb_prior": "leaves", "ucb_c": 0.3, "warm_up": warm_up}
    agrees, best = late_draws(space, rise, **changes)
    assert agrees > 0.5 and best > 0.9


@pytest.mark.parametrize("c", [2**0.5, 0.05])
def test_raw_rewards_that_rise_lock_the_tree_in_after_a_warm_up_whatever_its_constant(c):
    """Why advantages are there: the branch that is drawn after the warm-up has the highest mean for that alone."""
    space = Space(10, 2, Placement.of_blocks([4, 3, 3]))
    agrees, _ = late_draws(space, "linear", ucb_c=c, warm_up=0.5)
    assert agrees < 0.3


def test_what_was_found_is_by_the_most_visits_from_the_root_down():
    """Not the placement visited most: 1,1,4 is behind two decisions only. Of equals, that of the higher mean reward."""
    mcts = sampler(SPACE)
    assert mcts.found() in SPACE  # nothing is known
    visits = {"1,1,4": 10, "2,1,3": 4, "3,1,2": 5, "3,2,1": 5, "4,1,1": 3}
    for name, count in visits.items():
        placement = Placement.parse(name)
        for node in mcts.tree.path(SPACE.index(placement)):
            mcts.visits[node].asked += count
        mcts.tell(placement, 0.9 if name == "3,2,1" else 0.5)
    assert str(mcts.found()) == "3,2,1"


def test_the_state_of_an_older_version_goes_on():
    """It had no running mean, and raw rewards do not need one."""
    old, new = sampler(SPACE), sampler(SPACE)
    for draw in range(20):
        old.tell(old.ask(), draw / 20)
    state = old.state()
    assert state.pop("mean") is None
    new.load_state(state)
    assert [new.ask() for _ in range(10)] == [old.ask() for _ in range(10)]


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
