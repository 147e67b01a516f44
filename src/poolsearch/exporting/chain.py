"""A restrided network at one placement as one flat graph of plain layers and functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.exporting import code_templates
from poolsearch.image_size import ImageSize
from poolsearch.nets import poolable
from poolsearch.nets.restride import Restrided, shrink, trace
from poolsearch.nets.restride.network import SegmentModule
from poolsearch.nets.restride.program import as_given
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.space import KEEP, Exponents, Placement

Stride = tuple[int, int]


@dataclass
class Chain:
    """The nodes of a network in the order they run.

    Attributes:
        graph: of layers and functions; ``meta["origin"]`` of a node is the name of the network's own that it stands
            for, and nodes without it stand for none.
        states: the maps that are alive after each block, and the last node that belongs to it.
        shape: (C, H, W) of the images.
        settings: attributes of layers that are not the original's, by the layer's name.
        padded: margins (left, right, top, bottom) in place of a convolution's own padding, and the mode.
    """

    graph: fx.Graph
    states: list[tuple[list[fx.Node], fx.Node]]
    shape: tuple[int, int, int]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    padded: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)


def native_chain(net: Restrided, size: ImageSize) -> Chain:
    """The network at its own placement as one graph.

    Args:
        net: restrided; it is copied to the meta device and stays as it is.
        size: of the images.

    Returns:
        The graph of one argument, the images, that gives what the network gives.
    """
    default = net.default
    return _chained(net, size, [(default.at(i), KEEP) for i in range(default.length)])


def chain_at(net: Restrided, size: ImageSize, placement: Placement) -> Chain:
    """The network at a placement as one graph.

    Args:
        net: restrided; it is copied to the meta device and stays as it is.
        size: of the images.
        placement: where it downsamples: by its strides with the operation ``native``, else by poolings before blocks.

    Returns:
        The graph, and which attributes of layers and paddings it needs.

    Raises:
        PoolsearchError: a layer that is called twice would need two strides.
    """
    sites = [placement.at(i) for i in range(placement.length)]
    return _chained(net, size, [(site, KEEP) if net.op == "native" else (KEEP, site) for site in sites])


@torch.no_grad()
def _chained(net: Restrided, size: ImageSize, runs: Iterable[tuple[Exponents, Exponents]]) -> Chain:
    """Chain stem, blocks and head.

    Args:
        runs: for each block the exponents of its program, and those of the pooling in front of it.
    """
    blank = cast("Restrided", blank_copy(net).eval())
    writer = _ChainWriter(blank.model)
    value: Any = torch.empty(2, net.channels, *size, device="meta")
    if isinstance(blank.stem, SegmentModule):
        value = writer.add(blank.stem, KEEP, value)
    states: list[tuple[list[fx.Node], fx.Node]] = []
    for block, (exponents, pooled) in zip(blank.blocks, runs, strict=True):
        value = writer.pool(value, pooled, net.op)
        value = writer.add(cast("SegmentModule", block), exponents, value)
        states.append((writer.maps(value), next(iter(reversed(writer.graph.nodes)))))
    writer.end(cast("SegmentModule", blank.head), value)
    return Chain(writer.graph, states, (net.channels, size.height, size.width), writer.settings, writer.padded)


class _ChainWriter:
    """Appends programs to one graph, with what they call in plain terms."""

    def __init__(self, model: nn.Module) -> None:
        self.graph = fx.Graph()
        self.state: list[fx.Node] = [self.graph.placeholder("x")]
        self.carried: list[fx.Node] = []
        self.settings: dict[str, dict[str, Any]] = {}
        self.padded: dict[str, tuple[tuple[int, ...], str]] = {}
        self._model = model
        self._called: dict[str, Any] = {}

    def pool(self, value: Any, exponents: Exponents, op: Any) -> Any:
        """Pool every map that is alive."""
        if exponents == KEEP:
            return value
        maps = self.maps(value)
        self.state = [self._pooled(node, exponents, op) if node in maps else node for node in self.state]
        live, carried = poolable.split_state(value)
        pooled = poolable.resize(live, exponents, op)
        return poolable.Carrying(pooled, carried) if carried else pooled

    def maps(self, value: Any) -> list[fx.Node]:
        """The nodes that are maps, out of those that the next block reads."""
        live, _ = poolable.split_state(value)
        values = live if isinstance(live, tuple) else (live,)
        return [node for node, v in zip(self.state, values, strict=True) if _is_map(v)]

    def add(self, section: SegmentModule, exponents: Exponents, value: Any) -> Any:
        """Append the stem or a block; gives its state on the meta device."""
        found, carried = self._append(section, exponents, value), list[fx.Node]()
        if isinstance(found, fx.Node) and found.target is poolable.Carrying:
            live, carried = cast("tuple[Any, list[fx.Node]]", found.args)
            self.graph.erase_node(found)
            found = live
        self.state = [*found] if isinstance(found, tuple) else [found]
        self.carried += carried
        return poolable.carried_on(value, section(poolable.split_state(value)[0], exponents))

    def end(self, head: SegmentModule, value: Any) -> None:
        """Append the head: the graph gives what it gives."""
        found = self._append(head, KEEP, value)
        if found.target is as_given:
            (structure,) = found.args
            self.graph.erase_node(found)
            found = structure
        self.graph.output(found)

    def _append(self, section: SegmentModule, exponents: Exponents, value: Any) -> Any:
        """Append a program; gives what stands for its result."""
        program = section.program(exponents)
        self._size = poolable.state_size(value)
        given = iter((*self.state, *self.carried))
        written: dict[fx.Node, Any] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                written[node] = next(given)
                if written[node].op == "placeholder":  # the images
                    written[node].meta = {**node.meta}
            elif node.op != "output":
                written[node] = self._written(node, written)
        return fx.map_arg(program.graph.output_node().args[0], written.__getitem__)

    def _written(self, node: fx.Node, written: dict[fx.Node, Any]) -> fx.Node:
        args, kwargs = fx.map_arg((node.args, node.kwargs), written.__getitem__)
        plain = self._plain(node, args, kwargs)
        new = plain or self.graph.node_copy(node, written.__getitem__)
        if plain is None or "origin" in node.meta:
            new.meta = {**node.meta}
        if new.op == "call_module":
            self._check_once(str(new.target))
        return new

    def _plain(self, node: fx.Node, args: Any, kwargs: Any) -> fx.Node | None:
        """What a call of ours comes to in terms of torch; None where it is none."""
        target: Any = node.target
        match target:
            case torch.clone if "origin" not in node.meta:  # protects the map for other placements; here are none
                return args[0]
            case shrink.convolution_at:
                return self._convolution(*args)
            case shrink.pooling_at:
                return self._pooling(*args)
            case shrink.pooling_like:
                return self._small(code_templates.pooled_like, args)
            case shrink.subsample:
                return self._small(code_templates.subsample, (args[0], _short(args[1])))
            case shrink.fitted:
                return args[0] if self._size == args[1] else self._small(code_templates.fitted, args[:2])
            case trace.expect:  # this placement was tried
                return args[0]
            case shrink.unshuffle_at:
                return self._small(code_templates.unshuffle, args)
            case shrink.max_pool_at | shrink.average_pool_at:
                function = F.max_pool2d if node.target is shrink.max_pool_at else F.avg_pool2d
                settings = shrink.narrowed_settings(shrink.settings_of(function, args[2:], kwargs), args[1])
                return self.graph.call_function(function, (args[0],), settings)
            case poolable.pool:
                return self._pooled(*args)
            case _:
                return None

    def _convolution(self, layer: fx.Node, x: fx.Node, stride: Stride, margin: tuple[int, ...] | None) -> fx.Node:
        name = str(layer.target)
        convolution = cast("nn.Conv2d", self._model.get_submodule(name))
        if shrink.pair(convolution.stride) != stride:
            self.settings[name] = {"stride": stride}
        if margin is not None:
            mode = {"zeros": "constant"}.get(convolution.padding_mode, convolution.padding_mode)
            self.padded[name] = margin, mode
        return self.graph.call_module(name, (x,))

    def _pooling(self, layer: fx.Node, x: fx.Node, stride: Stride) -> fx.Node:
        name = str(layer.target)
        self.settings[name] = shrink.window_at(self._model.get_submodule(name), stride)
        return self.graph.call_module(name, (x,))

    def _pooled(self, node: fx.Node, exponents: Exponents, op: str) -> fx.Node:
        stride = _short(poolable.shrink_factors(exponents))
        if op == "blur":
            return self._small(code_templates.blur, (node, stride))
        function = F.max_pool2d if op == "max" else F.avg_pool2d
        return self._small(function, (node, stride), {"ceil_mode": True})

    def _small(self, function: Any, args: Any, kwargs: dict[str, Any] | None = None) -> fx.Node:
        """A smaller map, under a name that no function has."""
        return self.graph.create_node("call_function", function, args, kwargs, name="small")

    def _check_once(self, name: str) -> None:
        """A layer that is called twice has the same stride both times."""
        now = self.settings.get(name), self.padded.get(name)
        if self._called.setdefault(name, now) != now:
            raise PoolsearchError(
                f"layer '{name}' is called more than once, with different strides: it cannot be written as one layer. "
                "Give each call a layer of its own."
            )


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4


def _short(stride: Stride) -> int | Stride:
    return stride[0] if stride[0] == stride[1] else stride
