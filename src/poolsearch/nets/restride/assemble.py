"""From a model to one whose downsampling can be moved: traced, cut into blocks, assembled, tried at every size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import Op, Poolable
from poolsearch.nets.restride.cut import Carry, Segment, cut
from poolsearch.nets.restride.decoder import encoder_first
from poolsearch.nets.restride.find import (
    BlockName,
    Span,
    TracedNetwork,
    block_choices,
    how_to_name,
    named_blocks,
    run_whole,
    unit_blocks,
)
from poolsearch.nets.restride.forms import block_programs, head_program, whole_program
from poolsearch.nets.restride.measure import MeasuredGraph, measure
from poolsearch.nets.restride.modes import MainOutput, give_all, has_mapping, keep_main_output, same_spans
from poolsearch.nets.restride.network import Restrided, SegmentModule
from poolsearch.nets.restride.norms import use_batch_statistics
from poolsearch.nets.restride.program import Program
from poolsearch.nets.restride.shrink import resizes, shrink_of
from poolsearch.nets.restride.trace import blank_copy, check_kind, generators_kept, reason_of, trace_modes
from poolsearch.nets.restride.walk import HeadError, check_sizes
from poolsearch.space import HALVE, KEEP, Exponents, Placement, Space

OPS: tuple[Op, ...] = ("native", "max", "avg", "blur")

Outputs = Literal["logits", "all"]
"""What of several outputs is kept: the class logits where there are any, or all in any case."""


def restride(
    model: nn.Module,
    example_BCHW: Tensor,
    blocks: Sequence[BlockName] | None = None,
    op: Op = "native",
    search_stem: bool = False,
    classes: int | None = None,
    outputs: Outputs = "logits",
) -> Restrided:
    """Make an existing network searchable. The network is not changed, and shares its parameters with the result.

    Args:
        model: gives class logits (B, classes) for images (B, C, H, W), or maps: of a segmenter, or of several stages of
            a backbone, in a tuple, list or dictionary. Where one of several outputs is class logits, it alone is kept.
        example_BCHW: images of the size to work with; their values do not matter.
        blocks: names of the submodules between which downsampling may move, or shell patterns of such names (a tuple
            of names makes one block of several); found where not given.
        op: ``native`` moves the network's own strides and poolings; ``max``, ``avg`` and ``blur`` pool before a block.
        search_stem: move the downsampling of the stem, too.
        classes: how many there are; needed only where several outputs of the network are tensors with two axes.
        outputs: ``all`` keeps all outputs also where one of them is class logits.

    Returns:
        A network that takes the placement as an argument; its ``default`` is what the model computes.

    Raises:
        PoolsearchError: the network cannot be cut or strided otherwise; the message says why and what would help.
    """
    if op not in OPS:
        raise unknown("downsampling op of a restrided network", op, OPS)
    if outputs not in get_args(Outputs):
        raise unknown("choice of outputs", str(outputs), get_args(Outputs))
    _check_given(model, example_BCHW)
    check_kind(model)
    _check_names(model)
    _check_example(model, example_BCHW)
    with generators_kept(), torch.random.fork_rng(devices=[]):
        restrided = _restrided(model, example_BCHW, blocks, op, search_stem, classes, outputs)
    restrided.channels = example_BCHW.shape[1]
    height, width = example_BCHW.shape[2:]
    restrided.made_for = height, width
    return restrided


def _restrided(
    model: nn.Module,
    example_BCHW: Tensor,
    blocks: Sequence[BlockName] | None,
    op: Op,
    search_stem: bool,
    classes: int | None,
    outputs: Outputs,
) -> Restrided:
    refused: PoolsearchError | None = None
    for decide in (False, True):  # branches on sizes are followed only where the network cannot be had without
        modes = None
        try:
            modes = _traced(model, example_BCHW, decide, classes, outputs)
            return _moved(model, modes, blocks, op, search_stem, example_BCHW)
        except _SizesError:
            raise
        except PoolsearchError as error:
            refused = refused or error
            if modes is not None and not modes.evaluation.kept:
                break  # there are none
    assert refused is not None
    raise refused


@dataclass(frozen=True)
class _Modes:
    """A network in evaluation, and in training where it then computes something else."""

    evaluation: TracedNetwork
    training: TracedNetwork | None
    main: MainOutput | None
    left_out: tuple[str, ...]

    @property
    def both(self) -> list[TracedNetwork]:
        return [self.evaluation, *([self.training] if self.training else [])]

    @property
    def gives_logits(self) -> bool:
        """Whether the network gives one tensor with two axes, which may be class logits."""
        (given,) = self.evaluation.graph.output_node().all_input_nodes
        return getattr(self.evaluation.measured.values[given], "ndim", 0) == 2

    @property
    def gives_maps(self) -> bool:
        """Whether maps (B, C, H, W) are among what the network gives."""
        (given,) = self.evaluation.graph.output_node().all_input_nodes
        return any(getattr(out, "ndim", 0) == 4 for out in tree_leaves(self.evaluation.measured.values[given]))

    def encoder_first(self) -> _Modes | None:
        """The same with the encoder in front; None where that changes nothing."""
        found = [encoder_first(net) for net in self.both]
        if found[0] is None or found[-1] is None:
            return None
        return replace(self, evaluation=found[0], training=found[1] if len(found) > 1 else None)


class _SizesError(PoolsearchError):
    """The network can be cut, but does not go with images of this size."""


class _DecoderError(PoolsearchError):
    """The network can be cut, but its head does not go with maps carried to it as other placements have them."""


def _moved(
    model: nn.Module,
    modes: _Modes,
    blocks: Sequence[BlockName] | None,
    op: Op,
    search_stem: bool,
    example_BCHW: Tensor,
) -> Restrided:
    """The network in the first way that leaves something to move.

    One that gives class logits is taken as one chain of blocks, and only where that cannot be as an encoder with maps
    that are carried to its head; one that gives maps the other way round.

    Raises:
        PoolsearchError: there is none; said is what is wrong with the first.
    """
    refused: PoolsearchError | None = None
    for found, carry in _ways(modes):
        if carry == "nothing" and isinstance(refused, _DecoderError):
            break  # what else may be found would leave the encoder as it is
        try:
            choices = block_choices(found.evaluation) if not blocks else [named_blocks(found.evaluation, blocks)]
            return _first_that_moves(model, found, choices, op, search_stem, example_BCHW, carry)
        except _SizesError:
            if refused is None:
                raise
        except PoolsearchError as error:
            refused = refused or error
    assert refused is not None  # one way is always tried
    raise refused


def _ways(modes: _Modes) -> Iterator[tuple[_Modes, Carry]]:
    """In which order of its nodes a network may be cut, and what is carried to its head, the most likely first."""
    if modes.gives_logits:
        yield modes, "nothing"
    if (encoder := modes.encoder_first()) is not None:
        yield encoder, "all"
        yield encoder, "early"
    if not modes.gives_logits:
        yield modes, "nothing"


def _check_names(model: nn.Module) -> None:
    """See that the names of submodules can stand in the code of a graph, where torch.fx writes them as they are.

    Raises:
        PoolsearchError: one cannot.
    """
    for name, _ in model.named_modules():
        if not name.isprintable() or {'"', "\\"} & {*name}:
            raise PoolsearchError(
                f"the network has a module named {name!r}: a quote, a backslash or a character that is not seen cannot "
                "stand in the code that is made of it. Give the module another name."
            )


def space_of_model(model: nn.Module, example_BCHW: Tensor, blocks: Sequence[BlockName] | None = None) -> Space:
    """The placements of a network, as :func:`restride` finds them.

    Args:
        model, example_BCHW, blocks: as of :func:`restride`.

    Returns:
        All placements with as many halvings as the network has between its blocks.

    Raises:
        PoolsearchError: as :func:`restride`.
    """
    return restride(model, example_BCHW, blocks).space


def _check_given(model: Any, example_BCHW: Any) -> None:
    """See that these are a network and images at all."""
    if isinstance(model, Poolable):
        raise PoolsearchError(f"this {type(model).__name__} is restrided already: use it as it is.")
    if not isinstance(model, nn.Module):
        made = f"call it to get one, as {getattr(model, '__name__', 'function')}()" if callable(model) else "give one"
        raise PoolsearchError(f"a network is a torch.nn.Module, and {type(model).__name__} is none: {made}.")
    if not isinstance(example_BCHW, Tensor):
        raise PoolsearchError(
            f"the example is a {type(example_BCHW).__name__}: give images as a tensor of shape (B, C, H, W), such as "
            "torch.zeros(2, 3, 64, 64)."
        )


def _check_example(model: nn.Module, example_BCHW: Tensor) -> None:
    if example_BCHW.dim() != 4 or not example_BCHW.is_floating_point():
        raise PoolsearchError(
            f"the example is a {example_BCHW.dtype} tensor of shape {[*example_BCHW.shape]}: give floating-point "
            "images of shape (B, C, H, W)."
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != example_BCHW.dtype or parameter.device != example_BCHW.device:
            raise PoolsearchError(
                f"parameter '{name}' is {parameter.dtype} on {parameter.device}, the example {example_BCHW.dtype} on "
                f"{example_BCHW.device}: move or cast one to the other (model.float(), model.to(device))."
            )


def _traced(model: nn.Module, example_BCHW: Tensor, decide: bool, classes: int | None, outputs: Outputs) -> _Modes:
    """The graphs of a model, with childless layers of unknown kind opened where they resize their maps."""
    blank = blank_copy(model)
    opened: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    why: dict[str, str] = {}
    while True:
        found = trace_modes(blank, opened, whole, example_BCHW=example_BCHW if decide else None)
        why |= found.kept
        if found.uneven:  # whole in one mode, so in the other, too
            whole |= found.uneven
            continue
        graphs = [found.graph, *([found.training] if found.training is not None else [])]
        measured = partial(_measured, blank=blank, model=model, example_BCHW=example_BCHW)
        main, left_out = None, ()
        if outputs == "logits":
            main, left_out = keep_main_output(graphs, measured, classes, type(model).__name__)
        if main is None:
            like = _given(blank, example_BCHW) if any(map(has_mapping, graphs)) else None
            for graph in graphs:
                give_all(graph, like)
        nets = [TracedNetwork.of(graph, blank, measured(graph), why, whole) for graph in graphs]
        closed = {
            str(n.target)
            for net in nets
            for n in net.order
            if n.op == "call_module" and resizes(n, net.measured) and shrink_of(n, net.layers, net.measured) is None
        }
        layers = nets[0].layers
        more = {p for p in closed - opened - whole if not [*layers[p].children()] and not _torchs(layers[p])}
        if not more:
            return _Modes(nets[0], nets[1] if len(nets) > 1 else None, main, left_out)
        opened |= more


@torch.no_grad()
def _given(blank: nn.Module, example_BCHW: Tensor) -> Any:
    """What the network itself gives, on the meta device; None where it does not run there."""
    try:
        return blank.eval()(torch.empty_like(example_BCHW, device="meta"))
    except Exception:  # the model's own: its graph runs, with plain dictionaries
        return None


def _measured(graph: fx.Graph, blank: nn.Module, model: nn.Module, example_BCHW: Tensor) -> MeasuredGraph:
    try:
        return measure(graph, blank, example_BCHW)
    except Exception as error:  # the model's own: it is told with its words
        size, reason = "x".join(map(str, example_BCHW.shape[1:])), reason_of(error)
        if "meta tensors" in reason:
            raise PoolsearchError(
                f"{type(model).__name__} decides by the values of a tensor, which are not known before it runs "
                f"({reason}). Compute without such a branch, with torch.where say."
            ) from error
        other = (
            "" if "channel" in reason else " If it was made for images of another size, give that with --image-size."
        )
        raise PoolsearchError(f"{type(model).__name__} does not run on images of {size}: {reason}.{other}") from error


def _torchs(layer: nn.Module) -> bool:
    return type(layer).__module__.startswith("torch.nn.")


def _first_that_moves(
    model: nn.Module,
    modes: _Modes,
    choices: Iterable[Sequence[Span]],
    op: Op,
    search_stem: bool,
    example_BCHW: Tensor,
    carry: Carry,
) -> Restrided:
    """The network in the first of several divisions into blocks that leaves something to move.

    Raises:
        PoolsearchError: none does; said is what is wrong with the first.
    """
    refused: PoolsearchError | None = None
    for spans in choices:
        if search_stem and spans:
            spans = [*unit_blocks(modes.evaluation, 0, spans[0].first), *spans]
        try:
            _check_count(modes.evaluation, spans)
            found = _assembled(model, modes, spans, op, carry)
        except PoolsearchError as error:
            refused = refused or error
            continue
        return _sized(found, lambda spans=spans: _assembled(model, modes, spans, op, carry, fit=True), example_BCHW)
    assert refused is not None  # there is always a first
    raise refused


def _sized(net: Restrided, fitting: Callable[[], Restrided], example_BCHW: Tensor) -> Restrided:
    """The network, or that with a head which makes its maps fit, whichever goes with all sizes.

    Raises:
        PoolsearchError: neither does.
    """
    try:
        try:
            _check_sizes(net, example_BCHW)
        except HeadError as error:
            if net.carries:
                raise _DecoderError(str(error)) from error
            net = fitting()
            height, width = example_BCHW.shape[2:]
            net.only_size = height, width
            _check_sizes(net, example_BCHW)
    except _DecoderError:
        raise
    except PoolsearchError as error:
        raise _SizesError(str(error)) from error
    return net


def _check_count(net: TracedNetwork, spans: Sequence[Span]) -> None:
    if len(spans) < 2:
        end = net.measured.end
        why = (
            f" It works for images of one size only, from '{end.name}' on: {net.measured.why.rstrip('.')}."
            if end
            else ""
        )
        raise PoolsearchError(
            f"{run_whole(net)}{net.name} has {len(spans)} block{'' if len(spans) == 1 else 's'} that downsampling "
            f"could move between; at least 2 are needed.{why} {how_to_name(net)}"
        )


def _check_sizes(net: Restrided, example_BCHW: Tensor) -> None:
    check_sizes(blank_copy(net), example_BCHW.to("meta"))
    if net.has_two_modes:
        blank = blank_copy(net)
        use_batch_statistics(blank)  # running averages may need numbers, which there are none of
        check_sizes(blank, example_BCHW.to("meta"), training=True)


def _assembled(
    model: nn.Module, modes: _Modes, spans: Sequence[Span], op: Op, carry: Carry, fit: bool = False
) -> Restrided:
    net = modes.evaluation
    cuts = [(one, cut(one, spans if one is net else same_spans(net, one, spans), carry)) for one in modes.both]
    parts = cuts[0][1][1]
    _check_alike(net, [found[1] for _, found in cuts])
    first = parts[0].native == HALVE  # nothing may stand before the first block: the stem is it
    stems = [(begin, {KEEP: whole_program(one, begin)}) for one, (begin, _, _) in cuts]
    before = _segment(model, stems, "stays as it is")
    blocks = [_block(model, [(one, found[1]) for one, found in cuts], index) for index in range(len(parts))]
    if first:
        blocks = [before, *blocks]
    moved = parts if first else parts[1:]
    sites = [part.native for part in moved]
    if len({*sites}) == 1:
        what = "no" if HALVE not in sites else "every"
        raise PoolsearchError(
            f"{run_whole(net)}{what} site between the blocks of {net.name} has a halving: there is nothing to move "
            f"(blocks: {', '.join(b.path for b in blocks)}). {how_to_name(net)}"
        )
    default = Placement(tuple(sites))
    most = 1 + sum(max(map(abs, part.trim)) + max(part.slack) for part in moved)
    heads = [(end, head_program(one, end, most) if fit else whole_program(one, end)) for one, (_, _, end) in cuts]
    last = _segment(model, [(end, {KEEP: program}) for end, program in heads], "stays as it is")
    restrided = Restrided(model, nn.Identity() if first else before, blocks, last, default, op)
    restrided.main, restrided.left_out = modes.main, modes.left_out
    restrided.gives_maps, restrided.carries = modes.gives_maps, len(parts[0].kept)
    return restrided


def _segment(model: nn.Module, modes: Sequence[tuple[Segment, Mapping[Exponents, Program]]], how: str) -> SegmentModule:
    (part, runs), *training = modes
    return SegmentModule(model, part, runs, how, training[0] if training else None)


def _block(model: nn.Module, modes: Sequence[tuple[TracedNetwork, Sequence[Segment]]], index: int) -> SegmentModule:
    """A block that downsamples in the same way in both modes."""
    for strides in (True, False):
        made = [block_programs(net, parts[index], parts, strides) for net, parts in modes]
        if len({how for _, how in made}) == 1 or modes[0][1][index].native != KEEP:
            break
    runs = [(parts[index], programs) for (_, parts), (programs, _) in zip(modes, made, strict=True)]
    return _segment(model, runs, made[0][1])


def _check_alike(net: TracedNetwork, modes: Sequence[Sequence[Segment]]) -> None:
    for parts in zip(*modes, strict=True):
        if len({(part.native, part.trim, part.slack) for part in parts}) > 1:
            raise PoolsearchError(
                f"block '{parts[0].path}' of {net.name} shrinks its maps otherwise in training than in evaluation. "
                f"{how_to_name(net)}"
            )
