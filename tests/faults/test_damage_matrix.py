"""Every file of a finished run, damaged in seven ways: refused by name, made again, or of no consequence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from damage import ACCEPTED

SCRIPT = Path(__file__).parents[1] / "damage.py"


def outcomes(tmp_path: Path, *options: str) -> dict[str, str]:
    """What came of each case."""
    counts = tmp_path / "counts.json"
    done = subprocess.run([sys.executable, SCRIPT, counts, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(counts.read_text())


def wrong(found: dict[str, str], *allowed: str) -> dict[str, str]:
    return {case: outcome for case, outcome in found.items() if outcome not in (*ACCEPTED, *allowed)}


@pytest.mark.slow
def test_every_file_damaged_in_one_way(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "--of", "sample")
    assert len(found) > 80
    assert wrong(found) == {}


@pytest.mark.nightly
@pytest.mark.timeout(10_000)
@pytest.mark.parametrize("method", ["mixture", "sweep"])
def test_every_file_damaged_in_every_way(tmp_path: Path, method: str) -> None:
    found = outcomes(tmp_path, "--method", method)
    assert len(found) > 1000
    assert wrong(found) == {}


@pytest.mark.nightly
@pytest.mark.timeout(10_000)
def test_a_run_without_digests_uses_what_can_be_read_but_never_hangs_or_ends_in_a_traceback(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "--no-digests")
    assert wrong(found, "another answer") == {}
