"""``poolsearch plan`` and ``--method auto`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_plan_is_printed_and_written_and_nothing_is_left(
    command: Command, tiny_flags: list[str], tmp_path: Path
) -> None:
    flags = ["--placements", "4,3,3", "5,3,2", "--workers", "1", "--sweep-epochs", "1"]
    done = command("plan", *tiny_flags, *flags, "--json", "plan.json", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for part in (
        "sweep",
        "proxy",
        "halving",
        "random",
        "hyperband",
        "macs",
        "spos",
        "mixture",
        "retrain",
        "Advised: --method",
        "rule of thumb",
    ):
        assert part in " ".join(done.stdout.split()), part
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert json.loads((tmp_path / "plan.json").read_text())["placements"] == 2


def test_a_mistake_is_told_before_anything_is_timed(command: Command, tmp_path: Path) -> None:
    done = command("plan", "--hours=-1", cwd=tmp_path)
    assert done.returncode == 2
    assert "--hours is -1.0; allowed is at least 0." in done.stderr
    done = command("run", "--hours", "1", "--method", "darts", cwd=tmp_path)
    assert done.returncode == 2
    assert "--hours is for --method mixture, spos, bse, mcts, bayes, macs and auto, not for darts" in done.stderr


def test_auto_is_settled_once(command: Command, tiny_flags: list[str], tmp_path: Path) -> None:
    flags = [*tiny_flags, "--placements", "4,3,3", "5,3,2", "--workers", "1", "--out", "run"]
    done = command("run", *flags, "--method", "auto", "--hours", "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    # nine hours are enough for anything: the first of the order of preference
    assert record["settings"]["search"]["method"] == record["plan"]["method"] == "sweep"
    again = command("run", "--resume", "--method", "auto", "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["plan"] == record["plan"]
