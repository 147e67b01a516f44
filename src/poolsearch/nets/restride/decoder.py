"""Where the encoder of a network ends: the part that makes maps smaller and smaller, whose downsampling can move.

What a detector, a segmenter or a pyramid of maps does with those maps is its decoder. It runs as part of the head, on
maps that are carried to it unchanged, whatever downsampling comes after them.
"""

from __future__ import annotations

from dataclasses import replace

from torch import fx

from poolsearch.nets.restride.find import TracedNetwork
from poolsearch.nets.restride.measure import FeatureMap, alive_before


def encoder_first(net: TracedNetwork) -> TracedNetwork | None:
    """The network with what its smallest maps are made by in front, and everything else behind, which is the head's.

    Args:
        net: the traced network.

    Returns:
        The same network in another order, in which every value is computed from the same ones; None where the head
        would read nothing but the last of the smallest maps, so that this is the order that it has.
    """
    last = _last_of_the_smallest(net)
    if last is None:
        return None
    encoder = _made_by(last)
    front = [node for node in net.order if node in encoder]
    back = [node for node in net.order if node not in encoder]
    start = next(n for n in net.graph.nodes if n.op == "placeholder")
    if not any(user not in encoder for node in (start, *front) if node is not last for user in node.users):
        return None
    maps = alive_before(front, start, net.measured.maps.__contains__, last)
    return replace(net, order=front + back, reach=len(front), maps=maps)


def _last_of_the_smallest(net: TracedNetwork) -> fx.Node | None:
    """The last map of the smallest size, of those that come before maps of several sizes meet or one is enlarged."""
    found: list[fx.Node] = []
    for node in net.order:
        if _joins(net, node) or _enlarges(net, node):
            break
        if node in net.measured.maps and net.measured.maps[node].usual:
            found.append(node)
    least = min((_area(net.measured.maps[node]) for node in found), default=0)
    return next((node for node in reversed(found) if _area(net.measured.maps[node]) == least), None)


def _joins(net: TracedNetwork, node: fx.Node) -> bool:
    """Whether a node reads maps of several sizes."""
    maps = [net.measured.maps[read] for read in net.measured.inputs(node)]
    return len({(one.size, one.large) for one in maps}) > 1


def _enlarges(net: TracedNetwork, node: fx.Node) -> bool:
    """Whether a node makes a map, one smaller than the images, at least twice as large."""
    start = next(n for n in net.graph.nodes if n.op == "placeholder")
    out, reads = net.measured.maps.get(node), net.measured.inputs(node)
    if out is None or not reads:
        return False
    before = _area(net.measured.maps[reads[0]])
    return before < _area(net.measured.maps[start]) and _area(out) >= 2 * before


def _area(one: FeatureMap) -> int:
    area = 1
    for length in one.large:
        area *= length
    return area


def _made_by(last: fx.Node) -> set[fx.Node]:
    """A node, and all that it is computed from."""
    found, left = set[fx.Node](), [last]
    while left:
        if (node := left.pop()) not in found:
            found.add(node)
            left += node.all_input_nodes
    return found
