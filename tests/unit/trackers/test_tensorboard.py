"""What TensorBoard finds in a run's folder, and what is said where its package is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import poolsearch
from poolsearch import EpochEvent, PoolsearchError, Settings
from poolsearch.storage.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("one_thread")


def settings(**changes: object) -> Settings:
    """One trial, one retraining of each of two placements; of one epoch of few steps."""
    small = {"width": 2, "batch": 128, "subset": 512, "precision": "fp32", "device": "cpu", "workers": 1}
    stages = {"method": "bayes", "trials": 1, "retrain_epochs": 1, "retrain_seeds": 1, "top_k": 2}
    few = {"placements": ("4,3,3", "5,3,2"), "answer_at": (), "control": ()}
    return Settings.of(**{**small, **stages, **few, "tracker": "tensorboard", **changes})


def test_the_curves_of_each_training_and_the_verdict_are_read_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "run"
    poolsearch.search(out, settings())
    poolsearch.retrain(out)  # the tracker is a setting of the run

    def read(training: str) -> dict[str, list[tuple[int, float]]]:
        found = accumulator.EventAccumulator(str(out / "tensorboard" / training)).Reload()
        return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}

    trial = read("trials/4,3,3/0")
    (event,) = [json.loads(line) for line in (out / "trials/4,3,3/0/events.jsonl").read_text().splitlines()]
    metrics = json.loads((out / "trials/4,3,3/0/metrics.json").read_text())
    assert trial == {
        "trials/learning_rate": [(2, pytest.approx(event["learning_rate"]))],
        "trials/train_loss": [(2, pytest.approx(event["train_loss"]))],
        "trials/metric": [(1, pytest.approx(metrics["val_metric"]))],
    }
    test = json.loads(RunDir(out).test.read_text())
    for entry in test["trials"]:
        found = read(f"retrain/{entry['placement']}/0")
        assert found.keys() == {"retrain/learning_rate", "retrain/train_loss", "retrain/test_metric"}
        assert found["retrain/test_metric"] == [(0, pytest.approx(entry["value"]))]
    whole = accumulator.EventAccumulator(str(out / "tensorboard")).Reload()
    said = [text.tensor_proto.string_val[0].decode() for text in whole.Tensors("verdict/text_summary")]
    assert said[-1].startswith(test["verdict"])


def test_what_a_killed_process_told_after_its_last_checkpoint_is_shown_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from poolsearch.trackers.tensorboard import TensorBoard

    for loss_at in ({2: 0.9, 4: 0.5, 6: 0.4}, {4: 0.75, 6: 0.25}):
        tracker = TensorBoard(tmp_path / "tensorboard")
        for step, loss in loss_at.items():
            name = {"stage": "search", "training": "search", "epoch": step // 2 - 1, "step": step, "seconds": 1.0}
            tracker.on_epoch(EpochEvent(**name, values={"train_loss": loss}))
        tracker.close()
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "search")).Reload()
    assert [(e.step, e.value) for e in found.Scalars("search/train_loss")] == [
        (2, pytest.approx(0.9)), (4, 0.75), (6, 0.25),
    ]  # fmt: skip


def test_without_its_package_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delitem(sys.modules, "poolsearch.trackers.tensorboard", raising=False)
    with pytest.raises(
        PoolsearchError, match=r"needs the package tensorboard.*pip install 'poolsearch\[tensorboard\]'"
    ):
        poolsearch.run(tmp_path / "run", settings())
    assert not (tmp_path / "run").exists()
