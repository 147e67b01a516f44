"""Scores and assignment over the search, for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.mixture.mixture import Mixture
from poolsearch.space import Space
from poolsearch.storage.files import atomic
from poolsearch.storage.run_dir import RunDir

_SNAPSHOTS = 100
_SNAPSHOT_VALUES = 5_000_000  # (placement, member) values kept over the whole search


class ScoreHistory:
    """Snapshots of scores and assignment, at most :data:`_SNAPSHOTS`, evenly over the epochs.

    Of large spaces there are fewer, so that no more than 5,000,000 values of a kind are kept, but two at least.

    Args:
        placements: A.
        members: M.
        epochs: of the whole search.
    """

    _COLUMNS = ("score", "assignment", "count", "age")

    def __init__(self, placements: int, members: int, epochs: int) -> None:
        room = max(2, _SNAPSHOT_VALUES // (placements * members))
        self._epochs = set(np.linspace(0, epochs - 1, min(_SNAPSHOTS, room, epochs)).round().astype(int).tolist())
        self._steps: list[int] = []
        self._tables: dict[str, list[NDArray[np.generic]]] = {name: [] for name in self._COLUMNS}

    def take(self, epoch: int, step: int, mixture: Mixture) -> None:
        """Keep the tables when this epoch is one of those to keep.

        Args:
            epoch: the one that ends, counted from 0.
            step: how many steps are done.
            mixture: what is kept of it: scores, assignment, training steps, and how old each score is.
        """
        if epoch not in self._epochs:
            return
        self._steps.append(step)
        values = (mixture.score_AM, mixture.balanced_AM, mixture.trained_AM, mixture.age_AM(step))
        for name, table_AM in zip(self._COLUMNS, values, strict=True):
            kind = np.float32 if table_AM.dtype.kind == "f" else np.int32
            self._tables[name].append(table_AM.astype(kind))

    def tensors(self) -> dict[str, Tensor]:
        """All snapshots, stacked over steps.

        Returns:
            ``score``, ``assignment``, ``count`` and ``age``, each (S, A, M), and ``step`` (S,); empty before the first.
        """
        if not self._steps:
            return {}
        stacked = {name: torch.from_numpy(np.stack(tables)) for name, tables in self._tables.items()}
        return stacked | {"step": torch.tensor(self._steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Undo of :meth:`tensors`.

        Args:
            tensors: what that gave; empty where there was no snapshot.
        """
        self._steps = tensors["step"].tolist() if tensors else []
        self._tables = {name: list(tensors[name].numpy()) if tensors else [] for name in self._COLUMNS}

    def write(self, files: RunDir, space: Space) -> None:
        """Write scores.parquet: one row per step, placement and member.

        Args:
            files: of the run.
            space: the placements, for their names.
        """
        score_SAM = np.stack(self._tables["score"])
        steps, placements, members = score_SAM.shape
        names = pa.DictionaryArray.from_arrays(
            pa.array(np.tile(np.repeat(np.arange(placements, dtype=np.int32), members), steps)),
            pa.array([str(p) for p in space]),
        )
        columns: dict[str, Any] = {
            "step": np.repeat(self._steps, placements * members),
            "number": np.tile(np.repeat(np.arange(placements), members), steps),
            "placement": names,
            "member": np.tile(np.arange(members), steps * placements),
        }
        for name in self._COLUMNS:
            columns[name] = np.stack(self._tables[name]).ravel()
        with atomic(files.scores) as temporary:
            pq.write_table(pa.table(columns), temporary)
