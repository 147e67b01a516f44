"""Monte-Carlo tree search: sites are decided one after the other, each by how its choices did so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.samplers.boltzmann import softmax
from poolsearch.samplers.uniform import uniform_number, warm_up_draws
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

Node = tuple[int, int]
"""A prefix of placements, as the range (low, high) of those that begin with it, in the order of their sites."""


class PlacementTree:
    """The tree of a space, over the sites from the first (paper, appendix C): prefixes that some placement begins with.

    Differs: a prefix that only one choice follows is no node of its own, for nothing is decided there: the paper's
    binary tree without its chains. Where height and width are halved each by itself a node has up to four children.
    """

    def __init__(self, space: Space) -> None:
        exponent_AS2 = space.exponents_AL2()[:, 1:].astype(np.int16)
        code_AS = exponent_AS2[..., 0] * 256 + exponent_AS2[..., 1]
        self.number_A: NDArray[np.int64] = np.lexsort(code_AS.T[::-1])  # the first site decides first
        self._code_AS = code_AS[self.number_A]
        self._place_A = np.argsort(self.number_A)
        self.root: Node = (0, space.size)
        self._children: dict[Node, list[Node]] = {}

    def children(self, node: Node) -> list[Node]:
        """What the first undecided site makes of a node.

        Args:
            node: of this tree.

        Returns:
            Two or more nodes that divide it, in the order of their sites; none where only one placement is left.
        """
        if node not in self._children:
            self._children[node] = self._split(node)
        return self._children[node]

    def path(self, number: int) -> list[Node]:
        """The nodes on the way to a placement.

        Args:
            number: of the placement in the space.

        Returns:
            From the root to the leaf that is the placement alone, both included.
        """
        place = int(self._place_A[number])
        path = [self.root]
        while children := self.children(path[-1]):
            path.append(next(child for child in children if child[0] <= place < child[1]))
        return path

    def _split(self, node: Node) -> list[Node]:
        low, high = node
        undecided_S = np.flatnonzero(self._code_AS[low] != self._code_AS[high - 1])  # in order, the ends differ first
        if not len(undecided_S):
            return []
        code_K = self._code_AS[low:high, undecided_S[0]]
        ends = [low, *(low + 1 + np.flatnonzero(code_K[1:] != code_K[:-1])).tolist(), high]
        return list(pairwise(ends))


@dataclass
class Visits:
    """What is known of a node: how often it was drawn, how many rewards followed, and their sum."""

    asked: int = 0
    told: int = 0
    reward: float = 0.0


class TreeSearch:
    """Monte-Carlo tree search with upper confidence bounds (paper, appendix C, Eq. 6).

    From the root down, a child that was never visited is taken first, one of several at random; where all were, the
    one of the highest bound, again at random between equals. A reward is added to every node on the placement's path.

    Differs (docs/differences.md#tree-search): Eq. 6 is said to give "sampling probabilities", and it is the index of an
    argmax: so it is used, unless ``ucb_pick`` is "softmax". The text leaves c open: the default, sqrt 2, is that of
    UCB1. A placement whose reward is still under way (``score_lag``) or never comes (``val_every``) counts as a visit,
    and not in the mean. As settings, beside the paper's form: ``ucb_reward`` "advantage" takes a reward less the
    running mean of all rewards, m, which is the first reward, and then beta m + (1 - beta) reward, the present one
    included (as the score of a mixture); ``ucb_prior`` "leaves" takes the child of the highest bound of
    :func:`bounds_by_leaves`, visited or not; ``ucb_warm_up`` "forget" begins with an empty tree, but the running mean,
    after the warm-up.

    Args:
        space: to draw from.
        settings: ``ucb_c``, ``ucb_pick``, ``ucb_reward`` and its ``beta``, ``ucb_prior``; ``warm_up``, the part of the
            draws, from the first, that are uniform over placements (not over branches); ``ucb_warm_up``, whether their
            visits and rewards stay in the nodes.
        seed: of the draws.
        draws: in the whole search.

    Attributes:
        tree: the nodes.
        visits: of each node that was visited.
    """

    def __init__(self, space: Space, settings: SearchSettings, seed: int, draws: int) -> None:
        self._space, self._settings, self._seed = space, settings, seed
        self._warm_up = warm_up_draws(settings.warm_up, draws)
        self._asked = 0
        self._mean: float | None = None  # of the rewards; None before the first
        self.tree = PlacementTree(space)
        self.visits: defaultdict[Node, Visits] = defaultdict(Visits)

    def ask(self) -> Placement:
        if self._asked == self._warm_up and self._settings.ucb_warm_up == "forget":
            self.visits.clear()
        if self._asked < self._warm_up:
            path = self.tree.path(uniform_number(self._space, self._seed, self._asked))
        else:
            path = self._descend(rng.generator(self._seed, "placement", self._asked))
        for node in path:
            self.visits[node].asked += 1
        self._asked += 1
        return self._space[int(self.tree.number_A[path[-1][0]])]

    def tell(self, placement: Placement, reward: float) -> None:
        if self._settings.ucb_reward == "advantage":
            beta = self._settings.beta
            self._mean = reward if self._mean is None else beta * self._mean + (1 - beta) * reward
            reward -= self._mean
        for node in self.tree.path(self._space.index(placement)):
            self.visits[node].told += 1
            self.visits[node].reward += reward

    def state(self) -> Any:
        """Everything that the next draw depends on.

        Returns:
            A JSON value: the visited nodes, the number of draws, and the running mean of the rewards.
        """
        nodes = [[*node, seen.asked, seen.told, seen.reward] for node, seen in self.visits.items()]
        return {"asked": self._asked, "nodes": nodes, "mean": self._mean}

    def load_state(self, state: Any) -> None:
        self._asked = state["asked"]
        self._mean = state.get("mean")  # searches of older versions have none, and need none
        for low, high, *seen in state["nodes"]:
            self.visits[low, high] = Visits(*seen)

    def found(self) -> Placement:
        """What the search settles on: from the root down, the child visited most; of equals that of the higher mean.

        Differs: the paper evaluates "the found architecture" and does not say which one that is.

        Returns:
            A placement of the space, whether it was drawn or not.
        """
        node = self.tree.root
        while children := self.tree.children(node):
            seen_K = [self.visits.get(child, Visits()) for child in children]
            mean_K = means(self.visits[node], seen_K)
            node = children[max(range(len(children)), key=lambda k: (seen_K[k].asked, mean_K[k]))]
        return self._space[int(self.tree.number_A[node[0]])]

    def _descend(self, draw: np.random.Generator) -> list[Node]:
        path = [self.tree.root]
        while children := self.tree.children(path[-1]):
            path.append(children[self._pick(path[-1], children, draw)])
        return path

    def _pick(self, node: Node, children: Sequence[Node], draw: np.random.Generator) -> int:
        seen_K = [self.visits.get(child, Visits()) for child in children]
        c = self._settings.ucb_c
        if self._settings.ucb_prior == "leaves":
            share_K = [leaves(child) / leaves(node) for child in children]
            bound_K = bounds_by_leaves(self.visits[node], seen_K, share_K, c)
        else:
            new = [k for k, seen in enumerate(seen_K) if seen.asked == 0]
            if new:
                return new[int(draw.integers(len(new)))]
            bound_K = bounds(self.visits[node], seen_K, c)
        if self._settings.ucb_pick == "softmax":
            cumulative_K = softmax(np.array(bound_K)).cumsum()
            return int(np.searchsorted(cumulative_K, draw.random() * cumulative_K[-1], side="right"))
        best = [k for k, bound in enumerate(bound_K) if bound == max(bound_K)]
        return best[int(draw.integers(len(best)))]


def leaves(node: Node) -> int:
    """How many placements begin with a prefix.

    Args:
        node: the prefix.

    Returns:
        At least 1.
    """
    low, high = node
    return high - low


def bounds(parent: Visits, child_K: Sequence[Visits], c: float) -> list[float]:
    """Upper confidence bounds of children that were all visited: a/n + c sqrt(log(n of the parent) / n) (Eq. 6).

    The mean of a child without a reward so far is the parent's.

    Args:
        parent: its visits.
        child_K: those of its children, each drawn at least once.
        c: weight of exploration.

    Returns:
        K bounds, in the order of the children.
    """
    log = float(np.log(parent.asked))
    return [
        mean + c * math.sqrt(log / child.asked) for mean, child in zip(means(parent, child_K), child_K, strict=True)
    ]


def bounds_by_leaves(parent: Visits, child_K: Sequence[Visits], share_K: Sequence[float], c: float) -> list[float]:
    """Bounds of children, visited or not: a/n + c P sqrt(n of the parent) / (1 + n), P the child's share of the leaves.

    The rule is PUCT, as AlphaGo Zero has it (Silver et al. 2017), with leaves in the place of a network's priors. Where
    the means are equal, the highest is that of the highest P / (1 + n): visits are then in proportion to P, where those
    by Eq. 6 are alike for every child.

    The mean of a child without a reward so far is the parent's.

    Args:
        parent: its visits.
        child_K: those of its children.
        share_K: P; they sum to 1.
        c: weight of exploration.

    Returns:
        K bounds, in the order of the children.
    """
    root = math.sqrt(parent.asked)
    return [
        mean + c * share * root / (1 + child.asked)
        for mean, share, child in zip(means(parent, child_K), share_K, child_K, strict=True)
    ]


def means(parent: Visits, child_K: Sequence[Visits]) -> list[float]:
    """The mean reward of each child.

    Args:
        parent: its visits; its mean stands for a child that had no reward so far.
        child_K: those of its children.

    Returns:
        K means, in the order of the children; 0 where the parent had no reward either.
    """
    mean = parent.reward / max(1, parent.told)
    return [child.reward / child.told if child.told else mean for child in child_K]
