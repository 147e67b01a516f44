"""p(member given placement) over training: the paper's Figure 5."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
from numpy.typing import NDArray

from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.data.score_table import Scores
from poolsearch.reports.figures.theme import LABEL, Figure, Json, rows

MOST_CELLS = 16_000
SHADES = 50
ROW = 11
HEAT = ["#f4f7fb", "#c6dbef", "#6baed6", "#2171b5", "#08306b"]


def assignment(data: RunData) -> Figure | None:
    """p(member given placement) over training: the paper's Figure 5."""
    table = data.scores
    if table is None or table.members < 2 or len(table.steps) < 2:
        return None
    home_A = np.nan_to_num(table.assign_TAM[-1]).argmax(1)
    order = sorted(range(len(table.placements)), key=lambda a: (int(home_A[a]), a))
    ends_in = np.bincount(home_A, minlength=table.members)
    followed = f" Shown are {len(order)} of {table.total:,} placements: the best so far, and the default."
    part = "" if len(order) == table.total else followed
    return Figure(
        name="assignment",
        title="Which member learns which placement",
        caption=(
            "Probability of each member given the placement, from the first to the last training step. It begins "
            f"uniform (1/{table.members}) and hardens as the temperature falls. Placements are grouped by the member "
            f"they end in.{part}"
        ),
        alt=f"Heat maps of the assignment of {len(order)} placements to {table.members} members over training.",
        panels=[
            _heat_map(table, m, order, f"member {m}: ends with {ends_in[m]} of {len(order)}")
            for m in range(table.members)
        ],
        columns=2,
    )


def _heat_map(table: Scores, member: int, order: list[int], title: str) -> alt.Chart:
    cells, edges = _cells(table, member, order)
    legend = alt.Legend(title="probability", orient="top", format=".0%", gradientLength=150, gradientThickness=10)
    heat = alt.Scale(domain=[0, 1], range=HEAT, interpolate="rgb")
    time = alt.Scale(domain=[edges[0], edges[-1]], nice=False)
    along = alt.Axis(grid=False, format="~s", tickCount=5)
    chart = alt.Chart(rows(cells), title=title).mark_rect().properties(height=max(160, ROW * len(order)))
    return chart.encode(
        x=alt.X("s:Q", title="training step", scale=time, axis=along),
        x2="e:Q",
        y=alt.Y("a:O", title=None, axis=_names([table.placements[a] for a in order]), scale=alt.Scale(padding=0)),
        color=alt.Color("p:Q", scale=heat, legend=legend if member == 0 else None),
    )


def _names(placements: list[str]) -> alt.Axis:
    """The rows carry their position only, which keeps the data small; the axis turns it into a name."""
    look_up = f"{json.dumps(placements, ensure_ascii=False)}[datum.value]"
    text: Json = {"labelExpr": look_up, "labelFontSize": 10, "labelLimit": LABEL, "labelOverlap": True}
    return alt.Axis(**text, ticks=False, domain=False, labelPadding=4)


def _cells(table: Scores, member: int, order: list[int]) -> tuple[list[Json], list[int]]:
    """The rectangles of one panel, and the steps where snapshots begin and the last one ends."""
    every = min(-(-table.assign_TAM.size // MOST_CELLS), len(table.steps) - 1)
    steps = table.steps[::-1][::every][::-1]  # thinned from the end, so that the last snapshot stays
    edges = [*steps, 2 * steps[-1] - steps[-2]]
    assign_TA = table.assign_TAM[::-1][::every][::-1, order, member]
    return [cell for row, values_T in enumerate(assign_TA.T) for cell in _runs(row, values_T, edges)], edges


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
