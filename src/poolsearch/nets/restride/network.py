"""Any network as one whose downsampling can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import Block, FixedPlacementNet, Op, Poolable, resize
from poolsearch.nets.restride.cut import Segment, cut
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
from poolsearch.nets.restride.modes import MainOutput, keep_main_output, same_spans
from poolsearch.nets.restride.norms import use_batch_statistics
from poolsearch.nets.restride.program import Program
from poolsearch.nets.restride.shrink import resizes, shrink_of
from poolsearch.nets.restride.trace import blank_copy, check_kind, generators_kept, reason_of, trace_modes
from poolsearch.nets.restride.walk import HeadError, check_sizes
from poolsearch.space import HALVE, KEEP, Exponents, Placement, Space

OPS: tuple[Op, ...] = ("native", "max", "avg", "blur")


class SegmentModule(Block):
    """Part of a network: its stem, a block or its head.

    The model owns the layers. A section computes with those that the model has at the time of the call.

    Args:
        model: the network that the part is of.
        part: its nodes.
        runs: what runs at each pair of exponents that the part can do by itself.
        how: see below.
        training: the nodes and what runs in training, where that is not the same.

    Attributes:
        layers: the layers that it runs, under their names in the model, so that ``named_modules`` finds them here too.
        path: the name of the submodule it is, without what stands in front of it.
        how: how it downsamples, in words.
        trim, slack: how many pixels it takes off its maps beside halving them, see
            :class:`~poolsearch.nets.restride.cut.Segment`.
    """

    def __init__(
        self,
        model: nn.Module,
        part: Segment,
        runs: Mapping[Exponents, Program],
        how: str,
        training: tuple[Segment, Mapping[Exponents, Program]] | None = None,
    ) -> None:
        super().__init__()
        self.path = part.path
        self.how = how
        self.trim = part.trim
        self.slack = part.slack
        self._programs = dict(runs)
        self._in_training = None if training is None else dict(training[1])
        self._owner = (model,)  # in a tuple, so that it does not become a child: it is the network's
        self.layers = nn.Module()
        for node in (*part.nodes, *(training[0].nodes if training else ())):
            if node.op == "call_module":
                _add(self.layers, str(node.target), model)

    def forward(self, x_BCHW: Any, exponents: Exponents = KEEP) -> Any:
        """Run this part of the network.

        Args:
            x_BCHW: what is alive before it: a map (B, C, H, W), or a tuple where more than one value is.
            exponents: halvings of height and width that it does by itself; stem and head do none.

        Returns:
            What is alive after it: a map, or a tuple where more than one value is.

        Raises:
            PoolsearchError: the exponents are none of a halving.
        """
        if exponents not in self._programs:
            allowed = ", ".join(f"{h}x{w}" for h, w in self._programs)
            raise PoolsearchError(f"'{self.path}' cannot run at {exponents[0]}x{exponents[1]}; it can at {allowed}.")
        return self.program(exponents)(self._owner[0], x_BCHW)

    @property
    def has_two_modes(self) -> bool:
        """Whether it has programs of its own for training."""
        return self._in_training is not None

    def used(self) -> Iterator[nn.Parameter]:
        """The parameters that it computes with, also those of its model that belong to no layer.

        Yields:
            Each parameter; one that several programs read comes more than once.
        """
        for program in (*self._programs.values(), *(self._in_training or {}).values()):
            for path in program.reads():
                found: Any = attrgetter(path)(self._owner[0])
                if isinstance(found, nn.Module):
                    yield from found.parameters()
                elif isinstance(found, nn.Parameter):
                    yield found

    def program(self, exponents: Exponents = KEEP) -> Program:
        """What runs at these exponents, in the mode that the network is in.

        Args:
            exponents: halvings of height and width, some for which there is a program.

        Returns:
            The program.
        """
        programs = self._in_training if self._owner[0].training else None
        return (programs or self._programs)[exponents]

    def source(self, exponents: Exponents = KEEP) -> str:
        """The Python that runs at these exponents, to read.

        Args:
            exponents: as of :meth:`program`.

        Returns:
            The text of a function ``forward``; its ``self`` is the model.
        """
        return self.program(exponents).source


def _add(holder: nn.Module, path: str, model: nn.Module) -> None:
    """Make a submodule of the model one of ``holder``, under its name there."""
    *outer, name = path.split(".")
    for part in outer:
        if not hasattr(holder, part):
            holder.add_module(part, nn.Module())
        holder = holder.get_submodule(part)
        if type(holder) is not nn.Module:
            return  # a layer of the model that is run whole: what is in it is found there
    holder.add_module(name, model.get_submodule(path))


class Restrided(Poolable):
    """A network whose downsampling is moved without touching a parameter: ``net(x_BCHW, placement)``.

    Its one child is the model as it was given, so that parameters and their names are the model's, with ``model.``
    before them. ``stem``, ``blocks`` and ``head`` run the model's layers. Made by :func:`restride`.

    Attributes:
        model: the network it was made from.
        main: which of the model's outputs is computed, where it has several in evaluation or in training; None: it
            gives one tensor.
        left_out: names of submodules that only the others need, which are not run.
        only_size: (height, width) of the images, where others do not go with the head; else None.
        stem, blocks, head, default, op: as of :class:`~poolsearch.nets.poolable.Poolable`.
    """

    def __init__(
        self,
        model: nn.Module,
        stem: nn.Module,
        blocks: Sequence[SegmentModule],
        head: SegmentModule,
        default: Placement,
        op: Op,
    ) -> None:
        nn.Module.__init__(self)
        self.model = model
        views = {"stem": stem, "blocks": nn.ModuleList(blocks), "head": head}
        self.__dict__.update(views)  # not children: every layer is one of the model already
        self.default = default
        self.op: Op = op
        self.main: MainOutput | None = None
        self.left_out: tuple[str, ...] = ()
        self.only_size: tuple[int, int] | None = None

    @property
    def has_two_modes(self) -> bool:
        """Whether the network computes something else in training than in evaluation, beside flags and statistics."""
        return isinstance(self.head, SegmentModule) and self.head.has_two_modes

    @property
    def original(self) -> nn.Module:
        return self.model

    @property
    def notes(self) -> tuple[str, ...]:
        found: list[str] = []
        if self.main is not None and len(self.main.names) > 1:
            found.append(f"of the outputs {_few(self.main.names)}, '{self.main.name}' is taken for the class logits")
        if self.left_out:
            found.append(f"other outputs are left out, so these modules are not trained: {_few(self.left_out)}")
        if self.only_size is not None:
            found.append(
                "where a placement makes its last maps a few pixels larger or smaller than the head needs, their "
                "border is cut off or filled with zeros"
            )
        return tuple(found)

    def run_block(self, index: int, x_BCHW: Any, exponents: Exponents) -> Any:
        """Run a block after the resizing of the site before it.

        With op ``native`` the block itself halves; whatever else a site asks for comes before it, see
        :meth:`divided`.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the site: a map (B, C, H, W), or a tuple with maps.
            exponents: of the site.

        Returns:
            What is alive after the block, in the same form.
        """
        if exponents == KEEP:
            return self.blocks[index](x_BCHW, exponents)
        own, before = self.divided(exponents)
        return self.blocks[index](resize(x_BCHW, before, self.pooling), own)

    def divided(self, exponents: Exponents) -> tuple[Exponents, Exponents]:
        """What a block does of a site by itself, and what is resized before it.

        Args:
            exponents: of the site.

        Returns:
            Two pairs of exponents, (of the block, before it), that add up to the site's.
        """
        if self.op != "native":
            return KEEP, exponents
        high, wide = (min(max(e, 0), 1) for e in exponents)
        return (high, wide), (exponents[0] - high, exponents[1] - wide)

    @property
    def pooling(self) -> Op:
        """How maps are shrunk before a block: with op ``native``, by max where a site divides them by more than two."""
        return "max" if self.op == "native" else self.op

    def how(self, index: int) -> str:
        """Where a block is and how it downsamples, in words.

        Args:
            index: of the block, from 0.

        Returns:
            Such as ``layer2.0: max pooling 2x2 in front``.
        """
        section = self.blocks[index]
        assert isinstance(section, SegmentModule)
        if index == 0:
            return f"{section.path}: first block, stays as it is"
        return f"{section.path}: {section.how if self.op == 'native' else f'{self.op} pooling 2x2 in front'}"

    def fixed(self, placement: Placement) -> FixedPlacementNet:
        """The network at one placement: a plain module of images.

        Args:
            placement: that it is to have; several may be made of one network.

        Returns:
            A module that gives logits (B, classes) for images, and shares all parameters with this network.

        Raises:
            PoolsearchError: the placement has another number of blocks.
        """
        self.check(placement)
        return FixedPlacementNet(self, placement)

    def check_input(self, height: int, width: int, space: Space | None = None) -> None:
        """See that all placements can run on images of this size; nothing is computed.

        Args:
            height, width: of the images, in pixels.
            space: the placements that are to run; the network's own where not given.

        Raises:
            PoolsearchError: some placement cannot halve its maps, or a block works for other sizes only.
        """
        if self.only_size not in (None, (height, width)):
            raise PoolsearchError(
                f"the head of {type(self.model).__name__} was made for images of {'x'.join(map(str, self.only_size))}, "
                f"not of {height}x{width}."
            )
        check_sizes(blank_copy(self), torch.empty(2, self.channels, height, width, device="meta"), space)


def restride(
    model: nn.Module,
    example_BCHW: Tensor,
    blocks: Sequence[BlockName] | None = None,
    op: Op = "native",
    search_stem: bool = False,
    classes: int | None = None,
) -> Restrided:
    """Make an existing network searchable. The network is not changed, and shares its parameters with the result.

    Args:
        model: gives class logits (B, classes) for images (B, C, H, W); of several outputs, in a tuple or dictionary,
            the one of this shape is taken.
        example_BCHW: images of the size to work with; their values do not matter.
        blocks: names of the submodules between which downsampling may move, or shell patterns of such names (a tuple
            of names makes one block of several); found where not given.
        op: ``native`` moves the network's own strides and poolings; ``max``, ``avg`` and ``blur`` pool before a block.
        search_stem: move the downsampling of the stem, too.
        classes: how many there are; needed only where several outputs of the network are tensors with two axes.

    Returns:
        A network that takes the placement as an argument; its ``default`` is what the model computes.

    Raises:
        PoolsearchError: the network cannot be cut or strided otherwise; the message says why and what would help.
    """
    if op not in OPS:
        raise unknown("downsampling op of a restrided network", op, OPS)
    _check_given(model, example_BCHW)
    check_kind(model)
    _check_names(model)
    _check_example(model, example_BCHW)
    with generators_kept(), torch.random.fork_rng(devices=[]):
        restrided = _restrided(model, example_BCHW, blocks, op, search_stem, classes)
    restrided.channels = example_BCHW.shape[1]
    return restrided


def _restrided(
    model: nn.Module,
    example_BCHW: Tensor,
    blocks: Sequence[BlockName] | None,
    op: Op,
    search_stem: bool,
    classes: int | None,
) -> Restrided:
    refused: PoolsearchError | None = None
    for decide in (False, True):  # branches on sizes are followed only where the network cannot be had without
        modes = None
        try:
            modes = _traced(model, example_BCHW, decide, classes)
            choices = block_choices(modes.evaluation) if not blocks else [named_blocks(modes.evaluation, blocks)]
            return _first_that_moves(model, modes, choices, op, search_stem, example_BCHW)
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


class _SizesError(PoolsearchError):
    """The network can be cut, but does not go with images of this size."""


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


def _traced(model: nn.Module, example_BCHW: Tensor, decide: bool, classes: int | None) -> _Modes:
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
        main, left_out = keep_main_output(graphs, measured, classes, type(model).__name__)
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


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _torchs(layer: nn.Module) -> bool:
    return type(layer).__module__.startswith("torch.nn.")


def _first_that_moves(
    model: nn.Module,
    modes: _Modes,
    choices: Iterable[Sequence[Span]],
    op: Op,
    search_stem: bool,
    example_BCHW: Tensor,
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
            found = _assembled(model, modes, spans, op)
        except PoolsearchError as error:
            refused = refused or error
            continue
        return _sized(found, lambda spans=spans: _assembled(model, modes, spans, op, fit=True), example_BCHW)
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
        except HeadError:
            net = fitting()
            height, width = example_BCHW.shape[2:]
            net.only_size = height, width
            _check_sizes(net, example_BCHW)
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


def _assembled(model: nn.Module, modes: _Modes, spans: Sequence[Span], op: Op, fit: bool = False) -> Restrided:
    net = modes.evaluation
    cuts = [(one, cut(one, spans if one is net else same_spans(net, one, spans))) for one in modes.both]
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
