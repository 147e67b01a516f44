"""Ranking without a supernet: placements are trained stand-alone on search-train and scored on search-val.

A sweep in benchmark mode is the ground truth of research instead (paper, section 3.1 and Table 6; NOTES P36): it trains
on all training images, scores on the test split, and there is no ranking to choose from.
"""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch import metrics
from poolsearch.context import Run
from poolsearch.data import thin
from poolsearch.execute import run_trials
from poolsearch.files import held, is_held, read_json, remove_leftovers, remove_lock, write_json, write_text
from poolsearch.nets.build import blank, default_width
from poolsearch.nets.poolable import parameters_of
from poolsearch.progress import Progress
from poolsearch.rungs import Rung, rungs, told
from poolsearch.settings import Settings
from poolsearch.stages.alone import AloneTask, Recipe, Trial, crew, diverged, train_alone, unfinished
from poolsearch.stages.live import Live
from poolsearch.stages.ranking.standing import Scored, Standing, order, standing_rows, standing_summary
from poolsearch.stages.ranking.table import as_csv
from poolsearch.waiting import Busy

TABLE_COLUMNS = (
    "placement", "number", "seed", "macs", "part", "accuracy", "metric", "epochs", "images", "seconds", "train_loss",
)  # fmt: skip


def sweep(run: Run) -> None:
    """Train placements rung by rung, and leave ``ranking.csv``, ``ranking.json``, ``sweep/`` and ``sweep.csv``.

    Trainings that are finished are kept: stopped at any moment, it goes on where it was and ends the same to the bit.
    The test split is not touched; in benchmark mode its opening is recorded, and no ranking is left.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    with run.stage("sweep"):
        plan = rungs(run.settings, run.space.size, len(images_to_learn(run)))
        run.progress.say(_announced(run, plan))
        if benchmark(run.settings):
            _open_test(run)
            run.warn("the test split is the ground truth of this sweep: it says nothing about what to choose.")
        standings = climb(run, plan)
        for trial in _trials(run, plan):
            remove_lock(trial.folder(run.dir.sweep))
        _warn_of_diverged(run, plan)
        write_text(run.dir.sweep_table, _as_table(run, plan))
        if benchmark(run.settings):
            return
        rows = standing_rows(run, standings, plan[0].seeds)
        write_json(run.dir.ranking_summary, standing_summary(run, rows, plan))
        write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole


def assist(run: Run) -> None:
    """Train what is left of a sweep, beside other processes that do; the one that holds the run folder ranks.

    Nothing is left but the files of trainings: each is held, while it is trained, by the process that trains it. Who
    goes on to the next rung follows from these files, so that all processes agree.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    plan = rungs(run.settings, run.space.size, len(images_to_learn(run)))
    run.progress.say(f"Joined. {_announced(run, plan)}")
    if benchmark(run.settings):
        _open_test(run)
    climb(run, plan)


def benchmark(settings: Settings) -> bool:
    """Whether a sweep is the ground truth of research, which reads the test split."""
    return settings.search.method == "sweep" and settings.alone.sweep_mode == "benchmark"


def images_to_learn(run: Run) -> NDArray[np.int64]:
    """Those that a sweep trains on."""
    return run.split.train_all if benchmark(run.settings) else run.split.search_train


def climb(run: Run, plan: Sequence[Rung]) -> list[Standing]:
    """Train rung by rung; every placement where it ended, best first: those that came further are better."""
    rising, fallen = list(range(run.space.size)), list[Standing]()
    for step, rung in enumerate(plan):
        go_on = plan[step + 1].placements if step + 1 < len(plan) else 0
        label = run.settings.search.method if len(plan) == 1 else f"rung {step + 1} of {len(plan)}"
        found = order(run, _train_rung(run, rung, plan[-1].epochs, rising, go_on, label))
        fallen = found[go_on:] + fallen
        rising = [standing.number for standing in found[:go_on]]
    return fallen


def at_fidelity(run: Run, rung: Rung) -> Run:
    """The run with as many channels and search-train images as the rung has; placements and search-val are the same."""
    split = run.split if benchmark(run.settings) else thin(run.split, run.images.label_N, rung.images, run.seed)
    if rung.width == 1:
        return replace(run, split=split)
    width = run.net_spec.width or default_width(run.net_spec.name)
    return replace(run, split=split, settings=run.settings.changed(width=max(1, round(width * rung.width))))


def sweep_recipe(settings: Settings, epochs: int, until: int) -> Recipe:
    """The training of a placement, from resolved settings: as the search, up to ``until`` of ``epochs`` epochs."""
    search, part = settings.search, "train_all" if benchmark(settings) else "search_train"
    return Recipe(
        "sweep", part, epochs, search.batch or 0, search.lr or 0, search.lr_floor or 0, search.momentum,
        search.weight_decay or 0, until,
    )  # fmt: skip


def _train_rung(run: Run, rung: Rung, epochs: int, numbers: Iterable[int], go_on: int, label: str) -> list[Standing]:
    """Train these placements up to the end of the rung; where each stands then.

    As soon as ``go_on`` others are ahead of a placement, it is out and its weights go: of a large space the
    checkpoints would fill the disk.
    """
    run, root = at_fidelity(run, rung), run.dir.sweep
    number_of = {run.space[number]: number for number in numbers}
    trials = [Trial(placement, seed) for seed in range(rung.seeds) for placement in number_of]
    macs_of = {placement: run.costs.macs(placement) for placement in number_of}
    ahead: list[tuple[float, int, int, Path]] = []
    scored_of: dict[Trial, Scored] = {}

    def scored(trial: Trial, found: Scored) -> None:
        scored_of[trial] = found
        insort(ahead, (-found.value, macs_of[trial.placement], number_of[trial.placement], trial.folder(root)))
        for *_, folder in ahead[go_on:]:
            unfinished(folder).unlink(missing_ok=True)
        del ahead[go_on:]

    for trial in trials:
        if (found := _scored(trial.folder(root), rung.epochs)) is not None:
            scored(trial, found)
    workers, threads, cards = crew(run, len(trials))
    left = [trial for trial in trials if trial not in scored_of]
    recipe = sweep_recipe(run.settings, epochs, rung.epochs)
    work = partial(_train, run, recipe, workers)
    live = _live(run, rung, label, {trial: macs_of[trial.placement] for trial in trials}, scored_of)

    def ended(trial: Trial, found: Scored) -> None:
        scored(trial, found)
        live.ended(trial, found.value)

    run_trials(work, left, [macs_of[t.placement] for t in left], live, label, workers, threads, cards, ended)
    return [
        Standing(number, rung.epochs, [scored_of[Trial(placement, seed)] for seed in range(rung.seeds)])
        for placement, number in number_of.items()
    ]


def _live(run: Run, rung: Rung, label: str, macs_of: Mapping[Trial, int], scored_of: Mapping[Trial, Scored]) -> Live:
    """What is shown of the rung's trainings while they are under way."""

    def value(trial: Trial) -> float | None:
        found = _scored(trial.folder(run.dir.sweep), rung.epochs)
        return None if found is None else found.value

    measure = f"{'test' if benchmark(run.settings) else 'validation'} {metrics.in_words(run.settings.data.metric)}"
    known = {trial: found.value for trial, found in scored_of.items()}
    return Live(run.progress, label, measure, macs_of, known, value, lambda trial: is_held(trial.folder(run.dir.sweep)))


def _train(run: Run, recipe: Recipe, workers: int, trial: Trial, progress: Progress) -> Scored | Busy:
    """Train one and score it, unless another process does, or has done so."""
    folder = trial.folder(run.dir.sweep)
    with held(folder) as ours:
        if not ours:
            return Busy()
        if (found := _scored(folder, recipe.until or recipe.epochs)) is not None:
            return found
        remove_leftovers(folder)
        return _train_and_score(run, recipe, workers, trial, progress)


def _train_and_score(run: Run, recipe: Recipe, workers: int, trial: Trial, progress: Progress) -> Scored:
    """Train one as far as the recipe goes, and score it on the search-val images, or those of test.

    The checkpoint stays, as it may be gone on with; how good it was at earlier rungs stays in the metrics.
    """
    path = trial.folder(run.dir.sweep) / "metrics.json"
    before = read_json(path)["rungs"] if path.exists() else []
    task, found = train_alone(run, recipe, run.dir.sweep, workers, trial, progress)
    part: Literal["test", "val"] = "test" if benchmark(run.settings) else "val"
    indices = run.split.test if part == "test" else run.split.search_val
    scored, images = _score(run, task, indices), len(indices)
    rung = {"epochs": task.epochs} | dataclasses.asdict(scored)
    score = {f"{part}_images": images, f"{part}_accuracy": scored.correct / images, f"{part}_metric": scored.value}
    write_json(path, found | score | {"rungs": [*before, rung]})
    return scored


@torch.inference_mode()
def _score(run: Run, task: AloneTask, indices: NDArray[np.int64]) -> Scored:
    metric = run.settings.data.metric
    loader = run.loader(indices, 1, "sweep-val", run.seed, augmented=False)
    model, found = task.net.eval(), list[Tensor]()
    for x_BCHW, _ in loader.chunks(run.settings.rank.eval_batch or 0):
        with run.machine.autocast():
            found.append(model(x_BCHW).argmax(1))
    true_N, predicted_N = run.images.label_N[indices], torch.cat(found).cpu().numpy()
    answers = (metric, true_N, predicted_N, len(run.images.class_names))
    return Scored(int((true_N == predicted_N).sum()), float(metrics.score(*answers)), *metrics.interval(*answers))


def _scored(folder: Path, epochs: int) -> Scored | None:
    """How good a trial was at the end of that rung; None where it has not come so far."""
    if not (folder / "metrics.json").exists():
        return None
    found: list[dict[str, Any]] = read_json(folder / "metrics.json")["rungs"]
    rung = next((rung for rung in found if rung["epochs"] == epochs), None)
    return None if rung is None else Scored(*(rung[field.name] for field in dataclasses.fields(Scored)))


def _open_test(run: Run) -> None:
    """Write down what the test split is read for, before the first image is."""
    if not run.dir.test.exists():
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_json(run.dir.test, {"opened": now, "for": "a sweep in benchmark mode", "images": len(run.split.test)})


def _trials(run: Run, plan: Sequence[Rung]) -> list[Trial]:
    """All of the sweep: those of its first rung."""
    return [Trial(placement, seed) for placement in run.space for seed in range(plan[0].seeds)]


def _as_table(run: Run, plan: Sequence[Rung]) -> str:
    """sweep.csv: a line for each training."""
    part, rows = "test" if benchmark(run.settings) else "val", list[dict[str, Any]]()
    for number, placement in enumerate(run.space):
        for seed in range(plan[0].seeds):
            found = read_json(Trial(placement, seed).folder(run.dir.sweep) / "metrics.json")
            rows.append({name: found.get(name, found.get(f"{part}_{name}")) for name in TABLE_COLUMNS})
            rows[-1] |= {"number": number, "part": part, "macs": int(run.macs_A[number])}
    return as_csv(rows, TABLE_COLUMNS)


def _announced(run: Run, plan: Sequence[Rung]) -> str:
    text = told(run.settings.search.method, plan)
    if len(plan) == 1:
        return text
    megabytes = 8e-6 * parameters_of(blank(run.net_spec)) * plan[1].placements  # fp32 weights, and their momentum
    return f"{text} Their checkpoints take up to {megabytes:,.0f} MB."


def _warn_of_diverged(run: Run, plan: Sequence[Rung]) -> None:
    trials = _trials(run, plan)
    if lost := [trial for trial in trials if diverged(trial.folder(run.dir.sweep))]:
        run.warn(f"{len(lost):,} of {len(trials):,} trainings diverged, as {lost[0]}: lower --lr in a new run.")
