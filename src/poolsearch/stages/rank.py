"""Ranking: every placement by its member, on the whole search-val half (paper, section 2.3, end)."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.calibration.features import mean_of_members
from poolsearch.errors import PoolsearchError
from poolsearch.mixture.mixture import Mixture
from poolsearch.samplers.tree import TreeSearch
from poolsearch.session.run import Run
from poolsearch.stages.ranking.batch import eval_batch
from poolsearch.stages.ranking.choice import Pair, by_member, choose_candidates, pairs_of
from poolsearch.stages.ranking.evaluate import evaluate, evaluation_order, image_chunks, load_images
from poolsearch.stages.ranking.table import as_csv, evaluations_of, members_csv, rows_of, summary_of, values_of_members
from poolsearch.stages.ranking.tally import Tally, load_tally
from poolsearch.stages.search import make_members, mixture_rules, search_identity
from poolsearch.stages.trials import learn
from poolsearch.storage.files import remove, sha256, write_json, write_text
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import MemberEvaluation, read_members, read_object, read_ranking
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.task import main_output
from poolsearch.texts import command
from poolsearch.train import checkpoint

CALIBRATION_BATCHES = 8
MEASURED_IMAGES = 32
_MADE_OF = "evaluation"  # of ranking.json: a hash of all that members.csv rests on
_BY_METRIC = {"rank_by": "metric", "trust": None, "noise": None, "trials": 0}
MEASURED_ALONE = 200  # pairs run one by one; of more, an even choice, and the time of all in proportion


def rank(run: Run) -> None:
    """Evaluate the placements and leave ``members.csv``, ``ranking.csv`` and ``ranking.json``.

    With ``--rank-by prediction`` they are ranked by what :func:`poolsearch.stages.trials.learn` expects of them; what
    was evaluated for such a ranking before is not evaluated again.

    Spaces up to ``rank_all_up_to`` are evaluated whole; of larger ones the best by score, a random control group and
    the default. The member of a placement is the one with the highest assignment, found anew from the final scores.
    Stopped at any moment, it goes on where it was and ends the same to the bit.

    Source: paper, section 2.3.
    Differs: docs/differences.md#which-placements-are-evaluated, docs/differences.md#member-of-a-placement.

    Args:
        run: open, with a finished search of supernets; its folder takes the files.

    Raises:
        PoolsearchError: the search is not finished.
        Interrupted: stopped on request; the state is saved.
    """
    predicts = run.settings.rank.rank_by == "prediction"
    with run.stage("rank"):
        members, mixture = load_search(run)
        candidates = choose_candidates(run, mixture, settled_number(run))
        pairs = pairs_of(candidates, mixture, run.settings.rank.rank_members != "assignment")
        made_of = _made_of(run, pairs)
        if predicts:
            candidates = replace(candidates, found=None)  # the prediction alone says what is first
        if predicts and (known := _known(run, made_of)) is not None:
            evaluations, summary = known
        else:
            measured, tally = _evaluate(run, members, pairs, made_of, candidates.kept)
            evaluations = evaluations_of(run, mixture, candidates, pairs, tally)
            write_text(run.dir.members, members_csv(evaluations))
            summary = summary_of(run, rows_of(run, evaluations, candidates.found), measured, candidates, pairs, tally)
            write_json(run.dir.ranking_summary, summary | ({_MADE_OF: made_of} if predicts else _BY_METRIC))
        rows = rows_of(run, evaluations, candidates.found)
        if not predicts:
            write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole
        remove(run.dir.ranking_progress)
    if predicts:
        learn(run, rows, summary | {_MADE_OF: made_of}, mean_of_members(values_of_members(rows, evaluations)))


def _known(run: Run, made_of: str) -> tuple[list[MemberEvaluation], dict[str, Any]] | None:
    """What was evaluated before, with the contents of ranking.json; None where it was something else, or nothing."""
    files = run.dir
    if not (files.members.exists() and files.ranking_summary.exists()):
        return None
    summary = read_object(files.ranking_summary, {f"{_MADE_OF}?": str})
    return (read_members(files), summary) if summary.get(_MADE_OF) == made_of else None


def _evaluate(
    run: Run, members: Sequence[SinglePath], pairs: Sequence[Pair], made_of: str, kept: frozenset[int]
) -> tuple[dict[str, float], Tally]:
    """What sharing prefixes saves, by key, and what every pair sees, from where it was left."""
    measure = run.measure(evaluation_order(run))
    tally = load_tally(run.dir.ranking_progress, made_of, measure)
    if tally is None:
        tally = Tally.empty(len(pairs), measure, eval_batch(run, pairs))
    else:
        run.progress.say(f"going on with the ranking at batch {tally.chunk} of {tally.chunks}")
    if run.settings.search.norm == "calibrate":
        _calibrate(run, members, pairs, tally.batch)
    measured = _measure_saving(run, members, pairs)
    evaluate(run, members, pairs, tally, made_of, kept)
    return measured, tally


def value_on(run: Run, images: NDArray[np.int64]) -> dict[str, float]:
    """The metric of every ranked placement, by the member (or members) that ranked it, on other images than search-val.

    For research, as on the test split: nothing may be chosen by it. ``scratch/`` in the run's folder is used meanwhile.

    Args:
        run: open, with a ranking by supernets.
        images: indices into the run's images, shape (N,).

    Returns:
        A fraction by placement as files write it, best ranked first; by several members, the mean of theirs.

    Raises:
        PoolsearchError: there is no ranking or no finished search, or one is damaged.
        Interrupted: stopped on request.
    """
    pairs = [(int(row["number"]), int(row["member"])) for row in read_ranking(run.dir)]
    if run.settings.rank.rank_members == "mean":
        pairs = [(number, m) for number, _ in pairs for m in range(run.settings.search.members)]
    found: dict[str, list[float]] = {}
    for (number, _), value in zip(pairs, values_of(run, pairs, images), strict=True):
        found.setdefault(str(run.space[number]), []).append(value)
    return {placement: statistics.fmean(values) for placement, values in found.items()}


def values_of(run: Run, pairs: Sequence[Pair], images: NDArray[np.int64]) -> list[float]:
    """The metric of pairs of placement and member on any images of a run that has its ranking; as :func:`value_on`.

    Args:
        run: open, with a ranking by supernets.
        pairs: (number of the placement, member).
        images: indices into the run's images, shape (N,).

    Returns:
        A fraction for each pair, in their order.
    """
    members, _ = load_search(run)
    elsewhere = replace(
        run, dir=RunDir(run.dir.root / "scratch"), split=replace(run.split, search_val=images),
        settings=run.settings.changed(rank_early_stop=False),
    )  # fmt: skip
    batch = min(read_object(run.dir.ranking_summary, {"eval_batch": int})["eval_batch"], len(images))
    if run.settings.search.norm == "calibrate":
        _calibrate(run, members, pairs, batch)
    tally = Tally.empty(len(pairs), run.measure(evaluation_order(elsewhere)), batch)
    evaluate(elsewhere, members, pairs, tally, "", frozenset())
    shutil.rmtree(elsewhere.dir.root)
    return [float(measure.score(response_N)) for measure, response_N in map(tally.seen, range(len(pairs)))]


def load_search(run: Run) -> tuple[list[SinglePath], Mixture]:
    """The trained members, in evaluation mode, and the mixture with its final assignment.

    Args:
        run: open, with a search of supernets.

    Returns:
        M supernets on the run's device, and the mixture that assigns placements to them.

    Raises:
        PoolsearchError: there is no finished search, or its checkpoint is damaged.
    """
    again = command("search", "--resume", "--out", run.dir.root)
    if not run.dir.checkpoint.exists():
        raise PoolsearchError(f"{run.dir.root} has no search yet. Run: {again}")
    tensors, meta = checkpoint.load(run.dir.checkpoint, of=search_identity(run))
    if meta["step"] < meta["total"]:
        raise PoolsearchError(
            f"the search in {run.dir.root} is at step {meta['step']} of {meta['total']}. Finish it: {again}"
        )
    mixture = Mixture(run.space.size, mixture_rules(run.settings.search), run.seed)
    mixture.load_state({k: t.numpy() for k, t in checkpoint.under_prefix("mixture", tensors).items()})
    mixture.prepare(meta["step"], 1.0, epoch_starts=True)
    members = make_members(run, run.settings.search.norm)
    for i, member in enumerate(members):
        member.load_weights(checkpoint.under_prefix(f"member{i}", tensors))
        member.eval()
    return members, mixture


def settled_number(run: Run) -> int | None:
    """The number of the placement that a tree search settled on; None of the other methods, which settle on none.

    Args:
        run: open, with a finished search of supernets.

    Returns:
        Its number in the run's space, or None.

    Raises:
        PoolsearchError: the checkpoint of the search is damaged.
    """
    if run.settings.search.method != "mcts":
        return None
    _, meta = checkpoint.load(run.dir.checkpoint)
    tree = TreeSearch(run.space, run.settings.search, run.seed, meta["total"])
    tree.load_state(meta["task"]["sampler"])
    return run.space.index(tree.found())


def _made_of(run: Run, pairs: Sequence[Pair]) -> str:
    """A hash of all that an evaluation begun before must share with this one, to be gone on with."""
    settings = run.settings
    asked = settings.given.rank.eval_batch
    rule = settings.retrain.top_k if settings.rank.rank_early_stop else None
    kept = "classes seen" if run.measure(run.split.search_val).kept_as.kind == "u" else run.settings.data.task
    values = json.dumps([kept, run.split.hash, run.seed, asked, rule, pairs])  # of older versions: bits
    return sha256(np.memmap(run.dir.checkpoint, np.uint8, "r").data, values.encode())


@torch.no_grad()
def _calibrate(run: Run, members: Sequence[SinglePath], pairs: Sequence[Pair], batch: int) -> None:
    """Collect the statistics of every prefix from a few search-train minibatches."""
    images = run.split.search_train
    loader = run.loader(images, min(len(images), batch), "calibrate", run.seed, augmented=False)
    for step in range(CALIBRATION_BATCHES):
        x_BCHW, _ = loader.batch(step)
        with run.machine.autocast():
            for m, numbers in by_member(pairs).items():
                for _ in run_tree(members[m].train(), x_BCHW, [run.space[number] for number in numbers]):
                    pass
    for member in members:
        member.eval()


@torch.inference_mode()
def _measure_saving(run: Run, members: Sequence[SinglePath], pairs: Sequence[Pair]) -> dict[str, float]:
    """Run a few images both ways: seconds of each, and how far the logits are apart (zero to the bit on a CPU)."""
    x_BCHW, _ = load_images(run, image_chunks(run, MEASURED_IMAGES)[0])
    some = pairs[:: -(-len(pairs) // MEASURED_ALONE)]

    def tree() -> dict[Pair, Tensor]:
        return {
            (numbers[position], m): main_output(outputs)
            for m, numbers in by_member(pairs).items()
            for position, outputs in run_tree(members[m], x_BCHW, [run.space[number] for number in numbers])
        }

    def one_by_one() -> dict[Pair, Tensor]:
        return {(number, m): main_output(members[m](x_BCHW, run.space[number])) for number, m in some}

    run.progress.say(f"measuring what prefix sharing saves, on {len(x_BCHW)} images")
    with run.machine.autocast():
        tree()  # the first pass builds kernels
        tree_seconds, shared = _timed(run, tree)
        some_seconds, alone = _timed(run, one_by_one)
    alone_seconds = some_seconds * len(pairs) / len(some)
    return {
        "seconds_tree": tree_seconds,
        "seconds_one_by_one": alone_seconds,
        "measured_saving": alone_seconds / tree_seconds,
        "largest_logit_difference": max(float((shared[pair] - alone[pair]).abs().max()) for pair in some),
    }


def _timed(run: Run, work: Callable[[], dict[Pair, Tensor]]) -> tuple[float, dict[Pair, Tensor]]:
    run.machine.wait()
    start = time.perf_counter()
    result = work()
    run.machine.wait()
    return time.perf_counter() - start, result
