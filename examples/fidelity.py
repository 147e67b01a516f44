"""How the ranking of ``--method proxy`` agrees with full size as its width, images and epochs shrink.

python examples/fidelity.py --data cifar10 --truth table6 --out runs/fidelity \
    --width 1 0.5 0.25 --images 10000 5000 2000 --epochs 8 4 2

The first value of each list is the base; every other one is tried with the other two at their base. Each fidelity is a
run folder of its own: one that has ended is not done again, one that was stopped goes on. The ground truth is Table 6
of the paper (ResNet20 on CIFAR-10), or the folder of a sweep. The cost counts multiply-adds of all trainings together,
in those of a whole training: of full width, on the whole search-train half, as long as --retrain-epochs, of a
placement with the mean MACs.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import poolsearch
from poolsearch.cli import process
from poolsearch.evaluation.ground_truth import TABLE6, GroundTruth, ground_truth
from poolsearch.evaluation.rank_agreement import agreement
from poolsearch.progress import ConsoleProgress
from poolsearch.storage.files import read_json, write_text
from poolsearch.storage.run_dir import RunDir

COLUMNS = (
    "width", "images", "epochs", "whole_trainings", "placements", "tau", "tau_low", "tau_high", "regret1", "regret5",
)  # fmt: skip


@dataclass(frozen=True)
class Fidelity:
    """How much of a whole training a proxy does: part of the channels, images of an epoch, epochs."""

    width: float
    images: int
    epochs: int

    @property
    def folder(self) -> str:
        """A name for its run."""
        return f"width{self.width:g}-images{self.images}-epochs{self.epochs}"

    def settings(self, given: dict[str, Any]) -> poolsearch.Settings:
        """Those of its run."""
        own = {"proxy_width": self.width, "proxy_images": self.images, "proxy_epochs": self.epochs}
        return poolsearch.Settings.of(**given, method="proxy", **own)


def fidelities(widths: Sequence[float], images: Sequence[int], epochs: Sequence[int]) -> list[Fidelity]:
    """The base, and then each of the other values with the rest at the base."""
    base = Fidelity(widths[0], images[0], epochs[0])
    return [
        base,
        *(replace(base, width=value) for value in widths[1:]),
        *(replace(base, images=value) for value in images[1:]),
        *(replace(base, epochs=value) for value in epochs[1:]),
    ]


def whole_trainings(files: RunDir, macs: Sequence[int]) -> float:
    """What the trainings of a run cost, in whole ones.

    Args:
        files: of the run.
        macs: of each placement at full width.
    """
    record = read_json(files.run)
    epochs, images = record["settings"]["retrain"]["retrain_epochs"], record["data"]["images"]["search_train"]
    trained = [read_json(path) for path in files.sweep.glob("*/*/metrics.json")]
    spent = sum(found["macs"] * found["epochs"] * found["images"] for found in trained)
    return spent / (float(np.mean(macs)) * epochs * images)


def row_of(fidelity: Fidelity, files: RunDir, truth: GroundTruth) -> dict[str, Any]:
    """A line of the table, from a run that has ended."""
    with files.ranking.open(encoding="utf-8", newline="") as handle:
        ranking = list(csv.DictReader(handle))
    both = [row for row in ranking if row["placement"] in truth.by_placement]
    found = agreement(
        [float(row["val_metric"]) for row in both], [truth.by_placement[row["placement"]].mean for row in both]
    )
    cost = whole_trainings(files, [int(row["macs"]) for row in ranking])
    kendall_tau = (found.kendall_tau.value, found.kendall_tau.low, found.kendall_tau.high)
    values = (*astuple(fidelity), cost, found.placements, *kendall_tau, found.regret1, found.regret5)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Train at each fidelity, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--truth", default=TABLE6, help="table6, or the folder of a sweep")
    parser.add_argument("--out", type=Path, default=Path("runs/fidelity"))
    parser.add_argument("--width", type=float, nargs="+", default=[1, 0.5, 0.25], help="parts of the channels")
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 5_000, 2_000], help="of an epoch")
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 4, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as batch=128")
    given = parser.parse_args()
    process.limit_threads()
    process.keep_memory()
    truth = ground_truth(given.truth)
    pairs = (pair.split("=", 1) for pair in given.set)
    settings = {"data": given.data} | {name: json.loads(value) for name, value in pairs}
    rows: list[dict[str, Any]] = []
    for fidelity in fidelities(given.width, given.images, given.epochs):
        files = RunDir(given.out / fidelity.folder)
        if not files.ranking.exists():
            poolsearch.search(files.root, fidelity.settings(settings), files.run.exists(), ConsoleProgress())
        rows.append(row_of(fidelity, files, truth))
    lines = [",".join(COLUMNS), *(",".join(f"{value:.4g}" for value in row.values()) for row in rows)]
    print("\n".join(lines))
    write_text(given.out / "fidelity.csv", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
