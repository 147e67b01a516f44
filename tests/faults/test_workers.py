"""Retraining by several processes: killed, stopped and resumed with other numbers of workers, the same to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from forked import Forked
from poolsearch.storage.run_dir import RunDir
from process_table import children

FLAGS = (
    "--preset paper --width 2 --members 2 "
    "--epochs 1 --retrain-epochs 6 --retrain-seeds 2 --top-k 2 --precision fp32 --device cpu "
    "--batch 32 --answer-at --control --placements 4,3,3 5,2,3"
).split()
Start = Callable[..., Forked]


def finish(process: Forked, status: int = 0) -> str:
    """Its output, which ends when the process and all its workers have ended: they have the pipe too."""
    output = process.communicate(timeout=100)
    assert process.returncode == status, output
    return output


@pytest.fixture(scope="session")
def retrain(start: Start) -> Start:
    """Begin the retraining of a run, by a number of workers."""

    def of(out: Path, workers: int, *flags: str) -> Forked:
        return start("retrain", "--out", out, "--workers", workers, *flags)

    return of


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    """A run that was searched and ranked."""
    out = tmp_path_factory.mktemp("ranked") / "run"
    finish(start("search", "--out", out, *FLAGS))
    finish(start("rank", "--out", out))
    return out


@pytest.fixture
def begun(ranked: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ranked, tmp_path / "run"))


@pytest.fixture(scope="module")
def expected(ranked: Path, retrain: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one worker, never stopped, leaves."""
    out = Path(shutil.copytree(ranked, tmp_path_factory.mktemp("reference") / "run"))
    finish(retrain(out, 1))
    return results(out)


def results(out: Path) -> dict[str, Any]:
    """Everything that the retraining leaves, but for times, dates and the number of workers."""
    files = RunDir(out)
    assert not list(out.rglob("*.tmp"))
    kept: dict[str, Any] = {"test": without(json.loads(files.test.read_text()), "opened")}
    for path in sorted(files.retrain.rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "metrics.json":
            kept[name] = without(json.loads(path.read_text()), "seconds", "workers")
        elif path.name == "events.jsonl":
            kept[name] = [without(json.loads(line), "seconds") for line in path.read_text().splitlines()]
        elif path.is_file() and path.name != "SHA256SUMS":  # of files that have times in them
            kept[name] = path.read_bytes()
    return kept


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def check(out: Path, expected: dict[str, Any]) -> None:
    found = results(out)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, f"{name} differs"


def wait_until(true: Callable[[], object], process: Forked) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def saved(out: Path) -> list[tuple[str, int]]:
    """The checkpoints, and when they were written."""
    found: list[tuple[str, int]] = []
    for path in RunDir(out).retrain.rglob("checkpoint.safetensors"):
        with suppress(FileNotFoundError):  # its trial ended just now
            found.append((str(path), path.stat().st_mtime_ns))
    return found


def both_train(out: Path) -> Callable[[], bool]:
    def true() -> bool:
        begun = [path.parent for path in RunDir(out).retrain.rglob("events.jsonl")]
        return sum(not (trial / "metrics.json").exists() for trial in begun) == 2

    return true


@pytest.mark.slow
def test_two_workers_leave_what_one_leaves(begun: Path, expected: dict[str, Any]) -> None:
    """From a script without a main guard."""
    script = begun.parent / "script.py"
    script.write_text(
        "import poolsearch, pathlib\nfrom poolsearch.storage.run_record import saved_settings\n"
        f"print('script runs')\nout = pathlib.Path({str(begun)!r})\n"
        "poolsearch.retrain(out, saved_settings(out).changed(workers=2))\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "script runs\n", "")
    check(begun, expected)
    metrics = [json.loads(path.read_text()) for path in RunDir(begun).retrain.rglob("metrics.json")]
    assert {(m["workers"], m["threads"]) for m in metrics} == {(2, 1)}


@pytest.mark.nightly
def test_parents_killed_at_random_moments_leave_no_workers_and_lose_nothing(
    begun: Path, expected: dict[str, Any], retrain: Start
) -> None:
    draw = random.Random()
    for workers in (2, 3, 1, 2):
        before = saved(begun)
        process = retrain(begun, workers, "--checkpoint-seconds", "0.1")
        while process.poll() is None and saved(begun) == before:  # until it trains
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1))
        process.kill()
        process.communicate(timeout=20)
    finish(retrain(begun, 2))
    check(begun, expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_stopped_with_its_whole_group_every_worker_saves(
    begun: Path, expected: dict[str, Any], retrain: Start, number: signal.Signals
) -> None:
    """A terminal and a batch system send their signals to the parent and to the workers."""
    process = retrain(begun, 2)
    wait_until(both_train(begun), process)
    os.killpg(process.pid, number)
    output = finish(process, 130)
    assert "everything done so far is saved. Go on with: poolsearch retrain" in output
    assert "Traceback" not in output
    checkpoints = list(RunDir(begun).retrain.rglob("checkpoint.safetensors"))
    assert len(checkpoints) == 2, "checkpoints are two minutes apart, so these are of the stop"
    finish(retrain(begun, 1))
    check(begun, expected)


@pytest.mark.nightly
def test_a_second_ctrl_c_ends_at_once(begun: Path, expected: dict[str, Any], retrain: Start) -> None:
    process = retrain(begun, 2)
    wait_until(lambda: len(children(process.pid)) == 2, process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output = finish(process, 130)
    assert "Traceback" not in output
    finish(retrain(begun, 2))
    check(begun, expected)


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_rest_is_done(begun: Path, expected: dict[str, Any], retrain: Start) -> None:
    process = retrain(begun, 2)
    wait_until(both_train(begun), process)
    victim = children(process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    output = finish(process, 2)
    assert f"1 of 4 trials are not finished: worker 1 (process {victim}) was killed by SIGKILL during " in output
    assert "Traceback" not in output
    assert len(list(RunDir(begun).retrain.rglob("metrics.json"))) == 3
    assert not RunDir(begun).test.exists()
    finish(retrain(begun, 2))
    check(begun, expected)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_by_the_worker(begun: Path, retrain: Start) -> None:
    damaged = RunDir(begun).retrain / "4,3,3" / "1" / "checkpoint.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not a checkpoint")
    output = finish(retrain(begun, 2), 2)
    assert f"{damaged} is damaged" in output
    assert "Traceback" not in output
