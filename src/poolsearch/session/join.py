"""Joining a run: opening its folder beside the process that holds it, to train with it what can be trained alone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolsearch.callbacks import Callbacks
from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.session.images import data_record
from poolsearch.session.open_run import assemble
from poolsearch.session.prepare import absolute
from poolsearch.session.run import Run
from poolsearch.session.trusted import NAMED, FolderPermissions, Trust
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.methods import kind_of, named
from poolsearch.storage.locks import is_held
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import changed, check_same, installed, joined, read_record
from poolsearch.texts import command

_WAIT_SECONDS = 0.5


def join_run(
    out: Path,
    settings: Settings | None,
    progress: Progress,
    trust: Trust = NAMED,
    callbacks: Callbacks | None = None,
) -> Run:
    """Open a sweep that is under way, or was begun, on this machine or on another that has the folder, too.

    The run folder is not held, and nothing is written into it. Where a process has just begun the run, this waits until
    it has written what the run rests on.

    Args:
        out: the run directory.
        settings: of this process's machine; all others must be the run's, which None takes.
        progress: where work shows itself.
        trust: whether Python files that the folder names may run.
        callbacks: are told of what this process trains.

    Returns:
        An open run, marked as joined: nothing but its trainings may be written.

    Raises:
        PoolsearchError: there is no such run, its method trains supernets, images or settings are not its own, or it
            names a Python file that may not run.
    """
    run_dir, said = RunDir(out), trust.named(settings)
    if not run_dir.run.exists():
        raise PoolsearchError(
            f"nothing to join in {out}: it holds no run (no run.json). Begin one: "
            + command("search", "--method", "sweep", "--out", out)
        )
    if settings is not None:
        check(settings)
        settings = absolute(settings)
    given = joined(run_dir, settings)
    if kind_of(given.search.method) == "trials":
        raise PoolsearchError(
            f"{out} was begun with --method {given.search.method}, whose trials follow from one another: the process "
            "that holds the folder trains them, as many at once as --workers says."
        )
    if kind_of(given.search.method) != "alone":
        raise PoolsearchError(
            f"{out} was begun with --method {given.search.method}, whose supernets one process trains. What can be "
            f"joined are trainings of placements alone: --method {', '.join(named('alone'))}."
        )
    record = _begun(run_dir, progress)
    run = _beside(run_dir, given, record, FolderPermissions.of(out, trust, said, record), progress)
    return run if callbacks is None else replace(run, callbacks=callbacks)


def open_beside(out: Path, settings: Settings, progress: Progress, trust: Trust = NAMED) -> Run | None:
    """Open a run folder of placements trained alone beside the process that holds it, to train them with it.

    The folder is not held, and nothing is written into it.

    Args:
        out: the run directory.
        settings: of the run.
        progress: where work shows itself.
        trust: whether Python files that the folder names may run.

    Returns:
        None: the other process has not written yet what the run rests on.

    Raises:
        PoolsearchError: images or settings are not its own.
    """
    run_dir = RunDir(out)
    if not run_dir.run.exists() or "split_hash" not in (record := read_record(run_dir)):
        return None
    gate = FolderPermissions.of(out, trust, trust.named(settings), record)
    return _beside(run_dir, joined(run_dir, absolute(settings)), record, gate, progress)


def _beside(
    run_dir: RunDir, given: Settings, record: dict[str, Any], gate: FolderPermissions, progress: Progress
) -> Run:
    run, _ = assemble(run_dir, given, record, gate, progress)
    check_same(run_dir, record, data_record(run.images, run.split, run.image_size), run.split.hash)
    progress.say(f"machine: {run.machine}")
    for text in changed(record, installed(), run.machine.describe()):
        progress.say(f"warning: this process has {text}")
    return replace(run, joined=True)


def _begun(run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """run.json of a run whose sweep was begun, if need be after waiting for that."""
    told = False
    while not (record := read_record(run_dir))["stages"]:
        if not is_held(run_dir.root):
            raise PoolsearchError(
                f"{run_dir.root} was stopped before its first training, and no process holds it. Go on with it: "
                + command("search", "--resume", "--out", run_dir.root)
            )
        if not told:
            progress.say(f"waiting for the process that begins the run in {run_dir.root}")
            told = True
        time.sleep(_WAIT_SECONDS)
    return record
