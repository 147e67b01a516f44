"""Networks that compute something else in training than in evaluation: both graphs, cut at the same blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

from torch import fx

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride.find import Span, TracedNetwork
from poolsearch.nets.restride.trace import path_of


def outputs_of(value: Any) -> list[Any]:
    """What a forward pass gives, as a flat list.

    Args:
        value: one value, or tuples, lists and dictionaries of them.

    Returns:
        The values in their order.
    """
    if isinstance(value, Mapping):
        return [one for part in value.values() for one in outputs_of(part)]
    if isinstance(value, (tuple, list)):
        return [one for part in value for one in outputs_of(part)]
    return [value]


def keep_main_output(evaluation: fx.Graph, training: fx.Graph) -> tuple[int | None, tuple[str, ...]]:
    """Make the graph of training give what that of evaluation gives, without auxiliary outputs.

    Args:
        evaluation: stays as it is.
        training: loses its other outputs, and what only these need.

    Returns:
        Which of the outputs in training it is, in the order of :func:`outputs_of`, or None where there is one alone;
        and the names of the submodules that no graph runs any more.

    Raises:
        PoolsearchError: none of them is that of evaluation.
    """
    result, found = (graph.output_node().args[0] for graph in (evaluation, training))
    if isinstance(found, fx.Node) or not isinstance(result, fx.Node):
        return None, ()
    nodes = outputs_of(found)
    twin = _twins([*evaluation.nodes], [*training.nodes]).get(result)
    if twin not in nodes:
        raise PoolsearchError(
            "in training the network gives several outputs, of which none is computed like that in evaluation: wrap it "
            "in a module that gives the class logits alone."
        )
    training.output_node().args = (twin,)
    before = _modules(training)
    unread = [node for node in nodes if isinstance(node, fx.Node)]
    while unread:
        node = unread.pop()
        if not node.users and node.op != "placeholder" and node in training.nodes:
            read = node.all_input_nodes
            training.erase_node(node)
            unread += read
    return nodes.index(twin), _outermost(before, _modules(training) | _modules(evaluation))


def _outermost(before: set[str], now: set[str]) -> tuple[str, ...]:
    """The largest submodules of which none is run any more."""
    running = {".".join(path.split(".")[:depth]) for path in now for depth in range(1, path.count(".") + 2)}
    ways = ([".".join(path.split(".")[:depth]) for depth in range(1, path.count(".") + 2)] for path in before - now)
    return tuple(sorted({next(prefix for prefix in way if prefix not in running) for way in ways}))


def _modules(graph: fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op == "call_module"}


def same_spans(evaluation: TracedNetwork, training: TracedNetwork, spans: Sequence[Span]) -> list[Span]:
    """Where the blocks of evaluation are in training.

    What is computed in training only belongs to the part whose module it is in.

    Args:
        evaluation, training: the two networks.
        spans: blocks of the first.

    Returns:
        The blocks of the second, in the same order.

    Raises:
        PoolsearchError: the two run in another order.
    """
    position = {node: i for i, node in enumerate(training.order)}
    twins = _twins(evaluation.order, training.order)
    at = [position[twins[node]] if node in twins else None for node in evaluation.order]

    def moved(cut: int) -> int:
        before = [i for i in at[:cut] if i is not None]
        after = [i for i in at[cut:] if i is not None]
        first, end = max(before, default=-1) + 1, min(after, default=len(training.order))
        if first > end:
            raise PoolsearchError(f"{training.name} runs its modules in another order in training than in evaluation.")
        if cut in (0, len(evaluation.order)):
            return first if cut else end
        ours, theirs = (path_of(evaluation.order[k]) for k in (cut - 1, cut))
        between = takewhile(lambda node: _shared(path_of(node), ours) >= _shared(path_of(node), theirs),
                            training.order[first:end])  # fmt: skip
        return first + len([*between])

    return [Span(s.path, s.kind, moved(s.first), moved(s.last + 1) - 1) for s in spans]


def _shared(one: str, other: str) -> int:
    """How many parts two names have in common, from the first on."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1] != "", pairs)])


def _twins(ours: Sequence[fx.Node], theirs: Sequence[fx.Node]) -> dict[fx.Node, fx.Node]:
    """For nodes of one graph those of another that stand for the same call."""

    def keys(nodes: Sequence[fx.Node]) -> list[Any]:
        return [(node.op, str(node.target), path_of(node)) for node in nodes]

    blocks = SequenceMatcher(None, keys(ours), keys(theirs), autojunk=False).get_matching_blocks()
    return {ours[a + k]: theirs[b + k] for a, b, size in blocks for k in range(size)}
