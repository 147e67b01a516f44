"""Regret over trainings: all samplers together, and each with how much it depends on the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import altair as alt
import numpy as np

from poolsearch.reports.figures.theme import DEFAULT, MEMBERS, MUTED, Figure, Json, rows
from poolsearch.research.bench import Baseline, BenchResult, Curve

MOST_CURVES = len(MEMBERS)
MOST_POINTS = 150
POINTS = 100  # regrets are shown in percentage points
LINEAR_TO = 0.02
TICKS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
LEGEND = alt.Legend(orient="top", columns=4, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1, labelLimit=260)


def regret_figures(found: BenchResult) -> list[Figure]:
    """The figures of a comparison."""
    return [_together(found), _apart(found)]


def _together(found: BenchResult) -> Figure:
    names = [curve.name for curve in found.curves]
    colour = alt.Color("name:N", title=None, scale=alt.Scale(domain=names, range=MEMBERS[: len(names)]), legend=LEGEND)
    points = [point for curve in found.curves for point in _points(curve)]
    base = alt.Chart(rows(points)).encode(x=_trainings(), color=colour)
    values = ("mean_low", "mean_high", *(entry.regret * POINTS for entry in found.baselines))
    y = partial(_regret, title="mean regret, percentage points", highest=_highest(points, values))
    told = ["name:N", "trainings:Q", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean", "median", "found"))]
    chart = alt.layer(
        *_fixed_layers(found.baselines, y),
        base.mark_area(opacity=0.22).encode(y=y("mean_low"), y2="mean_high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y("mean"), tooltip=told),
    )
    return Figure(
        name="regret",
        title="How far below the best",
        caption=(
            f"Mean over {found.seeds:,} seeds of how far the placement that would be taken after so many trainings is "
            "below the best of the table; around it the 95 % interval of the mean. Lower is better; both axes are "
            "logarithmic, the lower end of the regret is not. Dashed: placements known without a training."
        ),
        alt="Line chart of mean simple regret over trainings for " + ", ".join(names) + ".",
        panels=[chart.properties(height=400)],
    )


def _apart(found: BenchResult) -> Figure:
    points_of = [_points(curve) for curve in found.curves]
    highest = _highest([point for points in points_of for point in points], ("high",))
    y = partial(_regret, title="regret, percentage points", highest=highest)
    panels: list[alt.LayerChart] = []
    for curve, points, colour in zip(found.curves, points_of, MEMBERS, strict=False):
        base = alt.Chart(rows(points), title=curve.name).encode(x=_trainings())
        band = base.mark_area(opacity=0.25, color=colour).encode(y=y("low"), y2="high:Q")
        line = base.mark_line(strokeWidth=2, color=colour).encode(y=y("median"))
        panels.append(alt.layer(band, line).properties(height=170))
    return Figure(
        name="regret_by_seed",
        title="How much it depends on the seed",
        caption="The median over seeds, and the band from the 10th to the 90th percentile: eight of ten are in it.",
        alt="One panel for each sampler: median simple regret over trainings with a band of the middle 80 percent.",
        panels=panels,
        columns=2,
    )


def _points(curve: Curve) -> list[Json]:
    """One value for each number of trainings that can be told apart; regrets in percentage points."""
    draws = len(curve.mean_T)
    shown = np.unique(np.geomspace(1, draws, MOST_POINTS).round().astype(int)) - 1
    low_T, median_T, high_T = POINTS * curve.band_3T
    mean_T, half_T, found_T = POINTS * curve.mean_T, POINTS * np.nan_to_num(curve.half_T), curve.found_T
    return [
        {
            "name": curve.name,
            "trainings": int(t) + 1,
            "mean": float(mean_T[t]),
            "mean_low": float(mean_T[t] - half_T[t]),
            "mean_high": float(mean_T[t] + half_T[t]),
            "low": float(low_T[t]),
            "median": float(median_T[t]),
            "high": float(high_T[t]),
            "found": float(found_T[t]),
        }
        for t in shown
    ]


def _highest(points: Sequence[Json], values: Sequence[str | float]) -> float:
    """A little above the highest of some columns and numbers."""
    return 1.1 * max(max(point[v] for point in points) if isinstance(v, str) else v for v in values)


def _trainings() -> alt.X:
    axis = alt.Axis(grid=False, tickCount=6)
    return alt.X("trainings:Q", title="trainings", scale=alt.Scale(type="log", nice=False), axis=axis)


def _regret(field: str, title: str, highest: float) -> alt.Y:
    """The axis of regrets: logarithmic, but linear near zero, which it can so show."""
    axis = alt.Axis(title=title, values=[tick for tick in TICKS if tick <= highest], format="~g")
    scale = alt.Scale(type="symlog", constant=LINEAR_TO, domain=[0, highest], nice=False, clamp=True)
    return alt.Y(f"{field}:Q", axis=axis, scale=scale)


def _fixed_layers(fixed: Sequence[Baseline], y: Callable[[str], alt.Y]) -> list[alt.Chart]:
    lines = [{"regret": POINTS * entry.regret, "text": f"{entry.name} {entry.placement}"} for entry in fixed]
    base = alt.Chart(rows(lines)).encode(y=y("regret"))
    rule = base.mark_rule(strokeDash=[5, 4], color=MUTED)
    text = base.mark_text(align="right", baseline="bottom", dy=-3, fontSize=12, color=DEFAULT)
    return [rule, text.encode(x=alt.value("width"), text="text:N")]
