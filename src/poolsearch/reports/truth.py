"""What a page says about a sweep in benchmark mode: the ground truth of every placement; nothing is chosen from it."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from poolsearch.placement import shown
from poolsearch.reports.markup import badges, macs_text, table


@dataclass(frozen=True)
class Truth:
    """A placement's trainings on all training images, by the metric on the test split, one value for each seed."""

    placement: str
    macs: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def text(self) -> str:
        """Mean, and the deviation over seeds where there are several."""
        spread = f" ± {statistics.stdev(self.values):.2%}" if len(self.values) > 1 else ""
        return f"{self.mean:.2%}{spread}"


def read_truth(path: Path) -> list[Truth]:
    """The placements of sweep.csv, best first; none where it is not of the test split.

    Raises:
        KeyError, ValueError: it is damaged.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["part"] == "test"]
    return sorted(_by_placement(rows), key=lambda truth: (-truth.mean, truth.macs))


def _by_placement(rows: Iterable[Mapping[str, str]]) -> list[Truth]:
    values: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        values.setdefault((shown(row["placement"]), int(row["macs"])), []).append(float(row["metric"]))
    return [Truth(placement, macs, tuple(found)) for (placement, macs), found in values.items()]


def truth_sentence(truths: Sequence[Truth], default: str, metric: str) -> str:
    """The best, and the network's own placement."""
    best, own = truths[0], next((truth for truth in truths if truth.placement == default), None)
    beside = "" if own is None or own is best else f"; the default {default} {own.text}"
    seeds = len(best.values)
    return (
        f"Ground truth of {len(truths):,} placements, {seeds} seed{'' if seeds == 1 else 's'} each: {best.placement} "
        f"has the best test {metric}, {best.text}{beside}. For research: the test split was read for all of them, so "
        "that nothing is chosen by it."
    )


def truth_table(truths: Sequence[Truth], default: str, metric: str) -> str:
    """Every placement, best first."""
    own = next((truth.macs for truth in truths if truth.placement == default), None)
    head = [("", ""), ("placement", "text"), (f"test {metric}", ""), ("MACs", ""), ("vs. default", ""), ("", "text")]
    lines = [
        (
            "default" if truth.placement == default else "",
            [
                str(place), escape(truth.placement), truth.text, macs_text(truth.macs),
                "–" if own is None else f"{truth.macs / own:.2f} ×",
                badges(["default"] if truth.placement == default else []),
            ],
        )
        for place, truth in enumerate(truths, 1)
    ]  # fmt: skip
    caption = f"Mean and standard deviation over {len(truths[0].values)} trainings on all training images."
    return table(caption, head, lines)
