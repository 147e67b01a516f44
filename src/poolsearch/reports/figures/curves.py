"""Curves over epochs: how the search went, and how the retraining learned."""

from __future__ import annotations

import altair as alt

from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import DEFAULT, FAINT, OTHER, WINNER, Figure, Json, rows

PANEL_HEIGHT = 190
MOST_POINTS = 400


def curves(data: RunData) -> Figure | None:
    """Loss, accuracy, temperature and entropy of the search; loss of the trials."""
    lines = (
        ("train_loss", "training loss", ".2f", False),
        ("val_metric", f"validation {data.metric} of minibatches", ".0%", False),
        ("inv_temp", "inverse temperature", "~s", True),
        ("assign_entropy", "assignment entropy (1 uniform, 0 hard)", ".1f", True),
        ("weight_entropy", "entropy of the resolutions' weights (1 equal, 0 hard)", ".1f", True),
    )
    panels = [panel for line in lines if (panel := _search_panel(data, *line)) is not None]
    trials = _trial_panel(data)
    if trials is not None:
        panels.append(trials)
    if not panels:
        return None
    return Figure(
        name="curves",
        title="How training went",
        caption="One value per epoch. Inverse temperature and entropy show how the assignment hardens."
        if data.members > 1
        else "One value per epoch.",
        alt="Line charts over epochs: " + ", ".join(title for _, title, _, _ in lines) + ", and loss of retraining.",
        panels=panels,
        columns=2,
    )


def _thinned(values: list[Json]) -> list[Json]:
    """At most about MOST_POINTS values: more cannot be told apart on a page and only make it heavy."""
    return values[:: -(-len(values) // MOST_POINTS)] if len(values) > MOST_POINTS else values


def _search_panel(data: RunData, field: str, title: str, form: str, zero: bool) -> alt.Chart | None:
    points = [{"epoch": event["epoch"], "value": event[field]} for event in data.events if event.get(field) is not None]
    if len(points) < 2 or (data.members == 1 and field in ("inv_temp", "assign_entropy")):
        return None
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format=form, tickCount=5), scale=alt.Scale(zero=zero))
    return (
        alt.Chart(rows(_thinned(points)), title=f"Search: {title}")
        .mark_line(color=OTHER, strokeWidth=2)
        .encode(x=_epochs(), y=y, tooltip=["epoch:Q", alt.Tooltip("value:Q", title=title, format=".4g")])
        .properties(height=PANEL_HEIGHT)
    )


def _epochs() -> alt.X:
    return alt.X(
        "epoch:Q", title="epoch", axis=alt.Axis(grid=False, tickMinStep=1, tickCount=6), scale=alt.Scale(nice=False)
    )


def _trial_panel(data: RunData) -> alt.Chart | None:
    winner = data.winner.placement if data.winner else ""
    points: list[Json] = []
    for trial in data.trials:
        role = (
            "default"
            if trial.placement == data.default
            else "first of the ranking"
            if trial.placement == winner
            else "others"
        )
        fixed = {
            "placement": trial.placement,
            "seed": trial.seed,
            "role": role,
            "trial": f"{trial.placement} {trial.seed}",
        }
        loss = [
            {"epoch": e["epoch"], "value": e["train_loss"]} | fixed
            for e in trial.events
            if e.get("train_loss") is not None
        ]
        points += _thinned(loss) if len(loss) > 1 else []  # one value is no line
    if not points:
        return None
    domain = ["first of the ranking", "default", "others"]
    colour = alt.Color(
        "role:N",
        scale=alt.Scale(domain=domain, range=[WINNER, DEFAULT, FAINT]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
    )
    return (
        alt.Chart(rows(points), title="Retraining: training loss, one line per seed")
        .mark_line(strokeWidth=1.5, opacity=0.8)
        .encode(
            x=_epochs(),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(format=".2f", tickCount=5), scale=alt.Scale(zero=False)),
            color=colour,
            detail="trial:N",
            tooltip=["placement:N", "seed:N", "epoch:Q", alt.Tooltip("value:Q", title="training loss", format=".4g")],
        )
        .properties(height=PANEL_HEIGHT)
    )
