"""Every method of the paper's Tables 1 and 2, one after the other, on the same images: what each finds.

python examples/every_method.py --data cifar10 --out runs/methods --set subset=10000 width=8 batch=128 epochs=10

A run that has ended is not done again, and one that was stopped goes on. The table has one search of each; it shows
that all of them work, not which is best: that takes several seeds, and the same budget for all. MACs are against those
of the default. Seconds count only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import poolsearch
from poolsearch.cli import process
from poolsearch.progress import ConsoleProgress
from poolsearch.storage.run_dir import RunDir

CASES: dict[str, dict[str, Any]] = {
    "spos": {"method": "spos"},
    "spos, own weights, 36 paths": {"method": "spos", "sharing": "random-init"},
    "spos, own weights, all paths": {"method": "spos", "sharing": "random-init", "paths": "any"},
    "bse": {"method": "bse"},
    "bse, uniform warm-up": {"method": "bse", "warm_up": 0.5},
    "mcts": {"method": "mcts"},
    "mcts, uniform warm-up": {"method": "mcts", "warm_up": 0.5},
    "darts": {"method": "darts"},
    "darts, sgd": {"method": "darts", "arch_optimizer": "sgd"},
    "darts, second order": {"method": "darts", "arch_order": 2},
    "darts, own weights, same start": {"method": "darts", "sharing": "same-init"},
    "darts, own weights, each its start": {"method": "darts", "sharing": "random-init"},
    "gaea": {"method": "gaea"},
    "mixture of 4": {"method": "mixture", "members": 4},
}


def run_one(name: str, out: Path, settings: poolsearch.Settings) -> dict[str, Any]:
    """A line of the table, from a run that is begun, gone on with, or has ended."""
    files = RunDir(out)
    print(f"\n{name}", flush=True)
    poolsearch.run(out, settings, resume=files.run.exists(), progress=ConsoleProgress())
    with files.ranking.open(encoding="utf-8", newline="") as handle:
        first = next(csv.DictReader(handle))
    record, test = json.loads(files.run.read_text()), json.loads(files.test.read_text())
    placement = poolsearch.Placement.parse(first["placement"])
    halvings = len(poolsearch.Placement.parse(test["default"]).blocks or ())
    found = next(row for row in test["summary"] if row["placement"] == first["placement"])
    seconds = sum(stage["seconds"] for stage in record["stages"] if stage["stage"] in ("search", "rank"))
    return {
        "method": name, "found": placement.shown, "restricted": len(placement.blocks or ()) == halvings,
        "val_accuracy": float(first["val_accuracy"]), "test_accuracy": found["mean"], "n": found["n"],
        "default_test_accuracy": next(row["mean"] for row in test["summary"] if row["is_default"]),
        "macs_ratio": found["macs_ratio"], "search_seconds": seconds,
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    """As Markdown."""
    head = "| method | found | in the restricted space | search-val | test | test, default | MACs | search, s |"
    rows = [
        f"| {line['method']} | {line['found']} | {'yes' if line['restricted'] else 'no'} "
        f"| {line['val_accuracy']:.2%} | {line['test_accuracy']:.2%} | {line['default_test_accuracy']:.2%} "
        f"| {line['macs_ratio']:.2f} "
        f"| {line['search_seconds']:.0f} |"
        for line in lines
    ]
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- | --- | --- |", *rows])


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="METHOD")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as epochs=2")
    given = parser.parse_args()
    process.limit_threads()
    process.keep_memory()
    common = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in given.set)}
    lines: list[dict[str, Any]] = []
    for name in given.only:
        settings = poolsearch.Settings.of(preset="paper", data=given.data, **common | CASES[name])
        lines.append(run_one(name, given.out / name.replace(", ", "-").replace(" ", "-"), settings))
        print(table(lines), flush=True)


if __name__ == "__main__":
    main()
