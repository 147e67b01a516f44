"""Every benchmark runs, at a size that says nothing about speed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "small", "holds"),
    [
        ("search_step", "batch=8, steps=2, rounds=1", "search / bare: "),
        ("own_loop", "batch=4, steps=2, rounds=1, width=2", "ask and tell / bare: "),
        (
            "ranking",
            "batch=4, rounds=1, width=2, large={'cifar-resnet50': (2, 2, 32)}",
            "logits equal to the bit: True",
        ),
        ("mixture_work", "largest=36", "POT / ours"),
        pytest.param(
            "data_work",
            "number=400, photographs=16, rounds=1, batches=1",
            "cache / decoding alone",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            "many_networks", "batch=8, rounds=1, seconds=0.05, widths=(2,)", "width 2: ", marks=pytest.mark.nightly
        ),
        ("start_up", "rounds=1", "poolsearch --help"),
        pytest.param(
            "validation",
            "batch=8, steps=2, rounds=1, trained_steps=3",
            "deviation of a score",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            "memory", "steps=2, cases=(('cifar-resnet20', 2),)", "bare loop with one member", marks=pytest.mark.nightly
        ),
        pytest.param(
            "several_placements", "batch=8, rounds=1, many=(2,)", "2 single steps / one step", marks=pytest.mark.nightly
        ),
        (
            "costs",
            "memory=(('cifar-resnet20', 16, 8, 'fp32'),), latency=(('cifar-resnet20', 16, 1, 'fp32'),), "
            "large=('cifar-resnet20', 16, 'hw'), placements=3, rounds=1, many=20",
            "receptive fields of 20 placements",
        ),
        pytest.param(
            "methods", "batch=4, steps=1, rounds=1, width=2", "| darts, second order | ", marks=pytest.mark.nightly
        ),
        pytest.param(
            "allocator",
            "rounds=1, cases=(('rank', 'cifar-resnet20', 16, 8, 2),)",
            "page faults",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_it_runs(python: Callable[..., subprocess.CompletedProcess[str]], name: str, small: str, holds: str) -> None:
    code = f"import {name}; print('\\n'.join({name}.main({small})))"
    result = python("-c", code, cwd=BENCHMARKS)
    assert result.returncode == 0, result.stderr
    assert holds in result.stdout
