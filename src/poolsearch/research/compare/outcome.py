"""What one run of a comparison found: facts only, so that they can be judged again when more of the truth is known."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from poolsearch.research.compare.cases import Charged
from poolsearch.research.compare.compute_cost import run_work
from poolsearch.session.run import Run
from poolsearch.settings.methods import kind_of
from poolsearch.space import Placement, Space
from poolsearch.stages.rank import value_on
from poolsearch.stages.search import search_epochs
from poolsearch.storage.files import write_json
from poolsearch.storage.run_record import read_record
from poolsearch.storage.stage_results import read_opening, read_ranking

SEARCHING = ("search", "rank", "sweep", "trials")
"""The stages that lead to a ranking."""


def outcome(run: Run, charged: Charged = "used") -> dict[str, Any]:
    """The contents of result.json, of a run that has its ranking.

    Placements that supernets ranked are also evaluated on the test split, for Figure 3 alone
    (docs/differences.md#figure-3); that it was opened, and what for, is written to test.json before.

    Args:
        run: open, with its ranking.
        charged: which scores count as work.

    Returns:
        JSON values: ``work`` in multiply-adds, ``seconds`` (None where a part was killed), ``points`` by their ranks.
    """
    search, kind = run.settings.search, kind_of(run.settings.search.method)
    tested = _on_test(run) if kind == "sampled" else {}
    rows = read_ranking(run.dir)
    pick = Placement.parse(rows[0]["placement"])
    return {
        "method": search.method,
        "seed": run.seed,
        "members": search.members,
        "total_epochs": search_epochs(search) if kind in ("sampled", "relaxed") else None,
        "placements": run.space.size,
        "pick": str(pick),
        "pick_macs_ratio": run.costs.macs(pick) / run.costs.macs(run.space.default),
        "restricted": pick in Space(run.space.length, run.space.poolings, run.space.default, axes=run.space.axes),
        "seconds": _seconds(run),
        "work": run_work(run, charged),
        "points": [
            {
                "placement": row["placement"], "rank": int(row["rank"]), "val": _number(row["val_metric"]),
                "score": _number(row["score"]), "test": tested.get(row["placement"]),
                "macs_ratio": float(row["macs_ratio"]),
            }
            for row in rows
        ],
    }  # fmt: skip


def _on_test(run: Run) -> dict[str, float]:
    if not read_opening(run.dir):
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        purpose = "a comparison of methods, for research: nothing is chosen by it"
        write_json(run.dir.test, {"opened": now, "for": purpose, "images": len(run.split.test)})
    return value_on(run, run.split.test)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _seconds(run: Run) -> float | None:
    """Of search and ranking; None where a part was killed, which leaves no time."""
    taken = [stage["seconds"] for stage in read_record(run.dir)["stages"] if stage["stage"] in SEARCHING]
    return None if None in taken else sum(taken)
