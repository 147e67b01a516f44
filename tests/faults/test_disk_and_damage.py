"""A full disk and damaged files: a clear error, and nothing that was saved is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from damage import close_test, rewrite
from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with one megabyte."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs permission to mount a small tmpfs")
    yield where
    subprocess.run(["umount", str(where)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_search_is_named_and_nothing_is_lost(
    small_disk: Path, tmp_path: Path, command: Command, tiny_flags: list[str]
) -> None:
    out, whole = small_disk / "run", tmp_path / "whole"
    flags = [*tiny_flags, "--epochs", "20", "--checkpoint-seconds", "0"]
    assert command("search", "--out", whole, *flags).returncode == 0
    room = small_disk / "filler"
    # A checkpoint grows with its history and is written beside the old one: room for the first ones, not for the last
    final = RunDir(whole).checkpoint.stat().st_size
    room.write_bytes(b"x" * (2**20 - 40_000 - 3 * final // 2))
    full = command("search", "--out", out, *flags)
    assert full.returncode == 2, full.stderr
    assert "no space left" in full.stderr.lower()
    assert "Traceback" not in full.stderr
    assert RunDir(out).checkpoint.exists(), "it should have come as far as a checkpoint"
    room.unlink()
    again = command("search", "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    found, expected = load_file(RunDir(out).checkpoint), load_file(RunDir(whole).checkpoint)
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, command: Command, tiny_flags: list[str]) -> None:
    out = tmp_path / "run"
    assert command("search", "--out", out, *tiny_flags).returncode == 0
    checkpoint = RunDir(out).checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    result = command("rank", "--out", out)
    assert result.returncode == 2
    assert str(checkpoint) in result.stderr
    assert "damaged" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_run_json_is_named(tmp_path: Path, command: Command, tiny_flags: list[str]) -> None:
    out = tmp_path / "run"
    assert command("search", "--out", out, *tiny_flags).returncode == 0
    for damage in ('{"poolsearch": ', "{}", "[]"):
        RunDir(out).run.write_text(damage)
        for stage in ("run", "rank", "report"):
            flags = ["--resume"] if stage == "run" else []
            result = command(stage, "--out", out, *flags)
            assert result.returncode == 2, (stage, result.stderr)
            assert "run.json is damaged" in result.stderr
            assert "Traceback" not in result.stderr


def test_damaged_rankings_and_weights_are_named(tmp_path: Path, command: Command, tiny_flags: list[str]) -> None:
    out = tmp_path / "run"
    assert command("run", "--out", out, *tiny_flags).returncode == 0
    files = RunDir(out)
    close_test(out)
    weights = next(files.retrain.rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:500])
    result = command("retrain", "--out", out)
    assert result.returncode == 2
    assert f"{weights} is damaged" in result.stderr
    assert f"Delete the folder {weights.parent}" in result.stderr
    files.ranking.write_text(files.ranking.read_text().splitlines()[0] + "\n")
    result = command("retrain", "--out", out)
    assert result.returncode == 2
    assert f"{files.ranking} is damaged" in result.stderr


def test_a_test_split_opened_for_one_winner_is_not_opened_for_another(
    tmp_path: Path, command: Command, tiny_flags: list[str]
) -> None:
    out = tmp_path / "run"
    assert command("run", "--out", out, *tiny_flags).returncode == 0
    files = RunDir(out)
    before = files.test.read_text()
    assert command("retrain", "--out", out).returncode == 0
    assert files.test.read_text() == before, "a finished run is left as it is"
    opened = json.loads(before)
    opened["winner"] = "1,1,8" if opened["winner"] != "1,1,8" else "8,1,1"
    del opened["verdict"]
    rewrite(files.test, json.dumps(opened))
    result = command("retrain", "--out", out)
    assert result.returncode == 2
    assert f"was opened for {opened['winner']}" in result.stderr
