"""What `poolsearch plan --hours` says against what its command really takes, on several data sets.

python examples/hours_against_reality.py --data digits my_photos --net cifar-resnet20 --hours 0.2 1 4 \
    --run-up-to 0.2 --write hours.md

Each command that is planned is run as a user runs it, in a process of its own; those of more hours than --run-up-to are
only planned. Nothing else should run beside it: what share of the cores it had is told.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import poolsearch
from poolsearch.cli import process
from poolsearch.inspection_results import Estimate, HoursFit, Plan, not_enough


@dataclass(frozen=True)
class Job:
    """A job that was planned, and run.

    Attributes:
        data: its name.
        plan: with what fits into the hours.
        seconds: that the command took; None: it was only planned.
        cores: how many worked for it on average.
    """

    data: str
    plan: Plan
    fit: HoursFit
    seconds: float | None = None
    cores: float = 0.0

    @property
    def gap(self) -> float:
        """The estimate against what it took: 0.1 is a tenth too much."""
        return 0.0 if self.seconds is None else self.fit.takes.seconds / self.seconds - 1

    def row(self) -> str:
        """Of the table."""
        takes: Estimate = self.fit.takes
        real = ("not run", "", "", "", "")
        if self.seconds is not None:
            inside = "yes" if takes.low <= self.seconds <= takes.high else "no"
            share = f"{self.seconds / 3600 / self.fit.hours:.0%}"
            real = (f"{self.seconds:.0f}", f"{self.gap:+.0%}", inside, share, f"{self.cores:.1f}")
        cells = (
            self.data, self.plan.net, f"{self.fit.hours:g}", f"{takes.seconds:.0f}",
            f"{takes.low:.0f} to {takes.high:.0f}", *real, f"{self.plan.seconds:.0f}",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


def work_seconds() -> float:
    """Of all child processes that have ended, on all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def do(data: str, plan: Plan, fit: HoursFit, folder: Path) -> Job:
    """Run the command that was planned."""
    words = shlex.split(fit.command)[1:]
    began, worked = time.monotonic(), work_seconds()
    command = [sys.executable, "-m", "poolsearch", *words, "--out", str(folder), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    return Job(data, plan, fit, seconds, (work_seconds() - worked) / seconds)


def page(ended: list[Job], refused: list[str], machine: str, command: str) -> str:
    """The page."""
    head = "data,net,hours,planned s,range s,real s,planned against real,inside,of the hours,cores used,planning s"
    names = head.split(",")
    lines = [
        "# Hours against reality",
        "",
        f"{machine}, {os.cpu_count()} cores.",
        "",
        f"    {command}",
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
        *(one.row() for one in ended),
        "",
        *(f"    {one.fit.command}" for one in ended),
        "",
        *(f"{text.partition(': ')[0]}.\n" for text in refused),
    ]
    if ended:
        lines.append(f"Largest difference of those that were run: {max(abs(one.gap) for one in ended):.0%}.")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Plan, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--net", nargs="+", default=["cifar-resnet20"], help="one for each data set, or one for all")
    parser.add_argument("--hours", nargs="+", type=float, default=[0.05])
    parser.add_argument("--run-up-to", type=float, default=float("inf"), metavar="HOURS")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as width=4")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    process.limit_threads()
    process.keep_memory()
    values: dict[str, Any] = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in given.set)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    nets = given.net if len(given.net) > 1 else given.net * len(given.data)
    ended, refused, machine = list[Job](), list[str](), ""
    for (data, net), hours in product(zip(given.data, nets, strict=True), given.hours):
        plan = poolsearch.plan(poolsearch.Settings.of(data=data, net=net, hours=hours, **values), keep=tuple(values))
        assert plan.fit is not None
        name, machine = Path(data).name, plan.machine
        if not plan.fit.fits:
            refused.append(f"{name} with {net}, {not_enough(plan.fit)}")
            print(refused[-1], flush=True)
            continue
        if hours > given.run_up_to:
            ended.append(Job(name, plan, plan.fit))
        else:
            with tempfile.TemporaryDirectory() as folder:
                ended.append(do(name, plan, plan.fit, Path(folder) / "run"))
        print(ended[-1].row(), flush=True)
    text = page(ended, refused, machine, shlex.join(["python", "examples/hours_against_reality.py", *sys.argv[1:]]))
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
