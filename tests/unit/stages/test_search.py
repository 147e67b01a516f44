"""The search's own choices: several placements a step, scores that are read late, state that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import Run, open_run
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTask

Tiny = Callable[..., Settings]


def steps(task: SearchTask, first: int, last: int) -> None:
    for step in range(first, last):
        task.step(step)


def opened(folder: Path, settings: Settings) -> Run:
    with open_run(folder, settings, False, SilentProgress()) as run:
        return run


def test_scores_are_read_so_many_steps_late_and_all_by_the_end(tmp_path: Path, tiny: Tiny) -> None:
    """With one member nothing that is drawn depends on the scores, so late scores end as those read at once."""
    found = {}
    for lag in (0, 3):
        task = SearchTask(opened(tmp_path / str(lag), tiny(method="spos", score_lag=lag)))
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
    task = SearchTask(opened(tmp_path / "run", tiny(members=3, placements_per_step=4)))
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
    whole = SearchTask(opened(tmp_path / "whole", tiny(**changes)))
    total = whole.epochs * whole.steps_per_epoch
    steps(whole, 0, total)
    first = SearchTask(opened(tmp_path / "first", tiny(**changes)))
    steps(first, 0, 3)
    tensors, meta = {n: t.clone() for n, t in first.tensors().items()}, json.loads(json.dumps(first.meta()))
    assert len(meta["pending"]) > 0
    second = SearchTask(opened(tmp_path / "second", tiny(**changes)))
    second.load(tensors, meta)
    steps(second, 3, total)
    for name, table in whole.mixture.state().items():
        assert np.array_equal(table, second.mixture.state()[name]), name
    for a, b in zip(whole.members, second.members, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
