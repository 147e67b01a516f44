"""The space of all placements with any of several numbers of halvings."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.space.placement import HALVE, KEEP, Exponents, Placement
from poolsearch.space.restricted import Space


@dataclass(frozen=True)
class HalvingsSpace(Space):
    """All placements with ``fewest`` to ``most`` halvings among ``length`` blocks, without upsampling.

    Those with fewer halvings come first; those with as many are in the order of the :class:`Space` of this number.
    There are C(L-1, p) with p halvings, and the sum of these in all. Height and width are halved together. The
    network's own placement has ``poolings`` halvings, which need not be among the numbers that are allowed.

    Differs: the paper's spaces have the network's own number of halvings (section 2.1).

    Attributes:
        fewest, most: halvings of a placement.
    """

    fewest: int = 1
    most: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse_limits("--halvings lets the number of resolutions vary, height and width together")
        if not 1 <= self.fewest <= self.most < self.length:
            asked = f"{self.fewest}" if self.fewest == self.most else f"{self.fewest}-{self.most}"
            raise PoolsearchError(
                f"--halvings {asked} does not fit {self.length} blocks: the first block stays at full resolution and a "
                f"site halves once, so that 1 to {self.length - 1} are possible."
            )

    @classmethod
    def of(cls, space: Space, fewest: int, most: int) -> HalvingsSpace:
        """The placements of a network with other numbers of halvings.

        Args:
            space: gives length and default; what it is limited to (``only``) does not count.
            fewest, most: halvings of a placement.

        Returns:
            A space of the sum of C(L-1, p) placements.

        Raises:
            PoolsearchError: so many halvings do not fit the blocks, or ``space`` has limits or axes that do not go with
                several numbers of halvings.
        """
        own = (space.length, space.poolings, space.default, space.low, space.high)
        return cls(*own, axes=space.axes, fewest=fewest, most=most)

    @property
    def most_halvings(self) -> int:
        """As of :class:`Space`: the network's own number counts, also where fewer are asked for."""
        return max(self.most, self.poolings)

    @property
    def whole(self) -> HalvingsSpace:
        """The space without its limits, widened so that the network's own placement is in it."""
        return replace(self, only=None, fewest=min(self.fewest, self.poolings), most=self.most_halvings)

    @cached_property
    def _parts(self) -> list[Space]:
        """The spaces of each number of halvings."""
        numbers = range(self.fewest, self.most + 1)
        firsts = (Placement.of_blocks([self.length - number, *[1] * number]) for number in numbers)
        return [Space(self.length, number, first) for number, first in zip(numbers, firsts, strict=True)]

    @cached_property
    def _starts(self) -> list[int]:
        """The number of the first placement of each part, and of the one after the last."""
        return [0, *accumulate(part.size for part in self._parts)]

    @property
    def _full_size(self) -> int:
        return self._starts[-1]

    def sites(self, block: int, done: Exponents) -> list[Exponents]:
        """What the site before a block may be in some placement, or in the network's own; limits do not count.

        Args:
            block: 0-based.
            done: halvings of height and width before the site.

        Returns:
            Exponents (height, width), ascending; (0, 0) alone before block 0, none where no placement has done so.
        """
        if block == 0:
            return [KEEP]
        rest = self.length - block - 1  # sites that follow
        after = ((site, done[0] + site[0]) for site in (KEEP, HALVE))
        fewest = min(self.fewest, self.poolings)
        return [site for site, halved in after if halved <= self.most_halvings and halved + rest >= fewest]

    def _exponents(self, number_A: NDArray[Any]) -> NDArray[np.int8]:
        found_AL2 = np.zeros((len(number_A), self.length, 2), np.int8)
        for part, first, end in zip(self._parts, self._starts[:-1], self._starts[1:], strict=True):
            at = np.flatnonzero((number_A >= first) & (number_A < end))
            found_AL2[at] = part.exponents_AL2(number_A[at] - first)
        return found_AL2

    def _unrank(self, number: int) -> Placement:
        at = bisect_right(self._starts, number) - 1
        return self._parts[at][number - self._starts[at]]

    def _rank(self, placement: Placement) -> int:
        halvings = None if placement.blocks is None else len(placement.blocks) - 1
        if halvings is None or placement.length != self.length or not self.fewest <= halvings <= self.most:
            raise PoolsearchError(
                f"placement {placement.shown} does not fit this space: give {self.fewest + 1} to {self.most + 1} "
                f"counts that sum to {self.length} blocks, such as {self._parts[0].default}."
            )
        at = halvings - self.fewest
        return self._starts[at] + self._parts[at].index(placement)
