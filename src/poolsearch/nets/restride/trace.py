"""A model's forward pass as a flat graph of layers and functions, taken without data and without touching the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn

from poolsearch.errors import PoolsearchError

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blank_copy(model: nn.Module) -> Any:
    """A copy of a module on the meta device: its structure without its numbers, which are never copied.

    Args:
        model: any module; not changed.

    Returns:
        A module of the same class and mode.
    """
    return copy_with(model, lambda tensor: torch.empty_like(tensor, device="meta"))


def copy_with(model: nn.Module, make: Callable[[Tensor], Tensor]) -> Any:
    """A copy of a module with other tensors.

    Args:
        model: any module; not changed.
        make: gives what stands in the place of a parameter, buffer or tensor among the attributes.

    Returns:
        A module of the same class and mode; parameters stay parameters.
    """
    memo: dict[int, Any] = {}
    attributes = (value for part in model.modules() for value in vars(part).values() if isinstance(value, Tensor))
    for tensor in chain(model.parameters(), model.buffers(), attributes):
        made = make(tensor)
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    return copy.deepcopy(model, memo)


def path_of(node: fx.Node) -> str:
    """The name of the submodule that computes a node.

    Args:
        node: of a graph that :func:`trace` gave.

    Returns:
        Of a layer its own name, of a function that of the module that calls it; empty for the model itself.
    """
    return node.meta["path"]


def enters(node: fx.Node) -> list[str]:
    """The submodules whose first argument a node is.

    Args:
        node: of a graph that :func:`trace` gave.

    Returns:
        Their names, outermost first.
    """
    return node.meta.get("enters", [])


def leaves(node: fx.Node) -> list[str]:
    """The submodules whose result a node is.

    Args:
        node: of a graph that :func:`trace` gave.

    Returns:
        Their names, innermost first.
    """
    return node.meta.get("leaves", [])


def is_within(node: fx.Node, path: str) -> bool:
    """Whether a submodule, or one inside it, computes a node.

    Args:
        node: of a graph that :func:`trace` gave.
        path: the submodule's name.

    Returns:
        True where it does.
    """
    return path_of(node) == path or path_of(node).startswith(f"{path}.")


def trace(blank: nn.Module, opened: frozenset[str] = frozenset(), shallow: bool = False) -> fx.Graph:
    """Take the graph of a model's forward pass ``blank(x)``.

    It is taken in evaluation and in training. Where the two differ in a flag only, such as that of ``F.dropout``, the
    graph reads ``training`` of the module that asked; where they differ in more there is no one graph. A module whose
    forward pass cannot be traced is kept whole, as one opaque layer.

    Args:
        blank: the model, a :func:`blank_copy`; its mode is changed.
        opened: names of childless modules to look into, which are otherwise layers.
        shallow: look into no submodule: the graph of the model's own forward method.

    Returns:
        A graph whose nodes know where they are in the model, see :func:`path_of`, :func:`enters` and :func:`leaves`.

    Raises:
        PoolsearchError: the forward pass decides by values or sizes at its top level, or does something else in
            training than in evaluation.
    """
    graphs = []
    for training in (False, True):
        blank.train(training)
        tracer = _Tracer(opened, shallow)
        try:
            graphs.append(tracer.trace(_Call(blank)))
        except Exception as error:  # whatever its Python code meets when it is given a placeholder for a tensor
            raise PoolsearchError(
                f"the forward pass of {type(blank).__name__} cannot be written down as one graph "
                f"({str(error).rstrip('.')}). Control flow that depends on values or sizes has to be inside a "
                "submodule, which is then kept whole."
            ) from error
        tracer.note_calls()
    name = type(blank).__name__
    for graph in graphs:
        _strip_prefix(graph, name)
    _merge_modes(*graphs, name=name)
    return graphs[0]


class _Call(nn.Module):
    """Calls the model with one argument, so that its other arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model(x_BCHW)


class _Tracer(fx.Tracer):
    def __init__(self, opened: frozenset[str], shallow: bool) -> None:
        super().__init__()
        self._opened = opened
        self._shallow = shallow
        self._stack: list[str] = []
        self._entered: list[tuple[str, fx.Node]] = []
        self._left: list[tuple[str, fx.Node]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Torch's own layers, what derives from them, and whatever has no children."""
        if self._shallow:
            return module_qualified_name != "model"
        if module_qualified_name.removeprefix("model.") in self._opened:
            return False
        bases = (k for k in type(m).__mro__ if k not in _CONTAINERS)
        return any(k.__module__.startswith("torch.nn.modules") for k in bases) or not [*m.children()]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        kept, modules = {*self.graph.nodes}, self.module_stack.copy()
        name = path.removeprefix("model").removeprefix(".")
        if args and isinstance(args[0], fx.Proxy):
            self._entered.append((name, args[0].node))
        self._stack.append(name)
        try:
            return self._leave(name, super().call_module(m, forward, args, kwargs))
        except Exception:  # a forward pass on proxies may raise anything; such a module is kept whole
            if path == "model":
                raise
            self.module_stack = modules
            for node in reversed([n for n in self.graph.nodes if n not in kept and n.op != "get_attr"]):
                self.graph.erase_node(node)
            for calls in (self._entered, self._left):
                calls[:] = [call for call in calls if not call[0].startswith(f"{name}.")]
            return self._leave(name, self.create_proxy("call_module", path, args, kwargs))
        finally:
            self._stack.pop()

    def _leave(self, name: str, result: Any) -> Any:
        if isinstance(result, fx.Proxy):
            self._left.append((name, result.node))
        return result

    def note_calls(self) -> None:
        """Leave at every node which submodules it enters and leaves."""
        for key, calls in (("enters", self._entered), ("leaves", self._left)):
            for name, node in calls:
                node.meta.setdefault(key, []).append(name)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["path"] = self._stack[-1] if self._stack else ""
        return node


def _strip_prefix(graph: fx.Graph, name: str) -> None:
    """Names as the model has them, not the wrapper.

    Raises:
        PoolsearchError: there is none for a tensor, made in the forward pass.
    """
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            if not node.target.startswith("model."):
                raise PoolsearchError(
                    f"the forward pass of {name} makes a tensor that depends on nothing (read at '{node.name}' in "
                    f"'{path_of(node)}'): make it in the constructor, with register_buffer."
                )
            node.target = node.target.removeprefix("model.")


def _merge_modes(evaluation: fx.Graph, training: fx.Graph, name: str) -> None:
    """Make the graph of evaluation read ``training`` where the graph of training has True for its False."""
    twin: dict[fx.Node, fx.Node] = {}
    pairs = [*zip(evaluation.nodes, training.nodes, strict=False)]
    for ours, theirs in pairs:
        twin[theirs] = ours
        if (ours.op, ours.target) != (theirs.op, theirs.target):
            raise _unlike(name, ours)
        with evaluation.inserting_before(ours):
            ours.args = _merged(ours.args, theirs.args, twin, ours, name)
            ours.kwargs = _merged(ours.kwargs, theirs.kwargs, twin, ours, name)
    if len(pairs) != len(training.nodes):
        raise _unlike(name, pairs[-1][0])


def _merged(ours: Any, theirs: Any, twin: dict[fx.Node, fx.Node], node: fx.Node, name: str) -> Any:
    """One argument, out of that in evaluation and that in training."""
    if isinstance(ours, (tuple, list)) and type(ours) is type(theirs) and len(ours) == len(theirs):
        merged = [_merged(a, b, twin, node, name) for a, b in zip(ours, theirs, strict=True)]
        return type(ours)(merged)
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return {key: _merged(value, theirs[key], twin, node, name) for key, value in ours.items()}
    if isinstance(ours, slice) and isinstance(theirs, slice):
        one, two = ((s.start, s.stop, s.step) for s in (ours, theirs))
        return slice(*_merged(one, two, twin, node, name))
    if ours is False and theirs is True:
        flag = node.graph.create_node("get_attr", f"{path_of(node)}.training".removeprefix("."))
        flag.meta["path"] = path_of(node)
        return flag
    same = twin.get(theirs) is ours if isinstance(theirs, fx.Node) else ours == theirs
    if not same:
        raise _unlike(name, node)
    return ours


def _unlike(name: str, node: fx.Node) -> PoolsearchError:
    where = f"'{path_of(node)}' of {name}" if path_of(node) else name
    return PoolsearchError(
        f"{where} computes something else in training than in evaluation (at '{node.name}'): auxiliary outputs and "
        "branches on self.training cannot be restrided. Turn them off, or move them into a submodule without children."
    )
