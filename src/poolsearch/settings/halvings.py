"""How many halvings a placement may have, as a user writes it: ``default``, ``3`` or ``2-5``. Imports no torch."""

from __future__ import annotations

import re

from poolsearch.errors import PoolsearchError


def read_halvings(text: str) -> tuple[int, int] | None:
    """Read how many halvings placements may have.

    Args:
        text: ``default``, a number, or two with a hyphen between them.

    Returns:
        The fewest and the most; None for as many as the network itself has.

    Raises:
        PoolsearchError: it is none of these, or the second is below the first.
    """
    if text == "default":
        return None
    found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text.strip())
    fewest, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= fewest <= most:
        raise PoolsearchError(
            f"--halvings is '{text}'; allowed is a number of at least 1, such as 3, the fewest and the most, such as "
            "2-5, or default (as many as the network itself has)."
        )
    return fewest, most
