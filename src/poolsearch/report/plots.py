"""The charts of a run, each defined once for the page and for the files."""

from __future__ import annotations

import math

import altair as alt
import numpy as np

from poolsearch.report import ladder
from poolsearch.report.curves import curves
from poolsearch.report.heatmap import assignment
from poolsearch.report.read import RunData
from poolsearch.report.tables import Row, ranked_rows
from poolsearch.report.theme import (
    CONTROL,
    DEFAULT,
    FRONT,
    INK,
    MEMBERS,
    MUTED,
    OTHER,
    PERCENT,
    WINNER,
    Figure,
    Json,
    macs_unit,
    rows,
)

MOST_INTERVALS = 250
GROUPS = {"searched": OTHER, "control group": CONTROL, "default": DEFAULT, "best by validation": WINNER}
SHAPES = {"searched": "circle", "control group": "square", "default": "diamond", "best by validation": "triangle-up"}


def figures(data: RunData) -> list[Figure]:
    """Every figure that the finished stages allow, in the order of the page."""
    made = [ladder.figure(data), accuracy_macs(data), retrain(data), assignment(data), curves(data), scores(data)]
    return [figure for figure in made if figure is not None]


def accuracy_macs(data: RunData) -> Figure | None:
    """Validation accuracy against cost, with the front of placements that nothing beats on both."""
    if not data.ranking:
        return None
    table = ranked_rows(data)
    size, unit = macs_unit(max(row.ranked.macs for row in table))
    points = [_point(row, size) for row in table]
    points.sort(key=lambda point: bool(point["name"]))  # what is labelled is drawn last, over the others
    costs = [point["macs"] for point in points]
    scale = alt.Scale(type="log" if max(costs) > 8 * min(costs) > 0 else "linear", zero=False, nice=True, padding=16)
    x = alt.X("macs:Q", title=f"{unit}multiply-adds per image", scale=scale)
    y = alt.Y(
        "accuracy:Q",
        title="validation accuracy",
        axis=alt.Axis(format=PERCENT),
        scale=alt.Scale(zero=False, padding=12),
    )
    colour = _group_colour(points)
    layers = [_front_line(points, x, y), _marks(points, x, y, colour), *_named(points, x, y, colour)]
    few = len(points) <= MOST_INTERVALS
    if few:
        layers.insert(0, _intervals(points, x, colour))
    bars = (
        "Bars are 95 % intervals."
        if few
        else f"With {len(points)} placements the 95 % intervals are only in the tooltips."
    )
    return Figure(
        name="accuracy_macs",
        title="Accuracy at a compute budget",
        caption=(
            f"Validation accuracy of every ranked placement against its MACs, the multiply-adds of one forward pass on one image. {bars} The green line is the Pareto "
            "front: the best accuracy to be had at no more than this many MACs."
        ),
        alt=f"Scatter plot of {len(points)} placements, validation accuracy against MACs, with the Pareto front.",
        panels=[alt.layer(*layers).properties(height=380)],
    )


def _group(row: Row) -> str:
    if row.ranked.rank == 1:
        return "best by validation"
    if row.ranked.is_default:
        return "default"
    return "control group" if row.ranked.control else "searched"


def _point(row: Row, size: float) -> Json:
    ranked = row.ranked
    group = _group(row)
    role = {"default": "default ", "best by validation": "best "}.get(group, "")
    return {
        "placement": ranked.placement,
        "rank": ranked.rank,
        "accuracy": ranked.val_accuracy,
        "low": ranked.low,
        "high": ranked.high,
        "macs": ranked.macs / size,
        "group": group,
        "pareto": row.pareto,
        "name": f"{role}{ranked.placement}" if role else "",
    }


LEGEND = alt.Legend(title=None, orient="top", symbolSize=110, symbolOpacity=1)


def _present(points: list[Json]) -> list[str]:
    return [group for group in GROUPS if any(point["group"] == group for point in points)]


def _group_colour(points: list[Json]) -> alt.Color:
    present = _present(points)
    return alt.Color("group:N", scale=alt.Scale(domain=present, range=[GROUPS[g] for g in present]), legend=LEGEND)


def _intervals(points: list[Json], x: alt.X, colour: alt.Color) -> alt.Chart:
    chart = alt.Chart(rows(points)).mark_rule(opacity=0.35, strokeWidth=1.5)
    return chart.encode(x=x, y=alt.Y("low:Q", title="validation accuracy"), y2="high:Q", color=colour)


def _marks(points: list[Json], x: alt.X, y: alt.Y, colour: alt.Color) -> alt.Chart:
    present = _present(points)
    shapes = alt.Scale(domain=present, range=[SHAPES[g] for g in present])
    tips = [
        alt.Tooltip("placement:N"),
        alt.Tooltip("rank:Q"),
        alt.Tooltip("accuracy:Q", title="validation accuracy", format=".2%"),
        alt.Tooltip("low:Q", title="interval from", format=".2%"),
        alt.Tooltip("high:Q", title="interval to", format=".2%"),
        alt.Tooltip("macs:Q", format=".4~g"),
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
        left = point["macs"] > np.quantile([p["macs"] for p in points], 0.15)
        text: Json = {"align": "right" if left else "left", "baseline": "bottom", "dx": -8 if left else 8, "dy": -6}
        text |= {"fontSize": 13, "fontWeight": "bold"}
        chart = alt.Chart(rows([point])).encode(x=x, y=y, text="name:N")
        charts.append(chart.mark_text(**text, stroke="white", strokeWidth=4, opacity=0.9))
        charts.append(chart.mark_text(**text).encode(color=colour))
    return charts


def scores(data: RunData) -> Figure | None:
    """How well the scores of the search rank, against the full validation accuracy."""
    points = [
        {"placement": r.placement, "score": r.score, "accuracy": r.val_accuracy, "member": str(r.member)}
        for r in data.ranking
        if r.score is not None
    ]
    if len(points) < 2:
        return None
    tau = (data.ranking_summary or {}).get("tau_score_accuracy")
    known = "" if tau is None else f" Kendall's tau between the two is {tau:.2f} (1: the same order, 0: no relation)."
    axis = alt.Axis(format=PERCENT, tickCount=7, labelFlush=False)
    fit = alt.Scale(zero=False, padding=12)
    encoding: Json = {
        "x": alt.X("score:Q", title="score in the search (moving average)", axis=axis, scale=fit),
        "y": alt.Y("accuracy:Q", title="validation accuracy", axis=axis, scale=fit),
        "tooltip": [
            "placement:N",
            "member:N",
            alt.Tooltip("score:Q", format=".2%"),
            alt.Tooltip("accuracy:Q", format=".2%"),
        ],
    }
    if data.members > 1:
        names = [str(m) for m in range(data.members)]
        scale = alt.Scale(domain=names, range=[MEMBERS[m % len(MEMBERS)] for m in range(data.members)])
        encoding["color"] = alt.Color("member:N", scale=scale, legend=alt.Legend(title="member", orient="top"))
    else:
        encoding["color"] = alt.value(OTHER)
    return Figure(
        name="scores",
        title="How well the scores rank",
        caption=(
            "Score: the moving average of minibatch accuracies kept during the search. Accuracy: all validation images "
            f"through the same weights.{known}"
        ),
        alt=f"Scatter plot of score against validation accuracy for {len(points)} placements.",
        panels=[alt.Chart(rows(points)).mark_circle(size=65, opacity=0.9).encode(**encoding).properties(height=320)],
    )


def retrain(data: RunData) -> Figure | None:
    """Test accuracy of what was trained alone: each seed, the mean, and the default's mean as a line."""
    if data.test is None or not data.test.get("trials"):
        return None
    summary = sorted(data.test["summary"], key=lambda entry: entry["rank"] or math.inf)
    names = [entry["placement"] for entry in summary]
    role = {
        e["placement"]: "default"
        if e["is_default"]
        else "winner"
        if e["placement"] == data.test["winner"]
        else "other finalist"
        for e in summary
    }
    dots = [
        {"placement": t["placement"], "accuracy": t["accuracy"], "seed": t["seed"], "role": role[t["placement"]]}
        for t in data.test["trials"]
    ]
    means = [
        {"placement": e["placement"], "accuracy": e["mean"], "role": role[e["placement"]], "text": f"{e['mean']:.2%}"}
        for e in summary
    ]
    domain = ["winner", "default", "other finalist"]
    colour = alt.Color(
        "role:N",
        scale=alt.Scale(domain=domain, range=[WINNER, DEFAULT, OTHER]),
        legend=alt.Legend(title=None, orient="top"),
    )
    x = alt.X(
        "accuracy:Q",
        title="test accuracy",
        axis=alt.Axis(format=PERCENT, tickCount=7, labelFlush=False),
        scale=alt.Scale(zero=False, padding=20),
    )
    y = alt.Y(
        "placement:N",
        sort=names,
        title="placement, by validation rank",
        axis=alt.Axis(labelFontSize=13, labelColor=INK, grid=True, gridColor="#f2f4f6"),
    )
    tips = ["placement:N", "seed:N", alt.Tooltip("accuracy:Q", format=".2%")]
    layers = [
        alt.Chart(rows(dots)).mark_circle(size=80, opacity=0.65).encode(x=x, y=y, color=colour, tooltip=tips),
        alt.Chart(rows(means)).mark_tick(thickness=3, size=26, opacity=1).encode(x=x, y=y, color=colour),
        alt.Chart(rows(means))
        .mark_text(dy=-20, fontSize=12, stroke="white", strokeWidth=4)
        .encode(x=x, y=y, text="text:N"),
        alt.Chart(rows(means)).mark_text(dy=-20, fontSize=12, color=INK).encode(x=x, y=y, text="text:N"),
    ]
    base = [{"accuracy": e["mean"]} for e in summary if e["is_default"]]
    if base:
        layers.insert(0, alt.Chart(rows(base)).mark_rule(color=MUTED, strokeDash=[5, 4]).encode(x=x))
    return Figure(
        name="retrain",
        title="Test accuracy after training alone",
        caption="One dot per seed, the bar is their mean. The dashed line is the default's mean. The winner was fixed from validation before the test split was opened; the other finalists are shown, not chosen from.",
        alt="Dot plot of test accuracy by placement: "
        + ", ".join(f"{e['placement']} {e['mean']:.1%}" for e in summary)
        + ".",
        panels=[alt.layer(*layers).properties(height=56 * len(summary))],
    )
