"""Searches by every sampler: stopped half-way and resumed from another folder they end the same, to the bit."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import poolsearch
from poolsearch.progress import SilentProgress
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.text import verdict_text
from poolsearch.samplers.tree import TreeSearch
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTraining
from poolsearch.storage.files import read_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.train import checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"


def events(files: RunDir) -> list[dict[str, object]]:
    return [{**json.loads(line), "seconds": 0} for line in files.events.read_text().splitlines()]


ADVANTAGE = {
    "method": "mcts",
    "ucb_reward": "advantage",
    "ucb_prior": "leaves",
    "warm_up": 0.3,
    "ucb_warm_up": "forget",
}
# The contracts save and load the state of every sampler, with every way to pick
SOFTMAX = {"method": "mcts", "ucb_pick": "softmax", "warm_up": 0.3}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"method": "bse", "warm_up": 0.3}, id="bse"),
        pytest.param({"method": "mcts", "score_lag": 2}, id="mcts, late"),
        pytest.param(SOFTMAX, id="mcts, softmax", marks=pytest.mark.nightly),
        pytest.param({"method": "mcts", **ADVANTAGE}, id="mcts, advantage"),
        pytest.param({"method": "my_sampler.py:make"}, id="own"),
    ],
)
def test_stopped_and_resumed_it_ends_the_same(
    tmp_path: Path, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    settings = tiny(**changes, epochs=2, checkpoint_seconds=0.0)
    whole, stopped = RunDir(tmp_path / "whole"), RunDir(tmp_path / "stopped")
    poolsearch.search(whole.root, settings)
    step = SearchTraining.step

    def dies(task: SearchTraining, number: int) -> None:
        if number == 7:
            raise RuntimeError("killed")
        step(task, number)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(SearchTraining, "step", dies)
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


def rows_of(files: RunDir) -> list[dict[str, str]]:
    with files.ranking.open(newline="") as handle:
        return list(csv.DictReader(handle))


SOME, EARLY_STOP = {"rank_all_up_to": 5, "rank_top": 2, "rank_control": 2}, {"rank_early_stop": True, "eval_batch": 64}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        pytest.param("mcts", {}, id="mcts, all"),
        pytest.param("mcts", SOME, id="mcts, some"),
        pytest.param("mcts", EARLY_STOP, id="mcts, early stop"),
        pytest.param("spos", {}, id="spos, all"),
        # the order without a tree is also that of test_whole_run.py and of unit/stages/test_rank.py
        pytest.param("spos", SOME, id="spos, some", marks=pytest.mark.nightly),
        pytest.param("spos", EARLY_STOP, id="spos, early stop", marks=pytest.mark.nightly),
    ],
)
def test_what_a_tree_search_settled_on_stands_first(
    tmp_path: Path, tiny: Callable[..., Settings], method: str, changes: dict[str, object]
) -> None:
    """As in appendix C, where it alone is evaluated; the others follow by what they have on validation."""
    settings = tiny(method=method, epochs=2, **changes, **{"ucb_reward": "advantage"} if method == "mcts" else {})
    out = RunDir(tmp_path / "run")
    poolsearch.search(out.root, settings)
    with open_run(out.root, None, True, SilentProgress()) as run:
        worst = run.space.size - 1  # as if the tree had gone there: nothing else would put it first
        if method == "mcts":
            tensors, meta = checkpoint.load(out.checkpoint)
            tree = TreeSearch(run.space, run.settings.search, run.seed, meta["total"])
            for node in tree.tree.path(worst):
                tree.visits[node].asked = 10**6
            meta["task"]["sampler"] = tree.state()
            checkpoint.save(out.checkpoint, tensors, meta)
    poolsearch.rank(out.root, settings)
    first, *rest = rows_of(out)
    values = [(row["images"] != first["images"], -float(row["val_metric"])) for row in rest]  # stopped ones last
    assert values == sorted(values)
    assert read_json(out.ranking_summary)["found"] == (first["placement"] if method == "mcts" else None)
    told = verdict_text.verdict(read_run(out.root)).sentence
    if method == "mcts":
        assert int(first["number"]) == worst
        assert told.startswith(f"MCTS found {first['placement']} with ")
    else:
        assert values[0] >= (False, -float(first["val_metric"]))
        assert "found" not in told


def test_a_sampler_that_is_not_there_is_said_before_anything_is_left(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    with pytest.raises(poolsearch.PoolsearchError, match=r"my_sampler.py has no function 'mak'; it has .*make"):
        poolsearch.search(tmp_path / "run", tiny(method=f"{EXAMPLES}/my_sampler.py:mak"))
    assert not RunDir(tmp_path / "run").run.exists()
