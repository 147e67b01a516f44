"""A full disk and damaged files: a clear error, and nothing that was saved is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poolsearch.files import RunDir

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
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_space(
    small_disk: Path, command: Command, tiny_flags: list[str]
) -> None:
    out = small_disk / "run"
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 960_000)
    full = command("run", "--out", out, *tiny_flags, "--checkpoint-seconds", "0")
    assert full.returncode == 2, full.stderr
    assert "no space left" in full.stderr
    assert "Traceback" not in full.stderr
    filler.unlink()
    flags = ["--resume"] if RunDir(out).run.exists() else tiny_flags
    again = command("search", "--out", out, *flags)
    assert again.returncode == 0, again.stderr


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
    RunDir(out).run.write_text('{"poolsearch": ')
    for stage in ("run", "rank", "report"):
        flags = ["--resume"] if stage == "run" else []
        result = command(stage, "--out", out, *flags)
        assert result.returncode == 2, (stage, result.stderr)
        assert "run.json is damaged" in result.stderr
        assert "Traceback" not in result.stderr
