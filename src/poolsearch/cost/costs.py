"""What the placements of a space cost, as arrays; and the tables that it is looked up in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from poolsearch.cost.field import FieldTable, field_table, receptive_fields
from poolsearch.cost.latency import LatencyTable, latencies
from poolsearch.cost.macs import CostTable, cost_table
from poolsearch.cost.memory import StepTable, peak_bytes, step_table
from poolsearch.cost.routes import Grid, Routes, sum_entries
from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride.trace import blank_copy
from poolsearch.space import Placement, Space


@dataclass(frozen=True)
class Costs:
    """Costs of A placements, in the order of their space.

    Attributes:
        macs_A: multiply-adds of one forward pass on one image.
        memory_A: the most bytes alive in a training step beside weights, statistics and momentum; None when not known.
        field_height_AR, field_width_AR: theoretical receptive fields at the end of each resolution, in pixels of the
            image; 0 for a resolution that no block is at.
        latency_A: milliseconds of a forward pass; None when not measured.
    """

    macs_A: NDArray[np.int64]
    memory_A: NDArray[np.int64] | None
    field_height_AR: NDArray[np.int32]
    field_width_AR: NDArray[np.int32]
    latency_A: NDArray[np.float64] | None


@dataclass(frozen=True)
class Profile:
    """Tables of every (block, size of its input, site): what any placement of the space costs is looked up.

    Attributes:
        table: MACs, and the sizes of all maps.
        fields: receptive fields.
        memory: of a training step; where the network cannot run without numbers, why.
        latency: None when it was not measured.
    """

    table: CostTable
    fields: FieldTable
    memory: StepTable | str
    latency: LatencyTable | None = None

    def costs(self, space: Space, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> Costs:
        """Costs of placements of a space, looked up for all of them at once.

        Args:
            space: one that the tables cover.
            numbers: of the placements in ``space``; all of them if None.

        Returns:
            In the order of ``numbers``.
        """
        grid = Grid.of(self.table)
        routes = grid.routes(space, numbers)
        return Costs(
            _macs(self.table, grid, routes),
            None if isinstance(self.memory, str) else peak_bytes(self.memory, grid, routes),
            *receptive_fields(self.fields, grid, routes, space),
            None if self.latency is None else latencies(self.latency, grid, routes),
        )

    def of(self, placement: Placement, space: Space) -> Costs:
        """Costs of one placement.

        Args:
            placement: of the whole space; it may be outside of what ``space`` is limited to.
            space: one that the tables cover.

        Returns:
            Arrays of length 1.
        """
        return self.costs(space.whole, [space.whole.index(placement)])


def _macs(table: CostTable, grid: Grid, routes: Routes) -> NDArray[np.int64]:
    blocks = sum_entries(grid.values({key: part.macs for key, part in table.block.items()}), routes)
    return (table.stem.macs + blocks + routes.of_head(table.head)).astype(np.int64)


def profile(net: Poolable, space: Space, height: int, width: int, batch: int, dtype: torch.dtype) -> Profile:
    """Everything but latency, found without computing anything.

    Args:
        net: on the meta device; left in evaluation mode.
        space: the placements that are to be covered; limits are not looked at.
        height, width: of the images.
        batch: images of a training step.
        dtype: that a training step is in; float32 is without autocast.

    Returns:
        The tables, without latency; ``memory`` is a text where the network cannot run without numbers.
    """
    net.eval()  # what is counted is the same, and BatchNorm on a device without numbers takes half the time
    table = cost_table(net, height, width, space)
    memory: StepTable | str = ""
    for memory_format in (torch.channels_last, torch.contiguous_format):  # some networks run in one of them only
        try:
            memory = step_table(net, table, space, height, width, batch, dtype, memory_format)
            break
        except Exception as error:  # the network's own, in layers that torch cannot run without numbers; it may train
            memory = f"{type(error).__name__}: {error}"
    return Profile(table, field_table(net, height, width, space), memory)


def placement_costs(
    net: Poolable, image_size: ImageSize | int | str | tuple[int, int], space: Space | None = None, batch: int = 256
) -> Costs:
    """What placements of a network cost, counted on a copy without numbers: nothing is computed.

    Args:
        net: a network whose downsampling can be moved, such as :func:`poolsearch.restride` gives; not changed.
        image_size: of the images: the side of a square, "48x96" or (height, width).
        space: the placements; all of the network where not given.
        batch: images of a training step, in float32, whose memory is told.

    Returns:
        Arrays in the order of the space: ``macs_A`` (multiply-adds of one image), ``memory_A`` (bytes of a training
        step beside weights and momentum; None where it is not known), and receptive fields. Latency is not measured.

    Raises:
        PoolsearchError: the network is another kind of module, or the images are too small for a placement.
    """
    if not isinstance(net, Poolable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PoolsearchError(
            f"costs are of a network whose downsampling can be moved, and this is a {type(net).__name__}. Give "
            "poolsearch.restride(model, images), or of a supernet its net."
        )
    space, size = space or net.space, ImageSize.of(image_size)
    blank = blank_copy(net)
    blank.check_input(*size, space)
    return profile(blank, space, *size, batch, torch.float32).costs(space)
