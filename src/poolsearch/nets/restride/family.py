"""The strided form of a block that keeps its size: that of a block of the same network which does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx, nn

from poolsearch.nets.restride.cut import Segment
from poolsearch.nets.restride.find import TracedNetwork
from poolsearch.nets.restride.shrink import Shrink
from poolsearch.nets.restride.trace import is_within, path_of
from poolsearch.space import HALVE


@dataclass(frozen=True)
class StridedForm:
    """How a block that keeps its size is strided.

    Attributes:
        convolutions: take the stride.
        poolings: layers after which another block's pooling layer stands, and its name.
        late: before each node (None: at the end), the maps that bypassed those and are shrunk there.
        averaged: maps are shrunk late by 2x2 averages, not by taking every second pixel.
        template: the name of the block this is modelled on.
    """

    convolutions: frozenset[fx.Node]
    poolings: Mapping[fx.Node, str]
    late: Mapping[fx.Node | None, Sequence[fx.Node]]
    averaged: bool
    template: str


def strided_form(net: TracedNetwork, part: Segment, blocks: Sequence[Segment]) -> StridedForm | None:
    """Model a block that keeps its size on one of the same network that halves in a layer of its own (not in front).

    Blocks of its class are tried first, and those with as many spatial convolutions before others.

    Args:
        net: the traced network.
        part: the block.
        blocks: all blocks of the network.

    Returns:
        How the block is strided; None where there is no such block to model it on, or where it has no layer in the
        place of a strided one.
    """

    def unlike(template: Segment) -> tuple[bool, bool]:
        counts = [sum(map(net.spatial, p.body)) for p in (part, template)]
        return template.kind != part.kind, counts[0] != counts[1]

    forms = (_modelled(net, part, template) for template in sorted(templates(blocks), key=unlike))
    return next((form for form in forms if form is not None), None)


def templates(blocks: Sequence[Segment]) -> list[Segment]:
    """The blocks that halve in layers of their own.

    Args:
        blocks: all blocks of a network.

    Returns:
        Those of them that halve both axes, and by nothing that stands in front of them; in the same order.
    """
    return [b for b in blocks if b.native == HALVE and all(n in b.body for n in b.shrinks)]


def _modelled(net: TracedNetwork, part: Segment, template: Segment) -> StridedForm | None:
    convolutions: set[fx.Node] = set()
    poolings: dict[fx.Node, str] = {}
    strides, averaged = False, False
    for node, found in template.shrinks.items():
        bypass = _bypasses(net, template, node, found)
        twin = _twin(net, part, template, node)
        if twin is not None and found.kind == "convolution":
            convolutions.add(twin)
        elif twin is not None:
            poolings[twin] = str(node.target)
        elif not bypass:
            return None
        strides |= not bypass
        averaged |= bypass and found.kind == "pooling" and "avg" in _name(net, node)
    if not strides:
        return None
    if not averaged:
        _add_sources(net, part, convolutions, {*poolings})
    late = _late(net, part, convolutions | {*poolings})
    return StridedForm(frozenset(convolutions), poolings, late, averaged, template.path)


def _bypasses(net: TracedNetwork, template: Segment, node: fx.Node, found: Shrink) -> bool:
    """Whether a shrinking node is that of a shortcut: neither is nor follows a spatial convolution."""
    if found.kind == "convolution":
        return not net.spatial(node)
    before = {node}
    for other in reversed(template.body):
        if any(user in before for user in other.users):
            before.add(other)
    return not any(map(net.spatial, before))


def _name(net: TracedNetwork, node: fx.Node) -> str:
    layer = net.layers.get(str(node.target)) if node.op == "call_module" else None
    return (type(layer).__name__ if layer is not None else node.name).lower()


def _twin(net: TracedNetwork, part: Segment, template: Segment, node: fx.Node) -> fx.Node | None:
    """The node in the place of a shrinking ``node`` of the template: for a convolution the one that is to be strided,
    for a pooling the one after which it is to stand.

    It is that of the same name below the block, or else the same of the block's spatial convolutions in their order.
    """
    pooling = not isinstance(net.layers.get(str(node.target)), nn.Conv2d)
    if pooling and node.op != "call_module":
        return None
    for place in (node, node.all_input_nodes[0]) if pooling else (node,):
        twin = _namesake(part, template, place)
        if twin is not None and _alike(net, twin, place, or_identity=place is node and pooling):
            return twin
    if not net.spatial(node):
        return None
    order = [[n for n in p.body if net.spatial(n)] for p in (template, part)]
    rank = order[0].index(node)
    return order[1][rank] if rank < len(order[1]) else None


def _namesake(part: Segment, template: Segment, node: fx.Node) -> fx.Node | None:
    """The layer of the same name below the block."""
    if node.op != "call_module" or not is_within(node, template.path):
        return None
    path = part.path + path_of(node)[len(template.path) :]
    return next((n for n in part.body if n.op == "call_module" and path_of(n) == path), None)


def _alike(net: TracedNetwork, node: fx.Node, other: fx.Node, or_identity: bool) -> bool:
    one, two = (net.layers[str(n.target)] for n in (node, other))
    if or_identity:
        return isinstance(one, nn.Identity)
    return type(one) is type(two) and net.spatial(node) == net.spatial(other)


def _late(net: TracedNetwork, part: Segment, shrinking: set[fx.Node]) -> dict[fx.Node | None, list[fx.Node]]:
    """The maps that meet shrunk ones (or the block's end) without being shrunk, by the node where they do."""
    shrunk = {node: False for node in part.inputs if node in net.measured.maps}
    late: dict[fx.Node | None, list[fx.Node]] = {}
    for node in part.nodes:
        read = [n for n in net.measured.inputs(node) if n in shrunk]
        some = any(shrunk[n] for n in read)
        if some and (behind := [n for n in read if not shrunk[n]]):
            late[node] = behind
            shrunk.update(dict.fromkeys(behind, True))
        if node in net.measured.maps:
            shrunk[node] = some or node in shrinking
    if behind := [n for n in part.outputs if n in shrunk and not shrunk[n]]:
        late[None] = behind
    return late


def _add_sources(net: TracedNetwork, part: Segment, convolutions: set[fx.Node], poolings: set[fx.Node]) -> None:
    """Give the stride to convolutions whose output would only be subsampled later: it comes to the same."""
    while True:
        late = _late(net, part, convolutions | poolings)
        found = {p for nodes in late.values() for n in nodes if (p := _source(net, part, n)) is not None}
        if found <= convolutions:
            return
        convolutions |= found


def _source(net: TracedNetwork, part: Segment, node: fx.Node) -> fx.Node | None:
    """The convolution that a map comes from through layers that treat every pixel alike."""
    while node in part.body and node.op == "call_module" and len(node.users) == 1:
        layer = net.layers[str(node.target)]
        if isinstance(layer, nn.Conv2d):
            return node
        if hasattr(layer, "kernel_size"):
            return None
        node = node.all_input_nodes[0]
    return None
