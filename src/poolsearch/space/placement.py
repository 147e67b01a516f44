"""A placement: the downsampling at every site of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from poolsearch.errors import PoolsearchError

Exponents = tuple[int, int]
"""(height, width) of one site: 0 keeps the size, 1 halves it, -1 doubles it."""

KEEP: Exponents = (0, 0)
HALVE: Exponents = (1, 1)
_MOST_BLOCKS = 100_000
_COUNTS = r"\d+(?:,\d+)*"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Placement:
    """One pair of exponents per site; a network of L blocks has L - 1 sites, one before each block but the first.

    The first block always works at full resolution (paper, section 2.1). The shorthand ``4,3,3`` counts the
    blocks at each resolution and exists when every site keeps or halves both axes (paper, section 2.1, alpha).
    """

    sites: tuple[Exponents, ...]

    @classmethod
    def of_blocks(cls, blocks: Sequence[int]) -> Placement:
        """The placement with so many blocks at each resolution.

        Args:
            blocks: such as ``[4, 3, 3]``, the full resolution first.

        Returns:
            Height and width are halved together.

        Raises:
            PoolsearchError: a count is below one, or there are more blocks than any network has.
        """
        if not blocks or min(blocks) < 1:
            raise PoolsearchError(f"placement {list(blocks)}: every resolution needs at least one block.")
        if sum(blocks) > _MOST_BLOCKS:
            raise PoolsearchError(
                f"placement {list(blocks)} has more than {_MOST_BLOCKS:,} blocks: no network is that deep."
            )
        starts = set()
        total = 0
        for count in blocks[:-1]:
            total += count
            starts.add(total)
        length = total + blocks[-1]
        return cls(tuple(HALVE if i in starts else KEEP for i in range(1, length)))

    @classmethod
    def of_axes(cls, heights: Sequence[int], widths: Sequence[int]) -> Placement:
        """The placement that halves height and width each by itself.

        Args:
            heights, widths: blocks per resolution of each axis, the full one first; both for the same number of blocks.

        Returns:
            Its sites halve an axis where the next of its resolutions begins.

        Raises:
            PoolsearchError: a count is below one, or they are not for one number of blocks.
        """
        if sum(heights) != sum(widths):
            raise PoolsearchError(
                f"placement {_of_axes(heights, widths)}: h counts {sum(heights)} blocks and w {sum(widths)}; both "
                "describe the same blocks."
            )
        rows, columns = cls.of_blocks(heights).sites, cls.of_blocks(widths).sites
        return cls(tuple((row[0], column[1]) for row, column in zip(rows, columns, strict=True)))

    @classmethod
    def of_resolutions(cls, resolutions: Sequence[int]) -> Placement:
        """The placement with each block at a resolution of its own; maps may grow again.

        Args:
            resolutions: how often the maps of every block were halved so far, such as ``[0, 1, 2, 1]``; 0 for the
                first.

        Returns:
            Height and width are halved, kept or doubled together.

        Raises:
            PoolsearchError: the first block is not at full resolution, or there is no other.
        """
        if len(resolutions) < 2 or resolutions[0] != 0 or min(resolutions) < 0:
            raise PoolsearchError(
                f"placement {_of_blocks(resolutions)}: give how often the maps of every block were halved, 0 for the "
                "first."
            )
        return cls(tuple((now - before, now - before) for before, now in pairwise(resolutions)))

    @classmethod
    def parse(cls, text: str) -> Placement:
        """Read a placement from its text.

        Args:
            text: ``4,3,3`` (or ``[4, 3, 3]``), ``h 4,3,3 w 3,4,3``; ``at 0,1,0``, the resolution of every block; or
                ``0x0_1x1_0x1``, height x width of each site.

        Returns:
            The placement, whichever of its texts it was.

        Raises:
            PoolsearchError: the text is none of these.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PoolsearchError(f"a placement is read from a text such as '4,3,3', and {text!r} is none.")
        bare = text.strip().strip("[]").replace(" ", "")
        if re.fullmatch(_COUNTS, bare):
            return cls.of_blocks(_counts(bare))
        if found := re.fullmatch(f"h({_COUNTS})·?w({_COUNTS})", bare):
            return cls.of_axes(_counts(found[1]), _counts(found[2]))
        if found := re.fullmatch(f"at({_COUNTS})", bare):
            return cls.of_resolutions(_counts(found[1]))
        if re.fullmatch(r"-?\d+x-?\d+(_-?\d+x-?\d+)*", bare):
            pairs = [part.split("x") for part in bare.split("_")]
            return cls(tuple((int(h), int(w)) for h, w in pairs))
        raise PoolsearchError(
            f"'{text}' is not a placement. Give the blocks per resolution, such as 4,3,3 (or of each axis, "
            "'h 4,3,3 w 3,4,3'), how often every block's maps were halved, such as 'at 0,1,2,1', or height x width "
            "exponents per site, such as 0x0_1x1_0x1."
        )

    @cached_property
    def blocks(self) -> tuple[int, ...] | None:
        """Blocks per resolution, or None when the placement has no shorthand."""
        if any(site not in (KEEP, HALVE) for site in self.sites):
            return None
        counts = [1]
        for site in self.sites:
            if site == HALVE:
                counts.append(1)
            else:
                counts[-1] += 1
        return tuple(counts)

    def axis_blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Blocks per resolution, for each axis.

        Returns:
            Of the height, and of the width; the full resolution first.

        Raises:
            PoolsearchError: some site does more than keep or halve an axis.
        """
        if any(e not in (0, 1) for site in self.sites for e in site):
            raise PoolsearchError(f"placement {self}: a site may keep (0) or halve (1) an axis.")
        heights, widths = (Placement(tuple((s[axis], s[axis]) for s in self.sites)).blocks for axis in (0, 1))
        assert heights is not None and widths is not None
        return heights, widths

    @property
    def length(self) -> int:
        """L, the number of blocks."""
        return len(self.sites) + 1

    def at(self, block: int) -> Exponents:
        """The site before a block.

        Args:
            block: 0-based.

        Returns:
            Exponents (height, width); (0, 0) for the first block, which has no site before it.
        """
        return self.sites[block - 1] if block else KEEP

    def resolution(self, block: int) -> Exponents:
        """The resolution that a block works at.

        Args:
            block: 0-based.

        Returns:
            How often (height, width) were halved so far, the site before the block included.
        """
        return sum(height for height, _ in self.sites[:block]), sum(width for _, width in self.sites[:block])

    def prefix(self, block: int) -> tuple[Exponents, ...]:
        """What decides everything that a block computes: the sites up to the one before it.

        Args:
            block: 0-based.

        Returns:
            Exponents (height, width) of ``block`` sites.
        """
        return self.sites[:block]

    def __repr__(self) -> str:
        return f"Placement.parse({str(self)!r})"

    def __str__(self) -> str:
        """The text of files: ``4,3,3``, or ``0x0_1x1_0x1`` where there is no shorthand."""
        if self.blocks is not None:
            return ",".join(map(str, self.blocks))
        return "_".join(f"{h}x{w}" for h, w in self.sites)

    @property
    def file_name(self) -> str:
        """A name for a folder: the text of files, or that for people where it is longer than file systems allow."""
        return str(self) if len(str(self)) <= _LONGEST_NAME else self.shown

    @property
    def shown(self) -> str:
        """The text for people: ``4,3,3``; ``h 4,3,3 · w 3,4,3`` where height and width differ; ``at 0,1,0`` else."""
        if self.blocks is not None:
            return str(self)
        if all(e in (0, 1) for site in self.sites for e in site):
            return _of_axes(*self.axis_blocks())
        found = [self.resolution(block) for block in range(self.length)]
        alike = all(high == wide >= 0 for high, wide in found)
        return _of_blocks([high for high, _ in found]) if alike else str(self)


def shown(text: str) -> str:
    """A placement's text for people, from its text of files.

    Args:
        text: of a placement, or any other.

    Returns:
        As of :attr:`Placement.shown`; what is no placement stays as it is.
    """
    try:
        return Placement.parse(text).shown
    except PoolsearchError:
        return text


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _of_blocks(resolutions: Sequence[int]) -> str:
    return f"at {','.join(map(str, resolutions))}"


def _of_axes(heights: Sequence[int], widths: Sequence[int]) -> str:
    return f"h {','.join(map(str, heights))} · w {','.join(map(str, widths))}"
