"""Where the blocks of a network are: named by the user, or found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain, dropwhile, pairwise

from torch import fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride.measure import MeasuredGraph, alive_before
from poolsearch.nets.restride.norms import use_batch_statistics
from poolsearch.nets.restride.shrink import pair, resizes
from poolsearch.nets.restride.trace import blank_copy

BlockName = str | tuple[str, ...]
"""A submodule or a pattern of several, or submodules that run one after another and make one block together."""

# Layers that hand on a list of all maps so far, so that more than one is alive between them
_DENSE_LAYERS = ("_DenseLayer", "DenseLayer")


@dataclass(frozen=True)
class TracedNetwork:
    """A traced network: its nodes in the order they run, its submodules on the meta device, its maps.

    Attributes:
        blank, training: its structure in evaluation and in training.
        order: the nodes that compute something.
        reach: how many of them may be in blocks; the others are the head's.
        maps: entry k has the maps that are needed before node k of those, the last those needed after them.
        kept: why a submodule is kept whole, by its name.
        uneven: names of those that are since they cannot be traced in one of the modes.
    """

    name: str
    graph: fx.Graph
    blank: nn.Module
    training: nn.Module
    layers: dict[str, nn.Module]
    measured: MeasuredGraph
    order: list[fx.Node]
    reach: int
    maps: list[list[fx.Node]]
    kept: Mapping[str, str]
    uneven: frozenset[str]

    @classmethod
    def of(
        cls,
        graph: fx.Graph,
        blank: nn.Module,
        measured: MeasuredGraph,
        kept: Mapping[str, str],
        uneven: frozenset[str] = frozenset(),
    ) -> TracedNetwork:
        """A traced network, with what can be read off its graph.

        Args:
            graph: of ``blank``.
            blank: the model on the meta device; set to evaluation.
            measured: what was seen when the graph was run.
            kept, uneven: see above.

        Returns:
            The network, with a copy of ``blank`` in training.
        """
        order = [n for n in graph.nodes if n.op not in ("placeholder", "get_attr", "output")]
        start = next(n for n in graph.nodes if n.op == "placeholder")
        maps = alive_before(order, start, measured.maps.__contains__, None)
        training = blank_copy(blank).train()
        use_batch_statistics(training)  # running averages may need numbers, which there are none of
        layers = dict(blank.named_modules())
        return cls(
            type(blank).__name__, graph, blank.eval(), training, layers, measured, order, len(order), maps, kept, uneven
        )

    @cached_property
    def alive(self) -> list[int]:
        """How many maps are needed before each node that may be in a block, and after them."""
        return [len(nodes) for nodes in self.maps]

    def spatial(self, node: fx.Node) -> bool:
        """Whether a node is a convolution that sees its neighbours.

        Args:
            node: of the network's graph.

        Returns:
            True for a ``Conv2d`` layer with a kernel of more than one pixel along some axis.
        """
        layer = self.layers.get(str(node.target)) if node.op == "call_module" else None
        return layer is not None and _is_spatial(layer)

    def convolves(self, node: fx.Node) -> bool:
        """Whether a block can begin with a node: as :meth:`spatial`, or a module that holds such a convolution.

        Args:
            node: of the network's graph.

        Returns:
            True for such a layer, and for such a module that is kept whole since chance decides in training what it
            computes.
        """
        whole = self.layers[str(node.target)].modules() if str(node.target) in self.uneven else ()
        return self.spatial(node) or any(map(_is_spatial, whole))


@dataclass(frozen=True)
class Span:
    """Nodes ``first`` to ``last`` (inclusive) of a network's order: a block without what stands in front of it."""

    path: str
    kind: str
    first: int
    last: int


def how_to_name(net: TracedNetwork) -> str:
    """What to do where the blocks that were found do not serve.

    Args:
        net: the traced network.

    Returns:
        A sentence.
    """
    runs = [path for path in _runs(net) if path and [*net.layers[path].children()]]
    own = [path for path in runs if "." in path] or runs or [path for path in _runs(net) if path]
    return (
        f"Other blocks are named with --blocks (in Python blocks=[...]): names of submodules such as "
        f"{', '.join(repr(path) for path in own[:3])}, or patterns of them such as 'layer*.*'."
    )


def run_whole(net: TracedNetwork) -> str:
    """Which parts of a network may hold sites that are not found, and why.

    Args:
        net: the traced network.

    Returns:
        A sentence, or nothing.
    """
    parts = [(path, why) for path, why in net.kept.items() if any(map(_is_spatial, net.layers[path].modules()))]
    if not parts:
        return ""
    path, why = parts[0]
    more = f" (and {len(parts) - 1} more)" if len(parts) > 1 else ""
    kind = type(net.layers[path]).__name__
    return f"'{path}' ({kind}){more} of {net.name} is run whole, since its forward pass cannot be traced ({why}). "


def _is_spatial(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1


def named_blocks(net: TracedNetwork, names: Sequence[BlockName]) -> list[Span]:
    """The blocks of these names.

    Args:
        net: the traced network.
        names: names of submodules, in any order; a tuple of names makes one block of several. In a shell pattern, such
            as ``layer?.*``, a star stands for one part of a name, between dots; it makes a block of every match.

    Returns:
        Where each of them is, in the order they run.

    Raises:
        PoolsearchError: a name or pattern is of no submodule, or it does not run once and in one piece, or two overlap.
    """
    runs = _runs(net)
    spans = []
    for name in dict.fromkeys(chain.from_iterable(_matching(net, given, runs) for given in names)):
        parts = [_span_of(net, part, runs) for part in ((name,) if isinstance(name, str) else name)]
        kind = parts[0].kind if len(parts) == 1 else "+".join(p.kind for p in parts)
        spans.append(Span(parts[0].path, kind, min(p.first for p in parts), max(p.last for p in parts)))
    spans.sort(key=lambda s: s.first)
    for a, b in pairwise(spans):
        if b.first <= a.last:
            raise PoolsearchError(
                f"blocks '{a.path}' and '{b.path}' overlap: name submodules that run one after another."
            )
    return spans


def _matching(net: TracedNetwork, name: BlockName, runs: dict[str, list[int]]) -> list[BlockName]:
    """The names that a pattern stands for, of submodules that compute something; any other name itself."""
    if not isinstance(name, str) or not {"*", "?", "["} & {*name}:
        return [name]
    parts = name.split(".")

    def matches(path: str) -> bool:
        own = path.split(".")
        return len(own) == len(parts) and all(fnmatchcase(a, b) for a, b in zip(own, parts, strict=True))

    found: list[BlockName] = [path for path in net.layers if path in runs and matches(path)]
    if not found:
        some = ", ".join([path for path in runs if path][:8])
        raise PoolsearchError(
            f"no submodule of {net.name} has a name like '{name}'. A * stands for one part of a name, between dots. "
            f"Names are such as {some}."
        )
    return found


def _runs(net: TracedNetwork) -> dict[str, list[int]]:
    """Positions of the nodes of every submodule."""
    found: dict[str, list[int]] = {}
    for i, node in enumerate(net.order):
        parts = str(node.meta["path"]).split(".")
        for depth in range(len(parts)):
            found.setdefault(".".join(parts[: depth + 1]), []).append(i)
    return found


def _whole(positions: list[int]) -> bool:
    return positions[-1] - positions[0] + 1 == len(positions)


def _span_of(net: TracedNetwork, path: str, runs: dict[str, list[int]]) -> Span:
    if path not in net.layers:
        near = difflib.get_close_matches(path, net.layers, n=3, cutoff=0.3)
        hint = f" Near it: {', '.join(near)}." if near else ""
        raise PoolsearchError(f"{net.name} has no submodule '{path}' (named_modules() lists them).{hint}")
    if path not in runs:
        raise PoolsearchError(f"submodule '{path}' of {net.name} computes nothing in its forward pass.")
    if not _whole(runs[path]):
        raise PoolsearchError(
            f"submodule '{path}' of {net.name} does not run once and in one piece: a block is used once, and nothing "
            "else runs in its middle."
        )
    return Span(path, type(net.layers[path]).__name__, runs[path][0], runs[path][-1])


def block_choices(net: TracedNetwork) -> Iterator[list[Span]]:
    """Ways to divide a network into blocks, to be tried in turn where one leaves no downsampling to move.

    Args:
        net: the traced network.

    Yields:
        The blocks of :func:`find_blocks`; single convolutions, also inside blocks; and these with one more site behind
        the last of them.
    """
    blocks = find_blocks(net)
    yield blocks
    convolutions = _convolution_blocks(net, blocks[0].first if blocks else 0)
    yield convolutions
    if convolutions:
        end = convolutions[-1].last + 1
        yield [*convolutions, Span("end", "end", end, end - 1)]


def find_blocks(net: TracedNetwork) -> list[Span]:
    """Dense layers; else the smallest submodules of one's own classes that everything runs through; else units.

    A class qualifies where every instance has a spatial convolution and one map alone goes in and out of it: no
    shortcut runs past a block, and one does run past the parts of a residual block. Instances of a class used once
    count where they stand beside blocks.

    Args:
        net: the traced network.

    Returns:
        Where the blocks are, in the order they run; there may be fewer than two.
    """
    runs = {path: at for path, at in _runs(net).items() if path and _whole(at)}
    spans = [_span_of(net, path, runs) for path in runs if _own(net.layers[path])]
    spans = [span for span in spans if span.last < net.reach]
    dense = [s for s in spans if s.kind in _DENSE_LAYERS]
    if len(dense) > 1:
        return sorted(dense, key=lambda s: s.first)
    bad = {s.kind for s in spans if not _passage(net, s)}
    fit = [s for s in spans if s.kind not in bad]
    inner = [s for s in fit if not any(_holds(s, t) for t in fit)]
    kinds = [s.kind for s in inner]
    beside = {_place(s) for s in inner if kinds.count(s.kind) > 1}
    blocks = [s for s in inner if kinds.count(s.kind) > 1 or _place(s) in beside]
    if len(blocks) > 1:
        return sorted(blocks, key=lambda s: s.first)
    plain = unit_blocks(net, 0, net.reach)
    return [*dropwhile(lambda s: _jumps(net, s), plain)]  # a first convolution of stride 4 is a stem


def _own(layer: nn.Module) -> bool:
    return not type(layer).__module__.startswith("torch.nn.") and bool([*layer.children()])


def _holds(outer: Span, inner: Span) -> bool:
    """Whether ``inner`` is a part of ``outer``, or all that it has."""
    whole = (outer.first, outer.last) == (inner.first, inner.last)
    return inner.path.startswith(f"{outer.path}.") if whole else outer.first <= inner.first and inner.last <= outer.last


def _jumps(net: TracedNetwork, span: Span) -> bool:
    strides = (getattr(net.layers.get(str(n.target)), "stride", 1) for n in net.order[span.first : span.last + 1])
    return any(max(pair(stride)) > 2 for stride in strides)


def _place(span: Span) -> tuple[str, int]:
    return span.path.split(".")[0], span.path.count(".")


def _passage(net: TracedNetwork, span: Span) -> bool:
    """Whether one map alone goes in and out, with a spatial convolution between."""
    inside = net.order[span.first : span.last + 1]
    one = net.alive[span.first] == 1 and net.alive[span.last + 1] == 1
    return one and any(net.convolves(node) for node in inside)


def unit_blocks(net: TracedNetwork, first: int, end: int) -> list[Span]:
    """Blocks without regard to submodules: a new one starts with every spatial convolution.

    It starts at the last place before the convolution where one map alone is alive, and ends before a pooling.

    Args:
        net: the traced network.
        first, end: positions in the network's order: nodes from ``first`` up to, but without, ``end`` are looked at.

    Returns:
        Where the blocks are, in the order they run; none where there is no spatial convolution.
    """
    starts: list[int] = []
    for i in range(first, end):
        if net.convolves(net.order[i]):
            start = next((j for j in range(i, first - 1, -1) if net.alive[j] == 1), None)
            if start is not None and start not in starts:
                starts.append(start)
    return [_unit(net, a, b, lambda k: net.alive[k] == 1) for a, b in pairwise([*starts, end])]


def _convolution_blocks(net: TracedNetwork, first: int) -> list[Span]:
    """From ``first`` on, blocks of one convolution (or pooling without a stride) that sees its neighbours.

    Between them several maps may be alive, all of one size. A block starts, between its convolution and the one before
    on which that depends, at the last of the places with the fewest maps.
    """
    maps = _maps_of_one_size(net)
    starts: list[int] = []
    after = first  # behind the last such convolution
    reached: set[fx.Node] = set()
    for i, node in enumerate(net.order[first : net.reach], first):
        if any(read in reached for read in node.all_input_nodes):
            reached.add(node)
        if not (net.convolves(node) or _mixes(net, node)):
            continue
        places = [k for k in range(after, i + 1) if maps[k]]
        if places and (not starts or node in reached):
            starts.append(min(places, key=lambda k: (maps[k], -k)))
        after, reached = i + 1, {node}
    found = [_unit(net, a, b, lambda k: maps[k] > 0) for a, b in pairwise([*starts, net.reach])]
    return [*dropwhile(lambda span: _jumps(net, span), found)]


def _maps_of_one_size(net: TracedNetwork) -> list[int]:
    """How many maps are alive before each node, and at the end; 0 where they are not (B, C, H, W) or differ in size."""
    found = [[net.measured.maps[node] for node in nodes] for nodes in net.maps]
    same = [all(m.usual for m in maps) and len({(m.size, m.large) for m in maps}) == 1 for maps in found]
    return [len(maps) if fit else 0 for maps, fit in zip(found, same, strict=True)]


def _mixes(net: TracedNetwork, node: fx.Node) -> bool:
    """Whether a node is a pooling layer that keeps the size of its map, as that in place of attention."""
    layer = net.layers.get(str(node.target)) if node.op == "call_module" else None
    pools = isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)) and max(pair(layer.kernel_size)) > 1
    return pools and node in net.measured.maps and not resizes(node, net.measured)


def _unit(net: TracedNetwork, first: int, end: int, cuttable: Callable[[int], bool]) -> Span:
    """From ``first`` on, as long as there are maps, and not into a pooling that everything runs through."""
    last, convolved = first, False
    for i in range(first, end):
        node = net.order[i]
        if node not in net.measured.maps and net.alive[i + 1] == 0:
            break
        pools = net.alive[i] == 1 == net.alive[i + 1] and resizes(node, net.measured) and not _convolves(net, node)
        if pools and convolved:
            break
        convolved |= net.convolves(node)
        last = i if cuttable(i + 1) else last
    path = str(net.order[first].meta["path"]) or net.order[first].name
    return Span(path, "unit", first, last)


def _convolves(net: TracedNetwork, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(net.layers[str(node.target)], nn.Conv2d)
