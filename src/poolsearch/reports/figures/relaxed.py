"""The weights of the resolutions of a relaxed search: at its end, with the found path (paper, Figure 4), and before."""

from __future__ import annotations

import json

import altair as alt
import numpy as np

from poolsearch.reports.data.parse import ResolutionWeights
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.heatmap import HEAT
from poolsearch.reports.figures.theme import FAINT, INK, WINNER, Figure, Json, rows

ROW = 64
FIXED = "#cfd5db"
DARK = 0.6  # part of the largest weight above which a cell's number is white
MOST_CELLS = 12_000


def found_path(data: RunData) -> Figure | None:
    """Per block the weight of each resolution, and the found path over it; None before the end of the search."""
    weights = data.relaxed
    if weights is None:
        return None
    listed = ", ".join(name_of(r) for r in weights.path)
    return Figure(
        name="relaxed",
        title="What the relaxed search found",
        caption=(
            f"The weight of each resolution in each block at the end of the search by {data.method.upper()}, and the "
            "path of the largest ones, which is what is trained alone. The first block, in grey, is fixed at the full "
            "resolution. Where the path rises, maps are enlarged again."
        ),
        alt=f"Heat map of the weights of the resolutions by block. The path from input to output: {listed}.",
        panels=[_path_map(weights)],
    )


def weights_over_training(data: RunData) -> Figure | None:
    """The weights over the training, one panel per resolution; None where there are not two snapshots."""
    found = data.relaxed
    if found is None or len(found.steps) < 2:
        return None
    names = [name_of(r) for r in range(found.weight_TLR.shape[2])]
    return Figure(
        name="weights",
        title="How the weights of the resolutions went",
        caption=(
            "The weight of each resolution in each block, from the first to the last snapshot of the search. All begin "
            f"equal, at 1/{len(names)}."
        ),
        alt=f"Heat maps of the weights of the resolutions {', '.join(names)} by block over training.",
        panels=[_history(found, r, f"resolution {name}") for r, name in enumerate(names)],
        columns=2,
    )


def name_of(resolution: int) -> str:
    """A resolution, in parts of the full one."""
    return "full" if resolution == 0 else f"1/{2**resolution}"


def _path_map(found: ResolutionWeights) -> alt.LayerChart:
    weight_LR = np.nan_to_num(found.weight_TLR[-1])
    blocks, resolutions = len(found.path), weight_LR.shape[1]
    most = float(weight_LR.max())
    cells = [
        {"block": b, "from": b - 0.5, "to": b + 0.5, "top": r - 0.5, "bottom": r + 0.5, "weight": round(float(w), 4)}
        | {"resolution": name_of(r), "text": f"{w:.0%}", "dark": bool(w > DARK * most)}
        for b, row in enumerate(weight_LR, 2)
        for r, w in enumerate(row)
    ]
    first = {"from": 0.5, "to": 1.5, "top": -0.5, "bottom": 0.5, "block": 1, "text": "fixed"}
    x = alt.X("from:Q", title="block, from input to output", scale=_fit(0.5, blocks + 0.5), axis=_numbers(blocks))
    y = alt.Y("top:Q", title="resolution", scale=_fit(-0.5, resolutions - 0.5, reverse=True), axis=_names(resolutions))
    scale = alt.Scale(domain=[0, max(most, 1e-3)], range=HEAT, interpolate="rgb")
    legend = alt.Legend(title="weight", orient="top", format=".0%", gradientLength=150, gradientThickness=10)
    tips = ["block:Q", "resolution:N", alt.Tooltip("weight:Q", format=".2%")]
    grid = alt.Chart(rows(cells)).mark_rect(stroke="white", strokeWidth=2)
    grid = grid.encode(
        x=x, x2="to:Q", y=y, y2="bottom:Q", color=alt.Color("weight:Q", scale=scale, legend=legend), tooltip=tips
    )
    grey = alt.Chart(rows([first])).mark_rect(color=FIXED, stroke="white", strokeWidth=2)
    return alt.layer(
        grid, grey.encode(x=x, x2="to:Q", y=y, y2="bottom:Q"), *_path(found.path), *_texts([*cells, first])
    ).properties(height=ROW * resolutions)


def _path(path: list[int]) -> list[alt.Chart]:
    points = [{"from": b, "top": r, "order": b} for b, r in enumerate(path, 1)]
    chart = alt.Chart(rows(points)).encode(x="from:Q", y="top:Q", order="order:Q")
    return [
        chart.mark_line(color="white", strokeWidth=7, interpolate="step"),
        chart.mark_line(color=WINNER, strokeWidth=3, interpolate="step"),
        chart.mark_circle(color=WINNER, size=90, opacity=1, stroke="white", strokeWidth=1.5),
    ]


def _texts(cells: list[Json]) -> list[alt.Chart]:
    """The weight at the foot of each cell, where the path does not cover it."""
    values = [{"from": c["block"], "top": c["bottom"], "text": c["text"], "dark": c.get("dark", False)} for c in cells]
    chart = alt.Chart(rows(values)).encode(x="from:Q", y="top:Q", text="text:N")
    pale = alt.condition("datum.dark", alt.value("white"), alt.value(INK))
    return [chart.mark_text(fontSize=11, baseline="bottom", dy=-6).encode(color=pale)]


def _history(found: ResolutionWeights, resolution: int, title: str) -> alt.Chart:
    every = max(1, -(-found.weight_TLR.size // MOST_CELLS))
    steps = found.steps[::-1][::every][::-1]  # thinned from the end, so that the last snapshot stays
    weight_TL = np.nan_to_num(found.weight_TLR[::-1][::every][::-1, :, resolution])
    starts = [0, *steps[:-1]]
    cells = [
        {"s": start, "e": end, "top": b - 0.5, "bottom": b + 0.5, "w": round(float(w), 3)}
        for start, end, row in zip(starts, steps, weight_TL, strict=True)
        for b, w in enumerate(row, 2)
    ]
    blocks = len(found.path)
    most = max(float(np.nan_to_num(found.weight_TLR).max()), 1e-3)
    legend = alt.Legend(title="weight", orient="top", format=".0%", gradientLength=150, gradientThickness=10)
    scale = alt.Scale(domain=[0, most], range=HEAT, interpolate="rgb")
    along = alt.Axis(grid=False, format="~s", tickCount=5)
    return (
        alt.Chart(rows(cells), title=title)
        .mark_rect()
        .encode(
            x=alt.X("s:Q", title="training step", scale=_fit(0, steps[-1]), axis=along),
            x2="e:Q",
            y=alt.Y("top:Q", title="block", scale=_fit(1.5, blocks + 0.5, reverse=True), axis=_numbers(blocks, 2)),
            y2="bottom:Q",
            color=alt.Color("w:Q", scale=scale, legend=legend if resolution == 0 else None),
        )
        .properties(height=max(120, 16 * (blocks - 1)))
    )


def _fit(low: float, high: float, reverse: bool = False) -> alt.Scale:
    return alt.Scale(domain=[low, high], nice=False, zero=False, reverse=reverse)


def _numbers(blocks: int, first: int = 1) -> alt.Axis:
    """One label for each block."""
    values: Json = {"values": list(range(first, blocks + 1)), "format": "d", "labelOverlap": True}
    return alt.Axis(**values, grid=False, ticks=False, domain=False)


def _names(resolutions: int) -> alt.Axis:
    names = json.dumps([name_of(r) for r in range(resolutions)])
    text: Json = {"values": list(range(resolutions)), "labelExpr": f"{names}[datum.value]", "domainColor": FAINT}
    return alt.Axis(**text, grid=False, ticks=False, domain=False)
