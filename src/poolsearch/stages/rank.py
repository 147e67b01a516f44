"""Ranking: every placement by its member, on the whole search-val half (paper, section 2.3, end)."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolsearch import rng
from poolsearch.context import Run
from poolsearch.errors import PoolsearchError
from poolsearch.files import write_json, write_text
from poolsearch.mixture.mixture import Mixture
from poolsearch.placement import Placement
from poolsearch.stages.search import make_members, mixture_rules
from poolsearch.stats import kendall_tau, wilson
from poolsearch.supernet.prefix_tree import run_tree, tree_macs
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train import checkpoint

_CALIBRATION_BATCHES = 8
_MEASURED_IMAGES = 32
COLUMNS = (
    "rank", "placement", "number", "val_accuracy", "low", "high", "score", "member", "assignment", "macs", "macs_ratio",
    "is_default", "control",
)  # fmt: skip


def rank(run: Run) -> None:
    """Evaluate the placements and leave ``ranking.csv`` and ``ranking.json``.

    Spaces up to ``rank_all_up_to`` are evaluated whole; of larger ones the best by score, a random control group and
    the default (NOTES M14, M15, D30). The member of a placement is the one with the highest assignment, found anew
    from the final scores (D31).

    Raises:
        PoolsearchError: the search is not finished.
    """
    with run.stage("rank"):
        members, mixture = load_search(run)
        candidates = _candidates(run, mixture)
        pairs = _pairs(candidates, mixture, run.settings.rank.rank_members == "best")
        if run.settings.search.norm == "calibrate":
            _calibrate(run, members, pairs)
        measured = _measure_saving(run, members, pairs)
        correct = _evaluate(run, members, pairs)
        rows = _rows(run, mixture, candidates, correct)
        write_json(run.dir.ranking_summary, _summary(run, rows, measured, pairs))
        write_text(run.dir.ranking, _as_csv(rows))  # last: where it is, the ranking is whole


@dataclass(frozen=True)
class Candidates:
    """Numbers of the placements to evaluate, and which of them are only the control group."""

    numbers: list[int]
    control: frozenset[int]


Pair = tuple[int, int]
"""(number of a placement, member)."""


def load_search(run: Run) -> tuple[list[SinglePath], Mixture]:
    """The trained members, in evaluation mode, and the mixture with its final assignment.

    Raises:
        PoolsearchError: there is no finished search.
    """
    if not run.dir.checkpoint.exists():
        raise PoolsearchError(f"{run.dir.root} has no search yet. Run: poolsearch search --resume --out {run.dir.root}")
    tensors, meta = checkpoint.load(run.dir.checkpoint)
    if meta["step"] < meta["total"]:
        raise PoolsearchError(
            f"the search in {run.dir.root} is at step {meta['step']} of {meta['total']}. Finish it: poolsearch search "
            f"--resume --out {run.dir.root}"
        )
    mixture = Mixture(run.space.size, mixture_rules(run.settings.search))
    mixture.load_state({k: t.numpy() for k, t in checkpoint.of("mixture", tensors).items()})
    mixture.prepare(meta["step"], 1.0, epoch_starts=True)
    members = make_members(run, run.settings.search.norm)
    for i, member in enumerate(members):
        member.load_weights(checkpoint.of(f"member{i}", tensors))
        member.eval()
    return members, mixture


def _candidates(run: Run, mixture: Mixture) -> Candidates:
    settings, size = run.settings.rank, run.space.size
    if size <= settings.rank_all_up_to:
        return Candidates(list(range(size)), frozenset())
    score_A = mixture.learnt_score_AM()[np.arange(size), mixture.final_member_A()]
    scored = int(np.isfinite(score_A).sum())
    if scored < size:
        run.warn(f"only {scored:,} of {size:,} placements were scored in the search: it was short for such a space.")
    top = np.argsort(-score_A, kind="stable")[: min(settings.rank_top, scored)].tolist()
    rest = np.setdiff1d(np.arange(size), top)
    draw = rng.generator(run.seed, "control")
    places = settings.rank_control + settings.rank_top - len(top)  # what the scores cannot fill is drawn
    control = draw.choice(rest, min(places, len(rest)), replace=False).tolist()
    default = [run.space.index(run.space.default)] if run.space.default in run.space else []
    return Candidates(sorted({*top, *control, *default}), frozenset(control))


def _pairs(candidates: Candidates, mixture: Mixture, all_members: bool) -> list[Pair]:
    if all_members:
        return [(number, m) for number in candidates.numbers for m in range(mixture.rules.members)]
    member_A = mixture.final_member_A()
    return [(number, int(member_A[number])) for number in candidates.numbers]


def _by_member(run: Run, pairs: Sequence[Pair]) -> Iterator[tuple[int, list[Pair], list[Placement]]]:
    for m in sorted({m for _, m in pairs}):
        own = [pair for pair in pairs if pair[1] == m]
        yield m, own, [run.space[number] for number, _ in own]


def _chunks(run: Run, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The search-val half in a fixed random order.

    Normalisation by the batch at hand needs batches like those of the training: most data sets lie on disk sorted by
    class, and a chunk of one class has other statistics.
    """
    order = rng.generator(run.seed, "rank").permutation(run.split.search_val)
    return run.loader(order, 1, "rank", run.seed, augmented=False).chunks(size)


@torch.inference_mode()
def _evaluate(run: Run, members: list[SinglePath], pairs: list[Pair]) -> dict[Pair, int]:
    """How many search-val images each pair gets right."""
    correct: dict[Pair, Tensor] = {}
    images = len(run.split.search_val)
    done = 0
    with run.progress.bar("rank", images) as update, run.machine.autocast():
        for x_BCHW, y_B in _chunks(run, run.settings.rank.eval_batch or 0):
            for m, own, placements in _by_member(run, pairs):
                for position, logits in run_tree(members[m], x_BCHW, placements):
                    right = (logits.argmax(1) == y_B).sum()
                    correct[own[position]] = correct.get(own[position], 0) + right
            done += len(y_B)
            update(done, f"{len(pairs)} placements")
    return {pair: int(count) for pair, count in correct.items()}


@torch.no_grad()
def _calibrate(run: Run, members: list[SinglePath], pairs: list[Pair]) -> None:
    """Collect the statistics of every prefix from a few search-train minibatches."""
    images = run.split.search_train
    loader = run.loader(
        images, min(len(images), run.settings.rank.eval_batch or 0), "calibrate", run.seed, augmented=False
    )
    for step in range(_CALIBRATION_BATCHES):
        x_BCHW, _ = loader.batch(step)
        with run.machine.autocast():
            for m, _, placements in _by_member(run, pairs):
                for _ in run_tree(members[m].train(), x_BCHW, placements):
                    pass
    for member in members:
        member.eval()


@torch.inference_mode()
def _measure_saving(run: Run, members: list[SinglePath], pairs: list[Pair]) -> dict[str, float]:
    """Run a few images both ways: seconds of each, and how far the logits are apart (zero to the bit on a CPU)."""
    x_BCHW, _ = next(_chunks(run, _MEASURED_IMAGES))

    def tree() -> dict[Pair, Tensor]:
        return {
            own[position]: logits
            for m, own, placements in _by_member(run, pairs)
            for position, logits in run_tree(members[m], x_BCHW, placements)
        }

    def one_by_one() -> dict[Pair, Tensor]:
        return {(number, m): members[m](x_BCHW, run.space[number]) for number, m in pairs}

    run.progress.say(f"measuring what prefix sharing saves, on {len(x_BCHW)} images")
    with run.machine.autocast():
        tree()  # the first pass builds kernels
        tree_seconds, shared = _timed(run, tree)
        alone_seconds, alone = _timed(run, one_by_one)
    return {
        "seconds_tree": tree_seconds,
        "seconds_one_by_one": alone_seconds,
        "measured_saving": alone_seconds / tree_seconds,
        "largest_logit_difference": max(float((shared[pair] - alone[pair]).abs().max()) for pair in pairs),
    }


def _timed(run: Run, work: Callable[[], dict[Pair, Tensor]]) -> tuple[float, dict[Pair, Tensor]]:
    run.machine.wait()
    start = time.perf_counter()
    result = work()
    run.machine.wait()
    return time.perf_counter() - start, result


def _rows(run: Run, mixture: Mixture, candidates: Candidates, correct: dict[Pair, int]) -> list[dict[str, Any]]:
    """One row per placement, best first; equal accuracy is decided by fewer MACs, then by number.

    ``score`` is free of the initial score, and empty for a pair never scored.
    """
    images = len(run.split.search_val)
    default_macs = run.costs.macs(run.space.default)
    learnt_AM = mixture.learnt_score_AM()
    best: dict[int, Pair] = {}
    for pair in sorted(correct, key=lambda p: -correct[p]):
        best.setdefault(pair[0], pair)
    order = sorted(candidates.numbers, key=lambda n: (-correct[best[n]], run.macs_A[n], n))
    rows = []
    for position, number in enumerate(order, 1):
        _, member = best[number]
        low, high = wilson(correct[best[number]], images)
        placement = run.space[number]
        values = (
            position, str(placement), number, correct[best[number]] / images, low, high,
            _finite(learnt_AM[number, member]), member, float(mixture.assign_AM[number, member]),
            int(run.macs_A[number]), run.macs_A[number] / default_macs, placement == run.space.default,
            number in candidates.control,
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _summary(run: Run, rows: list[dict[str, Any]], measured: dict[str, float], pairs: list[Pair]) -> dict[str, Any]:
    placements = [[run.space[number] for number, _ in own] for _, own, _ in _by_member(run, pairs)]
    costs = [[run.costs.block_macs(p) for p in group] for group in placements]
    shared = sum(tree_macs(rows_, group) for rows_, group in zip(costs, placements, strict=True))
    scored = [row for row in rows if row["score"] is not None]
    settings = run.settings
    return {
        "images": len(run.split.search_val),
        "mode": "all" if len(rows) == run.space.size else "top",
        "members": settings.rank.rank_members,
        "norm": settings.search.norm,
        "placements": len(rows),
        **measured,
        "macs_saving": sum(sum(sum(row) for row in group) for group in costs) / shared,
        "tau_score_accuracy": _tau(scored, "score"),
        "tau_macs_accuracy": _tau(rows, "macs"),
    }


def _tau(rows: list[dict[str, Any]], column: str) -> float | None:
    return _finite(kendall_tau([row[column] for row in rows], [row["val_accuracy"] for row in rows]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
