"""The table of how often each set of weights was trained, of searches with weights for every resolution."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.page.markup import table


def filter_table(data: RunData) -> str:
    """Training steps by block and resolution, summed over the members; nothing where weights are shared."""
    if not data.filters:
        return ""
    steps: dict[tuple[int, str], int] = defaultdict(int)
    for each in data.filters:
        steps[each.block, each.resolution] += each.steps
    resolutions = sorted({resolution for _, resolution in steps}, key=_halvings)
    blocks = sorted({block for block, _ in steps})
    lines = [
        ("", [str(block + 1), *(f"{steps[block, r]:,}" if (block, r) in steps else "–" for r in resolutions)])
        for block in blocks
    ]
    head = [("block", ""), *((escape(_fraction(resolution)), "") for resolution in resolutions)]
    caption = (
        "Training steps of each block's weights for each resolution"
        f"{', of all members together' if data.members > 1 else ''}. A dash: no placement has the block there. Weights "
        "that were trained rarely make the placements that use them look worse than they are."
    )
    return f"<h3>How often each set of weights was trained</h3>\n{table(caption, head, lines)}"


def _halvings(resolution: str) -> tuple[int, ...]:
    return tuple(int(part) for part in resolution.split("x"))


def _fraction(resolution: str) -> str:
    """A resolution in words: of height and width where they differ."""
    height, width = ("full" if n == 0 else f"1/{2**n}" for n in _halvings(resolution))
    return height if height == width else f"{height} x {width}"
