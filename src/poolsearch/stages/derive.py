"""The ranking of a relaxed method: what it found and the network's own placement, each run as a single path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.measure import Responses
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.ranking.evaluate import evaluation_order, image_chunks, load_images
from poolsearch.stages.ranking.table import EVALUATED, answer_entries, as_csv
from poolsearch.stages.search import make_members, search_identity
from poolsearch.storage.files import write_json, write_text
from poolsearch.storage.stage_results import read_object
from poolsearch.supernet.single_path import SinglePath
from poolsearch.texts import command
from poolsearch.train import checkpoint
from poolsearch.train.step import predict


def derive(run: Run) -> None:
    """Evaluate the found placement and the default on the search-val half, and leave ``ranking.csv, ranking.json``.

    At the end of the training the resolution of the largest weight is taken for each block (paper, appendix C). Both
    placements are run as single paths with the weights of the supernet.

    Differs: the found placement stands first, whatever the accuracies: it is what the method gives. The default's is
    told beside it.

    Args:
        run: open, with the search of a relaxed method; its folder takes the files.

    Raises:
        PoolsearchError: the search is not finished.
    """
    with run.stage("rank"):
        found, supernet = load_relaxed(run)
        placements = list(dict.fromkeys([found, run.space.default]))
        rows = rows_of(run, placements, _predictions(run, supernet, placements))
        write_json(run.dir.ranking_summary, {
            "images": len(run.split.search_val), "metric": run.settings.data.metric, "mode": "found",
            "method": run.settings.search.method, "placements": len(rows), "norm": "batch",
            "eval_batch": _batch(run), "answers": answer_entries(rows, run.settings.retrain.answer_at),
            "tau_macs_accuracy": None,
        })  # fmt: skip
        write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole


def load_relaxed(run: Run) -> tuple[Placement, SinglePath]:
    """What the search found, and its supernet in evaluation mode.

    Args:
        run: open, with the search of a relaxed method.

    Returns:
        The placement, and the supernet with the trained weights, on the run's device.

    Raises:
        PoolsearchError: there is no finished search, or its checkpoint is damaged.
    """
    if not run.dir.relaxed.exists():
        raise PoolsearchError(
            f"{run.dir.root} has no finished search. Finish it: {command('search', '--resume', '--out', run.dir.root)}"
        )
    tensors, _ = checkpoint.load(run.dir.checkpoint, of=search_identity(run))
    supernet = make_members(run, "batch")[0]
    supernet.load_weights(checkpoint.under_prefix("supernet", tensors))
    return Placement.parse(read_object(run.dir.relaxed, {"placement": str})["placement"]), supernet.eval()


def rows_of(run: Run, placements: Sequence[Placement], response_PN: Sequence[Responses]) -> list[dict[str, Any]]:
    """One row per placement, in the order given; one that is not in the space has no number.

    Args:
        run: the run.
        placements: what was evaluated.
        response_PN: of each on every search-val image, in the order of evaluation.

    Returns:
        For each placement a value of each of the columns of ranking.csv; what only a mixture has is None.
    """
    measure, own = run.measure(evaluation_order(run)), run.costs.macs(run.space.default)
    rows = []
    for rank, (placement, response_N) in enumerate(zip(placements, response_PN, strict=True), 1):
        low, high = measure.interval(response_N)
        macs, value = run.costs.macs(placement), float(measure.score(response_N))
        number = run.space.index(placement) if placement in run.space else None
        values = (
            rank, str(placement), number, measure.accuracy(response_N), low, high, None, None, None,
            macs, macs / own, placement == run.space.default, False, len(response_N), value,
        )  # fmt: skip
        rows.append(dict(zip(EVALUATED, values, strict=True)))
    return rows


def _batch(run: Run) -> int:
    return min(run.settings.rank.eval_batch, len(run.split.search_val))


@torch.inference_mode()
def _predictions(run: Run, supernet: SinglePath, placements: Sequence[Placement]) -> list[Responses]:
    """What each placement says of every search-val image, in the order of evaluation."""
    chunks, found = image_chunks(run, _batch(run)), [list[Responses]() for _ in placements]
    with run.progress.bar("rank", len(chunks)) as update:
        for done, chunk in enumerate(chunks, 1):
            batch = load_images(run, chunk)
            for placement, kept in zip(placements, found, strict=True):
                response_B = predict(run.task, lambda x, p=placement: supernet(x, p), *batch, run.machine)
                kept.append(response_B.cpu().numpy())
            update(done, "")
    return [np.concatenate(kept) for kept in found]
