"""Parts of a graph as Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from poolsearch.nets.poolable import Carrying, split_state

State = Tensor | tuple[Any, ...]
"""What is alive between two blocks: one map, or several (with whatever else is still needed)."""


def as_given(outputs: Any) -> Any:
    """What a network gives, so that one node of its graph stands for all of it.

    Args:
        outputs: a tensor, or tuples, lists and dictionaries of tensors.

    Returns:
        The same.
    """
    return outputs


class Program:
    """A part of a network as a function of (the network's model, what is alive before the part).

    Args:
        graph: its nodes; each argument of the function is a placeholder.

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
        return self._run(model, *_values(state))

    @torch.no_grad()
    def first_failure(self, model: nn.Module, state: State) -> tuple[fx.Node, list[tuple[int, int]]] | None:
        """Where a program that does not run on a state fails.

        Args:
            model: whose layers it calls.
            state: what is alive before the part.

        Returns:
            The node, and (height, width) of the maps that it reads; None where it runs.
        """
        run = fx.Interpreter(model, garbage_collect_values=False, graph=self.graph)
        run.args_iter = iter(_values(state))
        for node in self.graph.nodes:
            try:
                run.env[node] = run.run_node(node)
            except Exception:  # the network's own
                maps = [x for n in node.all_input_nodes if isinstance(x := run.env[n], Tensor) and x.dim() == 4]
                return node, [(x.shape[2], x.shape[3]) for x in maps]
        return None

    def reads(self) -> set[str]:
        """What it takes from the model.

        Returns:
            Names of submodules, parameters and other attributes, with dots.
        """
        return {str(node.target) for node in self.graph.nodes if node.op in ("call_module", "get_attr")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # it holds no state

    def __reduce__(self) -> Any:
        return Program, (self.graph,)  # what was compiled is compiled again


def _values(state: State) -> tuple[Any, ...]:
    """The arguments of a program; of the head, which reads them, what is carried comes last."""
    live, carried = split_state(state)
    return (*(live if isinstance(live, tuple) else (live,)), *carried)


class ProgramWriter:
    """Writes a program node by node, each node of the network as it is or as something in its place.

    Args:
        inputs: the nodes of the network whose values are alive before the part: what the program is given.
    """

    def __init__(self, inputs: Sequence[fx.Node]) -> None:
        self._graph = fx.Graph()
        self._written = {node: self._standing_for(node, self._graph.placeholder(node.name)) for node in inputs}

    def copy(self, node: fx.Node) -> None:
        """Write a node as it is.

        Args:
            node: of the network; what it reads must be in the program already.
        """
        self._written[node] = self._standing_for(node, self._graph.node_copy(node, self._get))

    def skip(self, node: fx.Node, source: fx.Node) -> None:
        """Leave a node out: its value is that of one that it reads.

        Args:
            node: of the network.
            source: the node that it reads and whose value it then has.
        """
        self._written[node] = self._get(source)

    def call(self, node: fx.Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Write the call of a function in the place of a node.

        Args:
            node: of the network.
            function: what is called.
            *args, **kwargs: its arguments; nodes of the network among them stand for their values.
        """
        self._written[node] = self._standing_for(node, self.value(function, *args, **kwargs))

    def value(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Write the call of a function, in the place of no node as yet.

        Args:
            function: what is called.
            *args, **kwargs: as of :meth:`call`; nodes of this program stand for themselves.

        Returns:
            Its value, a node of the program, which :meth:`replace` can make that of a node of the network.
        """
        return self._graph.call_function(function, *self._arguments(args, kwargs))

    def replace(self, node: fx.Node, value: fx.Node) -> None:
        """Make a value that of a node, for whatever is written from here on.

        Args:
            node: of the network.
            value: a node of the program.
        """
        self._written[node] = value

    def now(self, node: fx.Node) -> fx.Node:
        """The value of a node so far.

        Args:
            node: of the network, written or read before.

        Returns:
            A node of the program.
        """
        return self._get(node)

    def layer(self, path: str) -> fx.Node:
        """A submodule, as an argument of a function.

        Args:
            path: its name in the model.

        Returns:
            A node of the program.
        """
        return self._graph.create_node("get_attr", path)

    def finish(self, outputs: Sequence[fx.Node], carried: Sequence[fx.Node] = ()) -> Program:
        """End the program.

        Args:
            outputs: the nodes of the network whose values it gives.
            carried: nodes of the program, whose values it gives to be carried to the head.

        Returns:
            A program that gives the value alone where there is one, else a tuple in this order; with the carried values
            where there are any, see :class:`~poolsearch.nets.poolable.Carrying`.
        """
        values = tuple(self._get(node) for node in outputs)
        live = values[0] if len(values) == 1 else values
        self._graph.output(self._graph.call_function(Carrying, (live, tuple(carried))) if carried else live)
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
def overwritten_inputs(program: Program, models: Sequence[nn.Module], state: tuple[Any, ...]) -> list[int]:
    """Which of the tensors that a program is given it writes into.

    Args:
        program: what is run.
        models: tried in turn, such as one in evaluation and one in training; on the meta device.
        state: what is alive before the program, on the meta device.

    Returns:
        Positions in ``state``, rising, of those that some model made it write into.
    """
    found: set[int] = set()
    for model in models:
        before = [t._version if isinstance(t, Tensor) else 0 for t in state]
        program(model, state)
        after = [t._version if isinstance(t, Tensor) else 0 for t in state]
        found |= {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
    return sorted(found)
