"""By which members to rank the placements of a mixture: each by its own, as the paper, or by all of them.

python examples/members_of_a_mixture.py COMPARISON SWEEP

COMPARISON is the folder of ``poolsearch compare``, SWEEP that of the ground truth. Every placement is evaluated by
every member on some search-val images (the same for all runs of a seed), once: ``members.json`` beside each ranking
keeps it. Prints Kendall's tau with the truth by each way, and how far below the best the placement lies that it puts
first.
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

from poolsearch import process
from poolsearch.bench.agreement import agreement
from poolsearch.bench.table import ground_truth
from poolsearch.context import open_run
from poolsearch.files import RunDir, read_json, write_json
from poolsearch.progress import Shown
from poolsearch.stages.rank import load_search, values_of

IMAGES = 4096


def evaluated(folder: Path) -> dict[str, object]:
    """Accuracies of every placement by every member, which needs the checkpoint, and the member of each."""
    with open_run(folder, None, True, Shown()) as run:
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


def rows_of(found: Mapping[str, object], true: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """By each way: tau, and points below the best of what it puts first."""
    accuracy_AM, member_A = np.array(found["accuracy_AM"]), np.array(found["member"])
    true_A = np.array([true[name] for name in found["placements"]])  # type: ignore[union-attr]
    rows = {}
    for way, value_A in ways(accuracy_AM, member_A).items():
        both = agreement(value_A, true_A)
        rows[way] = both.tau.value, 100 * both.regret1
    order, pairs = within(accuracy_AM[np.arange(len(member_A)), member_A], member_A, true_A)
    return rows | {"own member, pairs of one member only": (order / max(pairs, 1), float("nan"))}


def main(comparison: Path, sweep: str) -> None:
    """Evaluate what is not yet, and print the table."""
    process.limit_threads()
    process.keep_memory()
    true = {name: known.mean for name, known in ground_truth(sweep).by_placement.items()}
    cases: dict[str, list[dict[str, tuple[float, float]]]] = defaultdict(list)
    for ranking in sorted(comparison.glob("runs/mixture*/*/ranking.csv")):
        path = ranking.parent / "members.json"
        if not path.exists() and RunDir(ranking.parent).checkpoint.exists():
            write_json(path, evaluated(ranking.parent))
        if path.exists():
            cases[ranking.parts[-3].replace(",", ":")].append(rows_of(read_json(path), true))
    print("| case | n | by | Kendall's tau | points below the best |\n| --- | --- | --- | --- | --- |")
    for case, seeds in cases.items():
        for way in seeds[0]:
            taus, gaps = (list(values) for values in zip(*(rows[way] for rows in seeds), strict=True))
            gap = "" if np.isnan(gaps[0]) else told(gaps)
            print(f"| {case} | {len(seeds)} | {way} | {told(taus)} | {gap} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
