"""The job and its stages as functions: a run directory and settings in, the run directory out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import Plan, fit_text, not_enough
from poolsearch.progress import Progress, SilentProgress
from poolsearch.reports import write_report
from poolsearch.session.join import join_run
from poolsearch.session.open_run import Run, open_run
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
from poolsearch.stages.plan import plan as plan
from poolsearch.stages.planning.fitted import SIZES, with_settings
from poolsearch.stages.rank import rank as _rank
from poolsearch.stages.relax import relax as _relax
from poolsearch.stages.retrain import retrain as _retrain
from poolsearch.stages.search import search as _search
from poolsearch.stages.sweep import assist
from poolsearch.stages.sweep import sweep as _sweep
from poolsearch.stages.trials import search_by_trials as _search_by_trials
from poolsearch.storage.files import read_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import check_free, saved_settings


def run(
    out: str | Path,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
) -> Path:
    """The whole job: search, rank, retrain, report.

    Args:
        out: the run directory; new or empty, unless ``resume``.
        settings: of every stage; None is the defaults, or with ``resume`` those that the run was given.
        resume: go on with the run in ``out``; finished stages are not done again.
        progress: where work shows itself; silent by default.
        trust: whether Python files that ``run.json`` names may run. Those that ``settings`` name may, and those named
            in a run before; others only with ``Trust(everything=True)``.
        keep: with ``hours`` in the settings, names of those that are not to be fitted to the hours though they have
            their default's value; those that have another never are.

    Returns:
        The path of the page, ``report.html``.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    with open_ranked(out, settings, resume, progress, trust, keep) as opened:
        if not opened.settings.is_benchmark:
            _retrain(opened)
        return _report(opened.dir)


@contextmanager
def open_ranked(
    out: str | Path,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    trust: Trust = NAMED,
    keep: Collection[str] = (),
) -> Generator[Run]:
    """Open a run, bring it to its ranking, and give it while it is open.

    Args:
        out, settings, resume, progress, trust, keep: see :func:`run`.

    Yields:
        The open run, with a ``ranking.csv``; its folder is held until the block ends.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    with _opened(Path(out).expanduser(), settings, resume, progress or SilentProgress(), trust, keep) as opened:
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
) -> Path:
    """Train the supernets, or with a method without any rank the placements.

    Args:
        out, settings, resume, progress, trust, keep: see :func:`run`.
        join: help with the trainings of a sweep, a proxy or a halving that another process began in ``out``, on this
            machine or another; ends when all have ended. The process that holds the folder ranks; where there is none,
            ``resume`` does. ``settings`` may differ in what concerns the machine.

    Returns:
        The run directory.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    out = Path(out).expanduser()
    if join and resume:
        raise PoolsearchError("--join helps the process that holds the run, --resume becomes it: leave out one.")
    if join:
        assist(join_run(out, settings, progress or SilentProgress(), trust))
        return out
    with _opened(out, settings, resume, progress or SilentProgress(), trust, keep) as opened:
        _SEARCH[_kind(opened)](opened)
    return out


def rank(
    out: str | Path,
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
) -> Path:
    """Evaluate the placements of a finished search.

    With a method without supernets there is nothing to evaluate but its trainings: those left are done. A run that has
    its ranking may be ranked by another rule, or with more trials, of which those that are missing are trained: the
    ranking before is kept beside it as ``ranking-1.csv`` and so on. The page of a run that has one is written anew.

    Args:
        out: the run directory, with a finished search.
        settings: None takes those of the run; others may differ from them only where nothing rests on that yet.
        progress: where work shows itself; silent by default.
        trust: see :func:`run`.

    Returns:
        The path of ``ranking.csv``.

    Raises:
        PoolsearchError: the search is not finished, or settings or data do not fit the run.
        Interrupted: stopped on request; everything is saved.
    """
    with open_run(Path(out).expanduser(), settings, True, progress or SilentProgress(), trust=trust) as opened:
        _RANK[_kind(opened)](opened)
        _renew_report(opened.dir)
        return opened.dir.ranking


def retrain(
    out: str | Path,
    settings: Settings | None = None,
    progress: Progress | None = None,
    trust: Trust = NAMED,
) -> Path:
    """Train the best of a ranking and the default, then open the test split.

    On a run that was tested, more seeds, more of the ranking or another ranking make another look at the test split:
    only what is missing is trained. The page of a run that has one is written anew.

    Args:
        out: the run directory, with a ranking.
        settings: None takes those of the run; others may differ from them only where nothing rests on that yet.
        progress: where work shows itself; silent by default.
        trust: see :func:`run`.

    Returns:
        The path of ``test.json``.

    Raises:
        PoolsearchError: there is no ranking, or settings or data do not fit the run.
        Interrupted: stopped on request; everything is saved.
    """
    with open_run(Path(out).expanduser(), settings, True, progress or SilentProgress(), trust=trust) as opened:
        _retrain(opened)
        _renew_report(opened.dir)
        return opened.dir.test


def export(
    out: str | Path,
    placement: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    trust: Trust = NAMED,
) -> Path:
    """Write a retrained network as files that run without this package.

    Args:
        out: the run directory.
        placement: one that was retrained, or "default"; None is the winner, the first of the ranking.
        seed: which of its trainings.
        progress: where work shows itself; silent by default.
        trust: see :func:`run`.

    Returns:
        The path of the folder.

    Raises:
        PoolsearchError: there is no such training, or what was written does not compute the same.
    """
    with open_run(Path(out).expanduser(), None, True, progress or SilentProgress(), trust=trust) as opened:
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
    out: Path, settings: Settings | None, resume: bool, progress: Progress, trust: Trust, keep: Collection[str] = ()
) -> Generator[Run]:
    """Open a run; with method ``auto`` or hours a new one is planned before, and one that is there keeps its choice."""
    found = None
    if settings is not None and (settings.search.method == "auto" or settings.search.hours is not None):
        if resume:
            settings = _as_begun(settings, saved_settings(out), keep)
        else:
            check_settings(settings)
            check_free(RunDir(out))
            found = plan(settings, progress, trust, keep)
            settings = _as_planned(settings, found, progress)
    with open_run(out, settings, resume, progress, found, trust) as opened:
        yield opened


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


def _renew_report(files: RunDir) -> None:
    if files.report.exists():
        _report(files)


def _report(files: RunDir, truth: str | Path | None = None) -> Path:
    read_json(files.run)  # says what is wrong when this is no run folder
    return write_report(files.root, truth)
