"""Every benchmark runs, at a size that says nothing about speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "small", "holds"),
    [
        ("search_step", "batch=8, steps=2, rounds=1", "search / bare: "),
        ("ranking", "batch=4, rounds=1, width=2", "logits equal to the bit: True"),
        ("mixture_work", "largest=36", "POT / ours"),
        ("data_work", "number=400, rounds=1", "cache / decoding alone"),
        ("many_networks", "batch=8, rounds=1, seconds=0.05, widths=(2,)", "width 2: "),
        ("start_up", "rounds=1", "poolsearch --help"),
    ],
)
def test_it_runs(name: str, small: str, holds: str) -> None:
    code = f"import {name}; print('\\n'.join({name}.main({small})))"
    result = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert holds in result.stdout
