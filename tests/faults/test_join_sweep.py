"""Several processes on one sweep, one of them killed: the others end it, to the bit as one process does."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forked import Forked
from poolsearch.storage.locks import is_held
from poolsearch.storage.run_dir import RunDir

Start = Callable[..., Forked]

SPACE = "--method halving --halving-rate 2 --halving-start 1 --sweep-epochs 3 --placements 4,3,3 5,3,2 7,1,2 1,1,8"
FLAGS = f"{SPACE} --width 2 --precision fp32 --device cpu --batch 32 --checkpoint-seconds 0.1 --workers 1".split()


def finish(process: Forked) -> str:
    output = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def results(out: Path) -> dict[str, Any]:
    """Everything that is left, but for times; of json and csv files what is in them."""
    files, found = RunDir(out), dict[str, Any]()
    for path in [files.ranking, files.ranking_summary, *sorted(files.sweep.rglob("*"))]:
        name = str(path.relative_to(out))
        if path.name == "SHA256SUMS":  # of files that have times in them
            continue
        lines = [] if path.is_dir() else path.read_text().splitlines()
        found[name] = [line for line in lines if '"seconds"' not in line]
        if path.suffix == ".jsonl":
            found[name] = [{key: v for key, v in json.loads(line).items() if key != "seconds"} for line in lines]
    return found


def wait_for(condition: Callable[[], Any], *processes: Forked, seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and all(process.poll() is None for process in processes), "it did not come"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, start: Start) -> dict[str, Any]:
    """What one process leaves, never stopped."""
    out = tmp_path_factory.mktemp("alone") / "run"
    finish(start("search", "--out", out, *FLAGS))
    found = results(out)
    assert len(found["sweep/5,3,2/0/events.jsonl"]) in (1, 2, 3)
    return found


def in_training(out: Path) -> int:
    """Placements that some process holds, with a checkpoint."""
    folders = [path.parent for path in RunDir(out).sweep.glob("*/0/checkpoint.safetensors")]
    return sum(map(is_held, folders))


def both_train(start: Start, out: Path, *flags: str) -> tuple[Forked, Forked]:
    """One that began the run and stands still in a training, and one that joined and is in another."""
    first = start("search", "--out", out, *FLAGS)
    wait_for(lambda: in_training(out) == 1, first)
    first.send_signal(signal.SIGSTOP)
    second = start("search", "--out", out, "--join", *flags)
    wait_for(lambda: in_training(out) == 2, second)
    return first, second


@pytest.mark.slow
def test_the_one_that_holds_the_folder_is_killed(tmp_path: Path, alone: dict[str, Any], start: Start) -> None:
    out = tmp_path / "run"
    first, second = both_train(start, out)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    said = finish(second)
    assert f"No process holds the folder: write what came of them by poolsearch search --resume --out {out}" in said
    assert not RunDir(out).ranking.exists() and not RunDir(out).sweep_table.exists()
    finish(start("search", "--out", out, "--resume", "--quiet"))
    assert results(out) == alone


@pytest.mark.slow
def test_the_one_that_joined_is_killed(tmp_path: Path, alone: dict[str, Any], start: Start) -> None:
    out = tmp_path / "run"
    first, second = both_train(start, out, "--quiet")
    second.send_signal(signal.SIGKILL)
    second.communicate()
    first.send_signal(signal.SIGCONT)
    finish(first)
    assert results(out) == alone
