"""The job and its stages as functions: a run directory and settings in, the run directory out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from poolsearch.callbacks import Callback, Callbacks, StageEvent
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.inspection_results import Plan, fit_text, not_enough
from poolsearch.progress import Progress, SilentProgress, default_progress
from poolsearch.reports import write_report
from poolsearch.result import Result
from poolsearch.session.join import join_run
from poolsearch.session.objects import NO_OBJECTS, Objects, settings_with
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.settings import Settings
from poolsearch.settings.check import check as check_settings
from poolsearch.settings.check import with_method
from poolsearch.settings.methods import Kind, kind_of
from poolsearch.stages.by_macs import by_macs as _by_macs
from poolsearch.stages.check import check as check
from poolsearch.stages.costs import costs as costs
from poolsearch.stages.derive import derive as _derive
from poolsearch.stages.export import export as _export
from poolsearch.stages.plan import plan as _plan
from poolsearch.stages.planning.fitted import SIZES, with_settings
from poolsearch.stages.rank import rank as _rank
from poolsearch.stages.relax import relax as _relax
from poolsearch.stages.retrain import retrain as _retrain
from poolsearch.stages.search import search as _search
from poolsearch.stages.sweep import assist
from poolsearch.stages.sweep import sweep as _sweep
from poolsearch.stages.trials import search_by_trials as _search_by_trials
from poolsearch.storage.files import read_json
from poolsearch.storage.run_dir import RunDir, new_folder, newest_folder
from poolsearch.storage.run_record import check_free, saved_settings
from poolsearch.tasks.task import Task
from poolsearch.trackers import trackers_of


def run(
    out: str | Path | None = None,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
    *,
    net: str | nn.Module | Callable[..., nn.Module] | None = None,
    train: Any = None,
    val: Any = None,
    test: Any = None,
    task: str | Task | None = None,
    callbacks: Sequence[Callback] | None = (),
    **values: Any,
) -> Result:
    """The whole job: search, rank, retrain, report.

    ``poolsearch.run(net=MyNet, train=dataset, test=others, trials=5)`` is all that is needed. What is given as objects
    is taken as follows; a run that is resumed needs its network again, but not its images.

    Args:
        out: the run directory; new or empty, unless ``resume``. None: a new one in ``runs/``, named as the data, or
            with ``resume`` the newest there.
        settings: of every stage; None is the defaults, or with ``resume`` those that the run was given.
        resume: go on with the run in ``out``; finished stages are not done again.
        progress: where work shows itself; None: in a terminal or a notebook; ``SilentProgress()``: nowhere.
        trust: whether Python files that ``run.json`` names may run. Those that ``settings`` name may, and those named
            in a run before; others only with ``Trust(everything=True)``.
        keep: with ``hours`` in the settings, names of those that are not to be fitted to the hours though they have
            their default's value; those that have another never are.
        net: the network: a name, as in the settings; a function or class that makes a module from the number of
            classes, or from nothing, with fresh weights for each training; or a module. Trainings of a module begin
            with the weights that it has, as with ``init`` where these were trained. Objects are trained in this
            process alone, one training at a time.
        train, val, test: the images: datasets with a length whose items are (image, target) or dictionaries, or pairs
            (images, targets) of arrays or tensors; see :func:`poolsearch.data.objects.write_images`. They are read
            once, before anything is trained, and then varied and normalised by poolsearch: give them without random
            transforms and without ``Normalize``. Without ``test`` the ``val`` images are the test split; without both
            a fifth of the training images is. ``train`` alone may also be what the setting ``data`` may be.
        task: what is learned: a name, as in the settings, or a :class:`poolsearch.Task`; one is given again to resume.
        callbacks: are told how it goes, see :class:`poolsearch.Callback`.
        **values: any settings by their names, such as ``trials=5``; they win over ``settings``.

    Returns:
        What was found, with the path of the page.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    progress = progress or default_progress()
    images = {"train": train, "val": val, "test": test}
    if out is None and resume:
        out = newest_folder()
    settings, objects = _given(out if resume else None, settings, net, task, images, values, progress)
    if out is None:
        out = new_folder(Path((settings or Settings()).data.data).expanduser().resolve().stem)
    progress.say(f"Run folder: {out}")
    try:
        with open_ranked(out, settings, resume, progress, trust, {*keep, *values}, objects, callbacks) as opened:
            if not opened.settings.is_benchmark:
                _retrain(opened)
            _report_told(opened)
    except Interrupted:
        again = ", net=..." if objects.network is not None else ""
        again += ", task=..." if objects.task is not None else ""
        raise Interrupted(
            f"stopped; everything is saved. Go on: poolsearch.run({str(out)!r}, resume=True{again})"
        ) from None
    return Result(Path(out), trust, objects)


def plan(
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
    *,
    net: str | nn.Module | Callable[..., nn.Module] | None = None,
    train: Any = None,
    val: Any = None,
    test: Any = None,
    task: str | Task | None = None,
    **values: Any,
) -> Plan:
    """What each method would cost here; with ``hours``, what fits into them.

    Args:
        settings, progress, trust, keep: as of :func:`poolsearch.stages.plan.plan`.
        net, train, val, test, task: as of :func:`run`.
        **values: settings by their names, as of :func:`run`.

    Returns:
        See :func:`poolsearch.stages.plan.plan`.

    Raises:
        PoolsearchError: a mistake in what was asked for.
    """
    progress = progress or default_progress()
    images = {"train": train, "val": val, "test": test}
    settings, objects = _given(None, settings, net, task, images, values, progress)
    return _plan(settings, progress, trust, {*keep, *values}, objects)


def open(  # noqa: A001
    folder: str | Path, trust: Trust = NAMED, net: nn.Module | Callable[..., nn.Module] | None = None
) -> Result:
    """What a run found so far, finished or not.

    Args:
        folder: of the run.
        trust: whether Python files that it names may run; only :meth:`Result.network` runs any.
        net: the network, where the run was begun with an object; only :meth:`Result.network` needs it.

    Returns:
        The result, which is read from the folder as it is asked for.

    Raises:
        PoolsearchError: there is no run in the folder.
    """
    return Result.of(folder, trust, net)


@contextmanager
def open_ranked(
    out: str | Path,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
    objects: Objects = NO_OBJECTS,
    callbacks: Sequence[Callback] | None = (),
) -> Generator[Run]:
    """Open a run, bring it to its ranking, and give it while it is open.

    Args:
        out, settings, resume, progress, trust, keep, callbacks: see :func:`run`.
        objects: a network and a task that are given as such.

    Yields:
        The open run, with a ``ranking.csv``; its folder is held until the block ends.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    out, progress = Path(out).expanduser(), progress or default_progress()
    with _opened(out, settings, resume, progress, trust, keep, objects, callbacks) as opened:
        if not _search_result(opened).exists():
            _SEARCH[_kind(opened)](opened)
        if not opened.dir.ranking.exists():
            _RANK[_kind(opened)](opened)
        yield opened


def search(
    out: str | Path,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    join: bool = False,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
    net: nn.Module | Callable[..., nn.Module] | None = None,
    callbacks: Sequence[Callback] | None = (),
    task: Task | None = None,
) -> Path:
    """Train the supernets, or with a method without any rank the placements.

    Args:
        out, settings, resume, progress, trust, keep, callbacks: see :func:`run`.
        join: help with the trainings of a sweep, a proxy or a halving that another process began in ``out``, on this
            machine or another; ends when all have ended. The process that holds the folder ranks; where there is none,
            ``resume`` does. ``settings`` may differ in what concerns the machine.
        net, task: the network and the task, where they are objects; such a run cannot be joined.

    Returns:
        The run directory.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    out = Path(out).expanduser()
    if join and resume:
        raise PoolsearchError("--join helps the process that holds the run, --resume becomes it: leave out one.")
    progress = progress or default_progress()
    if join:
        opened = join_run(out, settings, progress, trust, Callbacks(callbacks or ()))
        if opened.settings.machine.tracker != "none":
            progress.say(f"--tracker {opened.settings.machine.tracker}: the process that holds {out} writes it")
        assist(opened)
        return out
    settings, objects = _given(out if resume else None, settings, net, task)
    with _opened(out, settings, resume, progress, trust, keep, objects, callbacks) as opened:
        _SEARCH[_kind(opened)](opened)
    return out


def rank(
    out: str | Path,
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    net: nn.Module | Callable[..., nn.Module] | None = None,
    callbacks: Sequence[Callback] | None = (),
    task: Task | None = None,
) -> Path:
    """Evaluate the placements of a finished search.

    With a method without supernets there is nothing to evaluate but its trainings: those left are done. A run that has
    its ranking may be ranked by another rule, or with more trials, of which those that are missing are trained: the
    ranking before is kept beside it as ``ranking-1.csv`` and so on. The page of a run that has one is written anew.

    Args:
        out: the run directory, with a finished search.
        settings: None takes those of the run; others may differ from them only where nothing rests on that yet.
        progress: where work shows itself; silent by default.
        trust, callbacks: see :func:`run`.
        net, task: the network and the task, where the run was begun with objects.

    Returns:
        The path of ``ranking.csv``.

    Raises:
        PoolsearchError: the search is not finished, or settings or data do not fit the run.
        Interrupted: stopped on request; everything is saved.
    """
    progress, (settings, objects) = progress or default_progress(), _given(out, settings, net, task)
    with _begun(Path(out).expanduser(), settings, progress, trust, objects, callbacks) as opened:
        _RANK[_kind(opened)](opened)
        _renew_report(opened)
        return opened.dir.ranking


def retrain(
    out: str | Path,
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    net: nn.Module | Callable[..., nn.Module] | None = None,
    callbacks: Sequence[Callback] | None = (),
    task: Task | None = None,
) -> Path:
    """Train the best of a ranking and the default, then open the test split.

    On a run that was tested, more seeds, more of the ranking or another ranking make another look at the test split:
    only what is missing is trained. The page of a run that has one is written anew.

    Args:
        out: the run directory, with a ranking.
        settings: None takes those of the run; others may differ from them only where nothing rests on that yet.
        progress: where work shows itself; silent by default.
        trust, callbacks: see :func:`run`.
        net, task: the network and the task, where the run was begun with objects.

    Returns:
        The path of ``test.json``.

    Raises:
        PoolsearchError: there is no ranking, or settings or data do not fit the run.
        Interrupted: stopped on request; everything is saved.
    """
    progress, (settings, objects) = progress or default_progress(), _given(out, settings, net, task)
    with _begun(Path(out).expanduser(), settings, progress, trust, objects, callbacks) as opened:
        _retrain(opened)
        _renew_report(opened)
        return opened.dir.test


def export(
    out: str | Path,
    placement: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    net: nn.Module | Callable[..., nn.Module] | None = None,
) -> Path:
    """Write a retrained network as files that run without this package.

    Args:
        out: the run directory.
        placement: one that was retrained, or "default"; None is the winner, the first of the ranking.
        seed: which of its trainings.
        progress: where work shows itself; silent by default.
        trust: see :func:`run`.
        net: the network, where the run was begun with an object, of which no code can be written.

    Returns:
        The path of the folder.

    Raises:
        PoolsearchError: there is no such training, or what was written does not compute the same.
    """
    progress, (_, objects) = progress or default_progress(), _given(out, None, net)
    with open_run(Path(out).expanduser(), None, True, progress, trust=trust, objects=objects) as opened:
        return _export(opened, placement, seed)


def report(out: str | Path, truth: str | Path | None = None) -> Path:
    """Write the page and the figures of a run, finished or not.

    Args:
        out: the run directory.
        truth: what to compare the ranking with: ``table6`` (the paper's), or the folder of a sweep; None: nothing.

    Returns:
        The path of the page, ``report.html``.

    Raises:
        PoolsearchError: there is no run, or no such truth, or the two have fewer than three placements in common.
    """
    return _report(RunDir(Path(out).expanduser()), truth)


@contextmanager
def _opened(
    out: Path,
    settings: Settings | None,
    resume: bool,
    progress: Progress,
    trust: Trust,
    keep: Collection[str],
    objects: Objects,
    callbacks: Sequence[Callback] | None,
) -> Generator[Run]:
    """Open a run; with method ``auto`` or hours a new one is planned before, and one that is there keeps its choice."""
    with _told(out, settings, callbacks) as told:
        found = None
        if settings is not None and (settings.search.method == "auto" or settings.search.hours is not None):
            if resume:
                settings = _as_begun(settings, saved_settings(out), keep)
            else:
                check_settings(settings)
                check_free(RunDir(out))
                found = _plan(settings, progress, trust, keep, objects)
                settings = _as_planned(settings, found, progress)
        with open_run(out, settings, resume, progress, found, trust, objects, told) as opened:
            yield opened


@contextmanager
def _begun(
    out: Path,
    settings: Settings | None,
    progress: Progress,
    trust: Trust,
    objects: Objects,
    callbacks: Sequence[Callback] | None,
) -> Generator[Run]:
    """Open a run that was begun."""
    with (
        _told(out, settings, callbacks) as told,
        open_run(out, settings, True, progress, None, trust, objects, told) as opened,
    ):
        yield opened


@contextmanager
def _told(out: Path, settings: Settings | None, callbacks: Sequence[Callback] | None) -> Generator[Callbacks]:
    """Who is told how a run goes: the callbacks, and the tracker that its settings ask for."""
    callbacks = () if callbacks is None else callbacks
    Callbacks(callbacks)  # what is none is refused before anything else
    if settings is None:
        settings = saved_settings(out) if RunDir(out).run.exists() else Settings()
    with trackers_of(settings, out) as trackers:
        yield Callbacks([*callbacks, *trackers])


def _given(
    resumed: str | Path | None,
    settings: Settings | None,
    net: Any,
    task: Any = None,
    images: Mapping[str, Any] = MappingProxyType({}),
    values: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = SilentProgress(),  # noqa: B008  # it has no state
) -> tuple[Settings | None, Objects]:
    """The settings with all that was given beside them, and the network and task where they are objects."""
    if isinstance(net, str):
        net, values = None, {"net": net, **values}
    if isinstance(task, str):
        task, values = None, {"task": task, **values}
    objects = Objects.of(net, task)
    folder = None if resumed is None else Path(resumed).expanduser()
    return settings_with(settings, folder, objects, images, values, progress), objects


def _as_planned(settings: Settings, found: Plan, progress: Progress) -> Settings:
    """The settings that a plan chose; what it chose is told."""
    if found.fit is None:
        progress.say(f"method {found.method}: {found.reason}")
        return with_method(settings, found.method).changed(hours=None)
    if not found.fit.fits:
        raise PoolsearchError(not_enough(found.fit))
    progress.say(fit_text(found.fit))
    return with_settings(settings, {one.name: one.value for one in found.fit.settings})


def _as_begun(settings: Settings, begun: Settings, keep: Collection[str]) -> Settings:
    """The settings of a run that is gone on with, in which everything has been chosen."""
    if settings.search.method == "auto":
        settings = with_method(settings, begun.search.method)
    if settings.search.hours is None:
        return settings
    values = {name: value for _, name, value in begun.flat()}
    return settings.changed(hours=None, **{name: values[name] for name in ("method", *SIZES) if name not in keep})


_Stages = dict[Kind, Callable[[Run], None]]
_SEARCH: _Stages = {
    "sampled": _search, "relaxed": _relax, "alone": _sweep, "trials": _search_by_trials,
    "untrained": _by_macs,
}  # fmt: skip
_RANK: _Stages = {
    "sampled": _rank, "relaxed": _derive, "alone": _sweep, "trials": _search_by_trials, "untrained": _by_macs,
}  # fmt: skip
"""What a stage does, by what the method trains."""


def _kind(opened: Run) -> Kind:
    return kind_of(opened.settings.search.method)


def _search_result(opened: Run) -> Path:
    """What a finished search leaves; without supernets it is the ranking."""
    files = opened.dir
    return {"sampled": files.scores, "relaxed": files.relaxed}.get(_kind(opened), files.ranking)


def _renew_report(opened: Run) -> None:
    if opened.dir.report.exists():
        _report_told(opened)


def _report_told(opened: Run) -> None:
    """Write the page of an open run, and tell its callbacks."""
    folder = opened.dir.root
    opened.callbacks.stage(StageEvent(folder, "report", "begin"))
    _report(opened.dir)
    opened.callbacks.stage(StageEvent(folder, "report", "end"))


def _report(files: RunDir, truth: str | Path | None = None) -> Path:
    read_json(files.run)  # says what is wrong when this is no run folder
    return write_report(files.root, truth)
