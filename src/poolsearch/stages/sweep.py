"""Ranking without a supernet: placements are trained stand-alone on search-train and scored on search-val.

A sweep in benchmark mode is the ground truth of research instead (paper, section 3.1 and Table 6; NOTES P36): it trains
on all training images, scores on the test split, and there is no ranking to choose from.
"""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain, pairwise
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
from poolsearch.files import read_json, write_json, write_text
from poolsearch.nets.build import blank, default_width
from poolsearch.nets.poolable import parameters_of
from poolsearch.placement import Placement
from poolsearch.progress import Progress
from poolsearch.rungs import Rung, brackets, drawn, rungs, told
from poolsearch.settings import Settings
from poolsearch.stages.alone import AloneTask, Recipe, Trial, crew, diverged, train_alone, unfinished
from poolsearch.stages.ranking.standing import Scored, Standing, order, standing_rows, standing_summary
from poolsearch.stages.ranking.table import as_csv

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
        standings = climb(run, plan)
        _warn_of_diverged(run, standings)
        write_text(run.dir.sweep_table, _as_table(run, standings))
        if benchmark(run.settings):
            return
        rows = standing_rows(run, standings, plan[0].seeds)
        write_json(run.dir.ranking_summary, standing_summary(run, rows, standings, plan))
        write_text(run.dir.ranking, as_csv(rows))  # where it is, the ranking is whole


def benchmark(settings: Settings) -> bool:
    """Whether a sweep is the ground truth of research, which reads the test split."""
    return settings.search.method == "sweep" and settings.alone.sweep_mode == "benchmark"


def images_to_learn(run: Run) -> NDArray[np.int64]:
    """Those that a sweep trains on."""
    return run.split.train_all if benchmark(run.settings) else run.split.search_train


def climb(run: Run, plan: Sequence[Rung]) -> list[Standing]:
    """Train rung by rung; every trained placement where it ended, best first: those that came further are better.

    Rungs of several brackets that end at the same epoch are trained at once, and their placements by themselves
    compared.
    """
    rising, reached = drawn(plan, run.space.size, run.seed), dict[int, Standing]()
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
            ordered = order(run, [found[number] for number in rising[rung.bracket]])
            rising[rung.bracket] = [standing.number for standing in ordered[: go_on.get(rung, 0)]]
        for number in {*numbers}.difference(*rising):
            unfinished(Trial(run.space[number], 0).folder(run.dir.sweep)).unlink(missing_ok=True)
    return [s for epochs in reversed(lengths) for s in order(run, (s for s in reached.values() if s.epochs == epochs))]


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
        if (found := scored_at(trial.folder(root), rung.epochs)) is not None:
            scored(trial, found)
    workers, threads, cards = crew(run, len(trials))
    left = [trial for trial in trials if trial not in scored_of]
    recipe = sweep_recipe(run.settings, epochs, rung.epochs)
    work = partial(train_trial, run, recipe, workers)
    run_trials(work, left, [macs_of[t.placement] for t in left], run.progress, label, workers, threads, cards, scored)
    return [
        Standing(number, rung.epochs, [scored_of[Trial(placement, seed)] for seed in range(rung.seeds)])
        for placement, number in number_of.items()
    ]


def train_trial(run: Run, recipe: Recipe, workers: int, trial: Trial, progress: Progress) -> Scored:
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


def scored_at(folder: Path, epochs: int) -> Scored | None:
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
    run.warn("the test split is the ground truth of this sweep: it says nothing about what to choose.")


def _as_table(run: Run, standings: Iterable[Standing]) -> str:
    """sweep.csv: a line for each training, in the order of the placements' numbers."""
    part, rows = "test" if benchmark(run.settings) else "val", list[dict[str, Any]]()
    for standing in sorted(standings, key=lambda s: s.number):
        for trial in _trials(run, standing):
            found = read_json(trial.folder(run.dir.sweep) / "metrics.json")
            rows.append({name: found.get(name, found.get(f"{part}_{name}")) for name in TABLE_COLUMNS})
            rows[-1] |= {"number": standing.number, "part": part, "macs": int(run.macs_A[standing.number])}
    return as_csv(rows, TABLE_COLUMNS)


def _trials(run: Run, standing: Standing) -> list[Trial]:
    return [Trial(run.space[standing.number], seed) for seed in range(len(standing.scored))]


def _announced(run: Run, plan: Sequence[Rung]) -> str:
    text = told(run.settings.search.method, plan)
    if len(plan) == 1:
        return text
    begun = drawn(plan, run.space.size, run.seed)
    kept = plan[1].placements if len(begun) == 1 else len({*chain(*begun)})
    megabytes = 8e-6 * parameters_of(blank(run.net_spec)) * kept  # fp32 weights, and their momentum
    return f"{text} Their checkpoints take up to {megabytes:,.0f} MB."


def _warn_of_diverged(run: Run, standings: Iterable[Standing]) -> None:
    trials = [trial for standing in standings for trial in _trials(run, standing)]
    if lost := [trial for trial in trials if diverged(trial.folder(run.dir.sweep))]:
        run.warn(f"{len(lost):,} of {len(trials):,} trainings diverged, as {lost[0]}: lower --lr in a new run.")


def train_placements(run: Run, placements: Sequence[Placement]) -> dict[Placement, list[float]]:
    """Train these placements to the end of a sweep, each with all its seeds; those that have been are read.

    They need not be of the space, as long as the run has their costs.

    Args:
        run: of a sweep.
        placements: what to train.

    Returns:
        The metric of each seed by placement.
    """
    rung = rungs(run.settings, run.space.size, len(images_to_learn(run)))[-1]
    if benchmark(run.settings):
        _open_test(run)
    trials, root = [Trial(placement, seed) for seed in range(rung.seeds) for placement in placements], run.dir.sweep
    left = [trial for trial in trials if scored_at(trial.folder(root), rung.epochs) is None]
    workers, threads, cards = crew(run, len(trials))
    work = partial(train_trial, run, sweep_recipe(run.settings, rung.epochs, rung.epochs), workers)
    costs = [run.costs.macs(trial.placement) for trial in left]
    run_trials(work, left, costs, run.progress, "truth", workers, threads, cards)
    found = {trial: scored_at(trial.folder(root), rung.epochs) for trial in trials}
    return {p: [one.value for seed in range(rung.seeds) if (one := found[Trial(p, seed)])] for p in placements}
