"""Networks that compute something else in training than in evaluation: both graphs, cut at the same blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from inspect import signature
from itertools import takewhile
from typing import Any, cast

from torch import fx

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride.find import Span, TracedNetwork
from poolsearch.nets.restride.measure import MeasuredGraph
from poolsearch.nets.restride.program import as_given
from poolsearch.nets.restride.trace import path_of


def outputs_of(value: Any) -> list[Any]:
    """What a forward pass gives, as a flat list.

    Args:
        value: one value, or tuples, lists, dictionaries and dataclasses of them.

    Returns:
        The values in their order.
    """
    return [one for _, one in named_outputs(value)]


def named_outputs(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """As :func:`outputs_of`, each value with what it is called.

    Args:
        value: as of :func:`outputs_of`.
        name: of the value itself.

    Returns:
        Each with its key or place, such as ``aux.0``; that of one value is empty.
    """
    parts = _parts(value)
    if parts is None:
        return [(name, value)]
    return [found for key, part in parts.items() for found in named_outputs(part, f"{name}.{key}".removeprefix("."))]


def _parts(value: Any) -> Mapping[str, Any] | None:
    """What a value consists of, by key, field or place; None: it is one."""
    if isinstance(value, Mapping):
        return {str(key): part for key, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return cast("Any", value)._asdict()
    if isinstance(value, (tuple, list)):
        return {str(place): part for place, part in enumerate(cast("Sequence[Any]", value))}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, fx.Node) and isinstance(value.target, type):  # a named tuple or dataclass in a graph
        return signature(value.target).bind(*value.args, **value.kwargs).arguments
    return None


def _has_one(graph: fx.Graph) -> bool:
    """Whether a graph gives one value."""
    return _parts(graph.output_node().args[0]) is None


@dataclass(frozen=True)
class MainOutput:
    """Which of a network's outputs is kept, where it has several.

    Attributes:
        at: which one in evaluation, and which in training, in the order of :func:`outputs_of`.
        names: what the outputs in evaluation are called: keys of a dictionary, places in a tuple; empty where there is
            one tensor alone.
    """

    at: tuple[int, int]
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What that in evaluation is called."""
        return self.names[self.at[0]] if self.names else ""


def keep_main_output(
    graphs: Sequence[fx.Graph], measured: Callable[[fx.Graph], MeasuredGraph], classes: int | None, name: str
) -> tuple[MainOutput | None, tuple[str, ...]]:
    """Make graphs give the class logits alone, where they give any.

    Of several outputs in evaluation that is the one tensor of shape (B, classes); in training it is the one that is
    computed alike.

    Args:
        graphs: in evaluation, and in training where that is another one. They lose their other outputs, and what only
            these need.
        measured: measures a graph; asked only where one in evaluation has to be chosen.
        classes: how many there are, to choose by; None: it is not known.
        name: of the network, for errors.

    Returns:
        Which output is kept, or None where all are: there is one alone, or none in evaluation is of that shape; and the
        names of the submodules that no graph runs any more.

    Raises:
        PoolsearchError: several can be the class logits, or none in training is that of evaluation.
    """
    evaluation, *others = graphs
    outputs = [named_outputs(graph.output_node().args[0]) for graph in graphs]
    if all(map(_has_one, graphs)):
        return None, ()
    logits = _logits(outputs[0], measured(evaluation).values, classes, name)
    if logits is None:
        return None, ()
    names = () if _has_one(evaluation) else tuple(key for key, _ in outputs[0])
    at = [logits]
    for training, found in zip(others, outputs[1:], strict=True):
        nodes = [node for _, node in found]
        twin = _twins([*evaluation.nodes], [*training.nodes]).get(outputs[0][at[0]][1])
        if len(nodes) > 1 and twin not in nodes:
            raise PoolsearchError(
                "in training the network gives several outputs, of which none is computed like that in evaluation: "
                "wrap it in a module that gives the class logits alone."
            )
        at.append(nodes.index(twin) if len(nodes) > 1 else 0)
    before = set[str]().union(*map(_modules, graphs))
    for graph, found, place in zip(graphs, outputs, at, strict=True):
        _give(graph, found, place)
    now = set[str]().union(*map(_modules, graphs))
    return MainOutput((at[0], at[-1]), names), _outermost(before, now)


def _logits(
    outputs: Sequence[tuple[str, Any]], values: Mapping[fx.Node, Any], classes: int | None, name: str
) -> int | None:
    """Which of several outputs is the class logits; None: they are something else, such as maps."""
    shapes = [(*getattr(values.get(node), "shape", ()),) for _, node in outputs]
    if not shapes:
        raise PoolsearchError(
            f"{name} gives nothing where it is traced: what hooks collect is not seen. Give a network that returns its "
            "maps; of timm one made with features_only=True, feature_cls='fx'."
        )
    fit = [i for i, shape in enumerate(shapes) if len(shape) == 2]
    if len(fit) > 1 and classes is not None:
        fit = [i for i in fit if shapes[i][1] == classes]
    if len(fit) > 1 or not any(shapes):
        forms = [f"[{', '.join(map(str, ('B', *shape[1:])))}]" if shape else "no tensor" for shape in shapes]
        given = ", ".join(f"'{key}' ({form})" for (key, _), form in zip(outputs, forms, strict=True)) or "nothing"
        raise PoolsearchError(
            f"{name} does not give the class logits as one tensor: it gives {given}, of which "
            f"{'several are' if fit else 'none is'} of shape [B, {classes or 'classes'}]. Wrap it in a module that "
            "gives the class logits alone, or keep all that it gives with outputs='all' (in Python)."
        )
    return fit[0] if fit else None


def _give(graph: fx.Graph, outputs: Sequence[tuple[str, Any]], place: int) -> None:
    """Make a graph give one of its outputs, without what only the others need."""
    unread = [*graph.output_node().all_input_nodes, *(other for _, other in outputs if isinstance(other, fx.Node))]
    graph.output_node().args = (outputs[place][1],)
    while unread:
        other = unread.pop()
        if not other.users and other.op != "placeholder" and other in graph.nodes:
            read = other.all_input_nodes
            graph.erase_node(other)
            unread += read


def give_all(graph: fx.Graph, like: Any) -> None:
    """Make one node of a graph stand for all that it gives, of the network's own types.

    Args:
        graph: of a forward pass; changed where it gives a tuple, a list or a dictionary.
        like: what the network itself gives: torch.fx writes every dictionary as a plain one.
    """
    output = graph.output_node()
    if not isinstance(output.args[0], fx.Node):
        with graph.inserting_before(output):
            node = graph.call_function(as_given, (_typed(graph, output.args[0], like),))
            node.meta["path"] = ""
        output.args = (node,)


def _typed(graph: fx.Graph, value: Any, like: Any) -> Any:
    """A structure of nodes, with its dictionaries of the types of those of ``like``."""
    if isinstance(value, Mapping) and isinstance(like, Mapping) and value.keys() == like.keys():
        parts = {key: _typed(graph, part, like[key]) for key, part in cast("Mapping[Any, Any]", value).items()}
        if type(like) is dict:
            return parts
        node = graph.call_function(type(like), (parts,))
        node.meta["path"] = ""
        return node
    if isinstance(value, (tuple, list)) and isinstance(like, (tuple, list)) and not hasattr(value, "_fields"):
        parts = [_typed(graph, *pair) for pair in zip(value, cast("Sequence[Any]", like), strict=True)]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def has_mapping(graph: fx.Graph) -> bool:
    """Whether a dictionary is among what a graph gives.

    Args:
        graph: of a forward pass.

    Returns:
        True where one is, at any depth.
    """
    left = [graph.output_node().args[0]]
    while left:
        if isinstance(value := left.pop(), Mapping):
            return True
        left += value if isinstance(value, (tuple, list)) else []
    return False


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
