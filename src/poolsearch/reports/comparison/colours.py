"""What has which colour in the charts of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from poolsearch.reports.figures.theme import DEFAULT, FRONT, MEMBERS, MUTED, WINNER
from poolsearch.research.reports.comparison.values import Case, Comparison

LINES = {"default": DEFAULT, "MACs alone": WINNER, "best": FRONT, "one random placement": MUTED}
"""The references that charts have a line for."""
DASHES = {"default": [1, 0], "MACs alone": [6, 3], "best": [2, 2], "one random placement": [1, 3]}


def group_colour(data: Comparison, cases: Sequence[Case]) -> alt.Color:
    """One colour for each group, the same in every chart; the legend names those of these cases."""
    groups = data.groups
    scale = alt.Scale(domain=groups, range=[MEMBERS[i % len(MEMBERS)] for i in range(len(groups))])
    present = [group for group in groups if any(case.group == group for case in cases)]
    legend = (
        alt.Legend(title=None, orient="top", columns=6, symbolOpacity=1, values=present) if len(present) > 1 else None
    )
    return alt.Color("group:N", scale=scale, legend=legend)
