"""The evaluation: every pair on the search-val half, chunk by chunk, saved as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from poolsearch import rng
from poolsearch.errors import Interrupted
from poolsearch.session.run import Run
from poolsearch.stages.ranking.choice import Pair
from poolsearch.stages.ranking.early_stop import Bools, Ints, is_behind, needed_evidence
from poolsearch.stages.ranking.tally import Tally
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.task import responses
from poolsearch.workers.signals import stop_requests


def image_chunks(run: Run, size: int) -> list[Ints]:
    """The search-val half in a fixed random order, in nearly equal chunks.

    Normalisation by the batch at hand needs batches like those of the training: most data sets lie on disk sorted by
    class, and a chunk of one class has other statistics. Stopping early needs the order to be random too.

    Args:
        run: open.
        size: the most images of a chunk.

    Returns:
        Indices into the run's images, of each chunk.
    """
    order = evaluation_order(run)
    return np.array_split(order, -(-len(order) // size))


def evaluation_order(run: Run) -> Ints:
    """The search-val half in the order of evaluation.

    Args:
        run: open; the order is the same for the same seed and split.

    Returns:
        Indices into the run's images, shape (N,).
    """
    return rng.generator(run.seed, "rank").permutation(run.split.search_val)


def load_images(run: Run, indices: Ints) -> tuple[Tensor, Tensor]:
    """These images and what there is to learn of them, in one batch.

    Args:
        run: open.
        indices: into the run's images, shape (B,).

    Returns:
        Normalised images (B, C, H, W), not augmented, and their targets (B, ...), on the run's device.
    """
    return next(run.loader(indices, 1, "rank", run.seed, augmented=False).chunks(len(indices)))


@torch.inference_mode()
def evaluate(
    run: Run, members: Sequence[SinglePath], pairs: Sequence[Pair], tally: Tally, made_of: str, kept: frozenset[int]
) -> None:
    """Bring ``tally`` from where it is to its end; killed at any moment it goes on from its file.

    Args:
        run: the run.
        members: the trained supernets.
        pairs: what is evaluated.
        tally: what is known of them.
        made_of: tells rankings apart.
        kept: numbers of the placements that are not stopped early.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; every response so far is saved.
    """
    path, every_seconds = run.dir.ranking_progress, run.settings.machine.checkpoint_seconds
    chunks = image_chunks(run, tally.batch)
    bar = run.progress.bar("rank", len(pairs) * tally.images)
    with stop_requests() as stopped, bar as update, run.machine.autocast():
        tally.save(path, made_of)  # the size of the chunks is settled from here on
        saved = time.monotonic()
        while tally.chunk < len(chunks):
            if run.settings.rank.rank_early_stop:
                tally.stop(_losers(run, pairs, tally, kept))
            left, done = int((~tally.stopped_P).sum()), tally.done
            batch = load_images(run, chunks[tally.chunk])
            new: dict[int, Tensor] = {}
            for pair, response_B in _responses(run, members, pairs, tally.waiting, *batch):
                new[pair] = response_B
                done += len(response_B)
                update(done, f"{left:,} of {len(pairs):,} left" if left < len(pairs) else f"{left:,} placements")
                stop = stopped()
                if stop or time.monotonic() - saved >= every_seconds:
                    tally.take(new)
                    new.clear()
                    tally.save(path, made_of)
                    saved = time.monotonic()
                if stop:
                    raise Interrupted
            tally.take(new)


def _responses(
    run: Run,
    members: Sequence[SinglePath],
    pairs: Sequence[Pair],
    places: Sequence[int],
    x_BCHW: Tensor,
    targets: Tensor,
) -> Iterator[tuple[int, Tensor]]:
    """What each of the pairs at ``places`` says of each image, shape (B,), with its place."""
    for m in sorted({pairs[i][1] for i in places}):
        own = [i for i in places if pairs[i][1] == m]
        for position, outputs in run_tree(members[m], x_BCHW, [run.space[pairs[i][0]] for i in own]):
            yield own[position], responses(run.task, outputs, targets)


def _losers(run: Run, pairs: Sequence[Pair], tally: Tally, kept: frozenset[int]) -> Bools:
    """Pairs that are out of the first k, but never of placements that are kept."""
    number_P = np.array([number for number, _ in pairs])
    top = run.settings.retrain.top_k
    bar = needed_evidence(top, len(pairs), tally.chunks - 1)
    lost_P = is_behind(tally.before, number_P, ~tally.stopped_P, top, bar)
    lost_P[np.isin(number_P, list(kept))] = False
    return lost_P
