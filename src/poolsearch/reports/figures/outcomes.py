"""How far the search's scores and the final test results agree with the ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import altair as alt

from poolsearch.reports.data.rows import was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import (
    DEFAULT,
    INK,
    LABEL,
    MEMBERS,
    MUTED,
    OTHER,
    PERCENT,
    WINNER,
    Figure,
    Json,
    rows,
)

MOST_POINTS = 1500
ROLES = {"winner": WINNER, "default": DEFAULT, "other finalist": OTHER}


def scores(data: RunData) -> Figure | None:
    """How well the scores of the search rank, against the full validation half."""
    points = [
        {"placement": r.placement, "score": score, "accuracy": r.value, "member": str(r.member)}
        for r in data.ranking[:: -(-len(data.ranking) // MOST_POINTS) or 1]
        if (score := data.known_score(r)) is not None
    ]
    if len(points) < 2:
        return None
    kendall_tau = (data.ranking_summary or {}).get("tau_score_accuracy")
    known = (
        ""
        if kendall_tau is None
        else f" Kendall's tau of the two is {kendall_tau:.2f} (1: same order, 0: no relation)."
    )
    return Figure(
        name="scores",
        title="How well the scores rank",
        caption=(
            f"Score: the moving average of the {data.metric} of minibatches kept during the search. Validation "
            f"{data.metric}: all validation images "
            f"through the same weights{_fewer(data)}.{known}{_left_out(data)}"
        ),
        alt=f"Scatter plot of score against validation {data.metric} for {len(points)} placements.",
        panels=[_scatter(points, data.members, data.metric)],
    )


def _fewer(data: RunData) -> str:
    early = any(was_stopped(data, row) for row in data.ranking)
    return ", or those that a placement saw before it was stopped" if early else ""


def _left_out(data: RunData) -> str:
    count = sum((row.number, row.member) in data.untrained for row in data.ranking)
    return f" Left out: {count:,} that their member never trained; they have no score of their own." if count else ""


def _scatter(points: Sequence[Json], members: int, metric: str) -> alt.Chart:
    axis = alt.Axis(format=PERCENT, tickCount=7, labelFlush=False)
    fit = alt.Scale(zero=False, padding=12)
    known = [alt.Tooltip("score:Q", format=".2%"), alt.Tooltip("accuracy:Q", title=metric, format=".2%")]
    chart = alt.Chart(rows(points)).mark_circle(size=65, opacity=0.9).properties(height=320)
    return chart.encode(
        x=alt.X("score:Q", title="score in the search", axis=axis, scale=fit),
        y=alt.Y("accuracy:Q", title=f"validation {metric}", axis=axis, scale=fit),
        color=member_colour(members) if members > 1 else alt.value(OTHER),
        tooltip=["placement:N", "member:N", *known],
    )


def member_colour(members: int) -> alt.Color:
    """One colour for each member, with a legend."""
    names = [str(m) for m in range(members)]
    scale = alt.Scale(domain=names, range=[MEMBERS[m % len(MEMBERS)] for m in range(members)])
    return alt.Color("member:N", scale=scale, legend=alt.Legend(title="member", orient="top", titleOrient="left"))


def retrain(data: RunData) -> Figure | None:
    """The test metric of what was trained alone: each seed, the mean, and the default's mean as a line."""
    if data.test is None or not data.test["trials"]:
        return None
    summary = sorted(cast(list[Json], data.test["summary"]), key=lambda entry: entry["rank"] or math.inf)
    roles = {entry["placement"]: _role(entry, data.test["winner"]) for entry in summary}
    means = [entry | {"role": roles[entry["placement"]], "text": f"{entry['mean']:.2%}"} for entry in summary]
    dots = [
        trial | {"role": roles[trial["placement"]], "value": trial.get("value", trial["accuracy"])}
        for trial in cast(list[Json], data.test["trials"])
    ]
    listed = ", ".join(f"{entry['placement']} {entry['mean']:.1%}" for entry in summary)
    return Figure(
        name="retrain",
        title=f"Test {data.metric} after training alone",
        caption=(
            "By rank. One dot per seed; the bar is their mean, the dashed line the default's mean. The "
            "winner was fixed before the test split was opened: the other finalists are shown, never "
            "chosen from."
        ),
        alt=f"Dot plot of test {data.metric} by placement: {listed}.",
        panels=[_strip(dots, means, f"test {data.metric}")],
    )


def _role(entry: Json, winner: str) -> str:
    if entry["placement"] == winner:
        return "winner"
    return "default" if entry["is_default"] else "other finalist"


def _strip(dots: Sequence[Json], means: Sequence[Json], metric: str) -> alt.LayerChart | alt.FacetChart:
    """One line per placement, the best rank on top."""
    fit = alt.Scale(zero=False, padding=20)
    axis = alt.Axis(format=PERCENT, tickCount=7, labelFlush=False)
    names = [entry["placement"] for entry in means]
    lines = alt.Axis(labelFontSize=13, labelColor=INK, labelLimit=LABEL, grid=True, gridColor="#f2f4f6")
    y = alt.Y("placement:N", sort=names, title="placement", axis=lines)
    present = [role for role in ROLES if any(entry["role"] == role for entry in means)]
    scale = alt.Scale(domain=present, range=[ROLES[role] for role in present])
    colour = alt.Color("role:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    tips = ["placement:N", "seed:N", alt.Tooltip("value:Q", title=metric, format=".2%")]
    each = alt.Chart(rows(dots)).encode(x=alt.X("value:Q", title=metric, axis=axis, scale=fit), y=y)
    mean = alt.Chart(rows(means)).encode(x="mean:Q", y=y)
    text = mean.encode(text="text:N")
    default = alt.Chart(rows([entry for entry in means if entry["is_default"]])).encode(x="mean:Q")
    layers = [
        default.mark_rule(color=MUTED, strokeDash=[5, 4]),
        each.mark_circle(size=80, opacity=0.65).encode(color=colour, tooltip=tips),
        mean.mark_tick(thickness=3, size=26, opacity=1).encode(color=colour),
        text.mark_text(dy=-20, fontSize=12, stroke="white", strokeWidth=4),
        text.mark_text(dy=-20, fontSize=12, color=INK),
    ]
    return alt.layer(*layers).properties(height=56 * len(means))
