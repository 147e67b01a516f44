"""Joining what cannot be joined: what is said, before anything is opened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.storage.files import write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import begin, read_record

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"nothing to join in .*: it holds no run .*Begin one: poolsearch search"):
        poolsearch.search(tmp_path / "none", join=True)
    assert not (tmp_path / "none").exists()


def test_a_run_with_supernets(tmp_path: Path) -> None:
    begin(RunDir(tmp_path), Settings.of(method="mixture"))
    with pytest.raises(PoolsearchError, match=r"--method mixture, whose supernets one process .*--method sweep, proxy"):
        poolsearch.search(tmp_path, join=True)


def test_other_settings(tmp_path: Path) -> None:
    begin(RunDir(tmp_path), Settings.of(method="sweep", sweep_epochs=2))
    with pytest.raises(
        PoolsearchError, match=r"^--sweep-epochs, --retrain-epochs: who joins .*--device, .*--workers\.$"
    ):
        poolsearch.search(tmp_path, Settings.of(method="sweep", sweep_epochs=3, retrain_epochs=9, workers=2), join=True)


def test_a_run_that_nobody_begins_any_more(tmp_path: Path) -> None:
    begin(RunDir(tmp_path), Settings.of(method="sweep"))
    with pytest.raises(PoolsearchError, match=r"stopped before its first training.*search --resume --out"):
        poolsearch.search(tmp_path, join=True)


def test_on_the_command_line(tmp_path: Path, command: Command) -> None:
    begin(RunDir(tmp_path), Settings.of(method="halving", width=2))
    write_json(RunDir(tmp_path).run, read_record(RunDir(tmp_path)) | {"stages": [{"stage": "sweep"}]})
    before = sorted(tmp_path.iterdir())
    both = command("search", "--join", "--resume", "--out", tmp_path)
    assert both.returncode == 2 and "leave out one" in both.stderr
    wider = command("search", "--join", "--out", tmp_path, "--width", "4")
    assert wider.returncode == 2 and "--width: who joins a run has its settings" in wider.stderr
    assert sorted(tmp_path.iterdir()) == before
