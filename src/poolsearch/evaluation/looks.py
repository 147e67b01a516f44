"""Looking at the test split more than once: the level at which each look is tested. Pure.

A run that is looked at, grows and is looked at again has more chances to recommend a change that is none. So each look
is tested two-sided at half the level of the look before, the first at 5 %: 5, 2.5, 1.25 % and so on, whose sum is 10 %
however many looks there are. Half of it is on the side of a recommendation: whoever looks as often as they like, and
stops when they like, is recommended a change that is none in at most 5 % of runs. The first look is tested as if it
were the only one.

This is a group-sequential test whose levels add up (Bonferroni's inequality over looks). It needs no number of looks
beforehand, and holds however the looks depend on each other and whatever the user changes between them: two or three
seeds, the same images in each look, other picks. Levels that use how far looks agree (Pocock's, O'Brien and Fleming's)
are higher at later looks, but rest on normal statistics of the same picks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ERROR = 0.05
"""The probability with which any answer may be called better than the default, or worse, that is not, at one look.

Over all looks, the probability with which any may be recommended that is not better."""


def level_of(look: int) -> float:
    """The level at which a look is tested, two-sided.

    Args:
        look: counted from 1, of those at which something is tested.

    Returns:
        ``ERROR`` at the first, and half of the one before at every other; all together are twice ``ERROR``.
    """
    return ERROR / 2 ** (look - 1)


def level_spent(look: Mapping[str, Any]) -> float | None:
    """The level that a look was tested at.

    Args:
        look: as ``test.json`` has it, judged.

    Returns:
        None where nothing was tested in it. Older versions tested at 5 % and did not say so.
    """
    return look.get("level", ERROR if look.get("difference") else None)


@dataclass(frozen=True)
class Look:
    """A look at the test split, and what its judgement must know of earlier ones.

    Attributes:
        number: counted from 1, of those at which something is tested.
        better_before: names of the picks that an earlier look showed to be better than the default.
        seen: how many other networks had been seen on the test split when the picks were chosen; the picks may have
            been chosen among them.
    """

    number: int = 1
    better_before: frozenset[str] = frozenset()
    seen: int = 0

    @property
    def level(self) -> float:
        """See :func:`level_of`."""
        return level_of(self.number)


FIRST = Look()
"""The first look, which knows of no other."""
