"""Validation accuracy against MACs."""

from __future__ import annotations

import altair as alt
import numpy as np

from poolsearch.reports.data.rows import AnnotatedRow, ranked_rows
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import (
    CONTROL,
    DEFAULT,
    FAINT,
    FRONT,
    OTHER,
    PERCENT,
    WINNER,
    Figure,
    Json,
    macs_unit,
    rows,
)
from poolsearch.reports.text.caveats import early_stops
from poolsearch.reports.text.method_notes import trainings_summary

MOST_INTERVALS = 250
MOST_POINTS = 1500
LOG_FROM = 8
LETTER = 0.011  # of the width of the chart
LEGEND = alt.Legend(title=None, orient="top", symbolSize=110, symbolOpacity=1)
GROUPS = {
    "searched": OTHER, "stopped early": FAINT, "control group": CONTROL, "default": DEFAULT,
    "best by validation": WINNER, "first by prediction": WINNER,
}  # fmt: skip
SHAPES = {
    "searched": "circle", "stopped early": "cross", "control group": "square", "default": "diamond",
    "best by validation": "triangle-up", "first by prediction": "triangle-up",
}  # fmt: skip


def accuracy_macs(data: RunData) -> Figure | None:
    """Validation accuracy against cost, with the front of placements that nothing beats on both."""
    if not data.ranking or not data.ranking[0].evaluated:
        return None
    table = ranked_rows(data)
    size, unit = macs_unit(max(row.ranked.macs for row in table))
    points = _shown([_point(row, size) for row in table])
    texts = [_caption(data, len(points), len(table)), _budget(data), trainings_summary(data), early_stops(data)]
    return Figure(
        name="accuracy_macs",
        title=f"{data.metric.capitalize()} at a compute budget",
        caption=" ".join(filter(None, texts)),
        alt=f"Scatter plot of {len(points)} placements, validation {data.metric} against MACs, with the Pareto front.",
        panels=[_chart(points, f"validation {data.metric}", f"{unit}multiply-adds (MACs) per image")],
    )


def _caption(data: RunData, shown: int, total: int) -> str:
    bars = "Bars are 95% intervals." if shown <= MOST_INTERVALS else "The 95% intervals are in the tooltips."
    part = "" if shown == total else f" Shown are {shown:,} of {total:,}: the front, and an even choice of the rest."
    return (
        f"Validation {data.metric} of the ranked placements against what one forward pass on one image costs.{part} "
        f"{bars} The green line is the Pareto front: the best {data.metric} to be had at no more than this many MACs."
    )


def _budget(data: RunData) -> str:
    """The answer for who cannot pay more than now, and what MACs alone would have told."""
    default = data.default_row
    texts: list[str] = []
    if default is not None:
        best = next(row for row in data.ranking if row.macs <= default.macs)
        what = "first by prediction" if data.predicts else "best"
        texts.append(f"At no more MACs than the default's, the {what} is {best.placement} ({best.value:.1%}).")
    kendall_tau = (data.ranking_summary or {}).get("tau_macs_accuracy")
    if kendall_tau is not None:
        texts.append(f"Kendall's tau of MACs alone with {data.metric}: {kendall_tau:.2f}.")
    return " ".join(texts)


def _shown(points: list[Json]) -> list[Json]:
    """Points that a page can carry; what is labelled comes last, so that it is drawn over the others."""
    every = -(-len(points) // MOST_POINTS)
    kept = [point for i, point in enumerate(points) if i % every == 0 or point["pareto"] or point["name"]]
    return sorted(kept, key=lambda point: bool(point["name"]))


def _chart(points: list[Json], metric: str, cost: str) -> alt.LayerChart | alt.FacetChart:
    kind = "log" if _is_log(points) else "linear"
    # Vega-Lite warns of a zero on a logarithmic axis, even of one that is turned off
    zero: Json = {"nice": False} if kind == "log" else {"zero": False}
    x = alt.X("macs:Q", title=cost, scale=alt.Scale(type=kind, padding=16, **zero))
    fit = alt.Scale(zero=False, padding=12)
    y = alt.Y("accuracy:Q", title=metric, axis=alt.Axis(format=PERCENT), scale=fit)
    colour = _group_colour(points)
    layers = [_front_line(points, x, y), _marks(points, x, y, colour, metric, cost), *_named(points, x, y, colour)]
    if len(points) <= MOST_INTERVALS:
        layers.insert(0, _intervals(points, x, colour, metric))
    return alt.layer(*layers).properties(height=380)


def _is_log(points: list[Json]) -> bool:
    costs = [point["macs"] for point in points]
    return max(costs) > LOG_FROM * min(costs) > 0


def _group(row: AnnotatedRow) -> str:
    if row.ranked.rank == 1:
        return "best by validation" if row.ranked.prediction is None else "first by prediction"
    if row.ranked.is_default:
        return "default"
    if row.ranked.control:
        return "control group"
    return "stopped early" if row.stopped else "searched"


def _name(row: AnnotatedRow) -> str:
    """What stands beside the point: only the two that a reader looks for are labelled."""
    first = "best" if row.ranked.prediction is None else "first"
    role = first if row.ranked.rank == 1 else ""
    role = " and ".join(filter(None, ["default" if row.ranked.is_default else "", role]))
    return f"{role} {row.ranked.placement}{' (stopped early)' if row.stopped else ''}" if role else ""


def _point(row: AnnotatedRow, size: float) -> Json:
    ranked = row.ranked
    return {
        "placement": ranked.placement,
        "rank": ranked.rank,
        "accuracy": ranked.value,
        "low": ranked.low,
        "high": ranked.high,
        "macs": ranked.macs / size,
        "group": _group(row),
        "pareto": row.pareto,
        "name": _name(row),
    }


def _present(points: list[Json]) -> list[str]:
    return [group for group in GROUPS if any(point["group"] == group for point in points)]


def _group_colour(points: list[Json]) -> alt.Color:
    present = _present(points)
    return alt.Color("group:N", scale=alt.Scale(domain=present, range=[GROUPS[g] for g in present]), legend=LEGEND)


def _intervals(points: list[Json], x: alt.X, colour: alt.Color, metric: str) -> alt.Chart:
    chart = alt.Chart(rows(points)).mark_rule(opacity=0.35, strokeWidth=1.5)
    return chart.encode(x=x, y=alt.Y("low:Q", title=metric), y2="high:Q", color=colour)


def _marks(points: list[Json], x: alt.X, y: alt.Y, colour: alt.Color, metric: str, cost: str) -> alt.Chart:
    present = _present(points)
    shapes = alt.Scale(domain=present, range=[SHAPES[g] for g in present])
    tips = [
        alt.Tooltip("placement:N"),
        alt.Tooltip("rank:Q"),
        alt.Tooltip("accuracy:Q", title=metric, format=".2%"),
        alt.Tooltip("low:Q", title="interval from", format=".2%"),
        alt.Tooltip("high:Q", title="interval to", format=".2%"),
        alt.Tooltip("macs:Q", title=cost, format=".4~g"),
    ]
    size = alt.condition("datum.name != ''", alt.value(150), alt.value(55))
    shape = alt.Shape("group:N", scale=shapes, legend=LEGEND)
    chart = alt.Chart(rows(points)).mark_point(filled=True, opacity=0.9)
    return chart.encode(x=x, y=y, color=colour, shape=shape, size=size, tooltip=tips)


def _front_line(points: list[Json], x: alt.X, y: alt.Y) -> alt.Chart:
    front = sorted((p for p in points if p["pareto"]), key=lambda p: p["macs"])
    if front:
        # the front goes on to the right: more compute never makes the best so far worse
        front = [*front, front[-1] | {"macs": max(p["macs"] for p in points)}]
    chart = alt.Chart(rows(front)).mark_line(interpolate="step-after", color=FRONT, strokeWidth=2, opacity=0.8)
    return chart.encode(x=x, y=y, order="macs:Q")


def _named(points: list[Json], x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """The default and the best, labelled beside their points; a white edge keeps the text legible over others."""
    charts: list[alt.Chart] = []
    for point in (p for p in points if p["name"]):
        # up and to the left of a point near the front lies nothing; only at the left end there is no room
        left = _place(point, points) > LETTER * len(point["name"])
        text: Json = {"align": "right" if left else "left", "baseline": "bottom", "dx": -8 if left else 8, "dy": -6}
        text |= {"fontSize": 13, "fontWeight": "bold"}
        chart = alt.Chart(rows([point])).encode(x=x, y=y, text="name:N")
        charts.append(chart.mark_text(**text, stroke="white", strokeWidth=4, opacity=0.9))
        charts.append(chart.mark_text(**text).encode(color=colour))
    return charts


def _place(point: Json, points: list[Json]) -> float:
    """Where a point lies between the cheapest (0) and the dearest (1)."""
    macs = np.array([point["macs"], *(p["macs"] for p in points)], float)
    macs = np.log(macs) if _is_log(points) else macs
    return float((macs[0] - macs.min()) / max(np.ptp(macs), 1e-9))
