"""What the evaluation knows so far, and its file, from which a stopped ranking goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from poolsearch.stages.ranking.early_stop import Bools, Bytes, Ints, count
from poolsearch.train import checkpoint


@dataclass(frozen=True)
class Tally:
    """Which images each (placement, member) pair got right, in the order of evaluation.

    Attributes:
        images, batch: N images come in ceil(N / batch) nearly equal chunks.
        right_PW: packed eight to a byte; every chunk begins with a byte of its own, what is not known yet is zero.
        chunks_P: how many chunks each pair has done.
        stopped_P: pairs that left early.
    """

    images: int
    batch: int
    right_PW: Bytes
    chunks_P: Ints
    stopped_P: Bools

    @classmethod
    def empty(cls, pairs: int, images: int, batch: int) -> Tally:
        """Nothing known of so many pairs."""
        width = int(_widths(images, batch).sum())
        return cls(
            images, batch, np.zeros((pairs, width), np.uint8), np.zeros(pairs, np.int64), np.zeros(pairs, np.bool_)
        )

    @cached_property
    def chunks(self) -> int:
        """C, the chunks that there are."""
        return -(-self.images // self.batch)

    @cached_property
    def _end_C(self) -> Ints:
        """Where the first c chunks end in a row of ``right_PW``, for c = 0..C."""
        return np.concatenate([[0], np.cumsum(_widths(self.images, self.batch))])

    @property
    def chunk(self) -> int:
        """The chunk at hand; C when all is done."""
        return int(self.chunks_P[~self.stopped_P].min())

    @property
    def waiting(self) -> list[int]:
        """Pairs that are still to see the chunk at hand."""
        return np.flatnonzero(~self.stopped_P & (self.chunks_P == self.chunk)).tolist()

    @property
    def before(self) -> Bytes:
        """``right_PW`` of the chunks before the one at hand: what every pair not stopped has seen."""
        return self.right_PW[:, : self._end_C[self.chunk]]

    @property
    def correct_P(self) -> Ints:
        """How many images each pair got right."""
        return count(self.right_PW)

    @property
    def images_P(self) -> Ints:
        """How many images each pair has seen."""
        return np.concatenate([[0], np.cumsum(chunk_sizes(self.images, self.batch))])[self.chunks_P]

    @property
    def done(self) -> int:
        """(pair, image) evaluations done, or saved by stopping."""
        return int(np.where(self.stopped_P, self.images, self.images_P).sum())

    def take(self, right: Mapping[int, torch.Tensor]) -> None:
        """Which images of the chunk at hand some pairs got right: Boolean vectors (B,) by the pair's place."""
        if not right:
            return
        rows, chunk = list(right), self.chunk
        packed = np.packbits(torch.stack(list(right.values())).cpu().numpy(), axis=1)
        self.right_PW[rows, self._end_C[chunk] : self._end_C[chunk + 1]] = packed
        self.chunks_P[rows] += 1

    def stop(self, lost_P: Bools) -> None:
        """These leave."""
        self.stopped_P[lost_P] = True

    def save(self, path: Path, made_of: str) -> None:
        """Write all that is known, atomically. ``made_of`` tells rankings apart."""
        known = self.right_PW[:, : self._end_C[self.chunks_P.max()]]
        arrays = {"right": known, "chunks": self.chunks_P, "stopped": self.stopped_P}
        meta = {"made_of": made_of, "images": self.images, "batch": self.batch}
        checkpoint.save(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, meta)


def load_tally(path: Path, made_of: str) -> Tally | None:
    """What :meth:`Tally.save` wrote; None where there is nothing, or that of another ranking.

    Raises:
        PoolsearchError: the file is damaged.
    """
    if not path.exists():
        return None
    tensors, meta = checkpoint.load(path)
    if meta["made_of"] != made_of:
        return None
    found = Tally.empty(len(tensors["chunks"]), meta["images"], meta["batch"])
    found.right_PW[:, : tensors["right"].shape[1]] = tensors["right"].numpy()
    found.chunks_P[:] = tensors["chunks"].numpy()
    found.stopped_P[:] = tensors["stopped"].numpy()
    return found


def chunk_sizes(images: int, batch: int) -> NDArray[np.int64]:
    """Images of each of ceil(images / batch) nearly equal chunks, the larger ones first."""
    chunks = -(-images // batch)
    return np.full(chunks, images // chunks) + (np.arange(chunks) < images % chunks)


def _widths(images: int, batch: int) -> Ints:
    """Bytes of each chunk."""
    return -(-chunk_sizes(images, batch) // 8)
