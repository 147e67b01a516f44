"""Any network as one whose downsampling can be moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.nets.poolable import Block, FixedPlacementNet, Op, Poolable, resize
from poolsearch.nets.restride.cut import Segment, cut
from poolsearch.nets.restride.find import BlockName, Span, TracedNetwork, find_blocks, named_blocks, unit_blocks
from poolsearch.nets.restride.forms import block_programs, whole_program
from poolsearch.nets.restride.measure import measure
from poolsearch.nets.restride.program import Program
from poolsearch.nets.restride.shrink import resizes, shrink_of
from poolsearch.nets.restride.trace import blank_copy, trace
from poolsearch.nets.restride.walk import check_sizes
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

    Attributes:
        layers: the layers that it runs, under their names in the model, so that ``named_modules`` finds them here too.
        path: the name of the submodule it is, without what stands in front of it.
        how: how it downsamples, in words.
    """

    def __init__(self, model: nn.Module, part: Segment, runs: Mapping[Exponents, Program], how: str) -> None:
        super().__init__()
        self.path = part.path
        self.how = how
        self._programs = dict(runs)
        self._owner = (model,)  # in a tuple, so that it does not become a child: it is the network's
        self.layers = nn.Module()
        for node in part.nodes:
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
        return self._programs[exponents](self._owner[0], x_BCHW)

    def used(self) -> Iterator[nn.Parameter]:
        """The parameters that it computes with, also those of its model that belong to no layer.

        Yields:
            Each parameter; one that several programs read comes more than once.
        """
        for program in self._programs.values():
            for path in program.reads():
                found: Any = attrgetter(path)(self._owner[0])
                if isinstance(found, nn.Module):
                    yield from found.parameters()
                elif isinstance(found, nn.Parameter):
                    yield found

    def program(self, exponents: Exponents = KEEP) -> Program:
        """What runs at these exponents.

        Args:
            exponents: halvings of height and width, some for which there is a program.

        Returns:
            The program.
        """
        return self._programs[exponents]

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

    @property
    def original(self) -> nn.Module:
        return self.model

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
        check_sizes(blank_copy(self), torch.empty(2, 3, height, width, device="meta"), space)


def restride(
    model: nn.Module,
    example_BCHW: Tensor,
    blocks: Sequence[BlockName] | None = None,
    op: Op = "native",
    search_stem: bool = False,
) -> Restrided:
    """Make an existing network searchable. The network is not changed, and shares its parameters with the result.

    Args:
        model: gives class logits (B, classes) for images (B, C, H, W).
        example_BCHW: images of the size to work with; their values do not matter.
        blocks: names of the submodules between which downsampling may move (a tuple of names makes one block of
            several); found where not given.
        op: ``native`` moves the network's own strides and poolings; ``max``, ``avg`` and ``blur`` pool before a block.
        search_stem: move the downsampling of the stem, too.

    Returns:
        A network that takes the placement as an argument; its ``default`` is what the model computes.

    Raises:
        PoolsearchError: the network cannot be cut or strided otherwise; the message says why and what would help.
    """
    if op not in OPS:
        raise unknown("downsampling op of a restrided network", op, OPS)
    _check_names(model)
    _check_example(model, example_BCHW)
    net = _traced(model, example_BCHW)
    spans = find_blocks(net) if blocks is None else named_blocks(net, blocks)
    if search_stem and spans:
        spans = [*unit_blocks(net, 0, spans[0].first), *spans]
    _check_count(net, spans)
    restrided = _assembled(model, net, spans, op)
    check_sizes(blank_copy(restrided), example_BCHW.to("meta"))
    return restrided


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


def _traced(model: nn.Module, example_BCHW: Tensor) -> TracedNetwork:
    """The graph of a model, with childless layers of unknown kind opened where they resize their maps."""
    blank = blank_copy(model)
    opened: frozenset[str] = frozenset()
    while True:
        graph = trace(blank, opened)
        try:
            measured = measure(graph, blank, example_BCHW)
        except Exception as error:  # the model's own: it is told with its words
            size = "x".join(map(str, example_BCHW.shape[1:]))
            raise PoolsearchError(f"{type(model).__name__} does not run on images of {size}: {error}") from error
        net = TracedNetwork.of(graph, blank, measured)
        closed = {
            str(n.target)
            for n in net.order
            if n.op == "call_module" and resizes(n, measured) and shrink_of(n, net.layers, measured) is None
        }
        more = {p for p in closed - opened if not [*net.layers[p].children()] and not _torchs(net.layers[p])}
        if not more:
            return net
        opened |= more


def _torchs(layer: nn.Module) -> bool:
    return type(layer).__module__.startswith("torch.nn.")


def _check_count(net: TracedNetwork, spans: Sequence[Span]) -> None:
    if len(spans) < 2:
        end = net.measured.end
        why = (
            f" It works for images of one size only, from '{end.name}' on: {net.measured.why.rstrip('.')}."
            if end
            else ""
        )
        raise PoolsearchError(
            f"{net.name} has {len(spans)} blocks that downsampling could move between; at least 2 are needed.{why} "
            "Name them: blocks=['layer1.0', 'layer1.1', ...], names as in named_modules()."
        )


def _assembled(model: nn.Module, net: TracedNetwork, spans: Sequence[Span], op: Op) -> Restrided:
    stem, parts, head = cut(net, spans)
    first = parts[0].native == HALVE  # nothing may stand before the first block: the stem is it
    runs = [block_programs(net, part, parts) for part in parts]
    blocks = [SegmentModule(model, part, *made) for part, made in zip(parts, runs, strict=True)]
    before = SegmentModule(model, stem, {KEEP: whole_program(net, stem)}, "stays as it is")
    if first:
        blocks = [before, *blocks]
    sites = [part.native for part in (parts if first else parts[1:])]
    if len({*sites}) == 1:
        what = "no" if HALVE not in sites else "every"
        raise PoolsearchError(
            f"{what} site between the blocks of {net.name} has a halving: there is nothing to move. Name other blocks "
            f"(now: {', '.join(b.path for b in blocks)})."
        )
    default = Placement(tuple(sites))
    last = SegmentModule(model, head, {KEEP: whole_program(net, head)}, "stays as it is")
    return Restrided(model, nn.Identity() if first else before, blocks, last, default, op)
