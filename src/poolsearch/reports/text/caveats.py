"""What a reader of the run should doubt."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pyarrow as pa

from poolsearch.evaluation.budget_picks import limit_text
from poolsearch.reports.data.answer_rows import answer_rows
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.rows import retrained_rows, was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.data.score_table import Scores
from poolsearch.reports.text import method_notes
from poolsearch.reports.text.prediction_notes import prediction_doubts
from poolsearch.reports.text.verdict_text import has_ended, time_text
from poolsearch.settings.search_groups import SearchSettings

FEW_SEEDS = 3
FEW_IMAGES = 1000
LATE_LOCK_IN = 0.9
SOFT = 0.3
UNEVEN = 1.5
OLD = 0.25
WEAK_KENDALL_TAU = 0.3
FAR_BELOW = 0.15
BY_MEMBER = 0.5
INITIAL = 0.1


def warnings(data: RunData) -> list[str]:
    """What gives reason to doubt, by gravity: what may make the answer wrong; the run's own warnings; the rest."""
    own = [str(text) for text in data.run.get("warnings", [])]
    evidence = [*_retrain_doubts(data), *_ranking_doubts(data), *_unfinished(data)]
    return [*grave_warnings(data), *own, *evidence, *_search_doubts(data), *_start_doubts(data), *_covered(data)]


def grave_warnings(data: RunData) -> list[str]:
    """What may make the answer wrong, the gravest first: it stands beside the verdict."""
    return [
        *_not_judged(data),
        *_far_below(data),
        *_too_short(data),
        *_levels(data),
        *_control_doubts(data),
        *_weak_scores(data),
    ]


def _not_judged(data: RunData) -> list[str]:
    if not (data.evaluated and (data.look_open or data.test is None)):
        return []
    return [
        "The networks were evaluated on the test split and their results are in test.json, but these were not judged. "
        "--resume judges them, without training or evaluating again."
    ]


def _far_below(data: RunData) -> list[str]:
    """A supernet that is far from what its placements reach alone has hardly learnt what to rank."""
    tested = {str(entry["placement"]): float(entry["mean"]) for entry in (data.test or {}).get("summary", [])}
    both = [(row.value, tested[row.placement]) for row in data.ranking if row.evaluated and row.placement in tested]
    if not both or data.kind not in ("sampled", "relaxed"):
        return []
    within, alone = (float(np.mean(values)) for values in zip(*both, strict=True))
    if alone - within <= FAR_BELOW:
        return []
    return [
        f"In the supernet the {len(both)} retrained placements have {within:.1%} on validation, but trained alone "
        f"{alone:.1%} on test: the supernet was trained far too little to say which is better. Use more --epochs in a "
        "new run."
    ]


def _too_short(data: RunData) -> list[str]:
    """A score of few observations is mostly what it began with, and with it the member that stands for a placement."""
    search = cast(Json, data.run.get("settings", {}).get("search") or {})
    whole = data.members == 1 and (data.ranking_summary or {}).get("mode") == "all"
    if data.scores is None or whole:
        return []
    count = float(np.median(_own_member(data.scores)["count"].to_numpy()))
    left = float(search.get("beta", SearchSettings().beta)) ** count
    if left <= INITIAL:
        return []
    began = "its first one" if search.get("score_init") == "first" else "the initial score"
    fewer = " or fewer --members" if data.members > 1 else ""
    return [
        f"The search was too short for its space: half of the {data.scores.total:,} placements were scored "
        f"{count:.0f} times or less in their own member, so {began} still weighs {left:.0%}. Use more --epochs{fewer} "
        "in a new run."
    ]


def _levels(data: RunData) -> list[str]:
    """Members that are trained apart end at different levels, and a placement's rank is then mostly its member's."""
    rows = [row for row in data.ranking if row.evaluated and row.member is not None and not was_stopped(data, row)]
    values = np.array([row.value for row in rows])
    members, of_row = np.unique(np.array([row.member for row in rows], np.int64), return_inverse=True)
    if (data.ranking_summary or {}).get("members", "assignment") != "assignment" or len(rows) <= len(members) + 1:
        return []
    mean_M = np.bincount(of_row, values) / np.bincount(of_row)
    whole, rest = float(((values - values.mean()) ** 2).sum()), float(((values - mean_M[of_row]) ** 2).sum())
    by_member = 1 - rest / whole * (len(rows) - 1) / (len(rows) - len(members)) if whole > 0 and len(members) > 1 else 0
    if by_member <= BY_MEMBER:
        return []
    return [
        f"The members are at different levels: the placements of each have {mean_M.min():.1%} to {mean_M.max():.1%} on "
        f"validation on average, and {by_member:.0%} of the ranking's variance lies between members, not between "
        "placements. Placements of different members are compared across these levels: use --rank-members mean in a "
        "new run."
    ]


def _weak_scores(data: RunData) -> list[str]:
    kendall_tau = (data.ranking_summary or {}).get("tau_score_accuracy")
    if kendall_tau is None or kendall_tau >= WEAK_KENDALL_TAU:
        return []
    return [f"The scores of the search hardly agree with validation (Kendall's tau {kendall_tau:.2f})."]


def _unfinished(data: RunData) -> list[str]:
    """Stages that have not left their result; one stopped between its result and its entry has ended."""
    begun = dict.fromkeys(str(stage.get("stage")) for stage in data.run.get("stages", []))
    ranked = bool(data.ranking)
    left = {
        "search": data.scores is not None or data.relaxed is not None,
        "sweep": ranked or bool(data.truth),
        "rank": ranked,
        "trials": ranked,
        "retrain": data.test is not None,
    }
    return [
        f"The stage '{name}' was begun and has not ended."
        for name in begun
        if not (has_ended(data, name) or left.get(name, False))
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
        "All networks started from given weights: the placement at which these were trained, and those near it, have "
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


def _own_member(scores: Scores) -> pa.Table:
    """The last line of each placement that stands for it: that of its most probable member."""
    table = scores.last.sort_by([("number", "ascending"), ("assignment", "descending")])
    numbers = table["number"].to_numpy()
    return table.filter(pa.array(np.concatenate([[True], numbers[1:] != numbers[:-1]])))


def _score_doubts(scores: Scores) -> list[str]:
    own = _own_member(scores)
    count, age = own["count"].to_numpy(), own["age"].to_numpy()
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
    elif not data.predicts and not winner.is_default and not was_stopped(data, default) and _overlap(winner, default):
        both = f"{winner.placement} ({_interval(winner)}) and of the default ({_interval(default)})"
        doubts.append(f"The validation intervals of {both} overlap: the difference may be chance.")
    summary = data.ranking_summary or {}
    images = summary.get("images")
    if images is not None and images < FEW_IMAGES:
        doubts.append(f"The ranking rests on {images:,} validation images only.")
    return [*doubts, *prediction_doubts(data), *method_notes.settled_caveats(data), *_stopped_doubts(data)]


def _overlap(one: RankingRow, other: RankingRow) -> bool:
    return one.low <= other.high and other.low <= one.high


def early_stops(data: RunData) -> str:
    """How many placements left the ranking early, and how sure it is that they do not belong to its first."""
    found = cast(Json, (data.ranking_summary or {}).get("early_stop") or {})
    if not found.get("stopped"):
        return ""
    few = "the first" if found["top"] == 1 else f"any of the first {found['top']}"
    return (
        f"{found['stopped']:,} placements were stopped early, as soon as they were behind the first {found['top']} "
        f"beyond chance. They rank below all others, by their accuracy on the images they saw. The probability that "
        f"{few} was stopped is at most {found['error']:.0%}."
    )


def _stopped_doubts(data: RunData) -> list[str]:
    """The guarantee is for the first k of the ranking, and for predictions that do not depend on the batch."""
    summary = data.ranking_summary or {}
    found = cast(Json, summary.get("early_stop") or {})
    if not found.get("stopped"):
        return []
    doubts: list[str] = []
    finalists = cast(Json, data.run.get("settings", {}).get("retrain", {})).get("top_k", 0)
    if finalists > found["top"]:
        doubts.append(f"Placements were stopped early to find the first {found['top']}, but {finalists} are retrained.")
    early = [row.limit for row in answer_rows(data) if row.pick is not None and was_stopped(data, row.pick)]
    if early:
        named = ", ".join(limit_text(limit) for limit in early)
        doubts.append(
            f"The pick of the answer with the limit {named} was stopped early: it was chosen on fewer images."
        )
    if summary.get("norm") == "batch":
        doubts.append(
            "The probability stated for early stopping assumes that the prediction for an image does not depend on the "
            "other images of its batch; with BatchNorm by the batch at hand it does a little."
        )
    return doubts


def _interval(row: RankingRow) -> str:
    return f"{row.low:.1%} to {row.high:.1%}"


def _control_doubts(data: RunData) -> list[str]:
    control = [row for row in data.ranking if row.control and not was_stopped(data, row)]
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
    entries = retrained_rows(data)
    doubts: list[str] = []
    counts = {entry.placement: len(entry.values) or len(entry.seeds) for entry in entries}
    few = [name for name, count in counts.items() if count < FEW_SEEDS]
    if few:
        least = min(counts[name] for name in few)
        seeds = f"{least} seed{'' if least == 1 else 's'}"
        doubts.append(f"Trained with only {seeds}: {', '.join(few)}. At least {FEW_SEEDS} show the variation.")
    if data.test_opened and (data.look_open or data.test is None) and not data.evaluated:
        doubts.append(f"The test split was opened at {time_text(data.test_opened)}, and its results are not complete.")
    if unfinished := sum(trial.metrics is None for trial in data.trials):
        doubts.append(f"{unfinished} trial{'s have' if unfinished > 1 else ' has'} started but not finished.")
    difference = cast(Json | None, (data.test or {}).get("difference"))
    if difference and difference["low"] <= 0 <= difference["high"]:
        doubts.append("The interval of the test difference between the winner and the default includes zero.")
    return doubts
