"""The score table of a search, as far as a report follows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from poolsearch.space import shown
from poolsearch.storage.parquet import read_table

MOST_PLACEMENTS = 60
"""How many placements the report follows over time; a table of 20,000 would neither fit a page nor be looked at."""


@dataclass(frozen=True)
class Scores:
    """The score table over time, for the placements that are followed.

    Attributes:
        placements: names of the followed placements, by number.
        steps: the training step of every snapshot.
        assign_TAM: p(member given placement) at every snapshot, for the followed placements.
        last: the whole last snapshot (all placements), columns as in ``scores.parquet``.
        total: A, the number of placements in the file.
    """

    placements: list[str]
    steps: list[int]
    assign_TAM: NDArray[np.float64]
    last: pa.Table
    total: int

    @property
    def members(self) -> int:
        return self.assign_TAM.shape[2]


def read_scores(path: Path, ranked: list[int], default: str) -> Scores | None:
    """Follow the default and the first of the ranking, or of the last scores while there is no ranking.

    None where there is no snapshot yet.

    Raises:
        PoolsearchError, KeyError, TypeError, ValueError, IndexError: the file is damaged.
    """
    steps = np.unique(read_table(path, ["step"])["step"].to_numpy()).tolist()
    if not steps:
        return None
    last = read_table(path, filters=[("step", "=", steps[-1])])
    named = zip(last["placement"].to_pylist(), last["number"].to_pylist(), strict=True)
    own = [number for name, number in named if name == default][:1]
    numbers = list(dict.fromkeys([*own, *(ranked or _by_score(last))]))[:MOST_PLACEMENTS]
    columns = ["step", "number", "placement", "member", "assignment"]
    followed = read_table(path, columns, [("number", "in", numbers)])
    return _followed(followed, steps, last)


def _by_score(last: pa.Table) -> list[int]:
    """Placement numbers by the score of their most probable member, best first."""
    best = last.sort_by([("assignment", "descending"), ("score", "descending")])
    seen: dict[int, float] = {}
    for number, score in zip(best["number"].to_pylist(), best["score"].to_pylist(), strict=True):
        seen.setdefault(number, -np.inf if score is None else score)
    return sorted(seen, key=lambda number: -seen[number])


def _followed(table: pa.Table, steps: list[int], last: pa.Table) -> Scores:
    names = dict(zip(table["number"].to_pylist(), table["placement"].to_pylist(), strict=True))
    numbers = sorted(names)
    members = int(last["member"].to_numpy().max()) + 1
    assign_TAM = np.full((len(steps), len(numbers), members), np.nan)
    t = np.searchsorted(steps, table["step"].to_numpy())
    a = np.searchsorted(numbers, table["number"].to_numpy())
    assign_TAM[t, a, table["member"].to_numpy()] = table["assignment"].to_numpy()
    total = len(np.unique(last["number"].to_numpy()))
    return Scores([shown(str(names[n])) for n in numbers], steps, assign_TAM, last, total)
