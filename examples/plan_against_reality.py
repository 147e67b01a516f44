"""What `poolsearch plan` says against what really happens: one supernet, a mixture, a sweep's rival, the retraining.

python examples/plan_against_reality.py --write docs/results/plan.md

Nothing else should run beside it. On digits at the scale of `make demo` it takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import poolsearch
from poolsearch.cli import process
from poolsearch.inspection_results import Estimate, Plan, StageCost
from poolsearch.settings.check import with_method
from poolsearch.storage.run_dir import RunDir


@dataclass(frozen=True)
class Compared:
    """A stage as it was planned, and the seconds that it took."""

    way: str
    stage: str
    planned: Estimate
    seconds: float

    def row(self) -> str:
        """Of the table."""
        p = self.planned
        inside = "yes" if p.low <= self.seconds <= p.high else "no"
        gap = p.seconds / max(self.seconds, 0.1) - 1
        estimate = f"{p.seconds:.1f} | {p.low:.1f} to {p.high:.1f}"
        return f"| {self.way} | {self.stage} | {estimate} | {self.seconds:.1f} | {gap:+.0%} | {inside} |"


def real(folder: Path) -> dict[str, float]:
    """Seconds of each stage of a run."""
    return {stage["stage"]: stage["seconds"] for stage in json.loads(RunDir(folder).run.read_text())["stages"]}


def planned(stages: tuple[StageCost, ...]) -> dict[str, Estimate]:
    """Estimates by the names of stages in run.json, where opening the test split belongs to the retraining."""
    found: dict[str, Estimate] = {}
    for stage in stages:
        name = "retrain" if stage.name == "test" else stage.name
        found[name] = found[name] + stage.takes if name in found else stage.takes
    return found


def compare(plan: Plan, settings: poolsearch.Settings, folder: Path, methods: list[str]) -> list[Compared]:
    """Do what was planned, each method up to its ranking, and the retraining after the last."""
    found: list[Compared] = []
    for method in methods:
        way = next(w for w in plan.ways if w.method == method and w.members in (None, 1, plan.members))
        out = folder / method
        poolsearch.search(out, with_method(settings, method))
        if way.members is not None:
            poolsearch.rank(out)
        expected = planned(way.stages)
        if method == methods[-1]:
            poolsearch.retrain(out)
            expected |= planned(plan.after)
        took = real(out)
        for stage, estimate in expected.items():
            found.append(Compared(method, stage, estimate, took[stage]))
            print(found[-1].row(), flush=True)
    return found


def text(plan: Plan, found: list[Compared], command: str) -> str:
    """The page."""
    gaps = [abs(row.planned.seconds / row.seconds - 1) for row in found if row.seconds >= 5]
    lines = [
        "# Plan against reality",
        "",
        f"{plan.net} on digits, {plan.placements} placements; {plan.machine}. Planning took {plan.seconds:.0f} s.",
        "",
        f"    {command}",
        "",
        "| method | stage | planned, s | range, s | real, s | planned against real | inside the range |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *[row.row() for row in found],
        "",
        *([f"Largest difference of a stage of 5 s and more: {max(gaps):.0%}.", ""] if gaps else []),
        f"Advised: {plan.method}; {plan.reason}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Plan, do, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["spos", "halving", "mixture"])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as epochs=2")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    process.limit_threads()
    process.keep_memory()
    pairs = (pair.split("=", 1) for pair in given.set)
    settings = poolsearch.Settings.of(**{name: json.loads(value) for name, value in pairs})
    plan = poolsearch.plan(settings)
    with tempfile.TemporaryDirectory() as folder:
        found = compare(plan, settings, Path(folder), given.methods)
    flags = f" --set {' '.join(given.set)}" if given.set else ""
    page = text(plan, found, f"python examples/plan_against_reality.py{flags}")
    print(page)
    if given.write:
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
