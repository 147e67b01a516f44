"""kill -9 while placements are trained alone, then --resume: the ranking is as if it had never been stopped."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forked import Forked
from killing import KILL_AT
from poolsearch.storage.run_dir import RunDir

Start = Callable[..., Forked]
KILLS = 8
FLAGS = (
    "--method halving --halving-rate 2 --halving-start 1 --sweep-epochs 5 --width 2 --precision fp32 --device cpu "
    "--batch 32 --checkpoint-seconds 0.2 --workers 1 --quiet --placements 4,3,3 5,3,2 7,1,2 1,1,8"
).split()


def finish(process: Forked) -> str:
    output = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def results(out: Path) -> dict[str, Any]:
    """Everything the ranking leaves, but for times."""
    files = RunDir(out)
    assert not list(out.rglob("*.tmp")), "a killed process's temporary file was left"
    kept: dict[str, Any] = {"ranking": files.ranking.read_text(), "summary": files.ranking_summary.read_text()}
    for trial in sorted(files.sweep.glob("*/*")):
        name = f"{trial.parent.name}/{trial.name}"
        kept[f"{name} files"] = sorted(p.name for p in trial.iterdir())
        kept[f"{name} metrics"] = timeless(json.loads((trial / "metrics.json").read_text()))
        kept[f"{name} events"] = [timeless(json.loads(line)) for line in (trial / "events.jsonl").open()]
    return kept


def timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "seconds"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[tuple[dict[str, Any], float]]:
    out = tmp_path_factory.mktemp("reference") / "run"
    began = time.monotonic()
    finish(start("search", "--out", out, *FLAGS))
    yield results(out), time.monotonic() - began


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_killed_at_random_moments_a_halving_ends_bit_identical(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], float], start: Start
) -> None:
    expected, seconds = uninterrupted
    assert sorted(expected["4,3,3/0 files"]) == ["events.jsonl", "metrics.json"]
    draw, kills, runs = random.Random(), 0, 0
    while kills < KILLS or runs == 0:
        out = tmp_path / f"run{runs}"
        while True:
            process = start("search", "--out", out, *(["--resume", "--quiet"] if RunDir(out).run.exists() else FLAGS))
            if kills < KILLS:
                time.sleep(draw.uniform(0.4, 0.9) * seconds)
            if kills < KILLS and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            finish(process)
            break
        runs += 1
        assert results(out) == expected, f"after {kills} kills"
    print(f"{kills} kills over {runs} runs")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "count"),
    [
        ("metrics.json", "before", 3),  # trained and not scored
        pytest.param(
            "metrics.json", "after", 4, marks=pytest.mark.nightly
        ),  # scored, and its rung's losers' weights still there
        pytest.param("metrics.json", "after", 5, marks=pytest.mark.nightly),  # in the second rung
        pytest.param("metrics.json", "before", 7, marks=pytest.mark.nightly),  # at the very end
        ("checkpoint.safetensors", "after", 2),
        pytest.param("ranking.json", "after", 1, marks=pytest.mark.nightly),
        pytest.param("ranking.csv", "before", 1, marks=pytest.mark.nightly),
        pytest.param("ranking.csv", "after", 1, marks=pytest.mark.nightly),
    ],
)
def test_killed_at_a_write_a_halving_ends_bit_identical(
    tmp_path: Path,
    uninterrupted: tuple[dict[str, Any], float],
    python: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    moment: str,
    count: int,
) -> None:
    expected, _ = uninterrupted
    out = tmp_path / "run"
    killed = python("-c", KILL_AT, name, moment, str(count), "search", "--out", out, *FLAGS)
    assert killed.returncode == -signal.SIGKILL
    done = python("-m", "poolsearch", "search", "--out", out, "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert results(out) == expected


@pytest.mark.slow
def test_a_killed_worker_is_named_and_what_the_others_did_is_kept(tmp_path: Path, start: Start) -> None:
    out = tmp_path / "run"
    flags = [*FLAGS, "--workers", "2", "--sweep-epochs", "400", "--halving-start", "200"]
    process = start("search", "--out", out, *[flag for flag in flags if flag != "--quiet"])
    wait_for(out, "*/0/checkpoint.safetensors")
    workers = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    first = int(workers.stdout.split()[0])
    subprocess.run(["kill", "-9", str(first)], check=True)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=100)
    assert f"(process {first}) was killed by SIGKILL during" in output, output
    assert process.returncode in (2, 130)
    assert not RunDir(out).ranking.exists()
    assert list(RunDir(out).sweep.glob("*/0/checkpoint.safetensors"))


@pytest.mark.slow
def test_ctrl_c_in_a_sweep_saves_and_says_how_to_go_on(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], float], start: Start
) -> None:
    expected, _ = uninterrupted
    out = tmp_path / "run"
    process = start("search", "--out", out, *FLAGS, "--checkpoint-seconds", "10000")
    wait_for(out, "*/0/events.jsonl")
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"Go on with: poolsearch search --resume --out {out}" in output
    assert not RunDir(out).ranking.exists()
    finish(start("search", "--out", out, "--resume", "--quiet"))
    assert results(out) == expected


def wait_for(out: Path, pattern: str, seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not list(RunDir(out).sweep.glob(pattern)):
        assert time.monotonic() < end, f"{pattern} did not appear"
        time.sleep(0.02)
