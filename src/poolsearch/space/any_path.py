"""The space of all paths: every block but the first at any resolution, with upsampling where it rises again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.space.placement import KEEP, Exponents, Placement
from poolsearch.space.restricted import Space


@dataclass(frozen=True)
class FreeSpace(Space):
    """All placements whose blocks stand at any of the R = p + 1 resolutions of the default, the first one at the full.

    A site leads from any resolution to any other, so that there are R^(L-1) placements (paper, sections 2.1 and 3.3:
    3^9 = 19,683 of ResNet20; docs/differences.md#all-paths). A placement's number has the resolutions of blocks 1 to
    L-1 as its digits to the base R, that of block 1 first. Height and width are halved together. The placements of
    the restricted space are among them.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse_limits("--paths any is the space of all paths, in which blocks are at any resolution in any order")

    @classmethod
    def of(cls, space: Space) -> FreeSpace:
        """All paths through the blocks and resolutions of a space.

        Args:
            space: gives length, poolings and default; what it is limited to (``only``) does not count.

        Returns:
            A space of R^(L-1) placements.

        Raises:
            PoolsearchError: it has limits, or halves height and width each by itself.
        """
        return cls(space.length, space.poolings, space.default, space.low, space.high, axes=space.axes)

    @property
    def _base(self) -> int:
        """R, the number of resolutions."""
        return self.poolings + 1

    @property
    def _full_size(self) -> int:
        return self._base ** (self.length - 1)

    @cached_property
    def resolutions(self) -> tuple[tuple[Exponents, ...], ...]:
        """For each block the resolutions that some placement has it at: known without going through them all."""
        if self.only is not None:
            return super().resolutions
        every = tuple((resolution, resolution) for resolution in range(self._base))
        return ((KEEP,), *(every,) * (self.length - 1))

    def sites(self, block: int, done: Exponents) -> list[Exponents]:
        """What the site before a block may be: from its resolution to any other.

        Args:
            block: 0-based.
            done: halvings of height and width before the site.

        Returns:
            Exponents by the resolution that they lead to, the full one first; (0, 0) alone before block 0.
        """
        if block == 0:
            return [KEEP]
        return [(resolution - done[0], resolution - done[1]) for resolution in range(self._base)]

    def _exponents(self, number_A: NDArray[Any]) -> NDArray[np.int8]:
        resolution_AL = np.zeros((len(number_A), self.length), np.int8)
        for block in range(self.length - 1, 0, -1):
            resolution_AL[:, block] = number_A % self._base
            number_A = number_A // self._base
        exponent_AL = np.diff(resolution_AL, axis=1, prepend=np.int8(0))
        return np.repeat(exponent_AL[:, :, None], 2, axis=2)

    def _unrank(self, number: int) -> Placement:
        resolutions: list[int] = []
        for _ in range(self.length - 1):
            number, digit = divmod(number, self._base)
            resolutions.append(digit)
        resolutions.append(0)  # of the first block
        steps = [after - before for after, before in pairwise(resolutions)]
        return Placement(tuple((step, step) for step in reversed(steps)))

    def _rank(self, placement: Placement) -> int:
        if placement.length != self.length:
            raise PoolsearchError(
                f"placement {placement.shown} is one of {placement.length} blocks, this space of {self.length}; its "
                f"default is {self.default}."
            )
        number = 0
        for block in range(1, self.length):
            height, width = placement.resolution(block)
            if height != width or not 0 <= height < self._base:
                raise PoolsearchError(
                    f"placement {placement.shown} has block {block} at resolution {height}x{width}; in this space "
                    f"height and width are halved together, 0 to {self.poolings} times in all."
                )
            number = number * self._base + height
        return number
