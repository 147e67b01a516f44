"""The truth of what each case found against what its search cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from poolsearch.evaluation.stats import pareto
from poolsearch.reports.figures.theme import FRONT, INK, PERCENT, Figure, Json, rows
from poolsearch.research.reports.comparison.panels import DASHES, LINES, group_colour
from poolsearch.research.reports.comparison.values import Comparison

HEIGHT, WIDTH = 420, 760
LETTER, TALL = 6.2, 14
"""Pixels that a letter takes, and a line of text."""


def costs(data: Comparison) -> Figure | None:
    """The mean truth of what was found against work, with the front; None where no case has both."""
    cases = [case for case in data.cases if case.truth.mean is not None and case.work]
    if not cases:
        return None
    front = pareto([case.work or 0 for case in cases], [case.truth.mean or 0 for case in cases])
    points = [
        {
            "case": c.label,
            "group": c.group,
            "work": c.work,
            "truth": c.truth.mean,
            "front": bool(on),
            "seconds": c.seconds,
        }
        for c, on in zip(cases, front, strict=True)
    ]
    epochs, _ = data.whole_training
    whole = f"trainings of the default ({epochs} epochs each)" if epochs else "trainings of the default"
    listed = ", ".join(f"{point['case']} {point['truth']:.1%} for {point['work']:.2f}" for point in points)
    return Figure(
        name="costs",
        title="What it costs",
        caption=(
            f"Mean true {data.metric} of what each method found against what its search costs, in whole {whole}. The "
            "green line is the Pareto front: the best to be had for at most this much. Lines across: the default "
            "(black) and MACs alone (dashed), which cost nothing. The front is of means that scatter by chance."
        ),
        alt=f"Scatter plot of true {data.metric} against the cost of the search: {listed}.",
        panels=[_chart(data, points, group_colour(data, cases))],
    )


def _chart(data: Comparison, points: Sequence[Json], colour: alt.Color) -> alt.LayerChart | alt.FacetChart:
    # Vega-Lite warns of a zero on a logarithmic axis, even of one that is turned off
    works = [point["work"] for point in points]
    scale = alt.Scale(type="log", nice=False, domain=[min(works) / 1.3, max(works) * 1.6])
    x = alt.X("work:Q", title="cost of the search, in whole trainings", scale=scale, axis=alt.Axis(format="~g"))
    y = alt.Y(
        "truth:Q", title=f"true {data.metric}", axis=alt.Axis(format=PERCENT), scale=alt.Scale(zero=False, padding=16)
    )
    tips = ["case:N", alt.Tooltip("work:Q", format=".2f"), alt.Tooltip("truth:Q", format=".2%"), "seconds:Q"]
    front = sorted((point for point in points if point["front"]), key=lambda point: point["work"])
    front = [*front, front[-1] | {"work": max(works) * 1.6}]
    line = alt.Chart(rows(front)).mark_line(interpolate="step-after", color=FRONT, strokeWidth=2, opacity=0.8)
    lines = [
        alt.Chart(rows([{"truth": entry.truth}]))
        .mark_rule(color=LINES[entry.name], strokeDash=DASHES[entry.name])
        .encode(y=y)
        for entry in data.references
        if entry.name in ("default", "MACs alone") and entry.truth is not None
    ]
    marks = alt.Chart(rows(points)).mark_circle(size=100, opacity=0.9).encode(x=x, y=y, color=colour, tooltip=tips)
    names = [name for point, dx, dy in _places(points) for name in _named(point, dx, dy, x, y)]
    return alt.layer(*lines, line.encode(x=x, y=y, order="work:Q"), marks, *names).properties(height=HEIGHT)


def _named(point: Json, dx: float, dy: float, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """The name beside a point; a white edge keeps it legible over lines."""
    side: Json = {"align": "left" if dx > 0 else "right", "dx": dx, "dy": dy, "baseline": "middle", "fontSize": 11}
    chart = alt.Chart(rows([point])).encode(x=x, y=y, text="case:N")
    return [chart.mark_text(**side, stroke="white", strokeWidth=4, opacity=0.9), chart.mark_text(**side, color=INK)]


def _places(points: Sequence[Json]) -> list[tuple[Json, float, float]]:
    """Beside each point the place for its name that covers the fewest points and names so far, in pixels from it."""
    at = _pixels(points)
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in at]
    placed: list[tuple[Json, float, float]] = []
    for point, (x, y) in zip(points, at, strict=True):
        wide = LETTER * len(point["case"])
        tried = [(dx, dy) for dy in (-10, 11, 0, -24, 24, -36, 36) for dx in (9, -9)]
        boxes = [(*_ends(x + dx, wide * (1 if dx > 0 else -1)), y + dy) for dx, dy in tried]
        cost = [_covered((low, up - TALL / 2, high, up + TALL / 2), taken) for low, high, up in boxes]
        best = cost.index(min(cost))
        low, high, up = boxes[best]
        taken.append((low, up - TALL / 2, high, up + TALL / 2))
        placed.append((point, *tried[best]))
    return placed


def _pixels(points: Sequence[Json]) -> list[tuple[float, float]]:
    """About where each point lies in the file's chart."""
    works = [math.log(point["work"]) for point in points]
    truths = [point["truth"] for point in points]
    wide, tall = max(works) - min(works) + math.log(2.08), max(max(truths) - min(truths), 1e-9)
    return [
        (WIDTH * (work - min(works) + math.log(1.3)) / wide, HEIGHT * (max(truths) - truth) / tall)
        for work, truth in zip(works, truths, strict=True)
    ]


def _ends(start: float, length: float) -> tuple[float, float]:
    return min(start, start + length), max(start, start + length)


Box = tuple[float, float, float, float]


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """How much of what is taken a name would cover, and how far it would stand out of the chart."""
    low, top, high, bottom = box
    over = sum(
        max(0.0, min(high, right) - max(low, left)) * max(0.0, min(bottom, under) - max(top, above))
        for left, above, right, under in taken
    )
    return over + TALL * (max(0.0, -low) + max(0.0, high - WIDTH))
