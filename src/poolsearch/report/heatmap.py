"""p(member given placement) over training: the paper's Figure 5."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
from numpy.typing import NDArray

from poolsearch.report.read import RunData, Scores
from poolsearch.report.theme import Figure, Json, rows

MOST_CELLS = 16_000
SHADES = 50
HEAT = ["#f4f7fb", "#c6dbef", "#6baed6", "#2171b5", "#08306b"]


def assignment(data: RunData) -> Figure | None:
    """p(member given placement) over training: the paper's Figure 5."""
    table = data.scores
    if table is None or table.members < 2 or len(table.steps) < 2:
        return None
    home_A = np.nan_to_num(table.assign_TAM[-1]).argmax(1)
    order = sorted(range(len(table.placements)), key=lambda a: (int(home_A[a]), a))
    ends_in = np.bincount(home_A, minlength=table.members)
    part = (
        ""
        if len(order) == table.total
        else f" Shown are {len(order)} of {table.total:,} placements: the best so far, and the default."
    )
    return Figure(
        name="assignment",
        title="Which member learns which placement",
        caption=(
            "Probability of each member given the placement, from the first to the last training step. It begins uniform "
            f"(1/{table.members}) and hardens as the temperature falls. Placements are grouped by the member they end in.{part}"
        ),
        alt=f"Heat maps of the assignment of {len(order)} placements to {table.members} members over training.",
        panels=[
            _heat_map(table, m, order, f"member {m}: ends with {ends_in[m]} of {len(order)}")
            for m in range(table.members)
        ],
        columns=2,
    )


def _heat_map(table: Scores, member: int, order: list[int], title: str) -> alt.Chart:
    every = -(-table.assign_TAM.size // MOST_CELLS)
    steps = table.steps[::-1][::every][::-1]  # thinned so that the last snapshot stays
    edges = [*steps, 2 * steps[-1] - steps[-2]]
    assign_AT = table.assign_TAM[::-1][::every][::-1, order, member].T
    cells = [run for a, values_T in enumerate(assign_AT) for run in _runs(a, values_T, edges)]
    names = [table.placements[a] for a in order]
    label = alt.Axis(
        labelExpr=f"{names!r}[datum.value]".replace("'", '"'),
        labelFontSize=10,
        labelOverlap=True,
        ticks=False,
        domain=False,
        labelPadding=4,
    )
    legend = alt.Legend(
        title="probability",
        orient="top",
        direction="horizontal",
        format=".0%",
        gradientLength=150,
        gradientThickness=10,
    )
    return (
        alt.Chart(rows(cells), title=title)
        .mark_rect()
        .encode(
            x=alt.X(
                "s:Q",
                title="training step",
                scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False),
                axis=alt.Axis(grid=False, format="~s", tickCount=5),
            ),
            x2="e:Q",
            y=alt.Y("a:O", title=None, axis=label, scale=alt.Scale(padding=0)),
            color=alt.Color(
                "p:Q",
                scale=alt.Scale(domain=[0, 1], range=HEAT, interpolate="rgb"),
                legend=legend if member == 0 else None,
            ),
        )
        .properties(height=max(160, 11 * len(order)))
    )


def _runs(row: int, values_T: NDArray[np.float64], edges: list[int]) -> list[Json]:
    """Neighbours of one colour as one rectangle: a hard assignment hardly changes, and the picture stays light.

    Each rectangle reaches a little under the next, which hides the hairlines that browsers leave between them.
    """
    shade_T = np.round(np.nan_to_num(values_T) * SHADES) / SHADES
    starts = [0, *(np.flatnonzero(np.diff(shade_T)) + 1).tolist()]
    ends = [*(edges[i + 1] if i < len(shade_T) else edges[-1] for i in starts[1:]), edges[-1]]
    return [
        {"a": row, "s": edges[start], "e": end, "p": round(float(shade_T[start]), 3)}
        for start, end in zip(starts, ends, strict=True)
    ]


