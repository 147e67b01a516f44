"""Does the mixture pay? Kendall's tau, and the truth of what was found, against the number of members."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from poolsearch.reports.figures.theme import MEMBERS, OTHER, PERCENT, Figure, Json, rows
from poolsearch.research.reports.comparison.panels import DASHES, LINES
from poolsearch.research.reports.comparison.values import CaseResult, Comparison

LINES_OF = {"own budget": OTHER, "equal total training": MEMBERS[1]}
OWN, EQUAL = LINES_OF
PLAIN = frozenset({"members", "epochs"})


def members(data: Comparison) -> Figure | None:
    """Two panels against M; None where there are not two numbers of members.

    A single supernet (spos) is the mixture of one member. Cases with settings beside members and epochs are others.
    """
    lines = _lines(data)
    if len({line["members"] for line in lines}) < 2:
        return None
    listed = ", ".join(f"M={line['members']} ({line['budget']}) {_said(line['agreement'])}" for line in lines)
    return Figure(
        name="members",
        title="Does the mixture pay?",
        caption=(
            "Mixtures by their number of members M; M=1 is the single supernet. Own budget: every member is trained as "
            "long as a single supernet would be, so that M members cost M times as much. Equal total training: all "
            "members together are trained as long as every other mixture. Bars are one standard deviation of the seeds "
            "to each side. Lines: the default (black) and MACs alone (dashed)."
        ),
        alt=f"Kendall's tau and truth of what was found against the number of members. Kendall's tau: {listed}.",
        panels=[
            _panel(
                lines, "agreement", "Kendall's tau with the truth", ".2f", _references(data, "agreement"), legend=True
            ),
            _panel(lines, "truth", f"true {data.metric} of what was found", PERCENT, _references(data, "truth")),
        ],
        columns=2,
    )


def _said(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def _lines(data: Comparison) -> list[Json]:
    cases = [(count, case) for case in data.cases if (count := _count(case)) is not None]
    return sorted(
        (_value(count, case, budget) for count, case in cases for budget in _budgets(count, case, cases)),
        key=lambda line: (line["budget"], line["members"]),
    )


def _count(case: CaseResult) -> int | None:
    """M of a plain mixture or single supernet; None of all else."""
    if case.method not in ("mixture", "spos") or case.options - PLAIN:
        return None
    return case.members or (1 if case.method == "spos" else None)


def _budgets(count: int, case: CaseResult, cases: Sequence[tuple[int, CaseResult]]) -> list[str]:
    """The lines that a case is a point of: one of both kinds of training has as many epochs as either asks for."""

    def epochs(of: str, each: bool) -> set[float]:
        known = ((m, c.epochs_total) for m, c in cases if c.budget == of and c.epochs_total is not None)
        return {total / m if each else total for m, total in known}

    total = case.epochs_total
    own = case.budget == "own" or (total is not None and total / count in epochs("own", each=True))
    equal = case.budget == "equal" or (total is not None and total in epochs("equal", each=False))
    return [name for name, holds in ((OWN, own), (EQUAL, equal)) if holds]


def _value(count: int, case: CaseResult, budget: str) -> Json:
    ranked = case.kendall_tau.get("ranking")
    return {"members": count, "budget": budget, "case": case.label} | {
        "agreement": ranked and ranked.value, "truth": case.truth.mean,
        "agreement_std": (ranked and ranked.std) or 0.0, "truth_std": case.truth.std or 0.0,
    }  # fmt: skip


def _references(data: Comparison, name: str) -> list[Json]:
    """The lines of those references that this is known of; the default is one placement and ranks none."""
    found = {entry.name: entry.kendall_tau.value if name == "agreement" else entry.truth for entry in data.references}
    return [{"name": key, "at": found[key]} for key in ("default", "MACs alone") if found.get(key) is not None]


def _panel(
    lines: Sequence[Json], name: str, title: str, form: str, references: Sequence[Json], legend: bool = False
) -> alt.LayerChart | alt.FacetChart:
    values = [
        line | {"value": line[name], "low": line[name] - line[f"{name}_std"], "high": line[name] + line[f"{name}_std"]}
        for line in lines
        if line[name] is not None
    ]
    counts = sorted({line["members"] for line in lines})
    scale = alt.Scale(type="log", base=2, nice=False, padding=24)
    x = alt.X("members:Q", title="members M", scale=scale, axis=alt.Axis(values=counts, format="d", grid=False))
    y = alt.Y("value:Q", title=title, axis=alt.Axis(format=form), scale=alt.Scale(zero=False, padding=16))
    present = [key for key in LINES_OF if any(line["budget"] == key for line in lines)]
    domain = alt.Scale(domain=present, range=[LINES_OF[key] for key in present])
    key = alt.Legend(title=None, orient="top", symbolOpacity=1) if legend else None
    colour = alt.Color("budget:N", scale=domain, legend=key)
    chart = alt.Chart(rows(values)).encode(x=x, color=colour)
    tips = ["case:N", "members:Q", "budget:N", alt.Tooltip("value:Q", title=title, format=form)]
    rules = [
        alt.Chart(rows([entry]))
        .mark_rule(color=LINES[entry["name"]], strokeDash=DASHES[entry["name"]])
        .encode(y="at:Q")
        for entry in references
    ]
    return alt.layer(
        *rules,
        chart.mark_rule(strokeWidth=2, opacity=0.45).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        chart.mark_line(strokeWidth=2).encode(y=y),
        chart.mark_circle(size=80, opacity=1).encode(y=y, tooltip=tips),
    ).properties(height=260)
