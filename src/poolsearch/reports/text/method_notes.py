"""What a page says about the placement that a search itself settled on: a relaxed one, or a tree search."""

from __future__ import annotations

from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.ranking_row import Ranked
from poolsearch.reports.data.rows import stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.space import Placement

FIRST = "What the search settled on stands first, whatever the others have on validation."


def settled(data: RunData) -> bool:
    """Whether the search itself settled on a placement, which stands first."""
    return data.kind == "relaxed" or (data.ranking_summary or {}).get("found") is not None


def sentence(data: RunData) -> str:
    """The verdict before the test split is opened, of what a search settled on, whatever its accuracy."""
    winner, default = data.ranking[0], data.default_row
    if winner.is_default:
        return f"{data.method.upper()} found the default {winner.placement} itself ({winner.value:.1%} on validation)."
    told = f"{data.method.upper()} found {winner.placement} with {winner.value:.1%} on validation"
    if default is None:
        return f"{told}; the default {data.default} was not ranked."
    cost = "" if winner.macs_ratio is None else f", at {winner.macs_ratio:.2f} times its MACs"
    return f"{told}, against {default.value:.1%} for the default {default.placement}{cost}."


def described(data: RunData) -> str:
    """What was found, and where its weights leave a choice."""
    found = data.relaxed
    assert found is not None
    enlarged = sum(now < before for before, now in zip(found.path, found.path[1:], strict=False))
    text = f"{data.method.upper()} found {found.placement}"
    text += f", which enlarges its maps again before {_blocks(enlarged)}." if enlarged else "."
    row = data.winner
    return f"{text} {_outside(data, row)}" if row is not None and row.number is None else text


def doubts(data: RunData) -> list[str]:
    """What the ranking gives reason to doubt, where the search itself settled on a placement."""
    if not settled(data):
        return []
    winner, default = data.ranking[0], data.default_row
    texts = [_outside(data, row) for row in data.ranking if row.number is None]
    if default is not None and default.value > winner.value:
        texts.append(
            f"With the same weights the default is better on validation ({default.value:.1%}) than what was found "
            f"({winner.value:.1%})."
        )
    if better := sum(row.value > winner.value for row in data.ranking if not stopped(data, row) and row != default):
        texts.append(f"{better:,} other placements are better on validation than what was found.")
    return texts


def _outside(data: RunData, row: Ranked) -> str:
    """That a placement is not one of the restricted space, why, and what it costs."""
    cost = "" if row.macs_ratio is None else f" It has {row.macs_ratio:.2f} times the default's MACs."
    return f"{row.placement} is outside the restricted space: {_why(data, row.placement)}.{cost}"


def _why(data: RunData, text: str) -> str:
    poolings = cast("Json", data.run.get("space") or {}).get("poolings")
    try:
        sites = Placement.parse(text).sites
    except PoolsearchError:
        return "it is none of its placements"
    if enlarging := sum(min(site) < 0 for site in sites):
        return f"it needs upsampling, before {_blocks(enlarging)}"
    if any(max(site) > 1 for site in sites):
        return "it shrinks its maps by more than 2 at once"
    halvings = sum(site == (1, 1) for site in sites)
    if halvings != poolings:
        return f"it halves its maps {halvings} times, the default {poolings} times"
    return "the space was limited to others"


def _blocks(count: int) -> str:
    return f"{count} block{'' if count == 1 else 's'}"
