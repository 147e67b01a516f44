"""How a run on CIFAR-10 with ResNet20 agrees with Table 6 of the paper: Kendall's tau over the 36 placements.

Usage: python agreement_with_table6.py RUN TABLE6.csv

TABLE6.csv has the columns blocks_at_32, blocks_at_16, blocks_at_8, accuracy_percent.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from poolsearch.evaluation.stats import kendall_tau


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def main(run: Path, table6: Path) -> None:
    truth = {
        ",".join(row[f"blocks_at_{size}"] for size in (32, 16, 8)): float(row["accuracy_percent"])
        for row in read(table6)
    }
    ranking = [row for row in read(run / "ranking.csv") if row["placement"] in truth]
    accuracy = [truth[row["placement"]] for row in ranking]
    for column, what in (("score", "scores"), ("val_accuracy", "ranking"), ("macs", "MACs alone")):
        agreement = kendall_tau([float(row[column]) for row in ranking], accuracy)
        print(f"kendall_tau of {what} against Table 6: {agreement:.3f} ({len(ranking)} placements)")
    gap = max(truth.values()) - accuracy[0]
    print(f"first of the ranking: {ranking[0]['placement']}, {accuracy[0]:.2f} in Table 6, {gap:.2f} below its best")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
