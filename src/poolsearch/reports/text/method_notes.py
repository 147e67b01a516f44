"""What a page says about the placement that a search itself settled on: a relaxed one, or a tree search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import MeasuredPlacement
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.rows import was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.samplers.successive_halving import rungs_text
from poolsearch.space import Placement

FIRST = "The placement that the search settled on comes first, whatever the others reach on validation."


def is_settled(data: RunData) -> bool:
    """Whether the search itself settled on a placement, which stands first."""
    return data.kind == "relaxed" or (data.ranking_summary or {}).get("found") is not None


def settled_sentence(data: RunData) -> str:
    """The verdict before the test split is opened, of what a search settled on, whatever its accuracy."""
    winner, default = data.ranking[0], data.default_row
    if winner.is_default:
        return f"{data.method.upper()} found the default {winner.placement} itself ({winner.value:.1%} on validation)."
    told = f"{data.method.upper()} found {winner.placement} with {winner.value:.1%} on validation"
    if default is None:
        return f"{told}; the default {data.default} was not ranked."
    cost = "" if winner.macs_ratio is None else f", at {winner.macs_ratio:.2f} times its MACs"
    return f"{told}, against {default.value:.1%} for the default {default.placement}{cost}."


def path_description(data: RunData) -> str:
    """What was found, and where its weights leave a choice."""
    found = data.relaxed
    assert found is not None
    enlarged = sum(now < before for before, now in zip(found.path, found.path[1:], strict=False))
    text = f"{data.method.upper()} found {found.placement}"
    text += f", which enlarges its maps again before {_blocks(enlarged)}." if enlarged else "."
    row = data.winner
    return f"{text} {_outside(data, row)}" if row is not None and row.number is None else text


def settled_caveats(data: RunData) -> list[str]:
    """What the ranking gives reason to doubt, where the search itself settled on a placement."""
    if not is_settled(data):
        return []
    winner, default = data.ranking[0], data.default_row
    texts = [_outside(data, row) for row in data.ranking if row.number is None]
    if default is not None and default.value > winner.value:
        texts.append(
            f"With the same weights the default is better on validation ({default.value:.1%}) than what was found "
            f"({winner.value:.1%})."
        )
    if better := sum(row.value > winner.value for row in data.ranking if not was_stopped(data, row) and row != default):
        texts.append(f"{better:,} other placements are better on validation than what was found.")
    return texts


def _outside(data: RunData, row: RankingRow) -> str:
    """That a placement is not one of the restricted space, why, and what it costs."""
    cost = "" if row.macs_ratio is None else f" It has {row.macs_ratio:.2f} times the default's MACs."
    return f"{row.placement} is outside the restricted space: {_why(data, row.placement)}.{cost}"


def _why(data: RunData, text: str) -> str:
    poolings = cast("Json", data.run.get("space") or {}).get("poolings")
    try:
        sites = Placement.parse(text).sites
    except PoolsearchError:
        return "it is not one of its placements"
    if enlarging := sum(min(site) < 0 for site in sites):
        return f"it needs upsampling, before {_blocks(enlarging)}"
    if any(max(site) > 1 for site in sites):
        return "it shrinks its maps by more than 2 at once"
    halvings = sum(site == (1, 1) for site in sites)
    if halvings != poolings:
        return f"it halves its maps {halvings} times, the default {poolings} times"
    return "the space was limited to others"


def _blocks(count: int) -> str:
    return f"{count} block{'' if count == 1 else 's'}"


def measured_text(entry: MeasuredPlacement) -> str:
    """Mean, and the deviation over trainings where there are several."""
    spread = "" if entry.std is None else f" ± {entry.std:.2%}"
    return f"{entry.mean:.2%}{spread}"


def truth_sentence(truths: Sequence[MeasuredPlacement], default: str, metric: str) -> str:
    """The best, and the network's own placement."""
    best, own = truths[0], next((truth for truth in truths if truth.placement == default), None)
    beside = "" if own is None or own is best else f"; the default {default} {measured_text(own)}"
    seeds = best.n
    return (
        f"Ground truth of {len(truths):,} placements, {seeds} seed{'' if seeds == 1 else 's'} each: {best.placement} "
        f"has the best test {metric}, {measured_text(best)}{beside}. For research: the test split was read for all of "
        "them, so nothing is chosen by it."
    )


BY_MACS = "Ranked by MACs alone, the most first; nothing was trained or evaluated."


def sweep_so_far(data: RunData) -> str:
    """How far the trainings are, while there is no ranking yet."""
    placements = cast(Json, data.run.get("space", {})).get("covered", 0)
    settings = cast(Json, data.run.get("settings", {}))
    part = "test" if cast(Json, settings.get("alone", {})).get("sweep_mode") == "benchmark" else "validation"
    return (
        f"Placements are being trained alone ({data.method}), or this was interrupted: {data.scored:,} trainings, of "
        f"{placements:,} placements, were scored on the {part} images."
    )


def trainings_summary(data: RunData) -> str:
    """What was trained, and what the accuracies are of; empty where supernets ranked."""
    if not data.rungs:
        return ""
    accuracies = "The results are those of these trainings, on the search-train half."
    if len(data.rungs) > 1:
        accuracies = "A placement that was stopped stands with what it then had, below all that went on."
    return f"{rungs_text(data.method, data.rungs)} {accuracies}"
