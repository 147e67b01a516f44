"""One line per case: the truth of what it found, and how well it ranks."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from poolsearch.reports.figures.theme import INK, LABEL, MUTED, PERCENT, Figure, Json, rows
from poolsearch.research.reports.comparison.panels import DASHES, LINES, group_colour
from poolsearch.research.reports.comparison.values import CaseResult, Comparison, CorrelationSummary

LINE = 26
CEILING = "#eef0f2"


def found_truth(data: Comparison) -> Figure | None:
    """The truth of what each seed of each case found; None where none is known."""
    cases = [case for case in data.cases if case.truth.mean is not None]
    if not cases:
        return None
    dots = [
        _named(case) | {"seed": pick.seed, "placement": pick.placement, "value": pick.truth, "inside": pick.restricted}
        for case in cases
        for pick in case.picks
        if pick.truth is not None
    ]
    means = [_named(case) | {"value": case.truth.mean} for case in cases]
    lines = [{"name": r.name, "value": r.truth} for r in data.references if r.name in LINES and r.truth is not None]
    listed = ", ".join(f"{case.label} {case.truth.mean:.1%}" for case in cases)
    hollow = " Rings lie outside the restricted space." if any(case.outside for case in cases) else ""
    return Figure(
        name="found",
        title="What each method found",
        caption=(
            f"The true {data.metric} of what each method found: one dot per seed, the bar is their mean.{hollow}"
            f"{_lines_text(lines)}"
        ),
        alt=f"Dot plot of the true {data.metric} of what each method found: {listed}.",
        panels=[_chart(data, cases, dots, means, lines)],
    )


def _named(case: CaseResult) -> Json:
    return {"case": case.label, "group": case.group}


def _lines_text(lines: Sequence[Json]) -> str:
    kinds = {"default": "black", "MACs alone": "red, dashed", "best": "green, dotted", "one random placement": "grey"}
    named = [f"{line['name']} ({kinds[line['name']]}) {line['value']:.2%}" for line in lines]
    return f" Upright lines: {', '.join(named)}." if named else ""


def _chart(
    data: Comparison, cases: Sequence[CaseResult], dots: Sequence[Json], means: Sequence[Json], lines: Sequence[Json]
) -> alt.LayerChart | alt.FacetChart:
    axis = alt.Axis(format=PERCENT, tickCount=7, labelFlush=False)
    x = alt.X("value:Q", title=f"true {data.metric}", axis=axis, scale=alt.Scale(zero=False, padding=16))
    y = _names(cases)
    colour = group_colour(data, cases)
    tips = ["case:N", "seed:N", "placement:N", alt.Tooltip("value:Q", title=f"true {data.metric}", format=".2%")]
    inside, outside = ([dot for dot in dots if dot["inside"] == kind] for kind in (True, False))
    layers = [
        *_rules(lines),
        alt.Chart(rows(inside)).mark_circle(size=70, opacity=0.7).encode(x=x, y=y, color=colour, tooltip=tips),
        alt.Chart(rows(outside))
        .mark_point(size=70, filled=False, strokeWidth=2)
        .encode(x=x, y=y, color=colour, tooltip=tips),
        alt.Chart(rows(means)).mark_tick(thickness=3, size=18, opacity=1).encode(x=x, y=y, color=colour),
    ]
    return alt.layer(*layers).properties(height=LINE * len(cases))


def _names(cases: Sequence[CaseResult]) -> alt.Y:
    axis = alt.Axis(labelFontSize=12, labelColor=INK, labelLimit=LABEL, grid=True, gridColor="#f2f4f6")
    return alt.Y("case:N", sort=[case.label for case in cases], title=None, axis=axis)


def _rules(lines: Sequence[Json]) -> list[alt.Chart]:
    return [
        alt.Chart(rows([line]))
        .mark_rule(color=LINES[line["name"]], strokeDash=DASHES[line["name"]], strokeWidth=1.5)
        .encode(x="value:Q", tooltip=["name:N", alt.Tooltip("value:Q", format=".2%")])
        for line in lines
    ]


def kendall_taus(data: Comparison) -> Figure | None:
    """Kendall's tau of each case's order on validation with the truth; None where none is known."""
    ranked = [
        (case, found) for case in data.cases if (found := case.kendall_tau.get("ranking")) and found.value is not None
    ]
    if not ranked:
        return None
    macs = data.reference("MACs alone")
    by_macs = macs and macs.kendall_tau
    ceiling = data.truth.seed_kendall_tau
    listed = ", ".join(f"{case.label} {found.value:.2f}" for case, found in ranked)
    return Figure(
        name="taus",
        title="How well the supernets rank",
        caption=(
            "Kendall's tau between the order on validation and the ground truth: the dot is the mean over seeds, the "
            "thick bar one standard deviation of the seeds to each side, the thin bar the 95% interval over placements."
            f"{_reference_lines_text(by_macs, ceiling)}"
        ),
        alt=f"Dot plot of Kendall's tau by method: {listed}.",
        panels=[_kendall_tau_chart(data, ranked, by_macs or CorrelationSummary(), ceiling or CorrelationSummary())],
    )


def _reference_lines_text(macs: CorrelationSummary | None, ceiling: CorrelationSummary | None) -> str:
    texts = ""
    if macs is not None and macs.value is not None:
        texts += f" Dashed: MACs alone, {macs.value:.2f}."
    if ceiling is not None and ceiling.value is not None:
        texts += f" Grey: how well two trainings of all placements agree, {ceiling.value:.2f}."
    return texts


def _kendall_tau_chart(
    data: Comparison,
    ranked: Sequence[tuple[CaseResult, CorrelationSummary]],
    macs: CorrelationSummary,
    ceiling: CorrelationSummary,
) -> alt.LayerChart | alt.FacetChart:
    values = [
        _named(case)
        | {"value": found.value, "low": found.low, "high": found.high, "seeds": found.n}
        | {"less": (found.value or 0) - (found.std or 0), "more": (found.value or 0) + (found.std or 0)}
        for case, found in ranked
    ]
    scale = alt.Scale(zero=False, padding=8)
    x = alt.X("value:Q", title="Kendall's tau with the truth", scale=scale, axis=alt.Axis(tickCount=7))
    cases = [case for case, _ in ranked]
    y, colour = _names(cases), group_colour(data, cases)
    chart = alt.Chart(rows(values)).encode(y=y, color=colour)
    known = alt.Chart(rows([value for value in values if value["low"] is not None and value["high"] is not None]))
    tips = ["case:N", "seeds:Q", *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("value", "low", "high"))]
    layers = [
        *_ceiling(ceiling),
        *_line(macs.value, LINES["MACs alone"], [6, 3]),
        known.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        chart.mark_rule(strokeWidth=7, opacity=0.3).encode(x=alt.X("less:Q"), x2="more:Q"),
        chart.mark_circle(size=80, opacity=1).encode(x=x, tooltip=tips),
    ]
    return alt.layer(*layers).properties(height=LINE * len(ranked))


def _line(value: float | None, colour: str, dash: Sequence[int]) -> list[alt.Chart]:
    if value is None:
        return []
    return [alt.Chart(rows([{"value": value}])).mark_rule(color=colour, strokeDash=[*dash]).encode(x="value:Q")]


def _ceiling(found: CorrelationSummary) -> list[alt.Chart]:
    """A band where its interval is known, and a line."""
    lines = _line(found.value, MUTED, [1, 0])
    if found.low is None or found.high is None:
        return lines
    band = alt.Chart(rows([{"low": found.low, "high": found.high}])).mark_rect(color=CEILING)
    return [band.encode(x=alt.X("low:Q"), x2="high:Q"), *lines]
