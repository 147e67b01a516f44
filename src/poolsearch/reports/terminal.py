"""What a finished command prints: the ranking, the retrained placements, the verdict, where the page is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from poolsearch.files import RunDir, read_json

_ROWS = 10


def show(out: Path) -> None:
    """Print the results of the run in ``out``, as far as they are there."""
    files = RunDir(out)
    console = Console(soft_wrap=True, highlight=False)
    if files.ranking.exists():
        console.print(_ranking(files))
    if files.test.exists() and "verdict" in (test := read_json(files.test)):
        console.print(_retrained(test))
        console.print(
            f"First of the ranking {test['top1']:.2%}, best of the finalists {test['best_of_top']:.2%}, their mean "
            f"{test['mean_of_top']:.2%}"
        )
        console.print(f"\n{test['verdict']}", style="bold", markup=False)
    if files.report.exists():
        console.print(f"\nReport: {files.report}", markup=False)


def _ranking(files: RunDir) -> Table:
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    stopped = sum(row.get("images") != rows[0].get("images") for row in rows)
    early = f", {stopped:,} of them stopped early" if stopped else ""
    table = Table(title=f"Ranking on the search-val half ({len(rows):,} placements{early})", title_justify="left")
    for name in ("rank", "placement", "val accuracy", "95% interval", "MACs"):
        table.add_column(name, justify="left" if name == "placement" else "right")
    shown = rows[:_ROWS] + [row for row in rows[_ROWS:] if row["is_default"] == "True"]
    for row in shown:
        default = row["is_default"] == "True"
        table.add_row(
            row["rank"], row["placement"] + (" (default)" if default else ""), f"{float(row['val_accuracy']):.2%}",
            f"{float(row['low']):.1%} to {float(row['high']):.1%}", f"{float(row['macs_ratio']):.2f}x",
            style="bold" if default else None,
        )  # fmt: skip
    return table


def _retrained(test: dict[str, Any]) -> Table:
    table = Table(
        title=f"Retrained on all training images, test accuracy ({test['images']:,} images)", title_justify="left"
    )
    for name in ("placement", "test accuracy", "seeds", "MACs"):
        table.add_column(name, justify="left" if name == "placement" else "right")
    for row in test["summary"]:
        spread = "" if row["std"] is None else f" ± {row['std']:.2%}"
        table.add_row(
            row["placement"] + (" (default)" if row["is_default"] else ""), f"{row['mean']:.2%}{spread}", str(row["n"]),
            f"{row['macs_ratio']:.2f}x",
        )  # fmt: skip
    return table
