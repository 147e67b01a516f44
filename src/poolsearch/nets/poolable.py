"""The contract of a network whose downsampling can be moved: a stem, blocks with a site before each, a head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from poolsearch.errors import PoolsearchError
from poolsearch.space import KEEP, Exponents, Placement, Space

Op = Literal["max", "avg", "blur", "stride", "native"]
OPS: tuple[str, ...] = get_args(Op)

T = TypeVar("T")
Size = tuple[int, int]
"""(height, width) of a map."""

HeadKey = tuple[Any, ...]
"""What decides all that a head does: the size of the last maps, then those of the maps carried to it."""


class Carrying(NamedTuple):
    """What is alive between two blocks where the head reads maps of earlier blocks: skips of a decoder, say.

    Attributes:
        live: what the next block reads: a map (B, C, H, W), or a tuple with maps. Sites resize it.
        carried: what only the head reads. No site resizes it: each map keeps the size at which its block made it.
    """

    live: Any
    carried: tuple[Any, ...]


def split_state(state: Any) -> tuple[Any, tuple[Any, ...]]:
    """What is alive between two blocks, as what the next block reads and what is carried to the head.

    Args:
        state: a map, a tuple with maps, or :class:`Carrying`.

    Returns:
        What is live, and what is carried; nothing is, where the state says nothing of it.
    """
    return (state.live, state.carried) if isinstance(state, Carrying) else (state, ())


def carried_on(before: Any, out: Any) -> Any:
    """What is alive after a block: what it gives, with all that was carried already.

    Args:
        before: what was alive before the block.
        out: what the block makes of what is live there; of :class:`Carrying` what is carried is the block's own.

    Returns:
        A map or a tuple where nothing is carried, else :class:`Carrying`, the earliest carried first.
    """
    (_, old), (live, new) = split_state(before), split_state(out)
    return Carrying(live, (*old, *new)) if old or new else live


def shrink_factors(exponents: Exponents) -> tuple[int, int]:
    """By how much a site shrinks its map along each axis.

    Args:
        exponents: of height and width: 0 keeps, 1 halves, -1 doubles.

    Returns:
        (height, width) factors, powers of two; 1 along an axis that it keeps or enlarges.
    """
    return 2 ** max(exponents[0], 0), 2 ** max(exponents[1], 0)


def enlarge_factors(exponents: Exponents) -> tuple[int, int]:
    """By how much a site enlarges its map along each axis.

    Args:
        exponents: of height and width: 0 keeps, 1 halves, -1 doubles.

    Returns:
        (height, width) factors, powers of two; 1 along an axis that it keeps or shrinks.
    """
    return shrink_factors((-exponents[0], -exponents[1]))


def resize(x: Any, exponents: Exponents, op: Op) -> Any:
    """Shrink a map by ``op`` along axes with a positive exponent, enlarge it along those with a negative one.

    Enlarged is by repeating each pixel (nearest), so that a map is twice as large for each -1; shrinking comes first.

    Args:
        x: a map (B, C, H, W), or what is alive between two blocks: a tuple, of which every map is resized.
        exponents: of height and width.
        op: how to shrink, as in :func:`pool`.

    Returns:
        The same form as ``x``; sizes that are shrunk round up.

    Differs: the paper (sections 2.1, 3.3) does not say how maps are enlarged (docs/differences.md#upsampling).
    """
    if isinstance(x, tuple):
        return tuple(resize(v, exponents, op) if isinstance(v, Tensor) and v.dim() == 4 else v for v in x)
    if max(exponents) > 0:
        x = pool(x, exponents, op)
    if min(exponents) < 0:
        high, wide = enlarge_factors(exponents)
        x = F.interpolate(x, scale_factor=(float(high), float(wide)), mode="nearest")
    return x


def pool(x_BCHW: Tensor, exponents: Exponents, op: Op) -> Tensor:
    """Shrink a map by ``op`` in front of a block; odd sizes round up, as in a strided convolution with padding.

    ``blur`` is the binomial filter [1, 2, 1] along each shrunk axis, with the border repeated, then subsampling
    (Zhang 2019, "Making convolutional networks shift-invariant again"), once for each halving.

    Args:
        x_BCHW: the map.
        exponents: halvings of height and width; an axis with 0 or less keeps its size.
        op: ``max``, ``avg`` or ``blur``; the others are no pooling.

    Returns:
        (B, C, ceil(H / 2**height), ceil(W / 2**width)).
    """
    kernel = shrink_factors(exponents)
    match op:
        case "max":
            return F.max_pool2d(x_BCHW, kernel, ceil_mode=True)
        case "avg":
            return F.avg_pool2d(x_BCHW, kernel, ceil_mode=True)
        case "blur":
            for step in range(max(exponents)):
                x_BCHW = _blur(x_BCHW, (1 + (exponents[0] > step), 1 + (exponents[1] > step)))
            return x_BCHW
        case "stride" | "native":
            raise AssertionError("a strided block takes its exponents itself")


def _blur(x_BCHW: Tensor, stride: tuple[int, int]) -> Tensor:
    taps = x_BCHW.new_tensor([0.25, 0.5, 0.25])
    one = x_BCHW.new_ones(1)
    rows, columns = (taps if s > 1 else one for s in stride)
    channels = x_BCHW.shape[1]
    kernel = (rows[:, None] * columns[None, :]).expand(channels, 1, -1, -1)
    margin = (len(columns) // 2,) * 2 + (len(rows) // 2,) * 2
    return F.conv2d(F.pad(x_BCHW, margin, mode="replicate"), kernel, stride=stride, groups=channels)


def _signs(exponents: Exponents) -> tuple[Exponents, Exponents]:
    """The negative part of exponents, and the positive one."""
    high, wide = exponents
    return (min(high, 0), min(wide, 0)), (max(high, 0), max(wide, 0))


class Block(nn.Module, ABC):
    """One unit between two sites.

    ``exponents`` are those of the site before it; only op ``stride`` (of our own networks) and ``native`` (of restrided
    ones) pass them on. Between the blocks of a restrided network, a tuple with several maps may be alive, and some may
    be carried to the head.
    """

    @abstractmethod
    def forward(self, x_BCHW: Tensor, exponents: Exponents = KEEP) -> Tensor:
        """Compute the block's map, of the input's size shrunk by the exponents.

        Args:
            x_BCHW: what is alive before it: a map (B, C, H, W), or a tuple with maps of a restrided network.
            exponents: halvings of height and width that the block itself does.

        Returns:
            What is alive after it, in the same form; channels are the block's own. Where the head reads what the block
            computes on the way, :class:`Carrying` with that.
        """

    def used(self) -> Iterator[nn.Parameter]:
        """The parameters that it computes with.

        Returns:
            An iterator over them; by default over those of the module and its children.
        """
        return self.parameters()


class Poolable(nn.Module):
    """A network that runs any placement with the same parameters; the placement is an argument.

    Attributes:
        stem: what comes before the first block, fixed (the identity where the stem is searched over: it is then
            the first block).
        blocks: L blocks.
        head: from the last map, and from what is carried to it, to what the network gives: class logits, or maps.
        default: the network's own placement.
        op: how its sites downsample.
        channels: of the images.
    """

    channels: int = 3

    def __init__(self, stem: nn.Module, blocks: Sequence[Block], head: nn.Module, default: Placement, op: Op) -> None:
        super().__init__()
        if default.length != len(blocks):
            raise ValueError(f"default placement {default} has {default.length} blocks, the network {len(blocks)}")
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.default = default
        self.op: Op = op

    @property
    def space(self) -> Space:
        """All placements with as many downsamplings as the default (paper, section 2.1)."""
        assert self.default.blocks is not None
        return Space(len(self.blocks), len(self.default.blocks) - 1, self.default)

    @property
    def original(self) -> nn.Module:
        """The module whose parameter names are the network's own: what is saved, and what checkpoints are for."""
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as in the original, beside where it downsamples, in sentences."""
        return ()

    def how(self, index: int) -> str:
        """Where a block is and how it downsamples, in words.

        Args:
            index: of the block, from 0.

        Returns:
            Such as ``blocks.3 (BasicBlock): max pooling 2x2 in front``.
        """
        name = f"blocks.{index} ({type(self.blocks[index]).__name__})"
        if index == 0:
            return f"{name}: first block, stays as it is"
        return f"{name}: {'strided by itself' if self.op == 'stride' else f'{self.op} pooling 2x2 in front'}"

    def check_input(self, height: int, width: int, space: Space | None = None) -> None:
        """See that every halving still has something to halve; on the meta device.

        Args:
            height, width: of the images.
            space: the placements that are to run; the network's own where not given.

        Raises:
            PoolsearchError: the images are too small.
        """
        size = state_size(self.stem(torch.zeros(1, self.channels, height, width, device="meta")))
        check_maps(*size, (space or self.space).most_halvings)

    def check(self, placement: Placement) -> None:
        """See that a placement is one for so many blocks.

        Args:
            placement: any; whether it is in the network's space does not matter.

        Raises:
            PoolsearchError: it is not.
        """
        if not isinstance(placement, Placement):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PoolsearchError(
                f"{placement!r} is a {type(placement).__name__} and no placement. Give a poolsearch.Placement: "
                "one of the space, that of a trial (trial.placement), or Placement.parse('4,3,3')."
            )
        if placement.length != len(self.blocks):
            raise PoolsearchError(
                f"placement {placement} describes {placement.length} blocks, but this network has {len(self.blocks)}. "
                f"Its default is {self.default}."
            )

    def run_block(self, index: int, x_BCHW: Tensor, exponents: Exponents) -> Tensor:
        """Run a block after the downsampling, or the upsampling, of the site before it.

        Args:
            index: of the block, from 0.
            x_BCHW: what is alive before the site: a map (B, C, H, W), or a tuple with maps of a restrided network, or
                :class:`Carrying`: what is carried stays as it is.
            exponents: of the site.

        Returns:
            What is alive after the block, in the same form.
        """
        return carried_on(x_BCHW, self._run_block(index, split_state(x_BCHW)[0], exponents))

    def _run_block(self, index: int, x_BCHW: Any, exponents: Exponents) -> Any:
        """Run a block on what is live before its site."""
        block = self.blocks[index]
        if exponents == KEEP:
            return block(x_BCHW)
        if self.op == "stride":
            up, down = _signs(exponents)
            return block(resize(x_BCHW, up, self.op), down)
        return block(resize(x_BCHW, exponents, self.op))

    def forward(self, x_BCHW: Tensor, placement: Placement) -> Any:
        """Compute what the network gives under a placement.

        Args:
            x_BCHW: normalised images.
            placement: of as many blocks as the network has.

        Returns:
            Logits, (B, classes); of a restrided network what the original gives, in the same structure.

        Raises:
            PoolsearchError: the placement has another number of blocks.
        """
        self.check(placement)
        state = self.stem(x_BCHW)
        for index in range(len(self.blocks)):
            state = self.run_block(index, state, placement.at(index))
        return self.head(state)


class FixedPlacementNet(nn.Module):
    """A network at one placement, as it is trained stand-alone: ``forward(x_BCHW)``.

    Args:
        net: the network, whose parameters this shares.
        placement: at which it is run.
    """

    def __init__(self, net: Poolable, placement: Placement) -> None:
        super().__init__()
        self.net = net
        self.placement = placement

    def forward(self, x_BCHW: Tensor) -> Any:
        return self.net(x_BCHW, self.placement)


def state_size(state: Any) -> Size:
    """The size of the maps that the next block reads.

    Args:
        state: one map (B, C, H, W), or a tuple with several of one size and whatever else is alive; what is carried to
            the head does not count.

    Returns:
        (height, width) in pixels of the map.

    Raises:
        PoolsearchError: their sizes differ.
    """
    live, _ = split_state(state)
    values = live if isinstance(live, tuple) else (live,)
    sizes = {(v.shape[2], v.shape[3]) for v in values if isinstance(v, Tensor) and v.dim() == 4}
    if len(sizes) != 1:
        raise PoolsearchError(f"maps of {len(sizes)} sizes are alive together: {sorted(sizes)}.")
    return sizes.pop()


def carried_sizes(state: Any) -> tuple[Any, ...]:
    """What of the carried values depends on where the network downsamples.

    Args:
        state: what is alive between two blocks, or what a block gives.

    Returns:
        Of each carried map its (height, width), of another tensor its shape without the batch; a number itself.
    """
    return tuple(map(_size_of, tree_leaves(split_state(state)[1])))


def _size_of(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return (value.shape[2], value.shape[3]) if value.dim() == 4 else tuple(value.shape[1:])


def head_key(state: Any) -> HeadKey:
    """What decides all that the head does.

    Args:
        state: what is alive after the last block.

    Returns:
        The size of its maps, then :func:`carried_sizes`.
    """
    return (state_size(state), *carried_sizes(state))


def every_block(
    net: Poolable, state: Any, space: Space, run: Callable[[int, Any, Exponents], tuple[T, Any]]
) -> tuple[dict[tuple[int, Size, Exponents], T], dict[HeadKey, Any]]:
    """Run every block at every (size of its input, site) that some placement has, once each.

    What a block does is decided by these, and what the head does by the sizes of all that reaches it, so that this is
    everything that all placements do.

    Args:
        net: only its number of blocks is used.
        state: what comes out of the stem.
        space: the placements.
        run: runs a block on what is live at a site; gives what is to be kept, and the block's state.

    Returns:
        What was kept, by (block, size of its input, site); and a state after the last block for each
        :func:`head_key`.
    """
    found: dict[tuple[int, Size, Exponents], T] = {}
    states: dict[tuple[Exponents, HeadKey], Any] = {(KEEP, head_key(state)): state}
    for index in range(len(net.blocks)):
        after: dict[tuple[Exponents, HeadKey], Any] = {}
        outs: dict[tuple[Size, Exponents], Any] = {}
        for (done, (size, *_)), before in states.items():
            for site in space.sites(index, done):
                if (size, site) not in outs:
                    found[index, size, site], outs[size, site] = run(index, split_state(before)[0], site)
                out = carried_on(before, outs[size, site])
                after[(done[0] + site[0], done[1] + site[1]), head_key(out)] = out
        states = after
    return found, {key: state for (_, key), state in states.items()}


def smallest_input(poolings: int) -> int:
    """The least height and width that ``poolings`` halvings can each still shrink (sizes round up).

    Args:
        poolings: how many halvings there are, at least 1.

    Returns:
        Pixels, of the map before the first halving.
    """
    return 2 ** (poolings - 1) + 1


def check_maps(height: int, width: int, poolings: int) -> None:
    """See that maps of this size can be halved so often.

    Args:
        height, width: in pixels, of the map before the first halving.
        poolings: how often each axis is halved.

    Raises:
        PoolsearchError: the images are too small.
    """
    least = smallest_input(poolings)
    if min(height, width) < least:
        raise PoolsearchError(
            f"maps of {height}x{width} are too small for {poolings} halvings: at least {least}x{least} is needed where "
            "the first of them may stand. Use larger images (--image-size) or fewer halvings (--halvings)."
        )


def he_init(module: nn.Module, zero_init: bool) -> None:
    """He initialisation of convolutions (fan out, ReLU), as torchvision's ResNets.

    Args:
        module: changed in place.
        zero_init: start every residual branch at zero (its last normalisation's weight), where that has a weight.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        last = getattr(part, "last_norm", None)
        if zero_init and isinstance(last, nn.BatchNorm2d) and last.affine:
            nn.init.zeros_(last.weight)


def parameters_of(module: nn.Module) -> int:
    """How many learnable numbers a module has.

    Args:
        module: any; parameters that it has twice count once.

    Returns:
        Their number, of those that need no gradient, too.
    """
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def map_sizes(net: Poolable, height: int, width: int, placement: Placement) -> list[Size]:
    """The size of the map after each block, found by running ``net`` on two blank images.

    Args:
        net: on any device, also the meta device; its mode is left as it is.
        height, width: of the images, in pixels.
        placement: of the network's number of blocks.

    Returns:
        (height, width) of each block's map, in the order of the blocks.
    """
    device = next(net.parameters()).device
    x_BCHW = net.stem(torch.zeros(2, net.channels, height, width, device=device))
    sizes = []
    for index in range(len(net.blocks)):
        x_BCHW = net.run_block(index, x_BCHW, placement.at(index))
        sizes.append(state_size(x_BCHW))
    return sizes
