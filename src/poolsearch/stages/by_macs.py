"""A ranking by cost alone: what a user would choose who has trained nothing."""

from __future__ import annotations

from typing import Any

from poolsearch.session.run import Run
from poolsearch.stages.ranking.table import COLUMNS, answer_entries, as_csv
from poolsearch.storage.files import write_json, write_text


def by_macs(run: Run) -> None:
    """Rank all placements by their MACs, the most first, and leave ``ranking.csv, ranking.json``.

    Nothing is trained and nothing evaluated: there is no accuracy in this ranking. A budget (``--max-macs``) has left
    out before what costs too much. Placements of equal MACs stand in the order of their numbers.

    Args:
        run: open; its folder takes the files.
    """
    with run.stage("rank"):
        rows = rows_of(run)
        write_json(run.dir.ranking_summary, {
            "metric": run.settings.data.metric, "mode": "macs", "method": run.settings.search.method,
            "placements": len(rows), "answers": answer_entries(rows, run.settings.retrain.answer_at),
        })  # fmt: skip
        write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole


def rows_of(run: Run) -> list[dict[str, Any]]:
    """One row per placement; what an evaluation would tell is empty.

    Args:
        run: its space is ranked.

    Returns:
        For each placement, the most MACs first, a value of each of the columns of ranking.csv.
    """
    own, rows = run.costs.macs(run.space.default), list[dict[str, Any]]()
    for rank, number in enumerate(sorted(range(run.space.size), key=lambda n: (-run.macs_A[n], n)), 1):
        placement, macs = run.space[number], int(run.macs_A[number])
        known = {
            "rank": rank, "placement": str(placement), "number": number, "macs": macs, "macs_ratio": macs / own,
            "is_default": placement == run.space.default, "control": False,
        }  # fmt: skip
        rows.append(dict.fromkeys(COLUMNS) | known)
    return rows
