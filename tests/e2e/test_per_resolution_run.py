"""Whole runs with weights for every resolution, restricted and through all paths."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]
FEW = "--method spos --subset 400 --rank-top 4 --rank-control 2 --top-k 1".split()


@pytest.mark.parametrize(
    "flags", [["--sharing", "random-init", "--paths", "any", "--max-placements", "60"], ["--sharing", "same-init"]]
)
def test_run_and_resume_to_the_report(
    tmp_path: Path, command: Command, tiny_flags: list[str], flags: list[str]
) -> None:
    out = tmp_path / "run"
    given = [*tiny_flags, *FEW, *flags]
    del given[given.index("--members") : given.index("--members") + 2]  # of no use to SPOS
    searched = command("search", *given, "--out", out)
    assert searched.returncode == 0, searched.stderr
    done = command("run", "--resume", "--out", out)
    assert done.returncode == 0, done.stderr
    files = RunDir(out)
    rows = list(csv.DictReader(files.filters.read_text().splitlines()))
    last = json.loads(files.events.read_text().splitlines()[-1])
    of_block = [sum(int(row["steps"]) for row in rows if row["block"] == str(block)) for block in range(10)]
    assert of_block == [last["step"]] * 10, "every step trains one set of weights of each block"
    assert last["filters_least_trained"] <= last["filters_most_trained"] <= last["step"]
    space = json.loads(files.run.read_text())["space"]
    assert (space["paths"], space["size"]) == (("any", 19_683) if "any" in flags else ("restricted", 36))
    assert "How often each set of weights was trained" in files.report.read_text()
