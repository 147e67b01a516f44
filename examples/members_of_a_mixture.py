"""By which members to rank the placements of a mixture: each by its own, as the paper, or by all of them.

python examples/members_of_a_mixture.py COMPARISON SWEEP

COMPARISON is the folder of ``poolsearch compare``, SWEEP that of the ground truth. Every placement is evaluated by
every member on some search-val images (the same for all runs of a seed), once: ``members.json`` beside each ranking
keeps it. Prints by each way Kendall's tau with the truth, the correlation with it given log MACs and its square, and
how far below the best the placement lies that it puts first; and of how many placements the own member is the best of
all, beside the 1/M of a member drawn at random.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poolsearch.cli import process
from poolsearch.evaluation.ground_truth import GroundTruth, ground_truth
from poolsearch.evaluation.rank_agreement import agreement, agreement_given_macs
from poolsearch.progress import ConsoleProgress
from poolsearch.session.open_run import open_run
from poolsearch.stages.rank import load_search, values_of
from poolsearch.storage.files import read_json, write_json
from poolsearch.storage.run_dir import RunDir

IMAGES = 4096


def evaluated(folder: Path) -> dict[str, object]:
    """Accuracies of every placement by every member, which needs the checkpoint, and the member of each."""
    with open_run(folder, None, True, ConsoleProgress()) as run:
        _, mixture = load_search(run)
        size, members = run.space.size, run.settings.search.members
        pairs = [(number, m) for number in range(size) for m in range(members)]
        val = run.split.search_val
        images = np.sort(np.random.default_rng(run.seed).choice(val, min(IMAGES, len(val)), replace=False))
        accuracy_AM = np.array(values_of(run, pairs, images)).reshape(size, members)
        return {
            "what": f"accuracy of every placement by every member on {len(images):,} search-val images drawn at random",
            "placements": [str(placement) for placement in run.space],
            "member": mixture.final_member_A().tolist(), "accuracy_AM": accuracy_AM.tolist(),
        }  # fmt: skip


def ways(accuracy_AM: NDArray[np.float64], member_A: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """What placements may be ranked by."""
    own_A = accuracy_AM[np.arange(len(member_A)), member_A]
    return {
        "own member": own_A,
        "best of all members": accuracy_AM.max(1),
        "mean of all members": accuracy_AM.mean(1),
        "own, less the member's mean": own_A - accuracy_AM.mean(0)[member_A],
    }


def within(own_A: NDArray[np.float64], member_A: NDArray[np.int64], true_A: NDArray[np.float64]) -> tuple[int, int]:
    """Pairs of placements of the same member: those in the true order less those in the other, and all."""
    pairs = [(a, b) for a, b in combinations(range(len(own_A)), 2) if member_A[a] == member_A[b]]
    return int(sum(np.sign((own_A[a] - own_A[b]) * (true_A[a] - true_A[b])) for a, b in pairs)), len(pairs)


def told(values: list[float]) -> str:
    """The mean, and the standard deviation where there is one."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def rows_of(found: Mapping[str, object], truth: GroundTruth) -> dict[str, tuple[float, float, float]]:
    """By each way: Kendall's tau, the correlation given MACs, and points below the best of what it puts first."""
    accuracy_AM, member_A = np.array(found["accuracy_AM"]), np.array(found["member"])
    known_A = [truth.by_placement[name] for name in found["placements"]]  # type: ignore[union-attr]
    true_A, macs_A = (np.array([getattr(known, name) for known in known_A], float) for name in ("mean", "macs"))
    rows = {}
    for way, value_A in ways(accuracy_AM, member_A).items():
        both, beyond = agreement(value_A, true_A), agreement_given_macs(value_A, true_A, macs_A)
        rows[way] = both.kendall_tau.value, beyond.value, 100 * both.regret1
    order, pairs = within(accuracy_AM[np.arange(len(member_A)), member_A], member_A, true_A)
    return rows | {"own member, pairs of one member only": (order / max(pairs, 1), np.nan, np.nan)}


def best_of_all(found: Mapping[str, object]) -> tuple[float, int]:
    """The part of the placements whose own member is the best of all, a tie as its share of the best; and M."""
    accuracy_AM, member_A = np.array(found["accuracy_AM"]), np.array(found["member"])
    best_AM = accuracy_AM == accuracy_AM.max(1, keepdims=True)
    own_A = best_AM[np.arange(len(member_A)), member_A] / best_AM.sum(1)
    return float(own_A.mean()), accuracy_AM.shape[1]


def main(comparison: Path, sweep: str) -> None:
    """Evaluate what is not yet, and print the table."""
    process.limit_threads()
    process.keep_memory()
    truth = ground_truth(sweep)
    cases: dict[str, list[dict[str, tuple[float, float, float]]]] = defaultdict(list)
    own: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for ranking in sorted(comparison.glob("runs/mixture*/*/ranking.csv")):
        path = ranking.parent / "members.json"
        if not path.exists() and RunDir(ranking.parent).checkpoint.exists():
            write_json(path, evaluated(ranking.parent))
        if path.exists():
            name, found = ranking.parts[-3].replace(",", ":"), read_json(path)
            cases[name].append(rows_of(found, truth))
            own[name].append(best_of_all(found))
    print(
        "| case | n | by | Kendall's tau | given MACs | points below the best |\n| --- | --- | --- | --- | --- | --- |"
    )
    for case, seeds in cases.items():
        for way in seeds[0]:
            columns = zip(*(rows[way] for rows in seeds), strict=True)
            cells = ["" if np.isnan(values[0]) else told(list(values)) for values in columns]
            print(f"| {case} | {len(seeds)} | {way} | {' | '.join(cells)} |")
    print("\n| case | n | own member is the best of all | by chance |\n| --- | --- | --- | --- |")
    for case, parts in own.items():
        listed = ", ".join(f"{100 * part:.0f} %" for part, _ in parts)
        print(f"| {case} | {len(parts)} | {listed} | {100 / parts[0][1]:.1f} % |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
