"""The forward methods of single modules, as short graphs that call their children, and as Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.exporting import code_templates
from poolsearch.nets.restride.trace import enters, leaves, path_of, trace

_FUNCTIONS = ("call_function", "call_method")


class CannotPatch(Exception):
    """A change that modules and their forward methods do not express."""


class ForwardGraph:
    """The forward method of one submodule, and what its values are in the whole network's graph.

    Attributes:
        path: the submodule's name.
        graph: of its own forward method; changed in place.
    """

    @classmethod
    def of(cls, path: str, module: nn.Module, whole: fx.Graph) -> ForwardGraph | None:
        """The forward method of a submodule, matched call by call with the whole network's graph.

        Args:
            path: the submodule's name; empty for the network itself.
            module: the submodule, on the meta device.
            whole: of the network at its own placement, as :func:`~poolsearch.exporting.chain.native_chain` gives it.

        Returns:
            The method; None where it cannot be traced, or does not call the same functions as it does in the whole.
        """
        try:
            graph = trace(module, shallow=True)
        except PoolsearchError:
            return None
        ours = [n for n in graph.nodes if n.op in _FUNCTIONS]
        theirs = [n for n in whole.nodes if n.op in _FUNCTIONS and path_of(n) == path]
        if [n.target for n in ours] != [n.target for n in theirs]:
            return None
        return cls(path, graph, {origin_name(b): a for a, b in zip(ours, theirs, strict=True)})

    def __init__(self, path: str, graph: fx.Graph, functions: dict[str, fx.Node]) -> None:
        self.path = path
        self.graph = graph
        self._functions = functions

    def leave_out(self, node: fx.Node) -> None:
        """Take a function out of the method: what reads its result then reads what it reads.

        Args:
            node: the function, in the whole network's graph.
        """
        function = self._functions[origin_name(node)]
        source = function.all_input_nodes[0]
        function.replace_all_uses_with(source)
        self.graph.erase_node(function)
        self._functions[origin_name(node)] = source

    def change(self, node: fx.Node) -> None:
        """Call another function, or with other settings, on the same map.

        Args:
            node: of the network at the placement: it stands for the function of this method, and has what is new.
        """
        function = self._functions[origin_name(node)]
        function.args = (function.all_input_nodes[0], *node.args[1:])
        function.kwargs = dict(node.kwargs)
        function.target = node.target

    def insert(self, node: fx.Node, values: Sequence[fx.Node], source: fx.Node | None) -> fx.Node | None:
        """Shrink a value before those that read the result.

        Args:
            node: the call that shrinks, in the network's graph at the placement.
            values: of this method; the one of them that is read where ``node`` is read is shrunk.
            source: that value as far as it is shrunk already; None: it is not yet.

        Returns:
            The new call; None, and nothing is changed, where not exactly one of ``values`` is read there.
        """
        readers = {r for user in node.users if origin_name(user) and (r := self.reader(user)) is not None}
        read = {v for v in values if any(v in reader.all_input_nodes for reader in readers)}
        if len(read) != 1 or len(readers) == 0:
            return None
        value = read.pop()
        with self.graph.inserting_before(next(n for n in self.graph.nodes if n in readers)):
            args, kwargs = (source or value, *node.args[1:]), dict(node.kwargs)
            call = self.graph.create_node("call_function", node.target, args, kwargs, name="small")
        for reader in readers:
            reader.replace_input_with(value, call)
        return call

    def values(self, node: fx.Node) -> list[fx.Node]:
        """What stands for a node of the whole graph here: an argument, a function's result, or those of children.

        Args:
            node: of the whole network, at any placement.

        Returns:
            Nodes of this method's graph: arguments, then the function, then calls of children; empty where none does.
        """
        inputs = [n for n in self.graph.nodes if n.op == "placeholder" and self.path in enters(node)]
        function = self._functions.get(origin_name(node)) if node.meta.get("path") == self.path else None
        names = {_below(self.path, path) for path in leaves(node)}
        children = [n for n in self.graph.nodes if n.op == "call_module" and n.target in names]
        return [*inputs, *([function] if function is not None else []), *children]

    def reader(self, node: fx.Node) -> fx.Node | None:
        """The function of this method, or the call of a child, in which a node of the whole graph is computed.

        Args:
            node: of the whole network, at any placement.

        Returns:
            A node of this method's graph; None where it is computed elsewhere, or by a child that is called repeatedly.
        """
        place = path_of(node)
        if place == self.path and node.op != "call_module":
            return self._functions.get(origin_name(node))
        inside = _below(self.path, place)
        calls = [n for n in self.graph.nodes if n.op == "call_module" and f"{inside}.".startswith(f"{n.target}.")]
        return calls[0] if len(calls) == 1 else None


def with_features(graph: fx.Graph, states: Sequence[tuple[list[fx.Node], fx.Node]]) -> fx.Graph:
    """A graph that gives maps on the way, in place of what it gives: copies, since later layers may write into them.

    Args:
        graph: of a forward pass; it stays as it is.
        states: for each the nodes that are alive together, and the node after which they are copied.

    Returns:
        A new graph up to the last state. It gives a list: for each state one tensor, several maps joined by channels.
    """
    found = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    maps: list[fx.Node] = []
    for node in graph.nodes:
        if node.op == "output":
            continue
        copied[node] = found.node_copy(node, copied.__getitem__)
        for alive in (nodes for nodes, last in states if last is node):
            values = tuple(copied[n] for n in alive)
            one = len(values) == 1
            maps.append(found.call_method("clone", values) if one else found.call_function(torch.cat, (values, 1)))
        if len(maps) == len(states):
            break
    found.output(maps)
    return found


def origin_name(node: fx.Node) -> str:
    """The network's own node that this one stands for.

    Args:
        node: of a chain, or of a traced method.

    Returns:
        Its name; empty where the node stands for none, as it was added for a placement.
    """
    return node.meta.get("origin", "")


def _below(path: str, name: str) -> str:
    return name if not path else name.removeprefix(f"{path}.") if name.startswith(f"{path}.") else ""


@dataclass(frozen=True)
class FunctionCode:
    """Python of a function ``NAME(self, x)``, and what has to be imported for it."""

    text: str
    imports: frozenset[str]

    def named(self, name: str) -> str:
        """The code as a function of another name.

        Args:
            name: in place of ``forward``.

        Returns:
            The source of the function.
        """
        return re.sub(r"^def forward\(", f"def {name}(", self.text)


def code_of(graph: fx.Graph, modules: Mapping[str, str]) -> FunctionCode:
    """A graph as Python.

    Args:
        graph: of plain layers and functions, and those of :mod:`~poolsearch.exporting.code_templates`.
        modules: names of modules to import from, where they differ from those here.

    Returns:
        A function ``forward(self, x)`` without what only machines need, and the import lines that it takes.
    """
    python = graph.python_code("self")
    text, imports = python.src, set[str]()
    for name, value in python.globals.items():
        if not re.search(rf"\b{re.escape(name)}\b", text) or name in ("torch", "inf", "nan", "NoneType", "device"):
            continue
        home, own = getattr(value, "__module__", None), getattr(value, "__name__", "")
        if home == code_templates.__name__:
            text = re.sub(rf"\b{re.escape(name)}\b", own, text)
        elif home and own.isidentifier():
            imports.add(f"from {modules.get(home, home)} import {own} as {name}")
    return FunctionCode(_tidied(text), frozenset(imports))


_DEFAULTS = (
    "stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False", "inplace=False",
    "return_indices=False",
)  # fmt: skip
"""Arguments that torch.fx writes out and that change nothing."""


def _tidied(text: str) -> str:
    """What torch.fx writes, without what only machines need."""
    text = re.sub(r";  (?:[a-zA-Z_]\w* = )+None(?=\s*(?:#.*)?$)", "", text, flags=re.M)
    text = re.sub(r"^    x_bchw = x_BCHW\n", "", text.replace("torch.nn.functional.", "F."), flags=re.M)
    text = re.sub(r"\bx_(?:BCHW|bchw)\b", "x", text)
    for name in {*re.findall(r"\bmodel_(\w+)", text)}:  # the traced wrapper's name for the module
        if not re.search(rf"\b{name}\b(?!\()", text.replace(f".{name}", "")) and name.isidentifier():
            text = re.sub(rf"\bmodel_{name}\b", name, text)
    text = re.sub(r"(\w+)\(([^()]*) = ([^()]*)\)", lambda m: m[0].replace(" = ", "="), text)
    for default in _DEFAULTS:
        text = text.replace(f", {default}", "")
    text = re.sub(r"getattr\((self[\w.\[\]]*), \"(\d+)\"\)", r"\1[\2]", text)
    return text.strip() + "\n"


def computes_same(graph: fx.Graph, call: fx.Node, other: fx.Graph, child: str) -> bool:
    """Whether two graphs compute the same, where ``call`` in one stands for the calls of a child in the other.

    Args:
        graph: one graph.
        call: its node that stands in for a call of the child; what it reads is its first input.
        other: the other graph.
        child: the name of the child; its calls in ``other`` equal ``call`` where they read the same.

    Returns:
        True where both give the same by the same operations; False where ``other`` does not call the child.
    """
    table: dict[Any, int] = {}
    calls = {n for n in other.nodes if n.op == "call_module" and n.target == child}
    return bool(calls) and _number(graph, {call}, table) == _number(other, calls, table)


def _number(graph: fx.Graph, stand_ins: set[fx.Node], table: dict[Any, int]) -> int:
    """A number for what a graph gives: in one table, the same for the same."""
    numbers: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node in stand_ins:
            key = "stands in", _key(node.all_input_nodes[0], numbers)
        else:
            key = str(node.op), repr(node.target), _key((node.args, node.kwargs), numbers)
        numbers[node] = table.setdefault(key, len(table))
    return numbers[graph.output_node()]


def _key(value: Any, numbers: dict[fx.Node, int]) -> Any:
    if isinstance(value, fx.Node):
        return "node", numbers[value]
    if isinstance(value, (tuple, list)):
        return tuple(_key(v, numbers) for v in value)
    if isinstance(value, dict):
        return tuple((name, _key(v, numbers)) for name, v in sorted(value.items()))
    return repr(value)
