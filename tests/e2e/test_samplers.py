"""Searches by every sampler: stopped half-way and resumed from another folder they end the same, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import poolsearch
from poolsearch.files import RunDir
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTask
from poolsearch.train import checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"


def events(files: RunDir) -> list[dict[str, object]]:
    return [{**json.loads(line), "seconds": 0} for line in files.events.read_text().splitlines()]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "bse", "warm_up": 0.3},
        {"method": "mcts", "score_lag": 2},
        {"method": "mcts", "ucb_pick": "softmax", "warm_up": 0.3},
        {"method": "mcts", "ucb_reward": "advantage", "ucb_prior": "leaves", "warm_up": 0.3, "ucb_warm_up": "forget"},
        {"method": "my_sampler.py:make"},
    ],
    ids=["bse", "mcts, late", "mcts, softmax", "mcts, advantage", "own"],
)
def test_stopped_and_resumed_it_ends_the_same(
    tmp_path: Path, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    settings = tiny(**changes, epochs=2, checkpoint_seconds=0.0)
    whole, stopped = RunDir(tmp_path / "whole"), RunDir(tmp_path / "stopped")
    poolsearch.search(whole.root, settings)
    step = SearchTask.step

    def dies(task: SearchTask, number: int) -> None:
        if number == 7:
            raise RuntimeError("killed")
        step(task, number)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(SearchTask, "step", dies)
        poolsearch.search(stopped.root, settings)
    assert checkpoint.step_of(stopped.checkpoint) == 7
    monkeypatch.chdir(tmp_path)
    poolsearch.search(stopped.root, resume=True)
    (one, meta), (other, other_meta) = (checkpoint.load(files.checkpoint) for files in (whole, stopped))
    assert meta["total"] > 8 and meta["task"] == other_meta["task"]
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert events(whole) == events(stopped)
    assert whole.scores.read_bytes() == stopped.scores.read_bytes()


def test_a_sampler_that_is_not_there_is_said_before_anything_is_left(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    with pytest.raises(poolsearch.PoolsearchError, match=r"my_sampler.py has no function 'mak'; it has .*make"):
        poolsearch.search(tmp_path / "run", tiny(method=f"{EXAMPLES}/my_sampler.py:mak"))
    assert not RunDir(tmp_path / "run").run.exists()
