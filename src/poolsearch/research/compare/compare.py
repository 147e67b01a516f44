"""The comparison: every case with every seed in a run folder of its own, then the ground truth, then the summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from poolsearch.errors import InUse, PoolsearchError
from poolsearch.pipeline import open_ranked
from poolsearch.progress import OnceProgress, Progress, SilentProgress
from poolsearch.research.compare.cases import Case, Charged, cases_of, settings_of, without_method
from poolsearch.research.compare.compute_cost import equal_epochs
from poolsearch.research.compare.folder import ComparisonDir, ComparisonRequest, begin, results, resume_request
from poolsearch.research.compare.outcome import outcome
from poolsearch.research.compare.summary import summary
from poolsearch.research.compare.truth import ComparisonTruth, complete_truth, ground_truth_settings, known_truth
from poolsearch.research.reports.comparison import write_comparison
from poolsearch.session.join import open_beside
from poolsearch.session.open_run import open_run
from poolsearch.session.prepare import absolute
from poolsearch.session.run import Run
from poolsearch.session.trusted import NAMED, FolderPermissions, Trust
from poolsearch.settings import ResolvedSettings, Settings
from poolsearch.settings.check import check, with_method
from poolsearch.settings.method_spec import parse_spec
from poolsearch.settings.research_groups import CompareSettings
from poolsearch.settings.resolve import resolve
from poolsearch.settings.settings import DECLARED
from poolsearch.storage.files import write_json
from poolsearch.storage.run_dir import RunDir

T = TypeVar("T")

_WAIT_SECONDS = 2.0


def compare(
    out: str | Path,
    options: CompareSettings | None = None,
    settings: Settings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    so_far: bool = False,
    trust: Trust = NAMED,
) -> Path:
    """Compare methods on the same space, images and budget.

    Several processes may work on one comparison: each takes runs, and then trainings of the truth, that no other has,
    and the last one sums up.

    Args:
        out: the folder; new or empty, unless ``resume``.
        options: methods, seeds, and with what they are compared; None is the defaults, or what it was begun with.
        settings: of every run; a method takes those that it uses. None is the defaults, or what it was begun with.
        resume: go on with the comparison in ``out``, with more methods or seeds where ``options`` say so.
        progress: where work shows itself; None: nowhere.
        so_far: with ``resume``, run and train nothing: sum up what has ended.
        trust: whether Python files that ``compare.json`` names may run. Those that ``settings`` and ``options`` name
            may, and those named before; others only with ``Trust(everything=True)``.

    Returns:
        The path of the page.

    Raises:
        PoolsearchError: a mistake in what was asked for; the message says how to fix it.
        Interrupted: stopped on request; everything is saved.
    """
    folder, progress = ComparisonDir(Path(out).expanduser()), OnceProgress(progress or SilentProgress())
    if so_far and not resume:
        raise PoolsearchError("--so-far sums up a comparison that has been begun: give --resume, too.")
    given = options is not None or settings is not None
    asked = ComparisonRequest(settings or Settings(), options or CompareSettings())
    if given or not resume:
        _check(asked)
    asked = replace(asked, settings=without_method(asked.settings))
    if resume:
        asked = resume_request(folder, asked if given else None, keep=not so_far)
    else:
        begin(folder, asked)
    trust = _let_pass(folder, asked, trust if given or not resume else replace(trust, words=frozenset()), progress)
    cases = _with_truth(folder, asked, progress, trust, partial(_cases, asked), partial(_cases, asked))
    if not so_far:
        _run_all(folder, asked, cases, progress, trust)
    return _sum_up(folder, asked, cases, progress, trust, train=not so_far)


def _let_pass(folder: ComparisonDir, asked: ComparisonRequest, trust: Trust, progress: Progress) -> Trust:
    """See that every Python file that a comparison names may run; gives the trust for its runs.

    Raises:
        PoolsearchError: one may not.
    """
    passed: list[Settings] = []
    for spec in asked.options.methods:
        method, fields = parse_spec(spec)
        settings = settings_of(method, asked.settings, fields)
        said = trust.also(Settings.of(method=method, **fields)) if spec in (trust.words or ()) else trust
        FolderPermissions(folder.root, trust, said.named(settings)).code(absolute(settings), progress)
        passed.append(settings)
    return trust.also(*passed)


def _check(asked: ComparisonRequest) -> None:
    options = asked.options
    if not options.methods:
        raise PoolsearchError("--methods is empty: name the methods to compare, such as --methods mixture spos random.")
    for name in ("seeds", "total_epochs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise PoolsearchError(f"--{name.replace('_', '-')} is {value}; allowed is at least 1.")
    # a setting of supernets, or a preset, brings the mixture
    if asked.settings.search.method not in ("mixture", DECLARED["method"].default):
        raise PoolsearchError(f"--method {asked.settings.search.method}: a comparison takes several, with --methods.")
    check(with_method(asked.settings, "auto"))
    # what can be told without images is told at once; epochs are not known yet
    known = asked.settings if asked.settings.search.epochs is not None else asked.settings.changed(epochs=1)
    cases_of(options.methods, known, None, lambda _, total: total)


def _with_truth(
    folder: ComparisonDir,
    asked: ComparisonRequest,
    progress: Progress,
    trust: Trust,
    work: Callable[[Run], T],
    beside: Callable[[Run], T | None],
) -> T:
    """Do something with the run in which placements are trained alone, as soon as no other process has it open.

    Args:
        folder: of the comparison.
        asked: what is compared.
        progress: where work shows itself.
        trust: whether Python files that the folder names may run.
        work: what is done, by one process at a time.
        beside: what is done, once, beside the process that has the run open; where that is enough, the work's result.
    """
    recipe, tried = ground_truth_settings(asked.settings, asked.options), False
    while True:
        try:
            with open_run(folder.truth, recipe, RunDir(folder.truth).run.exists(), progress, trust=trust) as run:
                return work(run)
        except InUse:
            if not tried and (run := open_beside(folder.truth, recipe, progress, trust)) is not None:
                if (found := beside(run)) is not None:
                    return found
                tried = True
                progress.say(f"waiting for another process, which works in {folder.truth}")
            time.sleep(_WAIT_SECONDS)


def _cases(asked: ComparisonRequest, run: Run) -> list[Case]:
    """The cases, with epochs that are known now."""

    def resolved(settings: Settings) -> ResolvedSettings:
        return resolve(settings, len(run.split.search_train), len(run.split.search_val), run.image_size)

    def epochs_of(settings: Settings, total: int) -> int:
        return equal_epochs(run, resolved(settings), total, asked.charged)

    known = resolved(settings_of("spos", asked.settings, {})).search.epochs
    base = asked.settings.changed(epochs=known)
    return cases_of(asked.options.methods, base, asked.options.total_epochs, epochs_of)


def _run_all(
    folder: ComparisonDir, asked: ComparisonRequest, cases: Sequence[Case], progress: Progress, trust: Trust
) -> None:
    """Bring every case with every seed to its result; runs that another process has are left to it."""
    waiting = [(case, seed) for seed in range(asked.options.seeds) for case in cases]
    total = len(waiting)
    with progress.bar("compare", total) as update:
        while waiting:
            busy: list[tuple[Case, int]] = []
            for done, (case, seed) in enumerate(waiting):
                update(total - len(waiting) + done, f"{case.spec} seed {seed}")
                if not _one(folder, case, seed, asked.charged, progress, trust):
                    busy.append((case, seed))
            if len(busy) == len(waiting):
                time.sleep(_WAIT_SECONDS)
            waiting = busy
        update(total, "")


def _one(folder: ComparisonDir, case: Case, seed: int, charged: Charged, progress: Progress, trust: Trust) -> bool:
    """Whether a run has its result now; not where another process is at it."""
    path = folder.result(case, seed)
    if path.exists():
        return True
    root = folder.run(case, seed)
    try:
        with open_ranked(root, case.at(seed), RunDir(root).run.exists(), progress, trust) as run:
            if not path.exists():
                write_json(path, {"case": case.spec} | outcome(run, charged))
    except InUse:
        return False
    return True


def _sum_up(
    folder: ComparisonDir,
    asked: ComparisonRequest,
    cases: Sequence[Case],
    progress: Progress,
    trust: Trust,
    train: bool,
) -> Path:
    """Train what is wanted of the truth, if asked to; write comparison.json and the page."""
    found = results(folder, cases, asked.options.seeds)

    def known(run: Run) -> ComparisonTruth:
        dearest = str(run.space[int(run.macs_A.argmax())])
        wanted = [*(one["pick"] for one in found.values()), str(run.space.default), dearest]
        return complete_truth(known_truth(asked.options, run), run, wanted, asked.options, train)

    def judged(run: Run) -> dict[str, Any]:
        return summary(asked, cases, found, known(run), run)

    def helped(run: Run) -> None:
        known(run)

    write_json(folder.comparison, _with_truth(folder, asked, progress, trust, judged, helped if train else judged))
    return write_comparison(folder.root)
