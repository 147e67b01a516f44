"""What the evaluation knows so far, and its file, from which a stopped ranking goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from poolsearch.evaluation.measure import Measure, Responses
from poolsearch.stages.ranking.early_stop import Bools, Bytes, Ints
from poolsearch.train import checkpoint


@dataclass(frozen=True)
class Tally:
    """What each (placement, member) pair says of each image, in the order of evaluation.

    Attributes:
        measure: of the images; they come in ceil(N / batch) nearly equal chunks.
        batch: the most images of a chunk.
        response_PN: classes in the smallest integers that hold them, or the metric of each image; what is not known yet
            is zero.
        chunks_P: how many chunks each pair has done.
        stopped_P: pairs that left early.
    """

    measure: Measure
    batch: int
    response_PN: Responses
    chunks_P: Ints
    stopped_P: Bools

    @classmethod
    def empty(cls, pairs: int, measure: Measure, batch: int) -> Tally:
        """Nothing known of so many pairs.

        Args:
            pairs: P.
            measure: of the images in the order of evaluation.
            batch: the most images of a chunk.

        Returns:
            A tally to fill: its arrays are written to.
        """
        response_PN = np.zeros((pairs, measure.images), measure.kept_as)
        return cls(measure, batch, response_PN, np.zeros(pairs, np.int64), np.zeros(pairs, np.bool_))

    @property
    def images(self) -> int:
        """N."""
        return self.measure.images

    @cached_property
    def chunks(self) -> int:
        """C, the chunks that there are."""
        return -(-self.images // self.batch)

    @cached_property
    def _end_C(self) -> Ints:
        """How many images the first c chunks have, for c = 0..C."""
        return np.concatenate([[0], np.cumsum(chunk_sizes(self.images, self.batch))])

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
        """Which images of the chunks before the one at hand, which every pair not stopped has seen, each pair got
        right: bits, packed eight to a byte. Of pairs that were stopped, it says nothing."""
        seen = int(self._end_C[self.chunk])
        known = self.measure.first(seen)
        return np.stack([np.packbits(known.right(row_N[:seen])) for row_N in self.response_PN])

    def seen(self, pair: int) -> tuple[Measure, Responses]:
        """What a pair said of the images that it has seen.

        Args:
            pair: its place.

        Returns:
            The measure of these images, and the responses, shape (images seen,), in the order of evaluation.
        """
        images = int(self.images_P[pair])
        return self.measure.first(images), self.response_PN[pair, :images]

    @property
    def images_P(self) -> Ints:
        """How many images each pair has seen."""
        return self._end_C[self.chunks_P]

    @property
    def done(self) -> int:
        """(pair, image) evaluations done, or saved by stopping."""
        return int(np.where(self.stopped_P, self.images, self.images_P).sum())

    def take(self, responses: Mapping[int, torch.Tensor]) -> None:
        """Take in what some pairs say of the images of the chunk at hand.

        Args:
            responses: vectors (B,) by the pair's place, on any device; of pairs that wait for this chunk.
        """
        if not responses:
            return
        rows, chunk = list(responses), self.chunk
        found = torch.stack(list(responses.values())).cpu().numpy()
        self.response_PN[rows, self._end_C[chunk] : self._end_C[chunk + 1]] = found
        self.chunks_P[rows] += 1

    def stop(self, lost_P: Bools) -> None:
        """These leave: they are evaluated no more.

        Args:
            lost_P: True for each pair that leaves.
        """
        self.stopped_P[lost_P] = True

    def save(self, path: Path, made_of: str) -> None:
        """Write all that is known, atomically.

        Args:
            path: of the file, which is replaced.
            made_of: tells rankings apart, see :func:`load_tally`.
        """
        known = np.ascontiguousarray(self.response_PN[:, : self._end_C[self.chunks_P.max()]])
        arrays = {"predicted": known, "chunks": self.chunks_P, "stopped": self.stopped_P}
        meta = {"made_of": made_of, "batch": self.batch}
        checkpoint.save(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, meta)


def load_tally(path: Path, made_of: str, measure: Measure) -> Tally | None:
    """What :meth:`Tally.save` wrote; None where there is nothing, or that of another ranking.

    Args:
        path: of the file, which need not be there.
        made_of: what the ranking at hand is told apart by.
        measure: of the images in the order of evaluation.

    Returns:
        The tally with the batch that it was begun with, or None.

    Raises:
        PoolsearchError: the file is damaged.
    """
    if not path.exists():
        return None
    tensors, meta = checkpoint.load(path)
    if meta["made_of"] != made_of:
        return None
    found = Tally.empty(len(tensors["chunks"]), measure, meta["batch"])
    found.response_PN[:, : tensors["predicted"].shape[1]] = tensors["predicted"].numpy()
    found.chunks_P[:] = tensors["chunks"].numpy()
    found.stopped_P[:] = tensors["stopped"].numpy()
    return found


def chunk_sizes(images: int, batch: int) -> NDArray[np.int64]:
    """Images of each of ceil(images / batch) nearly equal chunks, the larger ones first.

    Args:
        images: in all.
        batch: the most of a chunk.

    Returns:
        Shape (chunks,); the sizes differ by one at most.
    """
    chunks = -(-images // batch)
    return np.full(chunks, images // chunks) + (np.arange(chunks) < images % chunks)
