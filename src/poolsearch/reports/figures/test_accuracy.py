"""The answers of a run at each limit on MACs, and what its controls reached: rows, and the test metric against MACs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import cast

import altair as alt

from poolsearch.evaluation.stats import pareto
from poolsearch.reports.data.answer_rows import trained_controls
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import CONTROL, DEFAULT, FRONT, OTHER, PERCENT, WINNER, Figure, macs_unit, rows

ROLES = {"winner": WINNER, "default": DEFAULT, "other pick or finalist": OTHER, "control": CONTROL}


SHAPES = {"winner": "triangle-up", "default": "diamond", "other pick or finalist": "circle", "control": "square"}


def accuracy_on_test_by_macs(data: RunData) -> Figure | None:
    """The test metric against MACs of all that was trained alone, with the front; None before that is known."""
    points = _points(data)
    if not points:
        return None
    size, unit = macs_unit(max(point["macs"] for point in points))
    points = [point | {"macs": point["macs"] / size} for point in points]
    listed = ", ".join(f"{point['name']} {point['mean']:.1%}" for point in points)
    return Figure(
        name="alone_macs",
        title=f"Test {data.metric} at a compute budget",
        caption=(
            f"Test {data.metric} of the networks trained alone against what one forward pass on one image costs: means "
            "over seeds, bars from the worst to the best seed. The green line is the Pareto front of these means. It "
            "is shown, never chosen from: the picks were fixed before the test split was opened."
        ),
        alt=f"Scatter plot of test {data.metric} against MACs: {listed}.",
        panels=[_chart(points, f"test {data.metric}", f"{unit}multiply-adds (MACs) per image")],
    )


def _points(data: RunData) -> list[Json]:
    test = data.test or {}
    summary = cast("list[Json]", test.get("summary", []))
    own = next((entry["macs"] / entry["macs_ratio"] for entry in summary), 0)
    trials = cast("list[Json]", test.get("trials", []))
    found = [
        {"name": entry["placement"], "mean": entry["mean"], "macs": entry["macs"], "role": _role(entry, test["winner"])}
        | _ends([t.get("value", t["accuracy"]) for t in trials if t["placement"] == entry["placement"]], entry["mean"])
        for entry in summary
    ]
    known = {entry["name"] for entry in found}
    for entry in trained_controls(data):
        if entry["trials"][0]["placement"] not in known or entry["control"] != "macs":
            macs = {"macs": own * entry["macs_ratio"], "role": "control"}
            values = [trial.get("value", trial["accuracy"]) for trial in entry["trials"]]
            found.append({"name": entry["name"], "mean": entry["mean"]} | macs | _ends(values, entry["mean"]))
    front = pareto([point["macs"] for point in found], [point["mean"] for point in found])
    return [point | {"front": bool(on)} for point, on in zip(found, front, strict=True)]


def _ends(values: Sequence[float], mean: float) -> Json:
    return {"low": min(values, default=mean), "high": max(values, default=mean)}


def _role(entry: Json, winner: str) -> str:
    if entry["placement"] == winner:
        return "winner"
    return "default" if entry["is_default"] else "other pick or finalist"


def _chart(points: list[Json], metric: str, cost: str) -> alt.LayerChart | alt.FacetChart:
    x = alt.X("macs:Q", title=cost, scale=alt.Scale(zero=False, padding=30))
    axis = alt.Axis(format=PERCENT)
    y = alt.Y("mean:Q", title=metric, axis=axis, scale=alt.Scale(zero=False, padding=16))
    present = [role for role in ROLES if any(point["role"] == role for point in points)]
    legend = alt.Legend(title=None, orient="top", symbolSize=110, symbolOpacity=1)
    colour = alt.Color("role:N", scale=alt.Scale(domain=present, range=[ROLES[r] for r in present]), legend=legend)
    shapes = alt.Scale(domain=present, range=[SHAPES[role] for role in present])
    tips = [alt.Tooltip("name:N", title="network"), alt.Tooltip("mean:Q", title=metric, format=".2%")]
    each = alt.Chart(rows(points)).encode(x=x)
    bars = each.mark_rule(opacity=0.4, strokeWidth=1.5).encode(y=alt.Y("low:Q", title=metric), y2="high:Q")
    marks = each.mark_point(filled=True, size=120, opacity=0.95)
    marks = marks.encode(y=y, color=colour, shape=alt.Shape("role:N", scale=shapes, legend=legend), tooltip=tips)
    front = sorted((point for point in points if point["front"]), key=lambda point: point["macs"])
    front = [*front, front[-1] | {"macs": max(point["macs"] for point in points)}]
    line = alt.Chart(rows(front)).mark_line(interpolate="step-after", color=FRONT, strokeWidth=2, opacity=0.8)
    middle = statistics.median(point["macs"] for point in points)
    layers = [line.encode(x=x, y=y, order="macs:Q"), bars.encode(color=colour), marks]
    names = [chart for point in points for chart in _named(point, x, y, colour, middle)]
    return alt.layer(*layers, *names).properties(height=380)


def _named(point: Json, x: alt.X, y: alt.Y, colour: alt.Color, middle: float) -> list[alt.Chart]:
    """The name beside a point, on the side where there is more room; those of controls below, with a white edge."""
    right, below = point["macs"] <= middle, point["role"] == "control"
    side: Json = {"align": "left" if right else "right", "dx": 7 if right else -7, "dy": 13 if below else -11}
    side |= {"baseline": "middle", "fontSize": 12}
    chart = alt.Chart(rows([point])).encode(x=x, y=y, text="name:N")
    edge = chart.mark_text(**side, stroke="white", strokeWidth=4, opacity=0.9)
    return [edge, chart.mark_text(**side).encode(color=colour)]
