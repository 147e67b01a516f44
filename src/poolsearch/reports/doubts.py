"""What a reader of the run should doubt."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from poolsearch.answers import limit_text
from poolsearch.reports import found
from poolsearch.reports.answers import answer_rows
from poolsearch.reports.findings import ended, moment
from poolsearch.reports.parse import Json
from poolsearch.reports.ranked import Ranked
from poolsearch.reports.read import RunData
from poolsearch.reports.score_table import Scores
from poolsearch.reports.tables import retrained, stopped

FEW_SEEDS = 3
FEW_IMAGES = 1000
LATE_LOCK_IN = 0.9
SOFT = 0.3
UNEVEN = 1.5
OLD = 0.25
WEAK_TAU = 0.3


def warnings(data: RunData) -> list[str]:
    """The run's own warnings, then what its numbers give reason to doubt."""
    derived = [
        *_unfinished(data),
        *_covered(data),
        *_start_doubts(data),
        *_search_doubts(data),
        *_ranking_doubts(data),
        *_retrain_doubts(data),
    ]
    return [*(str(text) for text in data.run.get("warnings", [])), *derived]


def _unfinished(data: RunData) -> list[str]:
    """Stages that have not left their result; one stopped between its result and its entry has ended."""
    begun = dict.fromkeys(str(stage.get("stage")) for stage in data.run.get("stages", []))
    ranked = bool(data.ranking)
    left = {
        "search": data.scores is not None or data.relaxed is not None,
        "sweep": ranked or bool(data.truth),
        "rank": ranked,
        "retrain": data.test is not None,
    }
    return [
        f"The stage '{name}' was begun and has not ended."
        for name in begun
        if not (ended(data, name) or left.get(name, False))
    ]


def _covered(data: RunData) -> list[str]:
    space = cast(Json, data.run.get("space", {}))
    size, covered = space.get("size"), space.get("covered")
    if data.kind == "alone" and data.ranking and covered is not None:
        covered = min(covered, len(data.ranking))
    if data.kind == "relaxed" or size is None or covered is None or covered >= size:
        return []
    return [f"The search covered {covered:,} of the {size:,} placements of the space: better ones may exist outside."]


def _start_doubts(data: RunData) -> list[str]:
    if not data.run.get("init"):
        return []
    return [
        "All networks began with given weights: the placement that these were trained at, and those near it, have "
        "a head start."
    ]


def _search_doubts(data: RunData) -> list[str]:
    doubts = [] if data.scores is None else _score_doubts(data.scores)
    if not data.events:
        return doubts
    last = data.events[-1]
    least, most = last.get("least_trained"), last.get("most_trained")
    if data.members > 1 and least is not None and most > UNEVEN * max(least, 1):
        doubts.append(f"The members were trained unequally: {least:,} to {most:,} steps.")
    if data.members > 1 and (last.get("assign_entropy") or 0) > SOFT:
        doubts.append(
            f"The assignment is still soft (entropy {last['assign_entropy']:.2f}; 0 is hard): "
            "more epochs or a lower final temperature would separate the members."
        )
    elif data.members > 1 and (last.get("lock_in_step") or 0) > LATE_LOCK_IN * last.get("step", math.inf):
        doubts.append(f"Placements still changed their member at step {last['lock_in_step']:,} of {last['step']:,}.")
    return doubts


def _score_doubts(scores: Scores) -> list[str]:
    """Only the score that stands for a placement counts: that of its most probable member."""
    table = scores.last.sort_by([("number", "ascending"), ("assignment", "descending")])
    numbers = table["number"].to_numpy()
    first = np.concatenate([[True], numbers[1:] != numbers[:-1]])
    count = table["count"].to_numpy()[first]
    age = table["age"].to_numpy()[first]
    doubts: list[str] = []
    if never := int((count == 0).sum()):
        doubts.append(f"{never:,} of {scores.total:,} placements were never trained in their own member.")
    old = int(((count > 0) & (age > OLD * scores.steps[-1])).sum())
    if old:
        doubts.append(
            f"The scores of {old:,} of {scores.total:,} placements are older than a quarter of the training "
            f"(the oldest: {int(age[count > 0].max()):,} steps): they describe a less trained supernet."
        )
    return doubts


def _ranking_doubts(data: RunData) -> list[str]:
    if not data.ranking:
        return []
    winner, default = data.ranking[0], data.default_row
    doubts: list[str] = []
    if default is None and data.test is None:
        doubts.append(f"The default {data.default} was not ranked, so nothing says whether the network should change.")
    elif default is None:
        doubts.append(f"The default {data.default} was not ranked: only the retraining says how it compares.")
    elif not winner.is_default and not stopped(data, default) and _overlap(winner, default):
        both = f"{winner.placement} ({_interval(winner)}) and of the default ({_interval(default)})"
        doubts.append(f"The validation intervals of {both} overlap: the difference may be chance.")
    summary = data.ranking_summary or {}
    images, tau = summary.get("images"), summary.get("tau_score_accuracy")
    if images is not None and images < FEW_IMAGES:
        doubts.append(f"The ranking rests on {images:,} validation images only.")
    if tau is not None and tau < WEAK_TAU:
        doubts.append(f"The scores of the search hardly agree with validation (Kendall's tau {tau:.2f}).")
    return [*doubts, *found.doubts(data), *_stopped_doubts(data), *_control_doubts(data)]


def _overlap(one: Ranked, other: Ranked) -> bool:
    return one.low <= other.high and other.low <= one.high


def early_stops(data: RunData) -> str:
    """How many placements left the ranking early, and how sure it is that they do not belong to its first."""
    found = cast(Json, (data.ranking_summary or {}).get("early_stop") or {})
    if not found.get("stopped"):
        return ""
    few = "the first" if found["top"] == 1 else f"any of the first {found['top']}"
    return (
        f"{found['stopped']:,} placements were stopped early, as soon as they were behind the first {found['top']} "
        f"beyond chance, and stand below all others with the accuracy on the images they saw. The probability that "
        f"{few} was stopped is at most {found['error']:.0%}."
    )


def _stopped_doubts(data: RunData) -> list[str]:
    """The guarantee is for the first k of the ranking, and for answers that do not depend on the batch."""
    summary = data.ranking_summary or {}
    found = cast(Json, summary.get("early_stop") or {})
    if not found.get("stopped"):
        return []
    doubts: list[str] = []
    finalists = cast(Json, data.run.get("settings", {}).get("retrain", {})).get("top_k", 0)
    if finalists > found["top"]:
        doubts.append(f"Placements were stopped early to find the first {found['top']}, but {finalists} are retrained.")
    early = [row.limit for row in answer_rows(data) if row.pick is not None and stopped(data, row.pick)]
    if early:
        named = ", ".join(limit_text(limit) for limit in early)
        doubts.append(
            f"The pick of the answer with the limit {named} was stopped early: it was chosen on fewer images."
        )
    if summary.get("norm") == "batch":
        doubts.append(
            "The probability stated for early stopping takes it that an image's answer does not depend on the other "
            "images of its batch; with BatchNorm by the batch at hand it does a little."
        )
    return doubts


def _interval(row: Ranked) -> str:
    return f"{row.low:.1%} to {row.high:.1%}"


def _control_doubts(data: RunData) -> list[str]:
    control = [row for row in data.ranking if row.control and not stopped(data, row)]
    chosen = [row for row in data.ranking if not row.control and not row.is_default]
    if not control or not chosen:
        return []
    best, rival = max(r.value for r in chosen), max(r.value for r in control)
    if rival < best:
        return []
    return [
        f"The random control group reaches {rival:.1%}, the placements chosen by score {best:.1%}: the scores chose no "
        "better than chance."
    ]


def _retrain_doubts(data: RunData) -> list[str]:
    entries = retrained(data)
    doubts: list[str] = []
    counts = {entry.placement: len(entry.values) or len(entry.seeds) for entry in entries}
    few = [name for name, count in counts.items() if count < FEW_SEEDS]
    if few:
        least = min(counts[name] for name in few)
        seeds = f"{least} seed{'' if least == 1 else 's'}"
        doubts.append(f"Trained with only {seeds}: {', '.join(few)}. At least {FEW_SEEDS} show the spread.")
    if data.test_opened and data.test is None:
        doubts.append(f"The test split was opened at {moment(data.test_opened)}, and its results are not complete.")
    if unfinished := sum(trial.metrics is None for trial in data.trials):
        doubts.append(f"{unfinished} trial{'s have' if unfinished > 1 else ' has'} begun and not ended.")
    difference = cast(Json | None, (data.test or {}).get("difference"))
    if difference and difference["low"] <= 0 <= difference["high"]:
        doubts.append("The interval of the test difference between the winner and the default holds zero.")
    return doubts
