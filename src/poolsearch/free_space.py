"""The space of all paths: every block but the first at any of the network's resolutions."""

from __future__ import annotations

from itertools import product

from poolsearch.placement import KEEP, Exponents
from poolsearch.space import Space


class FreeSpace(Space):
    """All R^(L-1) paths through the resolutions of a space; a site may enlarge its map."""

    @classmethod
    def of(cls, space: Space) -> FreeSpace:
        """That of a restricted space, limits aside."""
        return cls(space.length, space.poolings, space.default, axes=space.axes)

    def sites(self, block: int, done: Exponents) -> list[Exponents]:
        """What the site before ``block`` may be where ``done`` halvings are done."""
        if block == 0:
            return [KEEP]
        heights, widths = ([r - d for r in range(self.poolings + 1)] for d in done)
        return [(h, w) for h, w in product(heights, widths) if self.axes == "h,w" or h == w]
