"""The charts of Figure 1: accuracies with every seed, and likeness over blocks."""

from __future__ import annotations

from typing import Any

import altair as alt

from poolsearch.reports.figures.theme import DEFAULT, MEMBERS, Figure, Json, rows
from poolsearch.research.reports.figure1_words import ROLES, view_name

_EARLY, _LATE = MEMBERS[0], MEMBERS[5]
_ORDER = {"alone": 0, "both": 1, "both, twice the steps": 2}
_STEP = 34


def accuracies(data: Json) -> Figure:
    """A panel for each placement: alone, and in both ways together; a ring for every seed, a bar at the mean."""
    panels = [_accuracy_panel(data, role, colour) for role, colour in zip(ROLES, (_EARLY, _LATE), strict=True)]
    return Figure(
        name="accuracies",
        title="Accuracy alone and together",
        caption="Validation accuracy of each placement, trained alone and in one supernet with the other. A ring is a "
        "seed, the bar their mean. The two panels have scales of their own.",
        alt="Accuracy of the early and the late placement, alone, together, and together with twice the steps.",
        panels=panels,
        columns=2,
    )


def _accuracy_panel(data: Json, role: str, colour: str) -> alt.LayerChart:
    entries = [entry for entry in data["means"] if entry["role"] == role]
    points = [
        {"arm": _arm_text(entry["arm"]), "seed": seed, "value": value}
        for entry in entries
        for seed, value in enumerate(entry["values"])
    ]
    means = [{"arm": _arm_text(entry["arm"]), "value": entry["mean"]} for entry in entries]
    y = alt.Y("arm:N", title=None, sort=list(_ORDER), axis=alt.Axis(labelLimit=200, domain=False, ticks=False))
    x = alt.X("value:Q", title=None, axis=alt.Axis(format=".0%", tickCount=5), scale=alt.Scale(zero=False, padding=14))
    tip = alt.Tooltip("value:Q", title="accuracy", format=".2%")
    mean = alt.Chart(rows(means)).mark_tick(color=colour, thickness=4, size=22).encode(x=x, y=y, tooltip=["arm:N", tip])
    seeds = alt.Chart(rows(points)).mark_point(color=colour, size=55, opacity=0.8)
    seeds = seeds.encode(x=x, y=y, tooltip=["arm:N", "seed:Q", tip])
    title = f"{role} pooling, {data['placements'][role]}"
    return alt.layer(mean, seeds, title=title).properties(height=_STEP * len(_ORDER))


def _arm_text(arm: str) -> str:
    return {"both": "both", "both-twice": "both, twice the steps"}.get(arm, "alone")


def representations(data: Json) -> Figure:
    """Lines of CKA over blocks: how far the two placements are apart, and what training them together does to each."""
    apart, moved = _lines(data, together=False), _lines(data, together=True)
    return Figure(
        name="representations",
        title="How alike the representations are",
        caption="Linear CKA after each block, of each channel's mean over its map: 1 where two representations agree "
        "up to a rotation, 0 where nothing of one tells anything of the other. Lines are means over seeds, rings "
        "single seeds. Networks of a full line began with the same weights. Dashed, to compare with: two trainings of "
        "one placement that began with different weights, on different halves.",
        alt="Lines over the blocks: likeness of early and late pooling, and of each alone and together.",
        panels=[
            _cka_panel(apart, "early against late"),
            _cka_panel(moved, "the same placement, alone against together"),
        ],
        columns=2,
    )


def _lines(data: Json, together: bool) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for entry in data["cka"]:
        line = _line_of(entry["a"], entry["b"])
        again = entry["b"].endswith("again")
        if again or line[1] == together:
            points += [
                {"line": line[0], "block": block, "value": value, "seed": entry["seed"], "again": again}
                for block, value in enumerate(entry["blocks"], 1)
                if value is not None
            ]
    return points


def _line_of(a: str, b: str) -> tuple[str, bool]:
    """The name of a line, and whether it compares one placement with itself."""
    arm_a, role_a = a.split("/")
    arm_b, role_b = b.split("/")
    if arm_b.endswith("again") or role_b.endswith("again"):
        return f"{role_a} alone, another seed", True
    if role_a == role_b:
        moved, role = (arm_a, role_a) if arm_a != role_a else (arm_b, role_b)
        return view_name(moved, role), True
    return ("each alone" if arm_a != arm_b else f"in one supernet: {_arm_text(arm_a)}"), False


_COLOURS = {
    "each alone": DEFAULT,
    "in one supernet: both": MEMBERS[2],
    "in one supernet: both, twice the steps": MEMBERS[3],
    "early of both": MEMBERS[4],
    "early of both, twice the steps": _EARLY,
    "late of both": MEMBERS[1],
    "late of both, twice the steps": _LATE,
    "early alone, another seed": "#7d93a6",
    "late alone, another seed": "#b0855c",
}


def _cka_panel(points: list[dict[str, Any]], title: str) -> alt.LayerChart:
    names = [name for name in _COLOURS if any(point["line"] == name for point in points)]
    legend = alt.Legend(
        title=None,
        orient="bottom",
        columns=1,
        labelLimit=300,
        symbolType="stroke",
        symbolOpacity=1,
        symbolStrokeWidth=3,
    )
    colour = alt.Color("line:N", scale=alt.Scale(domain=names, range=[_COLOURS[n] for n in names]), legend=legend)
    dash = alt.StrokeDash("again:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [5, 4]]), legend=None)
    x = alt.X("block:Q", title="after block", axis=alt.Axis(grid=False, tickMinStep=1), scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    base = alt.Chart(rows(points))
    lines = base.mark_line(strokeWidth=2).encode(
        x=x, y=alt.Y("mean(value):Q", title=None, scale=alt.Scale(domain=[0, 1])), color=colour, strokeDash=dash
    )
    tip = ["line:N", "block:Q", "seed:Q", alt.Tooltip("value:Q", title="CKA", format=".3f")]
    seeds = base.mark_point(size=14, opacity=0.45).encode(x=x, y=y, color=colour, tooltip=tip)
    return alt.layer(lines, seeds, title=title).properties(height=260)
