"""Which values of images become black and white, where they are of more than 8 bits: one range for a data set."""

from __future__ import annotations

import math
from typing import NamedTuple

from poolsearch.errors import PoolsearchError

EACH_FILE = "each-file"
"""The range of each file is guessed by itself, as versions did that knew no range of a data set."""


class ValueRange(NamedTuple):
    """The value that is black, and the one that is white."""

    low: float
    high: float

    @classmethod
    def of(cls, text: str) -> ValueRange:
        """A range as a setting has it.

        Args:
            text: two numbers with a comma between, the lower one first.

        Returns:
            The range.

        Raises:
            PoolsearchError: it is another text.
        """
        try:
            low, high = map(float, text.split(","))
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise PoolsearchError(
                f"--value-range {text}: give the values that are black and white, the lower one first, such as 0,4095."
            )
        return cls(low, high)

    @classmethod
    def around(cls, low: float, high: float, whole: bool) -> ValueRange:
        """The least range of a usual number of bits that holds some values.

        Args:
            low, high: the smallest and the largest value.
            whole: they are whole numbers.

        Returns:
            Of whole numbers 0 to 255, 511, 1023 and so on; of others 0 to a power of two up to 128, or as whole ones.
            Where ``low`` is negative it begins at the power of two below.
        """
        if high <= 0:
            white = 255.0 if whole else 1.0
        elif whole or high > 128:
            white = 2.0 ** max(8, math.ceil(math.log2(high + 1))) - 1
        else:
            white = 2.0 ** math.ceil(math.log2(high))
        return cls(0.0 if low >= 0 else -(2.0 ** math.ceil(math.log2(-low))), white)

    def with_(self, other: ValueRange) -> ValueRange:
        """The range that holds two.

        Args:
            other: another one.

        Returns:
            From the lower black to the higher white.
        """
        return ValueRange(min(self.low, other.low), max(self.high, other.high))

    def __str__(self) -> str:
        """As a setting has it; :meth:`of` reads the same numbers from it."""
        return ",".join(repr(float(value)).removesuffix(".0") for value in self)
