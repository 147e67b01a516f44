"""How a run's ranking agrees with the ground truth of the same placements: the paper's Figure 3 for one run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import TABLE6, GroundTruth, ground_truth
from poolsearch.evaluation.rank_agreement import Agreement, Correlation, agreement
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.rows import was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.outcomes import member_colour
from poolsearch.reports.figures.theme import DEFAULT, OTHER, PERCENT, Figure, rows
from poolsearch.space import shown
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import RUN_SHOWN, read_object
from poolsearch.texts import command

FEWEST = 3
MOST_POINTS = 1500
SAME = 1e-3
"""How far MACs of the same network may differ, in parts: the classes of the head count a little."""
TITLE = "How the ranking agrees with the ground truth"
UNKNOWN = object()
FACTS = {
    "the data": ("data", "fingerprint"),
    "the number of training images (--subset)": ("settings", "data", "subset"),
    "the metric": ("settings", "data", "metric"),
    "the network": ("space", "net"),
    "the default": ("space", "default"),
}
"""Where a run's record says what the ground truth should share."""
TABLE6_FACTS: Json = {
    "the data": "cifar10",
    "the number of training images (--subset)": None,
    "the metric": "accuracy",
    "the network": "cifar-resnet20",
    "the default": "4,3,3",
}


@dataclass(frozen=True)
class RankingWithTruth:
    """A run's placements that are in the ground truth, best ranked first.

    Attributes:
        source: of the truth, for people.
        part: the images that the truth was measured on: test, or search-val.
        ranked: their lines of the ranking.
        truth: the mean of each one's trainings.
        scores: of the search; None where one says nothing.
        stopped: ranked placements that were left out, as their accuracy is of fewer images or a shorter training.
        differs: what the two are not alike in, as sentences.
    """

    source: str
    part: str
    ranked: Sequence[RankingRow]
    truth: Sequence[float]
    scores: Sequence[float | None]
    stopped: int
    differs: Sequence[str]

    @cached_property
    def by_validation(self) -> Agreement:
        """The order on validation."""
        return agreement([row.value for row in self.ranked], self.truth)

    @cached_property
    def by_prediction(self) -> Agreement | None:
        """The order by prediction; None where the ranking is by another rule."""
        known = [
            (row.prediction, mean)
            for row, mean in zip(self.ranked, self.truth, strict=True)
            if row.prediction is not None
        ]
        return agreement(*np.array(known).T) if len(known) >= FEWEST else None

    @cached_property
    def by_score(self) -> Agreement | None:
        """The order by score; None where fewer than three have one."""
        known = [(score, mean) for score, mean in zip(self.scores, self.truth, strict=True) if score is not None]
        return agreement(*np.array(known).T) if len(known) >= FEWEST else None


def rank_with_truth(data: RunData, name: str | Path) -> RankingWithTruth:
    """The run's ranking beside the truth of this name: ``table6``, or the folder of a sweep.

    Raises:
        PoolsearchError: there is no such truth, the run has no ranking, or fewer than three placements are in both.
    """
    truth = ground_truth(name)
    if data.truth:
        raise PoolsearchError(f"{data.out} is a ground truth itself: it ranks nothing. Give --out a search.")
    if not data.ranking:
        raise PoolsearchError(
            f"{data.out} has no ranking to compare with a ground truth. Rank it first: "
            + command("rank", "--out", data.out)
        )
    known = {shown(entry.placement): entry.mean for entry in truth.known}
    common = [row for row in data.ranking if row.placement in known]
    whole = [row for row in common if not was_stopped(data, row)]
    if len(whole) < FEWEST:
        raise _too_few(data, truth, len(whole), len(common))
    return RankingWithTruth(
        source=Path(truth.source).name,
        part=truth.part,
        ranked=whole,
        truth=[known[row.placement] for row in whole],
        scores=[data.known_score(row) for row in whole],
        stopped=len(common) - len(whole),
        differs=_differences(data, name, truth),
    )


def _too_few(data: RunData, truth: GroundTruth, whole: int, common: int) -> PoolsearchError:
    early = "" if whole == common else f" ({common - whole} more were stopped early, and say nothing of the order)"
    return PoolsearchError(
        f"only {whole} of the {len(data.ranking)} ranked placements{early} are among the {len(truth.known)} of "
        f"{truth.source}; an order needs at least {FEWEST}. The run has placements such as "
        f"{data.ranking[0].placement}, the truth such as {shown(truth.known[0].placement)}: give --truth a sweep of "
        "the same network and space."
    )


def _differences(data: RunData, name: str | Path, truth: GroundTruth) -> list[str]:
    """What is known to be another in the truth than in the run."""
    own = _facts(data.run)
    if str(name) == TABLE6:
        own["the data"] = Path(str((data.run.get("data") or {}).get("name", "cifar10"))).name
        other = TABLE6_FACTS
    else:
        path = RunDir(Path(name).expanduser()).run
        other = _facts(read_object(path, RUN_SHOWN) if path.exists() else {})
    return [
        *(
            f"The ground truth differs from the run in {what}: {_said(other[what])} there, {_said(own[what])} here."
            for what in own
            if what in other and own[what] != other[what]
        ),
        *_other_macs(data, truth),
    ]


def _facts(run: Json) -> Json:
    """What a run says of itself that its ground truth should share; what it does not say is left out."""
    found: Json = {}
    for what, way in FACTS.items():
        value: Any = run
        for key in way:
            value = value.get(key, UNKNOWN) if isinstance(value, dict) else UNKNOWN
        if value is not UNKNOWN:
            found[what] = value
    return found


def _said(value: object) -> str:
    """A value of a run's record; a fingerprint needs no more than its beginning."""
    return "all" if value is None else f"{value!s:.16}"


def _other_macs(data: RunData, truth: GroundTruth) -> list[str]:
    """A network of another width, or other images, shows in the MACs of the same placements."""
    macs = {shown(entry.placement): entry.macs for entry in truth.known}
    ratios = [macs[row.placement] / row.macs for row in data.ranking if row.placement in macs and row.macs]
    if not ratios or all(abs(ratio - 1) < SAME for ratio in ratios):
        return []
    return [
        f"The same placements have {statistics.median(ratios):,.2f} times the MACs in the ground truth: it is of "
        "another width of the network, or of images of another size."
    ]


def agreement_sentence(data: RunData, found: RankingWithTruth) -> str:
    """What the first of the ranking is worth by the truth, and how far it is below the best."""
    names = [row.placement for row in found.ranked]
    winner, missing = data.ranking[0].placement, ""
    if winner not in names:
        missing = f"The first of the ranking, {winner}, is not in the ground truth. "
        winner = names[0]
    value, best = found.truth[names.index(winner)], max(found.truth)
    first = "The first of the ranking" if not missing else "The first that is"
    text = f"{missing}{first}, {winner}, has a true {data.metric} of {value:.2%}"
    among = f"the best of the {len(names):,} placements that are in both"
    if value == best:
        return f"{text}: it is {among}."
    return f"{text}, {100 * (best - value):.2f} points below {among}, {names[found.truth.index(best)]} ({best:.2%})."


def truth_note(found: RankingWithTruth) -> str:
    """On which images the truth was measured."""
    if found.part == "test":
        return (
            "For research: the ground truth was read from test images, of every placement in it. Nothing is chosen by "
            "it, and the verdict above does not read it."
        )
    return "The ground truth is of trainings alone on the search-train half, measured on the search-val half."


def truth_figure(data: RunData, found: RankingWithTruth) -> Figure:
    """The ranking, and the scores where there are any, against the truth."""
    texts, panels = list[str](), list[alt.LayerChart]()
    if found.by_prediction is not None:
        texts.append(f"by prediction, {_agreement_text(found.by_prediction)}")
        points = [row.prediction for row in found.ranked]
        panels.append(_scatter(data, found, points, f"predicted points against {data.against}", "+.2f"))
    if data.ranking[0].evaluated or not panels:
        texts.append(f"by validation, {_agreement_text(found.by_validation)}")
        panels.append(_scatter(data, found, [row.value for row in found.ranked], f"validation {data.metric}"))
    if found.by_score is not None:
        texts.append(f"by the scores of the search, {_agreement_text(found.by_score)}")
        panels.append(_scatter(data, found, found.scores, "score in the search"))
    left = f" Left out: {found.stopped:,} that were stopped early." if found.stopped else ""
    return Figure(
        name="truth",
        title=TITLE,
        caption=(
            f"Each placement's ground truth ({found.source}, mean {found.part} {data.metric} of its trainings) against "
            f"what this run says of it. Agreement of the orders of {len(found.ranked):,} placements, with 95% "
            f"intervals over placements: {'; '.join(texts)}. The ring is the default.{left}"
        ),
        alt=f"Scatter plots against the ground truth of {len(found.ranked)} placements: {'; '.join(texts)}.",
        panels=panels,
        columns=len(panels),
    )


def _agreement_text(found: Agreement) -> str:
    return f"Kendall's tau {_correlation(found.kendall_tau)}, Spearman's rho {_correlation(found.rho)}"


def _correlation(found: Correlation) -> str:
    if math.isnan(found.value):
        return "not defined"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _scatter(
    data: RunData, found: RankingWithTruth, values: Sequence[float | None], title: str, form: str = PERCENT
) -> alt.LayerChart:
    points = [
        {"placement": row.placement, "member": str(row.member), "value": value, "truth": truth}
        | {"default": row.is_default}
        for row, value, truth in zip(found.ranked, values, found.truth, strict=True)
        if value is not None
    ]
    every = -(-len(points) // MOST_POINTS)
    shown_points = [point for i, point in enumerate(points) if i % every == 0 or point["default"]]
    axis, fit = alt.Axis(format=PERCENT, tickCount=5, labelFlush=False), alt.Scale(zero=False, padding=12)
    x = alt.X("value:Q", title=title, axis=alt.Axis(format=form, tickCount=5, labelFlush=False), scale=fit)
    y = alt.Y("truth:Q", title=f"true {data.metric}", axis=axis, scale=fit)
    colour = member_colour(data.members) if data.members > 1 else alt.value(OTHER)
    tips = [
        alt.Tooltip("value:Q", title=title, format=".2%" if form == PERCENT else form),
        alt.Tooltip("truth:Q", format=".2%"),
    ]
    marks = alt.Chart(rows(shown_points)).mark_circle(size=60, opacity=0.85)
    marks = marks.encode(x=x, y=y, color=colour, tooltip=["placement:N", "member:N", *tips])
    ring = alt.Chart(rows([point for point in points if point["default"]]))
    ring = ring.mark_point(size=170, color=DEFAULT, strokeWidth=1.5, filled=False).encode(x=x, y=y)
    return alt.layer(marks, ring).properties(height=320)
