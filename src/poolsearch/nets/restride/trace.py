"""A model's forward pass as a flat graph of layers and functions, taken without data and without touching the model."""

from __future__ import annotations

import contextlib
import copy
import linecache
import operator
import os
import random
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from poolsearch.errors import PoolsearchError

_RANDOM = ("rand", "randn", "randint", "randperm")
_FILLED = ("zeros", "ones", "full", "empty", "arange", "linspace", "tensor")
"""Functions of torch that make tensors out of numbers, and which torch.fx does not record by itself."""

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def check_kind(model: nn.Module) -> None:
    """See that a model is made of plain modules whose parameters have shapes.

    Args:
        model: any module.

    Raises:
        PoolsearchError: it has lazy parameters, or is (or holds) a ScriptModule.
    """
    for name, part in model.named_modules():
        what = f"'{name}' ({type(part).__name__}) of {type(model).__name__}" if name else type(part).__name__
        if isinstance(part, torch.jit.ScriptModule):
            raise PoolsearchError(
                f"{what} is a ScriptModule, whose forward pass cannot be traced: give the nn.Module that it was made "
                "from, without torch.jit.script or torch.jit.trace."
            )
        if any(is_lazy(tensor) for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False))):
            raise PoolsearchError(
                f"{what} is lazy: its parameters have no shapes yet. Run the network on one image where it is made, "
                "before it is given away, such as net(torch.zeros(1, 3, 64, 64))."
            )


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


@dataclass(frozen=True)
class Traced:
    """The forward pass of a model as graphs.

    Attributes:
        graph: in evaluation; in both modes, where ``training`` is None.
        training: in training, where that computes something else.
        unlike: what does, in words.
        kept: why a submodule is kept whole, by its name.
        uneven: names of submodules that are kept whole in one mode only.
    """

    graph: fx.Graph
    training: fx.Graph | None
    unlike: str
    kept: Mapping[str, str]
    uneven: frozenset[str]


def trace(blank: nn.Module, shallow: bool = False) -> fx.Graph:
    """Take the one graph of a model's forward pass ``blank(x)``, see :func:`trace_modes`.

    Args:
        blank: the model, a :func:`blank_copy`; its mode is changed.
        shallow: look into no submodule: the graph of the model's own forward method.

    Returns:
        A graph whose nodes know where they are in the model, see :func:`path_of`, :func:`enters` and :func:`leaves`.

    Raises:
        PoolsearchError: as :func:`trace_modes`; or training computes something else than evaluation.
    """
    found = trace_modes(blank, shallow=shallow)
    if found.training is not None:
        raise PoolsearchError(found.unlike)
    return found.graph


def trace_modes(
    blank: nn.Module,
    opened: frozenset[str] = frozenset(),
    whole: frozenset[str] = frozenset(),
    shallow: bool = False,
    example_BCHW: Tensor | None = None,
) -> Traced:
    """Take the graphs of a model's forward pass ``blank(x)`` in evaluation and in training.

    Where the two differ in a flag only, such as that of ``F.dropout``, one graph serves both: it reads ``training`` of
    the module that asked. A module whose forward pass cannot be traced is kept whole, as one opaque layer.

    Args:
        blank: the model, a :func:`blank_copy`; its mode is changed.
        opened: names of childless modules to look into, which are otherwise layers.
        whole: names of modules to keep whole.
        shallow: look into no submodule: the graph of the model's own forward method.
        example_BCHW: where given, branches and assertions on sizes go as they do for such images; the graph holds a
            check that they always do, see :func:`expect`.

    Returns:
        Graphs whose nodes know where they are in the model, see :func:`path_of`, :func:`enters` and :func:`leaves`.

    Raises:
        PoolsearchError: the forward pass decides by values (or, without an example, sizes) at its top level.
    """
    name = type(blank).__name__
    graphs, kept = _both_graphs(blank, lambda: _Tracer(opened, whole, shallow, example_BCHW))
    if any(node for graph in graphs for node in _constants(graph)):  # perhaps they are computed from buffers
        graphs, kept = _both_graphs(blank, lambda: _Tracer(opened, whole, shallow, example_BCHW, buffers=True))
    for graph in graphs:
        _strip_prefix(graph, name)
    try:
        _merge_modes(*graphs, name=name)
    except PoolsearchError as error:
        return Traced(graphs[0], graphs[1], str(error), kept[1] | kept[0], frozenset(kept[0].keys() ^ kept[1].keys()))
    return Traced(graphs[0], None, "", kept[0], frozenset())


def _both_graphs(blank: nn.Module, tracer_of: Callable[[], _Tracer]) -> tuple[list[fx.Graph], list[dict[str, str]]]:
    """The graphs of evaluation and training, and which modules are kept whole in each."""
    graphs: list[fx.Graph] = []
    kept: list[dict[str, str]] = []
    for training in (False, True):
        blank.train(training)
        tracer = tracer_of()
        try:
            with tracer.recorded(), _no_draws():
                graphs.append(tracer.trace(_Call(blank)))
        except Exception as error:  # whatever its Python code meets when it is given a placeholder for a tensor
            raise PoolsearchError(
                f"the forward pass of {type(blank).__name__} cannot be written down as one graph ({reason_of(error)}). "
                "Control flow that depends on values or sizes has to be inside a submodule, which is then kept whole."
            ) from error
        tracer.note_calls()
        kept.append(tracer.kept)
    return graphs, kept


def expect(value: Any, decided: bool, where: str) -> None:
    """See that a branch or an assertion on sizes goes as it did when the network was traced.

    Args:
        value: what the branch depends on.
        decided: how it went.
        where: the line of the network's code, to be told.

    Raises:
        RuntimeError: it goes the other way.
    """
    if bool(value) != decided:
        raise RuntimeError(f"the forward pass takes another branch for maps of this size ({where})")


def reason_of(error: BaseException) -> str:
    """What an error says, and the line of the network's code where it came up.

    Args:
        error: raised in a forward pass.

    Returns:
        Without a full stop at the end.
    """
    said = str(error).split("\n")[0].rstrip(".") or type(error).__name__
    line = _line_of(traceback.extract_tb(error.__traceback__))
    return f"{said}; {line}" if line else said


_NOT_USERS = (*(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__)), contextlib.__file__)


def _line_of(frames: traceback.StackSummary) -> str:
    """The innermost line that is neither torch's nor ours."""
    for frame in reversed(frames):
        if frame.line and not frame.filename.startswith(_NOT_USERS):
            return f"line {frame.lineno} of {Path(frame.filename).name}: {frame.line}"
    return ""


def _caller() -> tuple[str, int]:
    """The file and the number of the innermost line that is neither torch's nor ours."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - inspect.stack reads every file
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_USERS):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "", 0


def line_of(node: fx.Node) -> str:
    """The line of the network's code that a node comes from.

    Args:
        node: of a graph that :func:`trace` gave.

    Returns:
        Such as ``line 12 of net.py: x = torch.cat([a, b], 1)``; the node's name where no line is known.
    """
    file, number = node.meta.get("line", ("", 0))
    text = linecache.getline(file, number).strip()
    return f"line {number} of {Path(file).name}: {text}" if text else f"at '{node.name}'"


@contextmanager
def generators_kept() -> Generator[None]:
    """Leave Python's and NumPy's random numbers as they were, from which a forward pass may draw.

    Yields:
        Nothing; afterwards the next numbers are those that would have come before.
    """
    python, numpy_ = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_)


@contextmanager
def _no_draws() -> Generator[None]:
    """See that nothing is drawn that a graph would hold as a constant.

    Raises:
        RuntimeError: something was drawn.
    """
    before = _drawn()
    with generators_kept(), torch.random.fork_rng(devices=[]):
        yield
        if _drawn() != before:
            raise RuntimeError("it draws numbers while it runs and goes on as they say, which no graph can hold")


def _drawn() -> tuple[Any, ...]:
    """How far the generators are from which a forward pass can draw numbers that are no part of a graph."""
    _, numbers, position, *_ = cast("tuple[Any, ...]", np.random.get_state())
    return random.getstate(), bytes(numbers), position, bytes(torch.get_rng_state().numpy())


class _Call(nn.Module):
    """Calls the model with one argument, so that its other arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model(x_BCHW)


class _Tracer(fx.Tracer):
    """Records what a model does with a placeholder; with ``buffers`` also what it computes from its buffers alone."""

    def __init__(
        self,
        opened: frozenset[str],
        whole: frozenset[str],
        shallow: bool,
        example_BCHW: Tensor | None,
        buffers: bool = False,
    ) -> None:
        super().__init__()
        self.proxy_buffer_attributes = buffers
        self.kept: dict[str, str] = {}
        self._opened = opened
        self._whole = whole
        self._shallow = shallow
        self._example_BCHW = example_BCHW
        self._values: dict[fx.Node, Any] = {}
        self._draws: set[fx.Node] = set()
        self._computing = False
        self._stack: list[str] = []
        self._entered: list[tuple[str, fx.Node]] = []
        self._left: list[tuple[str, fx.Node]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Torch's own layers, what derives from them, and whatever has no children."""
        name = module_qualified_name.removeprefix("model.")
        if self._shallow:
            return module_qualified_name != "model"
        if name in self._opened or name in self._whole:
            return name in self._whole
        bases = (k for k in type(m).__mro__ if k not in _CONTAINERS)
        return any(k.__module__.startswith("torch.nn.modules") for k in bases) or not [*m.children()]

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Make torch's functions that make tensors nodes of the graph, where they draw or depend on the images."""
        names = _RANDOM if self._example_BCHW is None else _RANDOM + _FILLED
        before = {name: getattr(torch, name) for name in names}
        try:
            for name, function in before.items():
                setattr(torch, name, self._recording(function, name in _RANDOM))
            yield
        finally:
            for name, function in before.items():
                setattr(torch, name, function)

    def _recording(self, function: Callable[..., Any], draws: bool) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            if self._computing or not (draws or _holds_proxy((args, kwargs))):
                return function(*args, **kwargs)
            return self.create_proxy("call_function", function, args, kwargs)

        return record

    def to_bool(self, obj: fx.Proxy) -> bool:
        """A branch or an assertion on sizes goes as for the example, with a check of that in the graph."""
        value = super().to_bool(obj) if self._example_BCHW is None else self._value(obj.node)
        if isinstance(value, Tensor):
            raise RuntimeError("a branch depends on the values of a tensor")
        if self._is_drawn(obj.node):
            raise RuntimeError("a branch depends on numbers that are drawn")
        where = _line_of(traceback.extract_stack())
        self.create_proxy("call_function", expect, (obj, bool(value), where), {})
        return bool(value)

    def _is_drawn(self, node: fx.Node) -> bool:
        """Whether a value depends on random numbers."""
        seen, left = set[fx.Node](), [node]
        while left:
            if (one := left.pop()) in self._draws:
                return True
            seen.add(one)
            left += [read for read in one.all_input_nodes if read not in seen]
        return False

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Shapes and tuples are as long as for the example."""
        value = None if self._example_BCHW is None else self._value(obj.node)
        if not isinstance(value, (tuple, list)):
            return super().iter(obj)
        return iter([operator.getitem(cast("Any", obj), i) for i in range(len(value))])

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """A parameter itself, while a value is computed."""
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    @torch.no_grad()
    @torch.random.fork_rng(devices=[])
    def _value(self, node: fx.Node) -> Any:
        """What a node gives for the example, on the meta device."""
        assert self._example_BCHW is not None
        run = fx.Interpreter(self.root, garbage_collect_values=False, graph=self.graph)
        run.env = self._values
        run.args_iter = iter((self._example_BCHW.to("meta"),))
        self._computing = True
        try:
            for other in self.graph.nodes:
                if other not in run.env:
                    before = torch.get_rng_state()
                    run.env[other] = run.run_node(other)
                    if not torch.equal(before, torch.get_rng_state()):
                        self._draws.add(other)
        finally:
            self._computing = False
        return run.env[node]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._computing:
            return forward(*args, **kwargs)
        try:
            path = self.path_of_module(m)
        except NameError:  # made in the forward pass, as a part of a Sequential is: what is in it has a name
            return forward(*args, **kwargs)
        kept, modules = {*self.graph.nodes}, self.module_stack.copy()
        name = path.removeprefix("model").removeprefix(".")
        if args and isinstance(args[0], fx.Proxy):
            self._entered.append((name, args[0].node))
        self._stack.append(name)
        try:
            with _no_draws():
                return self._leave(name, super().call_module(m, forward, args, kwargs))
        except Exception as error:  # a forward pass on proxies may raise anything; such a module is kept whole
            if path == "model":
                raise
            self.kept[name] = reason_of(error)
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
        node.meta["line"] = _caller()
        return node


def _holds_proxy(values: Any) -> bool:
    if isinstance(values, dict):
        return any(map(_holds_proxy, cast("dict[str, Any]", values).values()))
    return any(map(_holds_proxy, values)) if isinstance(values, (tuple, list)) else isinstance(values, fx.Proxy)


def _constants(graph: fx.Graph) -> list[fx.Node]:
    """Tensors that are neither parameters nor buffers of the model, made in the forward pass."""
    return [n for n in graph.nodes if n.op in ("call_module", "get_attr") and not n.target.startswith("model.")]


def _strip_prefix(graph: fx.Graph, name: str) -> None:
    """Names as the model has them, not the wrapper.

    Raises:
        PoolsearchError: there is none for a tensor, made in the forward pass.
    """
    for node in _constants(graph):
        raise PoolsearchError(
            f"the forward pass of {name} makes a tensor that depends on nothing (read at '{node.name}' in "
            f"'{path_of(node)}'): make it in the constructor, with register_buffer."
        )
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
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
        "branches on self.training cannot be restrided here. Turn them off, or move them into a submodule without "
        "children."
    )
