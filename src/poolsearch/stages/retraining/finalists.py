"""Who is trained stand-alone: the first of the ranking and the network's own placement."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from poolsearch.context import Run
from poolsearch.errors import PoolsearchError
from poolsearch.files import RunDir
from poolsearch.placement import Placement


@dataclass(frozen=True)
class Finalist:
    """A placement that is retrained; ``rank`` is its place in the ranking, None where it was not ranked."""

    placement: Placement
    rank: int | None


def finalists(run: Run) -> list[Finalist]:
    """The top-k of the ranking, the winner first, and the default.

    Raises:
        PoolsearchError: there is no ranking.
    """
    rank_of = {row["placement"]: int(row["rank"]) for row in read_ranking(run.dir)}
    names = list(rank_of)[: run.settings.retrain.top_k]
    default = str(run.space.default)
    names += [default] if default not in names else []
    return [Finalist(Placement.parse(name), rank_of.get(name)) for name in names]


def read_ranking(files: RunDir) -> list[dict[str, str]]:
    """The rows of ranking.csv, best first.

    Raises:
        PoolsearchError: there is none.
    """
    if not files.ranking.exists():
        raise PoolsearchError(f"{files.root} has no ranking yet. Run: poolsearch rank --out {files.root}")
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"rank", "placement"} <= rows[0].keys():
        raise PoolsearchError(
            f"{files.ranking} is damaged. Delete it and rank again: poolsearch rank --out {files.root}"
        )
    return rows
