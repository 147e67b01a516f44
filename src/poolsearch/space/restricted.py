"""The set of allowed placements, numbered without being stored."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.errors import PoolsearchError
from poolsearch.space.placement import KEEP, Exponents, Placement

Axes = Literal["hw", "h,w"]


@dataclass(frozen=True)
class Space:
    """All placements of ``poolings`` halvings among ``length`` blocks, numbered 0..A-1 in the order of Table 6.

    A placement is a composition of L into p + 1 parts, each within its limits; compositions are numbered
    lexicographically by counting the completions of every prefix. Without limits these counts are binomials, so
    that this is the combinatorial number system, and A = C(L-1, p) (paper, section 2.1).

    Attributes:
        length: L, the blocks that are searched over (the stem is one where it is searched).
        poolings: p, the halvings of the default placement.
        default: the network's own placement.
        low, high: the least and the most blocks at each resolution; empty for 1 and for L.
        only: numbers of the placements kept, ascending, in this space without ``only``; None keeps all.
        axes: "hw" halves height and width together; "h,w" each by itself: a placement is then a composition for the
            height and one for the width, each within the limits, and its number is that of the height times the
            compositions of one axis, plus that of the width. There are as many placements as pairs.
    """

    length: int
    poolings: int
    default: Placement
    low: tuple[int, ...] = ()
    high: tuple[int, ...] = ()
    only: tuple[int, ...] | None = None
    axes: Axes = "hw"

    def __post_init__(self) -> None:
        parts = self.poolings + 1
        if self.poolings < 1 or self.poolings >= self.length:
            raise PoolsearchError(
                f"{self.poolings} downsamplings do not fit {self.length} blocks: the first block stays at full "
                f"resolution, so between 1 and {self.length - 1} are possible."
            )
        if self.default.blocks is None or self.default.length != self.length or len(self.default.blocks) != parts:
            raise PoolsearchError(
                f"the default placement {self.default} does not describe {self.length} blocks at {parts} resolutions."
            )
        for name, limit in (("min", self.low), ("max", self.high)):
            if limit and (len(limit) != parts or min(limit) < 1):
                raise PoolsearchError(
                    f"--{name}-blocks {list(limit)}: give {parts} numbers of at least 1, one per resolution."
                )
        if self._axis_size == 0:
            raise PoolsearchError(
                f"no placement of {self.length} blocks has at least {list(self._low)} and at most {list(self._high)} "
                "blocks per resolution: widen the limits."
            )

    def _refuse_limits(self, what: str) -> None:
        """See that a space of other placements has none of the limits of this one, which do not mean anything there.

        Args:
            what: the option that asks for the space, and what that is.

        Raises:
            PoolsearchError: it has limits, or halves height and width each by itself.
        """
        given = ["--min-blocks"] * bool(self.low) + ["--max-blocks"] * bool(self.high)
        given += ["--axes h,w"] * (self.axes != "hw")
        if given:
            raise PoolsearchError(
                f"{what}: it cannot be combined with {' and '.join(given)}. Leave one of them out, or name placements "
                "with --placements."
            )

    @property
    def most_halvings(self) -> int:
        """How often the placement with the most halvings halves; the network's own counts, too."""
        return self.poolings

    @property
    def _low(self) -> tuple[int, ...]:
        return self.low or (1,) * (self.poolings + 1)

    @property
    def _high(self) -> tuple[int, ...]:
        return self.high or (self.length,) * (self.poolings + 1)

    @cached_property
    def _completions(self) -> list[list[int]]:
        """``[part][rest]``: in how many ways the parts from ``part`` on can share ``rest`` blocks."""
        table = [[1] + [0] * self.length]
        for low, high in zip(reversed(self._low), reversed(self._high), strict=True):
            after = table[-1]
            table.append(
                [sum(after[rest - n] for n in range(low, min(high, rest) + 1)) for rest in range(self.length + 1)]
            )
        return table[::-1]

    @property
    def _axis_size(self) -> int:
        """Compositions of one axis."""
        return self._completions[0][self.length]

    @property
    def _full_size(self) -> int:
        return self._axis_size if self.axes == "hw" else self._axis_size**2

    @property
    def size(self) -> int:
        """A, the number of placements."""
        return self._full_size if self.only is None else len(self.only)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Placement:
        """The placement with this number.

        Raises:
            IndexError: the number is not in 0..A-1.
        """
        if not 0 <= number < self.size:
            raise IndexError(f"placement {number} of a space of {self.size}")
        return self._unrank(self._full_number(number))

    def __iter__(self) -> Iterator[Placement]:
        return (self[i] for i in range(self.size))

    def exponents_AL2(self, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.int8]:
        """The exponents (height, width) before each block of many placements at once, as :meth:`Placement.at`.

        Args:
            numbers: of the placements; all where not given.

        Returns:
            Shape (A, L, 2); block 0 has no site before it, so that its exponents are 0.
        """
        return self._exponents(self._full_numbers(numbers))

    def resolutions_AL2(self, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.int8]:
        """How often height and width were halved so far, at each block of many placements at once.

        As :meth:`Placement.resolution`, the site before the block included.

        Args:
            numbers: of the placements; all where not given.

        Returns:
            Shape (A, L, 2), (height, width).
        """
        return self.exponents_AL2(numbers).cumsum(1, dtype=np.int8)

    @cached_property
    def resolutions(self) -> tuple[tuple[Exponents, ...], ...]:
        """For each block the resolutions (halvings of height and width so far) that some placement has it at."""
        found = (np.unique(block_A2, axis=0).tolist() for block_A2 in self.resolutions_AL2().swapaxes(0, 1))
        return tuple(tuple((height, width) for height, width in pairs) for pairs in found)

    def index(self, placement: Placement) -> int:
        """The number of a placement, the inverse of ``space[number]``.

        Args:
            placement: one of this space.

        Returns:
            0..A-1.

        Raises:
            PoolsearchError: it does not fit this space; the message says why.
        """
        number = self._rank(placement)
        if self.only is None:
            return number
        try:
            return self._positions[number]
        except KeyError:
            raise PoolsearchError(
                f"placement {placement.shown} is not among the {self.size} placements that this space is limited to."
            ) from None

    def __contains__(self, placement: object) -> bool:
        try:
            self.index(placement)  # type: ignore[arg-type]
        except (PoolsearchError, AttributeError):
            return False
        return True

    def keep(self, placements: Iterable[Placement]) -> Space:
        """Limit the space to some of its placements.

        Args:
            placements: in any order; one that comes twice counts once.

        Returns:
            A space of these placements alone, in this space's order, numbered anew from 0.

        Raises:
            PoolsearchError: one of them does not fit, or there is none.
        """
        kept = self.take(self.index(placement) for placement in placements)
        if not kept.only:
            raise PoolsearchError("a space needs at least one placement.")
        return kept

    def take(self, numbers: Iterable[int]) -> Space:
        """Limit the space to the placements with some of its numbers.

        Args:
            numbers: 0..A-1, in any order; one that comes twice counts once.

        Returns:
            A space of these placements alone, in this space's order, numbered anew from 0.
        """
        return replace(self, only=tuple(sorted({self._full_number(int(number)) for number in numbers})))

    def subset(self, size: int, seed: int) -> Space:
        """Limit the space to a seeded uniform subset.

        The default has its place for certain, where it is in the space; the others are drawn uniformly from the rest.

        Args:
            size: how many placements to keep, at least 1.
            seed: of the run.

        Returns:
            A space of ``size`` placements; this one where it is not larger.
        """
        if size >= self.size:
            return self
        fixed = [self.index(self.default)] if self.default in self else []
        drawn = random.Random(rng.key(seed, "subset")).sample(range(self.size - len(fixed)), size - len(fixed))
        # the rest, without a gap at the default
        return self.take([*fixed, *(n + 1 if fixed and n >= fixed[0] else n for n in drawn)])

    @property
    def whole(self) -> Space:
        """The space without its limits."""
        return replace(self, low=(), high=(), only=None)

    def sites(self, block: int, done: Exponents) -> list[Exponents]:
        """What the site before a block may be in some placement; limits do not count.

        Args:
            block: 0-based.
            done: halvings of height and width before the site.

        Returns:
            Exponents (height, width), ascending; (0, 0) alone before block 0, none where no placement has done so.
        """
        if block == 0:
            return [KEEP]
        rest = self.length - block - 1  # sites that follow
        heights, widths = ([e for e in (0, 1) if 0 <= self.poolings - d - e <= rest] for d in done)
        return [(h, w) for h, w in product(heights, widths) if self.axes == "h,w" or h == w]

    def _full_number(self, number: int) -> int:
        """The number without ``only``."""
        return number if self.only is None else self.only[number]

    def _full_numbers(self, numbers: Sequence[int] | NDArray[np.int64] | None) -> NDArray[Any]:
        """The numbers without ``only``; Python's integers where 64 bits cannot hold them."""
        dtype = np.int64 if self._full_size < 2**63 else object
        if self.only is None:
            return np.arange(self.size, dtype=dtype) if numbers is None else np.asarray(numbers, dtype)
        only_A = np.asarray(self.only, dtype)
        return only_A if numbers is None else only_A[np.asarray(numbers, np.int64)]

    def _exponents(self, number_A: NDArray[Any]) -> NDArray[np.int8]:
        """The exponents before each block of the placements with these numbers without ``only``, shape (A, L, 2)."""
        if self.axes == "hw":
            return np.repeat(self._halved(number_A)[:, :, None], 2, axis=2)
        return np.stack([self._halved(number_A // self._axis_size), self._halved(number_A % self._axis_size)], axis=2)

    def _halved(self, number_A: NDArray[Any]) -> NDArray[np.int8]:
        """Whether there is a halving before each block of these compositions of one axis, shape (A, L)."""
        if self._axis_size < len(number_A):  # the same compositions again and again
            return self._halved(np.arange(self._axis_size))[number_A.astype(np.int64)]
        halved_AL = np.zeros((len(number_A), self.length), np.int8)
        start_A = np.zeros(len(number_A), np.int64)
        number_A, every = number_A.copy(), np.arange(len(number_A))
        for part, low in enumerate(self._low[:-1]):
            start_A += low
            ways_R = np.array(self._completions[part + 1], number_A.dtype)
            while len(more := np.flatnonzero(number_A >= ways_R[self.length - start_A])):  # as _composition
                number_A[more] -= ways_R[self.length - start_A[more]]
                start_A[more] += 1
            halved_AL[every, start_A] = 1
        return halved_AL

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {number: i for i, number in enumerate(self.only or ())}

    def _unrank(self, number: int) -> Placement:
        if self.axes == "hw":
            return Placement.of_blocks(self._composition(number))
        return Placement.of_axes(*(self._composition(n) for n in divmod(number, self._axis_size)))

    def _composition(self, number: int) -> list[int]:
        blocks: list[int] = []
        rest = self.length
        for part, low in enumerate(self._low):
            count = low
            while number >= (ways := self._completions[part + 1][rest - count]):
                number -= ways
                count += 1
            blocks.append(count)
            rest -= count
        return blocks

    def _rank(self, placement: Placement) -> int:
        if self.axes == "hw":
            if placement.blocks is None:
                raise PoolsearchError(
                    f"placement {placement.shown} does not halve both axes together, as this space does (--axes h,w "
                    "halves each by itself)."
                )
            return self._number(placement, placement.blocks, "")
        heights, widths = placement.axis_blocks()
        height = self._number(placement, heights, " of the height")
        return height * self._axis_size + self._number(placement, widths, " of the width")

    def _number(self, placement: Placement, blocks: tuple[int, ...], of: str) -> int:
        if len(blocks) != self.poolings + 1 or sum(blocks) != self.length:
            raise PoolsearchError(
                f"placement {placement.shown} does not fit this space: give {self.poolings + 1} counts{of} that sum to "
                f"{self.length} blocks, such as the default {self.default}."
            )
        number, rest = 0, self.length
        for part, (count, low, high) in enumerate(zip(blocks, self._low, self._high, strict=True)):
            if not low <= count <= high:
                raise PoolsearchError(
                    f"placement {placement.shown} has {count} blocks at resolution {part}{of}, outside the limits "
                    f"{low} to {high}."
                )
            number += sum(self._completions[part + 1][rest - n] for n in range(low, count))
            rest -= count
        return number
