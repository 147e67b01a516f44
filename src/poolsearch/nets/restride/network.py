"""A network whose downsampling can be moved, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import Block, FixedPlacementNet, Op, Poolable, Size, resize
from poolsearch.nets.restride.cut import Segment
from poolsearch.nets.restride.modes import MainOutput, named_outputs
from poolsearch.nets.restride.program import Program
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.nets.restride.walk import check_sizes
from poolsearch.space import KEEP, Exponents, Placement, Space

_LARGER = 16  # times the images' size: maps so large are hardly rounded


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

    def first_failure(self, state: Any) -> Any:
        """Where it fails on a state on which it does not run, see :meth:`Program.first_failure`.

        Args:
            state: what is alive before it.

        Returns:
            The node and the sizes of the maps that it reads; None where it runs.
        """
        return self.program().first_failure(self._owner[0], state)

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
        main: which of the model's outputs is computed, where one of several is the class logits; None: all that it
            gives.
        left_out: names of submodules that only the others need, which are not run.
        only_size: (height, width) of the images, where others do not go with the head; else None.
        gives_maps: whether maps (B, C, H, W) are among what it gives.
        carries: how many maps and other values of earlier blocks reach the head as they are, past all sites behind.
        made_for: (height, width) of the images that it was made with.
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
        self.gives_maps = False
        self.carries = 0
        self.made_for: Size = (0, 0)
        self._strides: dict[Placement, Any] = {}

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
        if self.gives_maps:
            maps = named_outputs(self._of_maps(self.default, _told_map))
            told = [f"'{name}' ({map_})" if name else map_ for name, map_ in maps if map_ is not None]
            found.append(f"it gives maps, by its own placement {', '.join(told)}")
        if self.carries:
            found.append(
                f"its head reads or gives maps or other values of earlier blocks ({self.carries}), which keep their "
                "size, whatever downsampling comes behind them"
            )
        if self.only_size is not None:
            found.append(
                "where a placement makes its last maps a few pixels larger or smaller than the head needs, their "
                "border is cut off or filled with zeros"
            )
        return tuple(found)

    def _run_block(self, index: int, x_BCHW: Any, exponents: Exponents) -> Any:
        """Run a block after the resizing of the site before it.

        With op ``native`` the block itself halves; whatever else a site asks for comes before it, see
        :meth:`divided`.
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

    def strides(self, placement: Placement) -> Any:
        """How many pixels of the image lie between two of each map that the network gives.

        Args:
            placement: of as many blocks as the network has.

        Returns:
            In the structure of the network's own outputs: (height, width) for each map (B, C, H, W), None for anything
            else.

        Raises:
            PoolsearchError: the placement has another number of blocks.
        """
        if placement not in self._strides:
            self._strides[placement] = self._of_maps(placement, _stride)
        return self._strides[placement]

    @property
    def out_channels(self) -> Any:
        """The channels of each map that the network gives, at every placement, in the structure of its outputs.

        None stands for an output that is no map.
        """
        return self._of_maps(self.default, lambda map_BCHW, _: map_BCHW.shape[1])

    @torch.no_grad()
    def _of_maps(self, placement: Placement, find: Callable[[Tensor, Size], Any]) -> Any:
        """Something of each map that the network gives, out of the map and the size of the images."""
        self.check(placement)
        blank = blank_copy(self).eval()

        def at(scale: int) -> Any:
            size = scale * self.made_for[0], scale * self.made_for[1]
            outputs = blank(torch.empty(2, self.channels, *size, device="meta"), placement)
            return tree_map(
                lambda out: find(out, size) if isinstance(out, Tensor) and out.dim() == 4 else None, outputs
            )

        try:
            return at(_LARGER)
        except (RuntimeError, ValueError, IndexError):  # its head goes with images of its own size alone
            return at(1)

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
            A module that gives for images what the original gives, and shares all parameters with this network.

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


def _stride(map_BCHW: Tensor, images: Size) -> tuple[float, float]:
    """Whole numbers, as sizes are rounded; below one where the map is larger than the images."""
    height, width = (side / n for side, n in zip(images, map_BCHW.shape[2:], strict=True))
    return round(height) or height, round(width) or width


def _told_map(map_BCHW: Tensor, images: Size) -> str:
    height, width = _stride(map_BCHW, images)
    return f"{map_BCHW.shape[1]} channels at stride {height if height == width else f'{height}x{width}'}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
