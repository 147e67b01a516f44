"""A supernet whose blocks have weights of their own for every resolution (paper, section 3.3: "not shared")."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import Block, Poolable
from poolsearch.nets.resnet import Norm
from poolsearch.space import KEEP, Exponents, Placement, Space
from poolsearch.supernet.norms import SupernetNorm
from poolsearch.supernet.single_path import SinglePath


def name_of(resolution: Exponents) -> str:
    """A resolution in the names of weights and files.

    Args:
        resolution: halvings of height and width so far.

    Returns:
        Height x width, such as ``1x1``.
    """
    return f"{resolution[0]}x{resolution[1]}"


class PerResolution(SinglePath):
    """As :class:`SinglePath`, but a block has one set of weights for each resolution that it may be at.

    A block's resolution is how often height and width were halved so far, its own site included. Stem, first block and
    head are the same for all (docs/differences.md#weights-per-resolution). There is a network for each resolution, cut
    down to the blocks that some placement of the space has there, so that what no placement needs is neither trained
    nor kept. A block at a prefix is one set of weights; trees of placements are run and trained as ever.

    Args:
        make_net: builds the network whose blocks are those of a resolution, with the normalisation that it is given.
        norm, warm: as of :class:`SinglePath`.
        space: the placements.

    Differs: the paper does not say whether a block's weights belong to the resolution that it reads or to the one that
    it computes at: here the latter. Nor does it say what the head does: here it has one set of weights.
    """

    def __init__(
        self,
        make_net: Callable[[Exponents, Norm], Poolable],
        norm: SupernetNorm,
        space: Space,
        warm: bool = False,
    ) -> None:
        super().__init__(partial(make_net, KEEP), norm, warm)
        self._resolutions = space.resolutions
        self._others = {
            resolution: SinglePath(partial(make_net, resolution), norm, warm)
            for resolution in sorted({r for found in self._resolutions for r in found} - {KEEP})
        }
        self.others = nn.ModuleDict({name_of(resolution): other for resolution, other in self._others.items()})
        _cut_down(self.net, [self.net.stem, *self._blocks(self, KEEP), self.net.head])
        for resolution, other in self._others.items():
            _cut_down(other.net, self._blocks(other, resolution))

    def run_block(self, index: int, x_BCHW: Tensor, placement: Placement) -> Tensor:
        """Run a block of ``placement`` after its site, with the weights for the resolution that it is then at.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the site: a map (B, C, H, W), or a tuple with maps of a restrided network.
            placement: says what the site does and at which resolution the block then is.

        Returns:
            What is alive after the block, in the same form.

        Raises:
            PoolsearchError: no placement of the space has the block there.
        """
        resolution = placement.resolution(index)
        if self._at(index, resolution) is self:
            return super().run_block(index, x_BCHW, placement)
        return self._at(index, resolution).run_block(index, x_BCHW, placement)

    def run_at(self, index: int, x_BCHW: Tensor, resolution: Exponents) -> Tensor:
        """Run a block with its weights for ``resolution``, on a map that is there already.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the block, at ``resolution``: a map (B, C, H, W), or a tuple with maps.
            resolution: halvings of height and width so far.

        Returns:
            What is alive after the block, in the same form and size.

        Raises:
            PoolsearchError: no placement of the space has the block there.
        """
        if self._at(index, resolution) is self:
            return super().run_at(index, x_BCHW, resolution)
        return self._at(index, resolution).run_at(index, x_BCHW, resolution)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and statistics of all resolutions, by name.

        Returns:
            As :meth:`SinglePath.weights`; those for a resolution other than the full one begin with its name, as in
            ``1x1/blocks.4.conv1.weight``.
        """
        found = super().weights()
        for resolution, other in self._others.items():
            found |= {f"{name_of(resolution)}/{name}": tensor for name, tensor in other.weights().items()}
        return found

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Copy in what :meth:`weights` gave.

        Args:
            tensors: by name, on any device.
        """
        super().load_weights(tensors)
        for resolution, other in self._others.items():
            place = f"{name_of(resolution)}/"
            other.load_weights({n.removeprefix(place): t for n, t in tensors.items() if n.startswith(place)})

    def _at(self, index: int, resolution: Exponents) -> SinglePath:
        """Whose weights block ``index`` has at a resolution."""
        if resolution not in self._resolutions[index]:
            allowed = ", ".join(map(name_of, self._resolutions[index]))
            raise PoolsearchError(
                f"block {index} has no weights at resolution {name_of(resolution)}, as no placement of the space has "
                f"it there; it has some at {allowed}."
            )
        return self if resolution == KEEP else self._others[resolution]

    def _blocks(self, supernet: SinglePath, resolution: Exponents) -> list[nn.Module]:
        """The blocks that some placement has at a resolution."""
        found = zip(supernet.net.blocks, self._resolutions, strict=True)
        return [block for block, resolutions in found if resolution in resolutions]


def _cut_down(net: Poolable, parts: list[nn.Module]) -> None:
    """Take out of a network the parameters that none of these parts computes with; nothing else may be run then."""
    used = {id(p) for part in parts for p in (part.used() if isinstance(part, Block) else part.parameters())}
    for module in net.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            if id(parameter) not in used:
                setattr(module, name, None)
