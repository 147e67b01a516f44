"""What has to be changed in a network so that it runs at another placement: strides, layers, a few forward methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.exporting import code_templates
from poolsearch.exporting.chain import Chain
from poolsearch.exporting.forward import (
    CannotPatch,
    ForwardGraph,
    FunctionCode,
    code_of,
    computes_same,
    origin_name,
    with_features,
)
from poolsearch.nets.restride.trace import enters, is_within, leaves, path_of, trace

_SHRINKING = (F.max_pool2d, F.avg_pool2d, code_templates.blur, code_templates.subsample, code_templates.fitted)


@dataclass
class Patch:
    """Changes to a network, by the names of its submodules.

    Attributes:
        settings: attributes of layers.
        padded: margins in front of convolutions in place of their own padding, and the mode.
        replaced: layers (or attributes that are None), and the Python of what is put there.
        alike: identities in whose place there is a pooling layer like another: (its name, channels, stride).
        pooled: modules in front of which there is a pooling, and its Python.
        forwards: modules with another forward method.
        taps: modules whose results are the last maps of the resolutions; empty where they are not to be had so.
        features: a method that gives them, where modules do not.
    """

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    padded: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    alike: dict[str, tuple[str, int, Any]] = field(default_factory=dict)
    pooled: dict[str, str] = field(default_factory=dict)
    forwards: dict[str, FunctionCode] = field(default_factory=dict)
    taps: list[str] = field(default_factory=list)
    features: FunctionCode | None = None


def flat_patch(now: Chain, ends: Sequence[int], modules: Mapping[str, str]) -> Patch:
    """The whole forward pass as one function, for networks that :func:`short_patch` cannot change piece by piece.

    Args:
        now: the network at the placement.
        ends: number of the last block of each resolution.
        modules: see :func:`~poolsearch.exporting.forward.code_of`.

    Returns:
        A patch with the forward method of the network itself, and a method that gives the maps of a backbone.
    """
    features = code_of(with_features(now.graph, [now.states[i] for i in ends]), modules)
    return Patch(now.settings, now.padded, forwards={"": code_of(now.graph, modules)}, features=features)


def short_patch(model: nn.Module, own: Chain, now: Chain, ends: Sequence[int], modules: Mapping[str, str]) -> Patch:
    """The changes piece by piece.

    Args:
        model: the network on the meta device.
        own, now: as it is, and at the placement.
        ends: number of the last block of each resolution.
        modules: see :func:`~poolsearch.exporting.forward.code_of`.

    Returns:
        A patch; without ``taps`` and ``features`` where it cannot give the maps of a backbone.

    Raises:
        CannotPatch: they do not express it.
    """
    patcher = _Patcher(model, own, Patch(dict(now.settings), dict(now.padded)))
    kept = {origin_name(node) for node in now.graph.nodes}
    before = {origin_name(node): node for node in own.graph.nodes if origin_name(node)}
    for node in before.values():
        if node.op.startswith("call") and origin_name(node) not in kept:
            patcher.leave_out(node)
    for node in now.graph.nodes:
        if node.op == "call_function" and not origin_name(node):
            patcher.insert(node)
        elif node.op == "call_function" and _differs(node, before[origin_name(node)]):
            patcher.change(node, before[origin_name(node)])
    patch = patcher.patch
    patch.forwards = {path: code_of(forward.graph, modules) for path, forward in patcher.changed.items()}
    states = [now.states[i][0] for i in ends]
    patch.taps = patcher.taps(states)
    patch.features = None if patch.taps else patcher.features(states, modules)
    return patch


def _differs(node: fx.Node, before: fx.Node) -> bool:
    """Whether a function has another target, or other settings; which values it reads does not count."""
    plain: list[Any] = [fx.map_arg((n.args, n.kwargs), lambda _: None) for n in (node, before)]
    return node.target is not before.target or plain[0] != plain[1]


class _Patcher:
    """Writes a patch, change by change."""

    def __init__(self, model: nn.Module, own: Chain, patch: Patch) -> None:
        self.patch = patch
        self.changed: dict[str, ForwardGraph] = {}
        self._model = model
        self._own = own
        self._methods: dict[str, ForwardGraph | None] = {}
        self._shrunk: dict[fx.Node, fx.Node] = {}
        self._left_out: list[fx.Node] = []

    def leave_out(self, node: fx.Node) -> None:
        """A pooling that is not there at the placement."""
        if node.op == "call_module":
            self.patch.replaced[str(node.target)] = "nn.Identity()"
            self._left_out.append(node)
        else:
            self._edited(node).leave_out(node)

    def change(self, node: fx.Node, before: fx.Node) -> None:
        """A function with other settings, on the same map."""
        if before.op == "call_module":  # a pooling that is left out, and whose map would be written into
            self.patch.replaced[str(before.target)] = "nn.MaxPool2d(1)"
        else:
            self._edited(node).change(node)

    def insert(self, node: fx.Node) -> None:
        """A pooling or subsampling that the network itself has not.

        It is put in front of a module, else in the place of a pooling that is left out, else in an empty place of a
        shortcut, else into a forward method.
        """
        if node.target is code_templates.pooled_like:
            self._alike(node)
        elif node.target not in _SHRINKING:
            raise CannotPatch(f"'{node.name}' is no pooling")
        elif not self._in_front(node) and not self._in_place(node) and not self._on_shortcut(node):
            self._in_method(node)

    def taps(self, states: Sequence[list[fx.Node]]) -> list[str]:
        """For each state the outermost module that gives it; empty where there is not one for each."""
        changed = {*self.patch.replaced, *self.patch.alike}
        found = [[p for p in _places(state) if p and p not in changed] for state in states]
        return [paths[-1] for paths in found] if all(found) else []

    def features(self, states: Sequence[list[fx.Node]], modules: Mapping[str, str]) -> FunctionCode | None:
        """The network's own forward method up to the last state; None where the states are not values of it."""
        root = self._method("")
        if root is None or any(len(state) > 1 or not root.values(state[0]) for state in states):
            return None
        values = [root.values(state[0])[-1] for state in states]
        return code_of(with_features(root.graph, [([value], value) for value in values]), modules)

    def _alike(self, node: fx.Node) -> None:
        template, value, stride = node.args
        assert isinstance(template, fx.Node) and isinstance(value, fx.Node)
        name = str(value.target)
        if value.op != "call_module" or not isinstance(self._model.get_submodule(name), nn.Identity):
            raise CannotPatch(f"there is no place for a pooling after '{name}'")
        self.patch.alike[name] = str(template.target), self._channels(name), stride

    @torch.no_grad()
    def _channels(self, name: str) -> int:
        """Of what a layer gives."""
        found: list[int] = []
        layer = self._model.get_submodule(name)
        handle = layer.register_forward_hook(lambda _, __, out: found.append(out.shape[1]))
        self._model.eval()(torch.empty(1, *self._own.shape, device="meta"))
        handle.remove()
        return found[0]

    def _in_front(self, node: fx.Node) -> bool:
        """Pool what a module reads, where all that is read in it is the pooled map."""
        value, readers = node.all_input_nodes[0], [*node.users]
        others = [user for user in value.users if origin_name(user)]
        for path in reversed(enters(value)):
            inside = path and all(origin_name(r) and is_within(r, path) for r in readers)
            if inside and not any(is_within(other, path) for other in others):
                if path in self.patch.pooled:
                    raise CannotPatch(f"there are two poolings in front of '{path}'")
                self.patch.pooled[path] = _as_layer(node)
                return True
        return False

    def _in_place(self, node: fx.Node) -> bool:
        """Pool where a pooling of the network's own is left out."""
        for other in self._left_out if node.target is not code_templates.blur else []:
            source = origin_name(other.all_input_nodes[0])
            if source == origin_name(node.all_input_nodes[0]) and {*map(origin_name, other.users)} == {
                *map(origin_name, node.users)
            }:
                self.patch.replaced[str(other.target)] = _as_layer(node)
                return True
        return False

    def _on_shortcut(self, node: fx.Node) -> bool:
        """Pool on a shortcut that has a place for a module: an identity, or an attribute that is None."""
        value, readers = node.all_input_nodes[0], [*node.users]
        if (
            len(readers) > 1
            or not origin_name(readers[0])
            or readers[0].op == "call_module"
            or node.target is code_templates.blur
        ):
            return False
        path = path_of(readers[0])
        name = self._identity(path, value, readers[0]) or self._empty(path, node)
        if name:
            self.patch.replaced[name] = _as_layer(node)
        return bool(name)

    def _identity(self, path: str, value: fx.Node, reader: fx.Node) -> str | None:
        """A child that gives what it is given, and whose result the reader takes."""
        method = self._method(path)
        call = method and method.reader(reader)
        for read in call.all_input_nodes if call is not None else []:
            name = ".".join(filter(None, (path, str(read.target))))
            if read.op == "call_module" and name in leaves(value) and _is_identity(self._model.get_submodule(name)):
                return name
        return None

    def _empty(self, path: str, node: fx.Node) -> str | None:
        """An attribute that is None, where a module makes the forward method the one that is wanted."""
        module = self._model.get_submodule(path)
        children: dict[str, nn.Module | None] = vars(module)["_modules"]
        names = [n for n, v in {**vars(module), **children}.items() if v is None and not n.startswith("_")]
        wanted = ForwardGraph.of(path, module, self._own.graph) if names and path not in self.changed else None
        call = wanted and self._written(wanted, node)
        if wanted is None or call is None:
            return None
        for name in names:
            trial = copy.copy(module)
            trial.__dict__ = {**module.__dict__, "_modules": {**children, name: nn.Identity()}}
            trial.__dict__.pop(name, None)
            try:
                found = trace(trial, shallow=True)
            except PoolsearchError:
                continue
            if computes_same(wanted.graph, call, found, name):
                return ".".join(filter(None, (path, name)))
        return None

    def _in_method(self, node: fx.Node) -> None:
        """Write the pooling into the forward method of the innermost module where all that read it are."""
        places = [path_of(reader).split(".") for reader in node.users if origin_name(reader)]
        path = [names[0] for names in takewhile(lambda names: len({*names}) == 1, zip(*places, strict=False))]
        while True:
            name = ".".join(path)
            method = self._method(name)
            call = method and self._written(method, node)
            if call is not None:
                self._shrunk[node] = call
                self._edited_at(name)
                return
            if not path:
                raise CannotPatch(f"'{node.name}' stands between no two calls of one forward method")
            path = path[:-1]

    def _written(self, method: ForwardGraph, node: fx.Node) -> fx.Node | None:
        value = source = node.all_input_nodes[0]
        while not origin_name(source) and source.target in _SHRINKING:
            source = source.all_input_nodes[0]
        if source is not value and value not in self._shrunk:
            return None
        return method.insert(node, method.values(source), self._shrunk.get(value))

    def _method(self, path: str) -> ForwardGraph | None:
        if path not in self._methods:
            self._methods[path] = ForwardGraph.of(path, self._model.get_submodule(path), self._own.graph)
        return self._methods[path]

    def _edited(self, node: fx.Node) -> ForwardGraph:
        return self._edited_at(path_of(node))

    def _edited_at(self, path: str) -> ForwardGraph:
        method = self._method(path)
        if method is None:
            raise CannotPatch(f"the forward method of '{path}' cannot be traced by itself")
        self.changed[path] = method
        return method


def _places(state: list[fx.Node]) -> list[str]:
    """The modules that give a state: its one map, or all of its maps joined to one."""
    joined = [user for user in state[0].users if user.target is torch.cat and user.args[0] == state]
    return leaves(state[0]) if len(state) == 1 else [path for node in joined for path in leaves(node)]


def _is_identity(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity) or (isinstance(module, nn.Sequential) and len(module) == 0)


def _as_layer(node: fx.Node) -> str:
    """A pooling as the Python of a layer (a function for blurs, which are in front of modules only)."""
    stride: Any = node.args[1]
    if node.target is code_templates.subsample:
        return f"nn.MaxPool2d(1, {stride})"
    if node.target is code_templates.blur:
        return f"partial(blur, stride={stride})"
    return f"nn.{'Max' if node.target is F.max_pool2d else 'Avg'}Pool2d({stride}, ceil_mode=True)"
