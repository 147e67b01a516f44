"""Cutting a network into stem, blocks and head, and what each block shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from torch import fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.restride.find import Span, TracedNetwork, how_to_name
from poolsearch.nets.restride.measure import FeatureMap
from poolsearch.nets.restride.shrink import Shrink, Stride, pair, resizes, shrink_of, trim_of
from poolsearch.space import HALVE, KEEP, Exponents


@dataclass(frozen=True)
class Segment:
    """Consecutive nodes of a network.

    Attributes:
        path: the name of the submodule that it is, without what stands in front of it.
        kind: its class.
        nodes: all nodes, those in front first.
        body: the nodes without those in front.
        inputs, outputs: the values alive before and after it, which the blocks read or, after the last, the head.
        carried: those of its values that only the head reads, at the size that they have here.
        kept: all of the network's values that the head so reads.
        shrinks: the nodes that shrink its maps.
        native: by how much it shrinks them in all, in powers of two.
        closed: it resizes its maps otherwise than by halving, so that it is only run whole.
        trim: how many pixels it takes off its maps beside halving them, along height and width; below zero: adds.
        slack: how many more it may take off where it halves by itself, for want of padding.
    """

    path: str
    kind: str
    nodes: list[fx.Node]
    body: list[fx.Node]
    inputs: list[fx.Node]
    outputs: list[fx.Node]
    carried: list[fx.Node] = field(default_factory=list)
    kept: frozenset[fx.Node] = frozenset()
    shrinks: dict[fx.Node, Shrink] = field(default_factory=dict)
    native: Exponents = KEEP
    closed: bool = False
    trim: Stride = (0, 0)
    slack: Stride = (0, 0)


Carry = Literal["nothing", "all", "early"]
"""What is carried to the head: nothing, so that sites resize all that is alive; all that it reads but the last map; or
of that what the last block does not read, as where the head joins the maps of a last group of dense layers."""


def cut(net: TracedNetwork, spans: Sequence[Span], carry: Carry) -> tuple[Segment, list[Segment], Segment]:
    """Cut a network into stem, blocks and head. What stands between two blocks belongs to the later.

    Args:
        net: the traced network.
        spans: where its blocks are, at least one, in the order they run.
        carry: what of earlier blocks reaches the head without being resized.

    Returns:
        The stem, the blocks in the order of ``spans``, and the head.

    Raises:
        PoolsearchError: the network cannot be cut there, or a block shrinks in a way that cannot be moved.
    """
    ends = [spans[0].first, *(span.last + 1 for span in spans), len(net.order)]
    kept = [] if carry == "nothing" else _carried(net, ends[-3], ends[-2], carry)
    alive = [_alive(net, end, ends[-2], kept) for end in ends[:-1]]
    own = [[n for n in kept if n in nodes] for nodes in (net.order[a:b] for a, b in pairwise([0, *ends[:-1]]))]
    own[0] = [*(n for n in kept if n in _start(net)), *own[0]]
    stem = Segment("stem", "stem", net.order[: ends[0]], [], _start(net), alive[0], own[0], frozenset(kept))
    blocks = []
    for span, (first, end), (before, after), carried in zip(
        spans, pairwise(ends[:-1]), pairwise(alive), own[1:], strict=True
    ):
        body = net.order[span.first : end]
        part = Segment(span.path, span.kind, net.order[first:end], body, before, after, carried, frozenset(kept))
        _check_state(net, part)
        blocks.append(_sized(net, part))
    head = Segment("head", "head", net.order[ends[-2] :], [], [*alive[-1], *kept], _result(net))
    return stem, blocks, head


def _start(net: TracedNetwork) -> list[fx.Node]:
    return [n for n in net.graph.nodes if n.op == "placeholder"]


def _result(net: TracedNetwork) -> list[fx.Node]:
    result = net.graph.output_node().args[0]
    assert isinstance(result, fx.Node), "one output is kept when a network is traced"
    return [result]


def _alive(net: TracedNetwork, end: int, last: int, carried: Sequence[fx.Node]) -> list[fx.Node]:
    """What is computed before position ``end`` and needed from there on, by the blocks where it is carried.

    Args:
        end: a position in the network's order.
        last: that of the end of the last block.
        carried: what reaches the head by itself.
    """
    blocks, all_ = {*net.order[end:last]}, _read_from(net, end)
    return [
        n
        for n in (*_start(net), *net.order[:end])
        if any(user in (blocks if n in carried else all_) for user in n.users)
    ]


def _read_from(net: TracedNetwork, end: int) -> set[fx.Node]:
    return {*net.order[end:]} | {n for n in net.graph.nodes if n.op == "output"}


def _carried(net: TracedNetwork, start: int, end: int, carry: Carry) -> list[fx.Node]:
    """The values that reach the head as they were made; the last block has the nodes from ``start`` to ``end``."""
    later = _read_from(net, end)
    read = [n for n in (*_start(net), *net.order[:end]) if any(user in later for user in n.users)]
    last = next((n for n in reversed(read) if n in net.measured.maps and net.measured.maps[n].usual), None)
    stay = {last}
    if carry == "early":
        block = {*net.order[start:end]}
        stay |= {n for n in read if n in block or any(user in block for user in n.users)}
    return [n for n in read if n not in stay]


def _maps(net: TracedNetwork, nodes: list[fx.Node]) -> list[FeatureMap]:
    return [net.measured.maps[n] for n in nodes if n in net.measured.maps]


def _check_state(net: TracedNetwork, part: Segment) -> None:
    if net.measured.end is not None and net.measured.end in part.nodes:
        raise PoolsearchError(
            f"block '{part.path}' of {net.name} works for one size of maps only ({net.measured.why}): position tables "
            "and linear layers over whole maps cannot be restrided."
        )
    for nodes, where in ((part.inputs, "before"), (part.outputs, "after")):
        maps = _maps(net, nodes)
        if not maps or not all(m.usual for m in maps):
            raise PoolsearchError(
                f"what is alive {where} block '{part.path}' of {net.name} is not (B, C, H, W) maps. {how_to_name(net)}"
            )
        if len({(m.size, m.large) for m in maps}) > 1:
            sizes = ", ".join(sorted({f"{h}x{w}" for h, w in (m.size for m in maps)}))
            raise PoolsearchError(
                f"maps of several sizes ({sizes}) are alive {where} block '{part.path}' of {net.name}: a shortcut runs "
                f"past it. Name larger blocks, that end where one size is left. {how_to_name(net)}"
            )


def _sized(net: TracedNetwork, part: Segment) -> Segment:
    """The part with what it shrinks.

    Raises:
        PoolsearchError: that is not a halving by layers that are known.
    """
    before, after = _maps(net, part.inputs)[0], _maps(net, part.outputs)[0]
    way = _way_to(part)
    changing = [n for n in part.nodes if n in way and resizes(n, net.measured)]
    if (before.size, before.large) == (after.size, after.large):
        return replace(part, closed=bool(changing))
    shrinks = {n: s for n in changing if (s := shrink_of(n, net.layers, net.measured)) is not None}
    trims = {n: t for n in changing if n not in shrinks and (t := trim_of(n, net.measured)) is not None}
    for node in changing:
        if node not in shrinks and node not in trims:
            raise PoolsearchError(_odd_change(net, part, node))
    trim = _trimmed(part, trims, net)
    native = _level(part, shrinks, net)
    if native == KEEP:
        return replace(part, closed=True, trim=trim)
    if native != HALVE:
        by = "x".join(str(2**e) for e in native)
        raise PoolsearchError(
            f"block '{part.path}' of {net.name} shrinks its maps by {by}; a site halves both axes once. Name smaller "
            f"blocks, one for each halving, or later ones, so that this one belongs to the stem. {how_to_name(net)}"
        )
    slack = _slack(before, after, trim, [net.layers[str(n.target)] for n in shrinks if n.op == "call_module"])
    return replace(part, shrinks=shrinks, native=native, closed=bool(trims), trim=trim, slack=slack)


def _way_to(part: Segment) -> set[fx.Node]:
    """The nodes of a part that what is alive after it is computed from; the others only make what is carried."""
    found, left = set[fx.Node](), [*part.outputs]
    while left:
        if (node := left.pop()) not in found:
            found.add(node)
            left += node.all_input_nodes
    return found


def _trimmed(part: Segment, trims: dict[fx.Node, Stride], net: TracedNetwork) -> Stride:
    """How many pixels are taken off the maps that leave a part, where nothing in it halves."""
    lost: dict[fx.Node, Stride] = dict.fromkeys(part.inputs, (0, 0))
    for node in part.nodes:
        read = [lost[n] for n in net.measured.inputs(node)]
        own = trims.get(node, (0, 0))
        height, width = (max((one[axis] for one in read), default=0) + own[axis] for axis in (0, 1))
        lost[node] = height, width
    height, width = (max(lost[n][axis] for n in part.outputs if n in net.measured.maps) for axis in (0, 1))
    return height, width


def _slack(before: FeatureMap, after: FeatureMap, trim: Stride, strided: list[nn.Module]) -> Stride:
    """How many pixels are missing where a part halves by itself, beside those that it takes off at any size.

    Those that were seen, or that its layers lose where a map has an even size.
    """
    sizes = ((before.size, after.size), (before.large, after.large))
    height, width = (
        max(
            0, *(a[axis] // 2 - trim[axis] - b[axis] for a, b in sizes), *(_lost(layer, axis) // 2 for layer in strided)
        )
        for axis in (0, 1)
    )
    return height, width


def _lost(layer: nn.Module, axis: int) -> int:
    """By how many pixels a layer's padding is less than its kernel would need."""
    kernel, padding, dilation = (getattr(layer, name, 1) for name in ("kernel_size", "padding", "dilation"))
    if isinstance(padding, str) or not hasattr(layer, "padding"):
        return 0
    return pair(dilation)[axis] * (pair(kernel)[axis] - 1) - 2 * pair(padding)[axis]


def _odd_change(net: TracedNetwork, part: Segment, node: fx.Node) -> str:
    read, out = net.measured.maps[net.measured.inputs(node)[0]], net.measured.maps[node]
    a, b = ("x".join(map(str, m.size if read.size != out.size else m.large)) for m in (read, out))
    what = f"'{node.target}'" if node.op == "call_module" else f"'{node.name}'"
    if node.op == "call_module" and (why := net.kept.get(str(node.target))):
        kind = type(net.layers[str(node.target)]).__name__
        return (
            f"{what} ({kind}) of {net.name} is run whole, since its forward pass cannot be traced ({why}); as it makes "
            f"maps of {a} into {b}, a stride inside it would have to be moved. Compute without a branch that depends "
            "on values: where chance skips a block, multiply its result by 0 or 1 instead, as "
            "torchvision.ops.StochasticDepth does."
        )
    return (
        f"{what} in block '{part.path}' of {net.name} makes maps of {a} into {b} in a way that cannot be moved. Known "
        "are convolutions, poolings, slices and pixel unshuffling with strides of 2, and what takes off a few pixels."
    )


def _level(part: Segment, shrinks: dict[fx.Node, Shrink], net: TracedNetwork) -> Exponents:
    """By how much the maps that leave a part are shrunk, in powers of two."""
    levels = dict.fromkeys(part.inputs, KEEP)
    for node in part.nodes:
        height, width = max((levels[n] for n in net.measured.inputs(node)), default=KEEP)
        if node in shrinks:
            rows, columns = shrinks[node].stride
            if rows.bit_count() != 1 or columns.bit_count() != 1:
                raise PoolsearchError(_odd_change(net, part, node))
            height, width = height + rows.bit_length() - 1, width + columns.bit_length() - 1
        levels[node] = height, width
    return max(levels[n] for n in part.outputs if n in net.measured.maps)
