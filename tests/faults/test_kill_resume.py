"""kill -9 at random moments, then --resume: the run ends as if it had never been stopped, to the bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from forked import Forked
from killing import KILL_AT
from poolsearch.storage.run_dir import RunDir

Python = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Forked]
KILLS = 6
TIMED = ("seconds_tree", "seconds_one_by_one", "measured_saving")
FLAGS = (
    "--preset paper --subset 300 --width 2 "
    "--members 2 --epochs 4 --retrain-epochs 2 --retrain-seeds 2 --top-k 1 --precision fp32 "
    "--device cpu --batch 32 --checkpoint-seconds 0.2 --norm per_placement --workers 1 --quiet --answer-at 1 "
    "--control random"
).split()


def finish(process: Forked) -> str:
    output = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def resume_flags(out: Path) -> Sequence[str]:
    """Killed before it wrote anything, a run is simply started again."""
    return ["--resume", "--quiet"] if RunDir(out).run.exists() else FLAGS


def results(out: Path) -> dict[str, Any]:
    """Everything a run leaves, but for times and dates."""
    files = RunDir(out)
    test = without(json.loads(files.test.read_text()), "opened")
    assert not list(out.rglob("*.tmp")), "a killed process's temporary file was left"
    kept: dict[str, Any] = {
        "ranking": files.ranking.read_text(),
        "summary": without(json.loads(files.ranking_summary.read_text()), *TIMED),
        "test": test,
        "scores": pq.read_table(files.scores).to_pydict(),
        "split": files.split.read_text(),
        "checkpoint": {k: t.tolist() for k, t in load_file(files.checkpoint).items()},
        "events": [event(line) for line in files.events.read_text().splitlines()],
    }
    for trial in sorted(files.retrain.glob("*/*")):
        name = f"{trial.parent.name}/{trial.name}"
        kept[f"{name} files"] = sorted(p.name for p in trial.iterdir())
        kept[f"{name} metrics"] = without(json.loads((trial / "metrics.json").read_text()), "seconds")
        kept[f"{name} model"] = (trial / "model.safetensors").read_bytes()
        kept[f"{name} events"] = [event(line) for line in (trial / "events.jsonl").read_text().splitlines()]
    return kept


def event(line: str) -> dict[str, Any]:
    return without(json.loads(line), "seconds")


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Iterator[tuple[dict[str, Any], float]]:
    out = tmp_path_factory.mktemp("reference") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        began = time.monotonic()
        finish(start("run", "--out", out, *FLAGS))
        yield results(out), time.monotonic() - began


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_ends_bit_identical(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], float], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, seconds = uninterrupted
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # its own: decoding is killed too
    draw = random.Random()
    kills, stages, runs = 0, set[str](), 0
    while kills < KILLS or runs == 0:
        out = tmp_path / f"run{runs}"
        while True:
            process = start("run", "--out", out, *(resume_flags(out) if out.exists() else FLAGS))
            if kills < KILLS:
                time.sleep(draw.uniform(0.2, 0.6 * seconds))
            if kills < KILLS and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                stages.add(stage_of(out))
                continue
            finish(process)
            break
        runs += 1
        found = results(out)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == value, f"{name} differs after {kills} kills in stages {sorted(stages)}"
    print(f"{kills} kills over {runs} runs, in stages {sorted(stages)}")


def stage_of(out: Path) -> str:
    """The stage that was under way."""
    if not RunDir(out).run.exists():
        return "before run.json"
    stages = json.loads(RunDir(out).run.read_text())["stages"]
    return stages[-1]["stage"] if stages else "opening"


# Written one after the other in a run; killed right after any of them, or just before it takes its place
WRITTEN = ("search.safetensors", "model.safetensors", "test.json")
WRITTEN_TOO = (
    "run.json", "split.json", "costs.parquet", "scores.parquet", "rank.safetensors", "ranking.csv", "ranking.json",
    "metrics.json", "test_predicted.npy",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment"),
    [
        *((name, "after") for name in WRITTEN),
        *(pytest.param(name, "after", marks=pytest.mark.nightly) for name in WRITTEN_TOO),
        pytest.param("run.json", "before", marks=pytest.mark.nightly),
        pytest.param("ranking.csv", "before", marks=pytest.mark.nightly),
        ("test.json", "before"),
    ],
)
def test_killed_at_a_write_it_ends_bit_identical(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], float], python: Python, name: str, moment: str
) -> None:
    expected, _ = uninterrupted
    out = tmp_path / "run"
    assert python("-c", KILL_AT, name, moment, "1", "run", "--out", out, *FLAGS).returncode == -signal.SIGKILL
    done = python("-m", "poolsearch", "run", "--out", out, *resume_flags(out))
    assert done.returncode == 0, done.stderr
    found = results(out)
    assert found.keys() == expected.keys()
    for part, value in expected.items():
        assert found[part] == value, f"{part} differs"


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_go_on_and_loses_nothing(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], float], start: Start
) -> None:
    expected, _ = uninterrupted
    out = tmp_path / "run"
    process = start("run", "--out", out, *FLAGS, "--checkpoint-seconds", "10000")
    wait_for(RunDir(out).events)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"everything done so far is saved. Go on with: poolsearch run --resume --out {out}" in output
    assert "Traceback" not in output
    assert RunDir(out).checkpoint.exists()
    finish(start("run", "--out", out, "--resume", "--quiet"))
    assert results(out) == expected


@pytest.mark.slow
def test_ctrl_c_in_the_ranking_saves_says_how_to_go_on_and_loses_nothing(
    tmp_path: Path, command: Python, start: Start
) -> None:
    flags = [*FLAGS, "--checkpoint-seconds", "10000", "--eval-batch", "8"]  # many batches: time for a signal
    out, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (out, whole):
        assert command("search", "--out", folder, *flags).returncode == 0
    assert command("rank", "--quiet", "--out", whole).returncode == 0
    process = start("rank", "--quiet", "--out", out)
    wait_for(RunDir(out).ranking_progress)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"everything done so far is saved. Go on with: poolsearch rank --out {out}" in output
    assert not RunDir(out).ranking.exists()
    assert command("rank", "--quiet", "--out", out).returncode == 0
    assert RunDir(out).ranking.read_text() == RunDir(whole).ranking.read_text()
    assert not RunDir(out).ranking_progress.exists()


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.slow
def test_two_processes_do_not_work_in_one_folder(tmp_path: Path, start: Start) -> None:
    out = tmp_path / "run"
    first = start("run", "--out", out, *FLAGS, "--epochs", "40")
    try:
        wait_for(RunDir(out).run)
        second = start("run", "--out", out, "--resume", "--quiet")
        output = second.communicate(timeout=60)
        assert second.returncode == 2
        assert "another process is working in" in output
        assert first.poll() is None, "the first run should not be disturbed"
    finally:
        first.kill()
        first.communicate()
