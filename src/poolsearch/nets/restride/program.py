"""Parts of a graph as Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

State = Tensor | tuple[Any, ...]
"""What is alive between two blocks: one map, or several (with whatever else is still needed)."""


class Program:
    """A part of a network as a function of (the network's model, what is alive before the part).

    Attributes:
        graph: its nodes. What stands for a node of the network has that node's name as ``meta["origin"]``.
        source: its Python, to read.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        code = graph.python_code("self")
        self.source = code.src
        self._names = {**code.globals}
        exec(compile(code.src, "<restrided block>", "exec"), self._names)
        self._run: Callable[..., Any] = self._names["forward"]

    def __call__(self, model: nn.Module, state: State) -> Any:
        return self._run(model, *state) if isinstance(state, tuple) else self._run(model, state)

    def reads(self) -> set[str]:
        """Names of what it takes from the model: submodules, parameters and other attributes."""
        return {str(node.target) for node in self.graph.nodes if node.op in ("call_module", "get_attr")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # it holds no state


class ProgramWriter:
    """Writes a program node by node, each node of the network as it is or as something in its place."""

    def __init__(self, inputs: Sequence[fx.Node]) -> None:
        self._graph = fx.Graph()
        self._written = {node: self._standing_for(node, self._graph.placeholder(node.name)) for node in inputs}

    def copy(self, node: fx.Node) -> None:
        """The node as it is."""
        self._written[node] = self._standing_for(node, self._graph.node_copy(node, self._get))

    def skip(self, node: fx.Node, source: fx.Node) -> None:
        """What it reads, in its place."""
        self._written[node] = self._get(source)

    def call(self, node: fx.Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """``function`` in its place; network nodes among the arguments stand for their values."""
        self._written[node] = self._standing_for(node, self.value(function, *args, **kwargs))

    def value(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A new value, which :meth:`replace` can make that of a node."""
        return self._graph.call_function(function, *self._arguments(args, kwargs))

    def replace(self, node: fx.Node, value: fx.Node) -> None:
        """From here on, ``value`` is that of ``node``."""
        self._written[node] = value

    def now(self, node: fx.Node) -> fx.Node:
        """The value of ``node`` so far."""
        return self._get(node)

    def layer(self, path: str) -> fx.Node:
        """A submodule, as an argument of a function."""
        return self._graph.create_node("get_attr", path)

    def finish(self, outputs: Sequence[fx.Node]) -> Program:
        """End with the values of ``outputs``: one alone, or a tuple."""
        values = tuple(self._get(node) for node in outputs)
        self._graph.output(values[0] if len(values) == 1 else values)
        return Program(self._graph)

    def _standing_for(self, node: fx.Node, value: fx.Node) -> fx.Node:
        value.meta = {**node.meta, "origin": node.name}
        return value

    def _arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        mine = {*self._graph.nodes}
        get = self._get
        return tuple(fx.map_arg((args, kwargs), lambda n: n if n in mine else get(n)))

    def _get(self, node: fx.Node) -> fx.Node:
        if node not in self._written and node.op == "get_attr":  # parameters are read where they are used
            self._written[node] = self._graph.create_node("get_attr", str(node.target))
        return self._written[node]


@torch.no_grad()
def overwritten(program: Program, models: Sequence[nn.Module], state: tuple[Any, ...]) -> list[int]:
    """Which of the tensors in ``state`` (on the meta device) the program writes into, with one of the models."""
    found: set[int] = set()
    for model in models:
        before = [t._version if isinstance(t, Tensor) else 0 for t in state]
        program(model, state)
        after = [t._version if isinstance(t, Tensor) else 0 for t in state]
        found |= {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
    return sorted(found)
