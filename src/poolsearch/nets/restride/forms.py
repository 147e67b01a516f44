"""How each block runs at every pair of exponents: its programs, and the words for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import fx, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import pool, shrink_factors, state_size
from poolsearch.nets.restride import shrink
from poolsearch.nets.restride.cut import Segment
from poolsearch.nets.restride.family import StridedForm, strided_form, templates
from poolsearch.nets.restride.find import TracedNetwork
from poolsearch.nets.restride.program import Program, ProgramWriter, overwritten_inputs
from poolsearch.nets.restride.trace import line_of, reason_of
from poolsearch.space import HALVE, KEEP, Exponents

SITES: tuple[Exponents, ...] = (KEEP, HALVE, (1, 0), (0, 1))
"""What a site may ask for."""

Edit = Callable[[ProgramWriter, fx.Node], None]
"""Writes something in place of a node."""

Late = Mapping[fx.Node | None, Sequence[tuple[Any, ...]]]
"""Before each node (None: at the end): the values to shrink, each with the function and its other arguments."""


def head_program(net: TracedNetwork, part: Segment, most: int) -> Program:
    """A program of a head that works for maps of one size: those of other placements are made to fit.

    Args:
        net: the network.
        part: its head.
        most: by how many pixels they may differ, see :func:`~poolsearch.nets.restride.shrink.fitted`.

    Returns:
        A program that computes the same as the head does, where its maps have the size that they have by themselves.
    """
    maps = [node for node in part.inputs if node in net.measured.maps]
    size = net.measured.maps[maps[0]].size
    _, cloned = _protected(net, part, {})
    most = min(most, (min(size) - 1) // 2)  # a halving more or less is no matter of a few pixels
    return _write(part, {}, {part.nodes[0]: [(node, shrink.fitted, size, most) for node in maps]}, cloned)


def whole_program(net: TracedNetwork, part: Segment) -> Program:
    """A program of a part as it is.

    Args:
        net: the network.
        part: its stem, a block or its head.

    Returns:
        A program that leaves what it is given as it was, even where the part's layers work in place.
    """
    return _protected(net, part, {})[0]


def block_programs(
    net: TracedNetwork, part: Segment, blocks: Sequence[Segment], strides: bool = True
) -> tuple[dict[Exponents, Program], str]:
    """A block's program for every pair of exponents, and how it downsamples.

    Args:
        net: the network.
        part: the block.
        blocks: all blocks of the network, on one of which it may be modelled.
        strides: model it on another block, where there is one that halves by itself.

    Returns:
        The program for each of :data:`SITES`; and the way, in words.

    Raises:
        PoolsearchError: one of its layers has no form at another stride.
    """
    own, cloned = _protected(net, part, {})
    if part.native != KEEP:
        keep, cloned = _protected(net, part, _native(net, part, KEEP))
        others = {e: _write(part, _native(net, part, e), {}, cloned) for e in SITES if e not in (KEEP, part.native)}
        return {KEEP: keep, **others, part.native: own}, _told_native(part)
    strided = None if part.closed or not strides else strided_form(net, part, blocks)
    if strided is not None and (fitting := _fitting(net, part, strided, cloned)):
        return {KEEP: own, **fitting}, _told_strided(strided)
    others = {e: _pooled(net, part, e) for e in SITES if e != KEEP}
    return {KEEP: own, **others}, f"max pooling 2x2 in front: {_why_pooled(part, blocks, strided)}"


def _label(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name


def _told_native(part: Segment) -> str:
    names = {
        what: ", ".join(_label(n) for n, s in part.shrinks.items() if (s.kind == "pooling") == pools)
        for what, pools in (("at stride 1", False), ("left out", True))
    }
    return "halves by itself; at full size " + "; ".join(f"{n} {what}" for what, n in names.items() if n)


def _told_strided(strided: StridedForm) -> str:
    convolutions = ", ".join(sorted(map(_label, strided.convolutions)))
    poolings = ", ".join(f"{path} after {_label(n)}" for n, path in strided.poolings.items())
    shortcuts = ("averaged" if strided.averaged else "subsampled") if strided.late else ""
    parts = [f"{convolutions} at stride 2" if convolutions else "", poolings, f"rest {shortcuts}" if shortcuts else ""]
    return f"like {strided.template}: " + "; ".join(filter(None, parts))


def _why_pooled(part: Segment, blocks: Sequence[Segment], misfit: StridedForm | None) -> str:
    if part.closed:
        return "it resizes its maps inside"
    if misfit is not None:
        return f"strided as {misfit.template} is, its maps do not fit together"
    strided = ", ".join(b.path for b in templates(blocks)[:1])
    return f"it has no layer in the place of those strided in {strided}" if strided else "no block is strided inside"


# Programs


def _protected(net: TracedNetwork, part: Segment, edits: Mapping[fx.Node, Edit]) -> tuple[Program, list[fx.Node]]:
    """A program that leaves its inputs as they were, since another branch may read them again; which it clones for it.

    With strides the same are written into, or fewer: nothing is left out for them.

    Raises:
        PoolsearchError: it does not run.
    """
    program = _write(part, edits, {}, ())
    state = _state(part, net.measured.values)
    try:
        overwritten = overwritten_inputs(program, (net.blank, net.training), state)
    except Exception as error:  # the network's own, at sizes that it was not made for
        raise PoolsearchError(
            f"block '{part.path}' of {net.name} works for one size of maps only ({reason_of(error)}): position tables "
            "and linear layers over whole maps cannot be restrided."
        ) from error
    written = [part.inputs[i] for i in overwritten]
    if kept := [node for node in written if node in part.kept]:
        raise PoolsearchError(
            f"block '{part.path}' of {net.name} writes into the map that it reads ({line_of(kept[0])}), which the "
            "network gives or reads again later: compute there without inplace=True."
        )
    return (_write(part, edits, {}, written) if written else program), written


def _fitting(
    net: TracedNetwork, part: Segment, form: StridedForm, cloned: Sequence[fx.Node]
) -> dict[Exponents, Program]:
    """The programs of a strided form; empty where one does not fit the block."""
    try:
        found = {e: _strided(net, part, form, e, cloned) for e in SITES if e != KEEP}
    except PoolsearchError:
        return {}
    return found if all(_fits(net, part, program, e) for e, program in found.items()) else {}


@torch.no_grad()
def _fits(net: TracedNetwork, part: Segment, program: Program, exponents: Exponents) -> bool:
    """Whether a program runs and shrinks its maps as asked; large ones, since maps of one pixel go with any."""
    state = _state(part, net.measured.large)
    try:
        after = program(net.blank, state)
        sizes = [state_size(s) for s in (state, after)]
    except (RuntimeError, ValueError):
        return False
    return all(-(-n // f) == got for n, f, got in zip(sizes[0], shrink_factors(exponents), sizes[1], strict=True))


def _state(part: Segment, values: Mapping[fx.Node, Any]) -> tuple[Any, ...]:
    """Fresh values like those alive before a part."""
    found = (values[node] for node in part.inputs)
    return tuple(torch.empty_like(v) if isinstance(v, torch.Tensor) else v for v in found)


def _write(part: Segment, edits: Mapping[fx.Node, Edit], late: Late, cloned: Sequence[fx.Node]) -> Program:
    """The part with some nodes edited, and ``late`` values shrunk just before the node they are given for."""
    writer = ProgramWriter(part.inputs)
    carried = {node: writer.now(node) for node in part.inputs if node in part.carried}
    for node in cloned:
        writer.replace(node, writer.value(torch.clone, node))
    for node in part.nodes:
        for value, function, *args in late.get(node, ()):
            writer.replace(value, writer.value(function, value, *args))
        edits.get(node, ProgramWriter.copy)(writer, node)
        if node in part.carried:  # as it is here, before what a shortcut does to it for the block's own output
            carried[node] = writer.now(node)
    for value, function, *args in late.get(None, ()):
        writer.replace(value, writer.value(function, value, *args))
    return writer.finish(part.outputs, [carried[node] for node in part.carried])


def _pooled(net: TracedNetwork, part: Segment, exponents: Exponents) -> Program:
    """Max pooling of every map, and the block as it is; what it may write into is a copy already."""
    writer = ProgramWriter(part.inputs)
    for node in part.inputs:
        if node in net.measured.maps:
            writer.replace(node, writer.value(pool, node, exponents, "max"))
    for node in part.nodes:
        writer.copy(node)
    return writer.finish(part.outputs, [writer.now(node) for node in part.carried])


def _native(net: TracedNetwork, part: Segment, exponents: Exponents) -> dict[fx.Node, Edit]:
    """The edits to a block that halves by itself, so that it does along some axes only or not at all."""
    return {n: _edit_of(net, part, n, found, _only(found.stride, exponents)) for n, found in part.shrinks.items()}


def _only(stride: shrink.Stride, exponents: Exponents) -> shrink.Stride:
    """The stride along the axes that are to be shrunk."""
    height, width = (s if e else 1 for s, e in zip(stride, exponents, strict=True))
    return height, width


def _edit_of(net: TracedNetwork, part: Segment, node: fx.Node, found: shrink.Shrink, stride: shrink.Stride) -> Edit:
    """Writes a shrinking node with another stride."""
    source = node.all_input_nodes[0]
    match found.kind:
        case "convolution":
            return _restride(net, part, node, stride)
        case "pooling" if stride == (1, 1):
            return partial(_skip, source=source, clone=len(source.users) > 1 and any(map(_in_place(net), node.users)))
        case "pooling" if node.op == "call_module":
            return lambda w, n: w.call(n, shrink.pooling_at, w.layer(str(n.target)), source, stride)
        case "pooling":
            function = shrink.pool_function_at(node.target)
            return lambda w, n: w.call(n, function, source, stride, *n.args[1:], **_without_input(n))
        case "slice":
            index = shrink.slice_at(cast("tuple[Any, ...]", node.args[1]), stride)
            return lambda w, n: w.call(n, cast("Callable[..., Any]", n.target), source, index)
        case "unshuffle":
            return lambda w, n: w.call(n, shrink.unshuffle_at, source, found.stride[0], stride)


def _without_input(node: fx.Node) -> dict[str, Any]:
    return {name: value for name, value in node.kwargs.items() if name != "input"}


def _skip(writer: ProgramWriter, node: fx.Node, source: fx.Node, clone: bool) -> None:
    if clone:
        writer.call(node, torch.clone, source)
    else:
        writer.skip(node, source)


def _in_place(net: TracedNetwork) -> Callable[[fx.Node], bool]:
    """Whether a node writes into what it reads, as far as one can see."""

    def check(node: fx.Node) -> bool:
        if node.op == "call_module":
            return bool(getattr(net.layers[str(node.target)], "inplace", False))
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        return bool(node.kwargs.get("inplace")) or name.endswith("_") or name in ("iadd", "isub", "imul", "itruediv")

    return check


def _restride(net: TracedNetwork, part: Segment, node: fx.Node, stride: shrink.Stride) -> Edit:
    """Writes a convolution with another stride."""
    try:
        margin = shrink.margin_at(cast("nn.Conv2d", net.layers[str(node.target)]), stride)
    except ValueError as error:
        raise PoolsearchError(f"'{node.target}' in block '{part.path}' of {net.name}: {error}.") from None
    source = node.all_input_nodes[0]
    return lambda w, n: w.call(n, shrink.convolution_at, w.layer(str(n.target)), source, stride, margin)


def _strided(
    net: TracedNetwork, part: Segment, form: StridedForm, exponents: Exponents, cloned: Sequence[fx.Node]
) -> Program:
    """A block that keeps its size, strided like its template."""
    stride = shrink_factors(exponents)
    edits: dict[fx.Node, Edit] = {n: _restride(net, part, n, stride) for n in form.convolutions}
    for node, path in form.poolings.items():
        edits[node] = partial(_pool_like, path=path, stride=stride)
    how = (pool, exponents, "avg") if form.averaged else (shrink.subsample, stride)
    late = {before: [(value, *how) for value in values] for before, values in form.late.items()}
    return _write(part, edits, late, cloned)


def _pool_like(writer: ProgramWriter, node: fx.Node, path: str, stride: shrink.Stride) -> None:
    writer.copy(node)
    writer.replace(node, writer.value(shrink.pooling_like, writer.layer(path), node, stride))
