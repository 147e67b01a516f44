"""The paper's Figure 3: what a supernet says of each placement against the truth, one panel per case."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from poolsearch.reports.figures.theme import DEFAULT, FRONT, MEMBERS, MUTED, WINNER, Figure, Json, rows
from poolsearch.research.reports.comparison.values import CaseResult, Comparison, Point

LINES = {"default": DEFAULT, "MACs alone": WINNER, "best": FRONT, "one random placement": MUTED}
"""The references that charts have a line for."""


DASHES = {"default": [1, 0], "MACs alone": [6, 3], "best": [2, 2], "one random placement": [1, 3]}


def group_colour(data: Comparison, cases: Sequence[CaseResult]) -> alt.Color:
    """One colour for each group, the same in every chart; the legend names those of these cases."""
    groups = data.groups
    scale = alt.Scale(domain=groups, range=[MEMBERS[i % len(MEMBERS)] for i in range(len(groups))])
    present = [group for group in groups if any(case.group == group for case in cases)]
    legend = (
        alt.Legend(title=None, orient="top", columns=6, symbolOpacity=1, values=present) if len(present) > 1 else None
    )
    return alt.Color("group:N", scale=scale, legend=legend)


MOST_PANELS = 12


COLUMNS = 4


MOST_POINTS = 400


SHAPES = ["circle", "square", "triangle-up", "cross", "diamond", "triangle-down"]


def panels(data: Comparison) -> Figure | None:
    """One small scatter for each case whose order has a Kendall's tau with the truth; None without."""
    known = _known(data)
    cases = [case for case in data.cases if case.case in known and _kendall_tau(case) is not None]
    if not cases:
        return None
    # mixtures and single supernets by their members come first: these are what the paper's figure shows
    cases.sort(key=lambda case: (case.method not in ("spos", "mixture"), bool(case.options - {"members", "epochs"})))
    shown = cases[:MOST_PANELS]
    listed = ", ".join(f"{case.label} {_kendall_tau(case)}" for case in shown)
    return Figure(
        name="panels",
        title="What the supernets say of each placement, against the truth",
        caption=(
            f"Across: {data.metric} of each placement on the search-val half, with the weights of its supernet. Up: "
            f"its ground truth. One colour and shape per seed, rings mark the default. Above: Kendall's tau, the mean "
            f"over seeds.{_left_out(cases)}"
        ),
        alt=f"Scatter plots of validation {data.metric} against the ground truth by method. Kendall's tau: {listed}.",
        panels=[_panel(data, case, known[case.case], i) for i, case in enumerate(shown)],
        columns=COLUMNS,
    )


def _known(data: Comparison) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in data.points:
        if point.val is not None and point.truth is not None:
            found.setdefault(point.case, []).append(point)
    return found


def _left_out(cases: Sequence[CaseResult]) -> str:
    left = [case.label for case in cases[MOST_PANELS:]]
    return f" Left out: {', '.join(left)}." if left else ""


def _kendall_tau(case: CaseResult) -> str | None:
    found = case.kendall_tau.get("ranking")
    return None if found is None or found.value is None else f"{found.value:.2f}"


def _panel(data: Comparison, case: CaseResult, points: Sequence[Point], place: int) -> alt.LayerChart | alt.FacetChart:
    every = -(-len(points) // MOST_POINTS)
    values = [_value(data, point) for i, point in enumerate(points) if i % every == 0 or _default(data, point)]
    axis = alt.Axis(format=".0%", tickCount=4, labelFontSize=10, titleFontSize=11)
    # the upright axes are the same: the first of a row names it
    upright = "ground truth" if place % COLUMNS == 0 else None
    x = alt.X("val:Q", title="supernet, validation", axis=axis, scale=alt.Scale(zero=False, padding=6))
    y = alt.Y("truth:Q", title=upright, axis=axis, scale=alt.Scale(domain=_ends(data), zero=False, padding=6))
    names = sorted({str(point.seed) for point in data.points})
    colours = alt.Scale(domain=names, range=[MEMBERS[i % len(MEMBERS)] for i in range(len(names))])
    shapes = alt.Scale(domain=names, range=[SHAPES[i % len(SHAPES)] for i in range(len(names))])
    tips = [alt.Tooltip("val:Q", title="validation", format=".2%"), alt.Tooltip("truth:Q", format=".2%")]
    marks = alt.Chart(rows(values)).mark_point(filled=True, size=24, opacity=0.6)
    marks = marks.encode(
        x=x, y=y, color=alt.Color("seed:N", scale=colours, legend=None),
        shape=alt.Shape("seed:N", scale=shapes, legend=None), tooltip=["placement:N", "seed:N", *tips],
    )  # fmt: skip
    ring = alt.Chart(rows([value for value in values if value["default"]]))
    ring = ring.mark_point(size=95, color=DEFAULT, strokeWidth=1.5, filled=False).encode(x=x, y=y)
    title = alt.TitleParams(
        f"Kendall's tau {_kendall_tau(case)}", subtitle=case.label, fontSize=13, subtitleFontSize=11, limit=190
    )
    return alt.layer(marks, ring, title=title).properties(height=150)


def _ends(data: Comparison) -> list[float]:
    """The least and the largest truth of all panels."""
    truths = [point.truth for point in data.points if point.truth is not None]
    return [min(truths), max(truths)]


def _default(data: Comparison, point: Point) -> bool:
    return point.placement == data.default


def _value(data: Comparison, point: Point) -> Json:
    return {
        "placement": point.placement, "seed": str(point.seed), "val": point.val, "truth": point.truth,
        "default": _default(data, point),
    }  # fmt: skip
