"""What a page says about a sweep in benchmark mode: the ground truth of every placement; nothing is chosen from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from poolsearch.evaluation.ground_truth import GroundTruth, Known
from poolsearch.reports.page.markup import badges, macs_text, table
from poolsearch.space import shown


def tested(truth: GroundTruth) -> list[Known]:
    """The placements by their names for people, best first; none where they were not measured on the test split."""
    if truth.part != "test":
        return []
    named = (replace(entry, placement=shown(entry.placement)) for entry in truth.known)
    return sorted(named, key=lambda entry: (-entry.mean, entry.macs))


def known_text(entry: Known) -> str:
    """Mean, and the deviation over trainings where there are several."""
    spread = "" if entry.std is None else f" ± {entry.std:.2%}"
    return f"{entry.mean:.2%}{spread}"


def truth_sentence(truths: Sequence[Known], default: str, metric: str) -> str:
    """The best, and the network's own placement."""
    best, own = truths[0], next((truth for truth in truths if truth.placement == default), None)
    beside = "" if own is None or own is best else f"; the default {default} {known_text(own)}"
    seeds = best.n
    return (
        f"Ground truth of {len(truths):,} placements, {seeds} seed{'' if seeds == 1 else 's'} each: {best.placement} "
        f"has the best test {metric}, {known_text(best)}{beside}. For research: the test split was read for all of "
        "them, so that nothing is chosen by it."
    )


def truth_table(truths: Sequence[Known], default: str, metric: str) -> str:
    """Every placement, best first."""
    own = next((truth.macs for truth in truths if truth.placement == default), None)
    head = [("", ""), ("placement", "text"), (f"test {metric}", ""), ("MACs", ""), ("vs. default", ""), ("", "text")]
    lines = [
        (
            "default" if truth.placement == default else "",
            [
                str(place), escape(truth.placement), known_text(truth), macs_text(truth.macs),
                "–" if own is None else f"{truth.macs / own:.2f} ×",
                badges(["default"] if truth.placement == default else []),
            ],
        )
        for place, truth in enumerate(truths, 1)
    ]  # fmt: skip
    caption = f"Mean and standard deviation over {truths[0].n} trainings on all training images."
    return table(caption, head, lines)
