"""Shared by all tests: a private cache folder, tiny settings, running the command line as a user does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from forked import Forked, ForkServer, run
from poolsearch.settings import Settings

ROOT = Path(__file__).parents[1]

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is slow, not wrong
hypothesis.settings.load_profile("any machine")

# A whole run in a few seconds: two channels, digits, fp32 (small shapes gain nothing from bf16)
TINY = {
    "preset": "paper",
    "width": 2, "members": 2, "epochs": 1, "retrain_epochs": 1, "retrain_seeds": 2, "top_k": 2, "precision": "fp32",
    "batch": 128, "val_batch": 128, "device": "cpu", "answer_at": (), "control": (),
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and fixtures of every scope, out of the user's cache and of what they trust."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture
def tiny() -> Callable[..., Settings]:
    """Settings of a run that takes seconds, with changes by name."""
    return lambda **changes: Settings.of(**{**TINY, **changes})


@pytest.fixture
def tiny_flags() -> list[str]:
    """The same as command-line flags."""
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in TINY.items()}
    return [part for name, several in values.items() for part in (f"--{name.replace('_', '-')}", *map(str, several))]


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """What ``python`` and ``start`` ask."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def python(fork_server: ForkServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python`` with arguments, in a process of its own."""

    def of(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run(fork_server, [*map(str, arguments)], cwd or Path.cwd(), os.environ | {"COLUMNS": "200"})

    return of


@pytest.fixture(scope="session")
def start(fork_server: ForkServer) -> Callable[..., Forked]:
    """Start ``poolsearch`` with arguments, to be disturbed while it runs."""

    def of(*arguments: str | Path) -> Forked:
        return Forked(fork_server, ["-m", "poolsearch", *map(str, arguments)], Path.cwd(), os.environ)

    return of


@pytest.fixture(scope="session")
def command(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``poolsearch`` in a process of its own."""
    return partial(python, "-m", "poolsearch")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The paper's table and the real CIFAR-10, beside the repository; tests that use them skip without."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder 'shared' beside the repository (real CIFAR-10, the paper's tables)")
    return folder
