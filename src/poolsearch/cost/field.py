"""How far a pixel of a map sees in the image: the theoretical receptive field (as in Araujo, Norris and Sim 2019).

A window of k pixels, ``dilation`` apart, on a map whose neighbours are ``jump`` pixels of the image apart, sees
(k - 1) * dilation * jump pixels more than one of its pixels does; a stride multiplies the jump, and enlarging a map
divides it: a window then sees more at some places than at others, and this is the mean. Where branches meet, the widest
counts. Borders cut it off; that is left out, as are squeeze-excitation and every other pooling over a whole
map, which let each pixel depend on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from poolsearch.cost.macs import BlockKey
from poolsearch.cost.routes import Grid, Routes
from poolsearch.nets.poolable import Poolable, every_block
from poolsearch.space import Space

aten = torch.ops.aten
Pair = tuple[float, float]


@dataclass(frozen=True)
class Field:
    """What a part adds, (height, width): how many pixels more of its input are seen, and the steps between pixels.

    Attributes:
        reach: pixels of the input beside the first.
        jump: pixels of the input between two neighbours.
    """

    reach: Pair = (0.0, 0.0)
    jump: Pair = (1.0, 1.0)

    def window(self, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Field:
        """The field after a window slides over the map, as of a convolution or a pooling.

        Args:
            kernel, stride, dilation: (height, width) in pixels of the map.

        Returns:
            With respect to the same input as before.
        """
        seen = [r + (k - 1) * d * j for r, k, d, j in zip(self.reach, kernel, dilation, self.jump, strict=True)]
        return Field((seen[0], seen[1]), (self.jump[0] * stride[0], self.jump[1] * stride[1]))


def widest(fields: list[Field]) -> Field:
    """The field where branches meet: for each axis the largest reach and the largest jump of any.

    Args:
        fields: of the branches, at least one; all with respect to the same input.

    Returns:
        What the joined map sees.
    """
    return Field(*((max(f[0] for f in pairs), max(f[1] for f in pairs)) for pairs in (
        [f.reach for f in fields], [f.jump for f in fields]
    )))  # fmt: skip


@dataclass(frozen=True)
class FieldTable:
    """What the stem adds, and each block at each (size of its input, site), keyed as in ``CostTable``."""

    stem: Field
    block: dict[BlockKey, Field]


class _Fields(TorchDispatchMode):
    """Inside the block, every map has a field: that of what it was made of, and the window that made it."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[Tensor, Field]] = {}  # the tensors too: an address must not be used twice

    def begin(self, state: Any) -> None:
        """These maps are the input."""
        for leaf in tree_leaves(state):
            if isinstance(leaf, Tensor):
                self._known[id(leaf)] = leaf, Field()

    def end(self, state: Any) -> Field:
        """Of what comes out."""
        return widest(self._of(state) or [Field()])

    def _of(self, values: Any) -> list[Field]:
        return [self._known[id(x)][1] for x in tree_leaves(values) if id(x) in self._known]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = self._of((args, kwargs))
        if not inputs:
            return out
        field = _after(func.overloadpacket, widest(inputs), args)
        for leaf in tree_leaves(out):
            if field is not None and isinstance(leaf, Tensor):
                self._known[id(leaf)] = leaf, field
        return out


def _after(operation: Any, field: Field, args: Any) -> Field | None:
    """The field after an operation of torch's; None where it looks at a whole map."""
    rule = _RULES.get(operation)
    return rule(field, *args) if rule else field


def _convolution(
    field: Field, x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, *more: Any
) -> Field:
    return field if weight.dim() != 4 else field.window(_pair(weight.shape[2:]), _pair(stride), _pair(dilation))


def _max_pool(
    field: Field, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *more: Any
) -> Field:
    return field.window(_pair(kernel), _pair(stride or kernel), _pair(dilation))


def _avg_pool(field: Field, x: Tensor, kernel: Any, stride: Any = (), *more: Any) -> Field:
    return field.window(_pair(kernel), _pair(stride or kernel))


def _adaptive(field: Field, x: Tensor, size: Any) -> Field | None:
    out, given = _pair(size), x.shape[-2:]
    if out == (1, 1):
        return None
    kernel = (-(-given[0] // out[0]), -(-given[1] // out[1]))
    return field.window(kernel, (given[0] / out[0], given[1] / out[1]))


def _enlarged(field: Field, x: Tensor, size: Any, *factors: Any) -> Field:
    """Pixels repeated: (size, factor of the height, of the width), or no size and a pair of factors."""
    high, wide = (size[0] / x.shape[2], size[1] / x.shape[3]) if size else _pair(factors[0])
    return field.window((1, 1), (1 / high, 1 / wide))


def _slice(field: Field, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Field:
    axis = dim % max(x.dim(), 1) - 2
    if x.dim() != 4 or axis not in (0, 1):
        return field
    return field.window((1, 1), (step, 1) if axis == 0 else (1, step))


def _reduction(field: Field, x: Tensor, dims: Any = None, *more: Any, **options: Any) -> Field | None:
    """Over the channels the field stays; over both axes of the map, in either layout, it is the whole."""
    axes = {*range(x.dim())} if not dims and dims != 0 else {d % x.dim() for d in ([dims] if dims == 0 else dims)}
    return None if axes >= {2, 3} or axes == {1, 2} else field


def _pair(value: Any) -> Pair:
    values = [value] * 2 if isinstance(value, int) else [*value]
    return values[0], values[-1]


_RULES: Mapping[Any, Callable[..., Field | None]] = {
    aten.convolution: _convolution, aten.max_pool2d_with_indices: _max_pool, aten.avg_pool2d: _avg_pool,
    aten._adaptive_avg_pool2d: _adaptive, aten.adaptive_max_pool2d: _adaptive, aten.slice: _slice,
    aten.upsample_nearest2d: _enlarged, aten.mean: _reduction, aten.sum: _reduction, aten.amax: _reduction,
}  # fmt: skip


def field_table(net: Poolable, height: int, width: int, space: Space | None = None) -> FieldTable:
    """What every (block, size, site) adds to the receptive field, without computing anything.

    Args:
        net: on the meta device.
        height, width: of the input image.
        space: the placements that are to be covered; the network's own where not given.

    Returns:
        Fields of the stem, with respect to the image, and of every block, with respect to its own input.
    """

    def find(index: int, state: Any, site: tuple[int, int]) -> tuple[Field, Any]:
        return field_of(partial(net.run_block, index, exponents=site), state)

    stem, state = field_of(net.stem, torch.zeros(2, net.channels, height, width, device="meta"))
    return FieldTable(stem, every_block(net, state, space or net.space, find)[0])


def field_of(run: Callable[[Any], Any], state: Any) -> tuple[Field, Any]:
    """What a part of a network adds to the receptive field.

    Args:
        run: a function of the state, such as a block; it is called once.
        state: what is alive before it: a tensor or a nest of tensors, on the meta device.

    Returns:
        The field with respect to ``state``, and what ``run`` gave.
    """
    with torch.no_grad(), _Fields() as fields:
        fields.begin(state)
        out = run(state)
        return fields.end(out), out


def receptive_fields(
    table: FieldTable, grid: Grid, routes: Routes, space: Space
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Receptive fields at the end of each resolution of the height, and of the width, in pixels of the image.

    Args:
        table: fields of the parts.
        grid: of the same network and space as the table.
        routes: of A placements, by ``grid``.
        space: theirs; it has R resolutions, one more than its most halvings.

    Returns:
        Two arrays of shape (A, R), of the height and of the width. Of a resolution that no block is at: 0. The largest
        is that of the whole network.
    """
    return _of_axis(table, grid, routes, space, 0), _of_axis(table, grid, routes, space, 1)


def _of_axis(table: FieldTable, grid: Grid, routes: Routes, space: Space, axis: int) -> NDArray[np.int32]:
    reach_LE = grid.values({key: field.reach[axis] for key, field in table.block.items()})
    jump_LE = grid.values({key: field.jump[axis] for key, field in table.block.items()})
    count = routes.entry_LA.shape[1]
    seen_A, jump_A = np.full(count, 1 + table.stem.reach[axis]), np.full(count, table.stem.jump[axis])
    seen_AR, at_A = np.zeros((count, space.most_halvings + 1), np.int32), np.zeros(count, np.int64)
    exponent_E = grid.exponent_E2()[:, axis]
    for index, entry_A in enumerate(routes.entry_LA):
        at_A += exponent_E[entry_A]
        seen_A += reach_LE[index][entry_A] * jump_A
        jump_A *= jump_LE[index][entry_A]
        seen_AR[np.arange(count), at_A] = np.round(seen_A)  # the last block at a resolution stands
    return seen_AR
