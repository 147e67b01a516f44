"""What was predicted of placements, and what those reached that were trained to learn from."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import altair as alt

from poolsearch.calibration.model import LEVEL
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import DEFAULT, FAINT, INK, LABEL, MUTED, OTHER, WINNER, Figure, Json, rows
from poolsearch.reports.text.prediction_notes import learned_sentence, points_text

MOST_LINES = 20


def predictions(data: RunData) -> Figure | None:
    """The prediction for the first placements and those trained, with its interval, and each training as a dot.

    A second panel shows what was predicted before each training against what it then reached.
    """
    if not data.predicts or data.ranking[0].prediction is None:
        return None
    dots = _trained(data)
    names = {dot["placement"] for dot in dots}
    shown = [
        row
        for row in data.ranking
        if row.prediction is not None and (row.rank <= MOST_LINES or row.placement in names or row.is_default)
    ]
    before = [dot for dot in dots if not dot["reference"]]
    panels = [_lines(shown, dots, data)] + ([_before(before, data)] if before else [])
    listed = ", ".join(f"{row.placement} {points_text(row, interval=False)}" for row in shown[:5])
    beside = " Right: each training against what was predicted before it; on the line they are equal." if before else ""
    return Figure(
        name="predictions",
        title="What was predicted and what was trained",
        caption=(
            f"The first placements of the ranking, and those that were trained: bars are the {LEVEL:.0%} intervals of "
            f"the prediction, in points of validation {data.metric} against {data.against}; dots are trainings on "
            f"search-train, against the mean of those of {data.against}.{beside} {learned_sentence(data)}"
        ),
        alt=f"Predicted points by placement with intervals, and {len(dots)} trainings as dots; first {listed}.",
        panels=panels,
        columns=len(panels),
    )


def _trained(data: RunData) -> list[Json]:
    """Each training that has ended, in points against the mean of those of the reference."""
    known = [one for one in (data.learned.trials if data.learned else ()) if one.value is not None]
    own = [100 * one.value for one in known if one.value is not None and one.placement == data.against]
    if not own:
        return []
    level = statistics.fmean(own)
    return [
        {
            "placement": one.placement, "seed": one.seed, "points": 100 * (one.value or 0) - level, "why": one.why,
            "reference": one.placement == data.against, "before": one.before.mean, "low": one.before.low,
            "high": one.before.high, "number": number,
        }
        for number, one in enumerate(known, 1)
    ]  # fmt: skip


def _lines(shown: Sequence[RankingRow], dots: Sequence[Json], data: RunData) -> alt.LayerChart:
    points = [
        {
            "placement": row.placement, "points": row.prediction, "low": row.prediction_low,
            "high": row.prediction_high, "role": _role(row), "macs": row.macs_ratio,
        }
        for row in shown
    ]  # fmt: skip
    names = [row.placement for row in shown]
    axis = alt.Axis(labelFontSize=12, labelColor=INK, labelLimit=LABEL, grid=True, gridColor="#f2f4f6")
    y = alt.Y("placement:N", sort=names, title="placement", axis=axis)
    title = f"points of validation {data.metric} against {data.against}"
    roles = {"first": WINNER, "default": DEFAULT, "other": OTHER}
    colour = alt.Color(
        "role:N",
        scale=alt.Scale(domain=list(roles), range=list(roles.values())),
        legend=alt.Legend(title=None, orient="top"),
    )
    tips = [
        alt.Tooltip("placement:N"), alt.Tooltip("points:Q", title="predicted", format="+.2f"),
        alt.Tooltip("low:Q", title="from", format="+.2f"), alt.Tooltip("high:Q", title="to", format="+.2f"),
        alt.Tooltip("macs:Q", title="MACs vs. default", format=".2f"),
    ]  # fmt: skip
    base = alt.Chart(rows(points))
    bars = base.mark_rule(strokeWidth=5, opacity=0.35).encode(
        x=alt.X("low:Q", title=title), x2="high:Q", y=y, color=colour
    )
    means = base.mark_tick(thickness=3, size=14).encode(
        x=alt.X("points:Q", title=title), y=y, color=colour, tooltip=tips
    )
    seen = [alt.Tooltip("placement:N"), alt.Tooltip("seed:N"), alt.Tooltip("points:Q", title="trained", format="+.2f")]
    trained = alt.Chart(rows(list(dots))).mark_circle(size=60, color=INK, opacity=0.85)
    return alt.layer(bars, means, trained.encode(x=alt.X("points:Q", title=title), y=y, tooltip=seen)).properties(
        height=max(160, 20 * len(names))
    )


def _role(row: RankingRow) -> str:
    return "default" if row.is_default else "first" if row.rank == 1 else "other"


def _before(dots: Sequence[Json], data: RunData) -> alt.LayerChart:
    """What was predicted before each training, and what it reached."""
    ends = [value for dot in dots for value in (dot["points"], dot["before"])]
    low, high = min(ends) - 0.3, max(ends) + 0.3
    line = alt.Chart(rows([{"before": low, "points": low}, {"before": high, "points": high}]))
    fit = alt.Scale(zero=False, padding=12)
    title = "predicted before the training, points"
    x = alt.X("before:Q", title=title, scale=fit)
    y = alt.Y("points:Q", title="trained, points", scale=fit)
    tips = [
        alt.Tooltip("placement:N"), alt.Tooltip("number:Q", title="training"), alt.Tooltip("why:N"),
        alt.Tooltip("before:Q", title="predicted", format="+.2f"),
        alt.Tooltip("points:Q", title="trained", format="+.2f"),
    ]  # fmt: skip
    bars = alt.Chart(rows(list(dots))).mark_rule(opacity=0.3, color=MUTED)
    marks = alt.Chart(rows(list(dots))).mark_circle(size=65, opacity=0.9, color=OTHER)
    return alt.layer(
        line.mark_line(color=FAINT, strokeDash=[4, 4]).encode(x=x, y=y),
        bars.encode(x=alt.X("low:Q", title=title, scale=fit), x2="high:Q", y=y),
        marks.encode(x=x, y=y, tooltip=tips),
    ).properties(height=320)
