"""Ranking without a supernet: placements are trained stand-alone on search-train and scored on search-val.

A sweep in benchmark mode is the ground truth of research instead (paper, section 3.1 and Table 6;
docs/differences.md#ground-truth): it trains on all training images, scores on the test split, and there is no ranking
to choose from.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from poolsearch.data import subset_search_train
from poolsearch.nets.build import blank, default_width
from poolsearch.nets.poolable import parameters_of
from poolsearch.samplers.successive_halving import Rung, brackets, draw_placements, rungs, rungs_text
from poolsearch.session.run import Run
from poolsearch.stages.ranking.standalone_table import (
    ScoredTraining,
    TrainedPlacement,
    best_first,
    standalone_rows,
    standalone_summary,
)
from poolsearch.stages.ranking.table import as_csv
from poolsearch.stages.standalone.rung import open_test, train_rung, training_images
from poolsearch.stages.standalone.trial import Trial, has_diverged, unfinished_folder
from poolsearch.stages.trials import learn
from poolsearch.storage.files import remove, write_json, write_text
from poolsearch.storage.locks import remove_lock
from poolsearch.storage.stage_results import read_metrics

TABLE_COLUMNS = (
    "placement", "number", "seed", "macs", "part", "accuracy", "metric", "epochs", "images", "seconds", "train_loss",
)  # fmt: skip


def sweep(run: Run) -> None:
    """Train placements rung by rung, and leave ``ranking.csv``, ``ranking.json``, ``sweep/`` and ``sweep.csv``.

    Trainings that are finished are kept: stopped at any moment, it goes on where it was and ends the same to the bit.
    With ``--rank-by prediction`` (of a proxy) :func:`poolsearch.stages.trials.learn` ranks.
    The test split is not touched; in benchmark mode its opening is recorded, and no ranking is left.

    Args:
        run: open, with a method that trains placements stand-alone; its folder takes the files.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    with run.stage("sweep"):
        plan = rungs(run.settings, run.space.size, len(training_images(run)))
        run.progress.say(_announced(run, plan))
        if run.settings.is_benchmark:
            open_test(run)
            run.warn("the test split is the ground truth of this sweep: it says nothing about what to choose.")
        standings = train_rungs(run, plan)
        for standing in standings:
            for trial in _trials(run, standing):
                remove_lock(trial.folder(run.dir.sweep))
        _warn_of_diverged(run, standings)
        write_text(run.dir.sweep_table, _as_table(run, standings))
        if run.settings.is_benchmark:
            return
        rows = standalone_rows(run, standings, plan[0].seeds)
        summary = standalone_summary(run, rows, standings, plan)
        if run.settings.rank.rank_by == "metric":
            write_json(run.dir.ranking_summary, summary)
            write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole
    if run.settings.rank.rank_by == "prediction":
        learn(run, rows, summary, np.array([row["val_metric"] for row in rows]))


def assist(run: Run) -> None:
    """Train what is left of a sweep, beside other processes that do; the one that holds the run folder ranks.

    Nothing is left but the files of trainings: each is held, while it is trained, by the process that trains it. Who
    goes on to the next rung follows from these files, so that all processes agree.

    Args:
        run: joined, not opened: another process holds its folder, or none.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    plan = rungs(run.settings, run.space.size, len(training_images(run)))
    run.progress.say(f"Joined. {_announced(run, plan)}")
    if run.settings.is_benchmark:
        open_test(run)
    train_rungs(run, plan)


def train_rungs(run: Run, plan: Sequence[Rung]) -> list[TrainedPlacement]:
    """Train rung by rung; every trained placement where it ended, best first: those that came further are better.

    Rungs of several brackets that end at the same epoch are trained at once, and their placements by themselves
    compared.

    Args:
        run: opened or joined; ``sweep/`` in its folder takes the trainings.
        plan: all rungs of the method.

    Returns:
        Each placement that was trained, once; among those trained equally far in the order of
        :func:`~poolsearch.stages.ranking.standalone_table.best_first`.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    rising, reached = draw_placements(plan, run.space.size, run.seed), dict[int, TrainedPlacement]()
    go_on = {rung: after.placements for own in brackets(plan) for rung, after in pairwise(own)}
    lengths = sorted({rung.epochs for rung in plan})
    for step, epochs in enumerate(lengths, 1):
        now = [rung for rung in plan if rung.epochs == epochs]
        numbers = sorted({number for rung in now for number in rising[rung.bracket]})
        # who is out of one bracket may be of use to another: only where there is one, weights can go at once
        kept = go_on.get(now[0], 0) if len(rising) == 1 else len(numbers)
        label = run.settings.search.method if len(lengths) == 1 else f"rung {step} of {len(lengths)}"
        found = {s.number: s for s in _train_rung(run, now[0], plan[-1].epochs, numbers, kept, label)}
        reached |= found
        for rung in now:
            ordered = best_first(run, [found[number] for number in rising[rung.bracket]])
            rising[rung.bracket] = [standing.number for standing in ordered[: go_on.get(rung, 0)]]
        for number in {*numbers}.difference(*rising):
            remove(unfinished_folder(Trial(run.space[number], 0).folder(run.dir.sweep)))
    return [
        s for epochs in reversed(lengths) for s in best_first(run, (s for s in reached.values() if s.epochs == epochs))
    ]


def at_fidelity(run: Run, rung: Rung) -> Run:
    """The run with as many channels and search-train images as the rung has; placements and search-val are the same.

    Args:
        run: the whole one.
        rung: its ``images`` and ``width`` count.

    Returns:
        The run to train in; with a sweep in benchmark mode all images stay.
    """
    split = (
        run.split
        if run.settings.is_benchmark
        else subset_search_train(run.split, run.images.label_N, rung.images, run.seed)
    )
    if rung.width == 1:
        return replace(run, split=split)
    width = run.net_spec.width or default_width(run.net_spec.name)
    return replace(run, split=split, settings=run.settings.changed(width=max(1, round(width * rung.width))))


def _train_rung(
    run: Run, rung: Rung, epochs: int, numbers: Iterable[int], go_on: int, label: str
) -> list[TrainedPlacement]:
    """Train these placements up to the end of the rung; where each stands then.

    As soon as ``go_on`` others are ahead of a placement, it is out and its weights go: of a large space the
    checkpoints would fill the disk.
    """
    run, root = at_fidelity(run, rung), run.dir.sweep
    number_of = {run.space[number]: number for number in numbers}
    trials = [Trial(placement, seed) for seed in range(rung.seeds) for placement in number_of]
    ahead: list[tuple[float, int, int, Path]] = []

    def scored(trial: Trial, found: ScoredTraining) -> None:
        macs, number = run.costs.macs(trial.placement), number_of[trial.placement]
        insort(ahead, (-found.value, macs, number, trial.folder(root)))
        for *_, folder in ahead[go_on:]:
            remove(unfinished_folder(folder))
        del ahead[go_on:]

    scored_of = train_rung(run, rung, epochs, trials, label, scored)
    return [
        TrainedPlacement(number, rung.epochs, [scored_of[Trial(placement, seed)] for seed in range(rung.seeds)])
        for placement, number in number_of.items()
    ]


def _as_table(run: Run, standings: Iterable[TrainedPlacement]) -> str:
    """sweep.csv: a line for each training, in the order of the placements' numbers."""
    part, rows = "test" if run.settings.is_benchmark else "val", list[dict[str, Any]]()
    for standing in sorted(standings, key=lambda s: s.number):
        for trial in _trials(run, standing):
            found = read_metrics(trial.folder(run.dir.sweep))
            rows.append({name: found.get(name, found.get(f"{part}_{name}")) for name in TABLE_COLUMNS})
            rows[-1] |= {"number": standing.number, "part": part, "macs": int(run.macs_A[standing.number])}
    return as_csv(rows, TABLE_COLUMNS)


def _trials(run: Run, standing: TrainedPlacement) -> list[Trial]:
    return [Trial(run.space[standing.number], seed) for seed in range(len(standing.scored))]


def _announced(run: Run, plan: Sequence[Rung]) -> str:
    text = rungs_text(run.settings.search.method, plan)
    if len(plan) == 1:
        return text
    begun = draw_placements(plan, run.space.size, run.seed)
    kept = plan[1].placements if len(begun) == 1 else len({*chain(*begun)})
    megabytes = 8e-6 * parameters_of(blank(run.net_spec)) * kept  # fp32 weights, and their momentum
    return f"{text} Their checkpoints take up to {megabytes:,.0f} MB."


def _warn_of_diverged(run: Run, standings: Iterable[TrainedPlacement]) -> None:
    trials = [trial for standing in standings for trial in _trials(run, standing)]
    if lost := [trial for trial in trials if has_diverged(trial.folder(run.dir.sweep))]:
        run.warn(f"{len(lost):,} of {len(trials):,} trainings diverged, as {lost[0]}: lower --lr in a new run.")
