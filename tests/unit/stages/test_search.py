"""The search's own choices: several placements a step, scores that are read late, state that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from poolsearch.ask_tell import MixtureSearch
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTraining, make_members, search_rates
from poolsearch.train.optim import sgd

Tiny = Callable[..., Settings]


def steps(task: SearchTraining, first: int, last: int) -> None:
    for step in range(first, last):
        task.step(step)


def opened(folder: Path, settings: Settings) -> Run:
    with open_run(folder, settings, False, SilentProgress()) as run:
        return run


def test_scores_are_read_so_many_steps_late_and_all_by_the_end(tmp_path: Path, tiny: Tiny) -> None:
    """With one member nothing that is drawn depends on the scores, so late scores end as those read at once."""
    found = {}
    for lag in (0, 3):
        task = SearchTraining(opened(tmp_path / str(lag), tiny(method="spos", score_lag=lag)))
        total = task.epochs * task.steps_per_epoch
        assert total > 4
        steps(task, 0, total - 1)
        assert task.mixture.scored_AM.sum() == total - 1 - lag
        steps(task, total - 1, total)
        assert task.mixture.scored_AM.sum() == total
        found[lag] = task.mixture
    assert np.array_equal(found[0].score_AM, found[3].score_AM)
    assert np.array_equal(found[0].scored_at_AM, found[3].scored_at_AM)


def test_preset_robust_reads_late(tmp_path: Path, tiny: Tiny) -> None:
    assert opened(tmp_path / "robust", tiny(preset="robust")).settings.search.score_lag == 8
    assert opened(tmp_path / "paper", tiny()).settings.search.score_lag == 0


def test_a_step_trains_and_scores_several_placements_of_one_member(tmp_path: Path, tiny: Tiny) -> None:
    task = SearchTraining(opened(tmp_path / "run", tiny(members=3, placements_per_step=4)))
    before = [[p.detach().clone() for p in member.parameters()] for member in task.members]
    steps(task, 0, 1)
    trained_M = task.mixture.trained_AM.sum(0)
    assert sorted(trained_M.tolist()) == [0, 0, 4]
    scored_AM = task.mixture.scored_AM
    assert (scored_AM <= 1).all()  # drawn twice, a placement is still seen on one minibatch only
    assert ((scored_AM > 0) == (task.mixture.trained_AM > 0)).all()
    for member, old, trained in zip(task.members, before, trained_M, strict=True):
        moved = any(not torch.equal(p, q) for p, q in zip(member.parameters(), old, strict=True))
        assert moved == (trained > 0)


@pytest.mark.parametrize("changes", [{"score_lag": 2}, {"placements_per_step": 3, "score_lag": 1, "refresh": 2}])
def test_state_goes_on_where_it_was(tmp_path: Path, tiny: Tiny, changes: dict[str, int]) -> None:
    whole = SearchTraining(opened(tmp_path / "whole", tiny(**changes)))
    total = whole.epochs * whole.steps_per_epoch
    steps(whole, 0, total)
    first = SearchTraining(opened(tmp_path / "first", tiny(**changes)))
    steps(first, 0, 3)
    tensors, meta = {n: t.clone() for n, t in first.tensors().items()}, json.loads(json.dumps(first.meta()))
    assert len(meta["pending"]) > 0
    second = SearchTraining(opened(tmp_path / "second", tiny(**changes)))
    second.load(tensors, meta)
    steps(second, 3, total)
    for name, table in whole.mixture.state().items():
        assert np.array_equal(table, second.mixture.state()[name]), name
    for a, b in zip(whole.members, second.members, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_loop_of_ones_own_around_ask_and_tell_is_the_stage_to_the_bit(tmp_path: Path, tiny: Tiny) -> None:
    """Scores, assignment, training steps and weights, from the same networks, images and learning rates."""
    task = SearchTraining(opened(tmp_path / "stage", tiny(members=3)))
    total = task.epochs * task.steps_per_epoch
    steps(task, 0, total)

    run = opened(tmp_path / "own", tiny(members=3))
    settings, members = run.settings.search, make_members(run, "batch")
    optimizers = [sgd(m.parameters(), settings.lr, settings.momentum, settings.weight_decay) for m in members]
    train = run.loader(run.split.search_train, settings.batch, "search-train", run.seed, augmented=True)
    val = run.loader(run.split.search_val, settings.val_batch, "search-val", run.seed, augmented=False)
    rates = search_rates(settings, task.epochs, task.steps_per_epoch)
    search = MixtureSearch(run.space, members=3, steps=total, seed=run.seed)
    for step in range(total):
        trial = search.ask()
        member, optimizer = members[trial.member], optimizers[trial.member]
        optimizer.param_groups[0]["lr"] = rates.at(step)
        x_BCHW, y_B = train.batch(step)
        optimizer.zero_grad()
        F.cross_entropy(member(x_BCHW, trial.placement), y_B).backward()
        optimizer.step()
        with torch.no_grad():
            x_BCHW, y_B = val.batch(step)
            search.tell(trial, (member(x_BCHW, trial.placement).argmax(1) == y_B).float().mean())

    assert search.mixture.scored_AM.sum() == total > 4
    for name, table in task.mixture.state().items():
        assert np.array_equal(table, search.mixture.state()[name]), name
    for ours, theirs in zip(members, task.members, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
