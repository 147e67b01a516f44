"""Opening a run directory: a new one, or one to go on with. Every stage starts here and leaves its entry."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolsearch.callbacks import Callbacks
from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import Plan
from poolsearch.nets.build import blank
from poolsearch.nets.warm_start import (
    check_init,
)
from poolsearch.progress import Progress
from poolsearch.session.apply_budget import CostedSpace, apply_budget
from poolsearch.session.basis import write_basis
from poolsearch.session.images import image_size_of, images_as_before, images_of, split_of
from poolsearch.session.notes import shape_note, space_note, split_notes
from poolsearch.session.objects import NO_OBJECTS, Objects
from poolsearch.session.prepare import (
    absolute,
    check_name,
    check_outside,
    check_sampler_file,
    check_sizes,
    machine_settings,
    net_spec,
    resolved,
    space_of,
    try_training,
)
from poolsearch.session.run import Run
from poolsearch.session.task import kind_of_targets, own_task, targets_of, task_of
from poolsearch.session.trusted import NAMED, FolderPermissions, Trust
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.storage import digests
from poolsearch.storage.locks import locked, remove_leftovers
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import (
    begin,
    check_free,
    merge,
    read_record,
)
from poolsearch.texts import command
from poolsearch.train.machine import pick_machine

_NOBODY = Callbacks()


@contextmanager
def open_run(
    out: Path,
    settings: Settings | None,
    resume: bool,
    progress: Progress,
    plan: Plan | None = None,
    trust: Trust = NAMED,
    objects: Objects = NO_OBJECTS,
    callbacks: Callbacks = _NOBODY,
) -> Generator[Run]:
    """Open ``out`` for this process alone: a new run with ``settings``, or with ``resume`` the one that is there.

    Args:
        out: the run directory.
        settings: as the user gave them; None takes those of the run that is there.
        resume: go on with the run in ``out``.
        progress: where work shows itself.
        plan: by which the method of a new run was chosen; it is kept.
        trust: whether Python files that the folder names may run.
        objects: a network and a task that are given as such.
        callbacks: are told how it goes.

    Yields:
        The open run; the folder is held until the block ends.

    Raises:
        PoolsearchError: the folder is in use, not empty, or belongs to other settings; the data, the network and the
            settings do not fit each other, or the data changed since; or it names a Python file that may not run.
    """
    run_dir = RunDir(out)
    named = trust.named(settings)
    if settings is not None:
        check(settings)
        settings = absolute(settings)
    if resume and not run_dir.run.exists():
        raise PoolsearchError(
            f"nothing to resume in {out}: it holds no run (no run.json). Begin one: {command('run', '--out', out)}"
        )
    check_name(out)
    code: dict[str, str] = {}
    if not resume:
        check_free(run_dir)
        check_outside(out, settings or Settings())
        code = FolderPermissions(out, trust, named).code(settings or Settings(), progress)
        check_sampler_file(settings or Settings(), code)
        if settings is not None and settings.net.init is not None:
            check_init(settings.net.init, settings.net.net or "poolsearch's own network")
    with locked(out):
        remove_leftovers(out)
        if resume:
            given = merge(run_dir, settings)
        else:
            given = settings or Settings()
            begin(run_dir, given, plan, code)
        try:
            opened = _open(run_dir, given, trust, named, progress, objects, callbacks)
        except Exception:  # whatever it is
            if not resume:  # a run that could not begin must not stand in the way of the next
                run_dir.remove_record()
            raise
        yield opened


def _open(
    run_dir: RunDir,
    given: Settings,
    trust: Trust,
    named: frozenset[Path],
    progress: Progress,
    objects: Objects,
    callbacks: Callbacks,
) -> Run:
    record = read_record(run_dir)
    if "data" not in record:  # nothing of the run was written yet
        digests.begin(run_dir.root)
    elif "digests" not in record:
        progress.say(f"{run_dir.root} was begun when no digests of files were kept: damage to them is not noticed")
    gate = FolderPermissions.of(run_dir.root, trust, named, record)
    run, found = assemble(run_dir, given, record, gate, progress, objects, callbacks)
    data = write_basis(run, given, record, found)
    progress.say(f"machine: {run.machine}")
    progress.say(shape_note(run.images, run.settings.data, run.image_size))
    division, warnings = split_notes(run.images, run.split, run.settings.data, data["duplicates"])
    progress.say(division)
    for warning in warnings:
        run.warn(warning)
    return run


def assemble(
    run_dir: RunDir,
    given: Settings,
    record: dict[str, Any],
    gate: FolderPermissions,
    progress: Progress,
    objects: Objects = NO_OBJECTS,
    callbacks: Callbacks = _NOBODY,
) -> tuple[Run, CostedSpace]:
    """Put together everything that stages work with; nothing is written into the folder.

    Args:
        run_dir: where costs may be kept.
        given: settings as the user gave them.
        record: run.json; what the run rests on is in it once it was opened before.
        gate: which Python files may run.
        progress: where work shows itself.
        objects: a network and a task that are given as such.
        callbacks: are told how it goes.

    Returns:
        The open run, and the costs that it rests on.

    Raises:
        PoolsearchError: as of :func:`open_run`, where the data, the network and the settings do not fit each other, or
            the gate lets a Python file not run.
    """
    code = gate.code(given, progress, searched=run_dir.scores.exists())
    given = images_as_before(gate.with_cache(given, progress), record)
    own = own_task(given, code, objects.task)
    kind = kind_of_targets(given, own, record)
    images = images_of(given, progress, code, objects, kind)
    given = given.changed(channels=images.channels)
    split = split_of(given, images)
    image_size = image_size_of(given, images)
    settings = resolved(given, split, image_size, record)
    machine = pick_machine(machine_settings(settings.machine, record))
    spec = net_spec(settings, images, image_size, code, objects.network)
    net = blank(spec)
    for note in net.notes:
        progress.say(note)
    space = space_of(net, settings, image_size)
    if "settings" not in record:
        task = task_of(settings, own, lambda: targets_of(images, split.train_all))
        machine = try_training(spec, space, settings, images, split, task, machine, progress)
    found = apply_budget(run_dir, record, spec, space, settings, machine, progress)
    within = found.budget["after"] if found.budget else space.size
    progress.say(space_note(settings, found.space, space.size, within))
    settings = replace(settings, machine=replace(
        settings.machine, device=machine.device.type, precision=machine.precision, memory_format=machine.layout
    ))  # fmt: skip
    run = Run(
        run_dir, settings, images, split, found.space, found.costs, space.size, image_size, machine, progress, code,
        objects=objects, own_task=own, callbacks=callbacks,
    )  # fmt: skip
    check_sizes(settings, split, run.space.size)
    return run, found
