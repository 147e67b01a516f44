"""The size of images and of the maps of a network: height first, as everywhere in this package."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from poolsearch.errors import PoolsearchError

LARGEST_NATIVE = 64
"""Images up to this side are small: kept as they are, shifted instead of cropped, for networks with a small stem."""

Fit = Literal["crop", "squeeze", "pad"]
"""How an image of another shape gets into a size: its centre is cut out, it is squeezed, or black is put around it."""


class ImageSize(NamedTuple):
    """Height and width in pixels; as text ``48x96``, as JSON and as a setting ``48`` where both are equal."""

    height: int
    width: int

    @classmethod
    def of(cls, value: int | str | tuple[int, int]) -> ImageSize:
        """A size as settings, files and callers write it.

        Args:
            value: the side of a square, ``"48x96"`` or a pair, height first.

        Returns:
            The size.

        Raises:
            PoolsearchError: it is another text, or not above zero.
        """
        if isinstance(value, str):
            found = re.fullmatch(r"\s*(\d+)(?:\s*[x×]\s*(\d+))?\s*", value, re.IGNORECASE)
            if found is None:
                raise PoolsearchError(
                    f"'{value}' is no size of images. Give one number for squares, such as 64, or height x width, such "
                    "as 48x96."
                )
            value = (int(found[1]), int(found[2] or found[1]))
        size = cls(value, value) if isinstance(value, int) else cls(*value)
        if min(size) < 1:
            raise PoolsearchError(f"the size of images is {size}; allowed is at least 1 pixel a side.")
        return size

    @property
    def plain(self) -> int | str:
        """As JSON has it: the side of a square, else ``48x96``; :meth:`of` reads both."""
        return self.height if self.height == self.width else str(self)

    @property
    def small(self) -> bool:
        """Whether networks for small images suit it: its shorter side decides."""
        return min(self) <= LARGEST_NATIVE

    @property
    def pixels(self) -> int:
        """How many there are: height times width."""
        return self.height * self.width

    def times(self, factor: float) -> ImageSize:
        """A size of the same shape.

        Args:
            factor: of both sides, which are rounded to whole pixels, at least 1.

        Returns:
            The larger or smaller size.
        """
        return ImageSize(max(1, round(self.height * factor)), max(1, round(self.width * factor)))

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"
