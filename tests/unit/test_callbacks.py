"""Callbacks: what they are told, in which order, and what becomes of a run when one raises."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolsearch
from poolsearch import Callback, EpochEvent, Interrupted, PoolsearchError, Settings, StageEvent, StepEvent, TrialEvent
from poolsearch.callbacks import SUPERNETS, Callbacks
from poolsearch.storage.files import write_text

pytestmark = pytest.mark.usefixtures("one_thread")
TWO = ("4,3,3", "5,3,2")


class Recorder(Callback):
    """Keeps stages, epochs and trials, in words."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.events: list[EpochEvent | StageEvent | StepEvent | TrialEvent] = []
        self.cannot_be_pickled = lambda: None

    def keep(self, words: str, event: EpochEvent | StageEvent | StepEvent | TrialEvent) -> None:
        self.told.append(words)
        self.events.append(event)

    def on_stage(self, event: StageEvent) -> None:
        self.keep(f"{event.stage} {event.phase}", event)

    def on_epoch(self, event: EpochEvent) -> None:
        self.keep(f"{event.training} epoch {event.epoch} at {event.step}", event)

    def on_trial(self, event: TrialEvent) -> None:
        self.keep(f"{event.training} ended", event)


class StepRecorder(Recorder):
    """Steps, too."""

    def on_step(self, event: StepEvent) -> None:
        self.keep(f"{event.training} step {event.step}", event)


class Raises(Callback):
    """Raises at one event."""

    def __init__(self, method: str, error: Exception, when: Callable[[Any], bool] = lambda _: True) -> None:
        self.left = [error]

        def tell(event: object) -> None:
            if self.left and when(event):
                raise self.left.pop()

        setattr(self, method, tell)


def by_trials(**changes: Any) -> Settings:
    """Two trials of two epochs of two steps, and one retraining of one of two."""
    small = {"width": 2, "batch": 128, "subset": 512, "precision": "fp32", "device": "cpu", "augment": "none"}
    stages = {"method": "bayes", "trials": 2, "trial_epochs": 2, "retrain_epochs": 1, "retrain_seeds": 1, "top_k": 1}
    return Settings.of(
        **{**small, **stages, "placements": TWO, "answer_at": (), "control": (), "workers": 1, **changes}
    )


def by_supernet(**changes: Any) -> Settings:
    """Two epochs of two steps."""
    few = {"method": "spos", "preset": "paper", "epochs": 2, "trials": None, "trial_epochs": None, "val_batch": 128}
    return by_trials(**{**few, **changes})


def logged(path: Path) -> list[dict[str, Any]]:
    """The events of a training but for their times."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in event.items() if name != "seconds"} for event in found]


def test_a_run_tells_its_stages_trainings_epochs_and_steps_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(folder: Path, truth: object) -> Path:
        write_text(folder / "report.html", "")
        return folder / "report.html"

    monkeypatch.setattr("poolsearch.pipeline.write_report", page)
    told = StepRecorder()
    poolsearch.run(tmp_path / "run", by_trials(), callbacks=[told])
    trials = [
        line
        for seed in (0, 1)
        for name in [f"trials/4,3,3/{seed}"]
        for line in (
            f"{name} step 1", f"{name} step 2", f"{name} epoch 0 at 2",
            f"{name} step 3", f"{name} step 4", f"{name} epoch 1 at 4", f"{name} ended",
        )
    ]  # fmt: skip
    retrained = [line for line in told.told if line.startswith("retrain/")]
    assert told.told == [
        "trials begin", *trials, "trials end", "retrain begin", *retrained, "retrain end", "report begin", "report end",
    ]  # fmt: skip
    names = list(dict.fromkeys(line.split()[0] for line in retrained))
    assert "retrain/4,3,3/0" in names
    steps = [f"step {step}" for step in range(1, 5)]
    assert retrained == [f"{name} {what}" for name in names for what in (*steps, "epoch 0 at 4", "ended")]
    of_trials = [event for event in told.events if isinstance(event, TrialEvent)]
    metrics = json.loads((tmp_path / "run" / "trials" / "4,3,3" / "1" / "metrics.json").read_text())
    assert (of_trials[1].stage, of_trials[1].placement, of_trials[1].seed, of_trials[1].epochs) == (
        "trials", "4,3,3", 1, 2,
    )  # fmt: skip
    assert (of_trials[1].metric, of_trials[1].train_loss) == (metrics["val_metric"], metrics["train_loss"])
    assert all(event.metric is None for event in of_trials if event.stage == "retrain")
    for event in told.events:
        if isinstance(event, StepEvent):
            assert event.loss.shape == () and not event.loss.requires_grad

    again = Recorder()
    poolsearch.retrain(tmp_path / "run", callbacks=[again])
    assert again.told == ["report begin", "report end"], "nothing is trained, and the page is written anew"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StepRecorder]:
    """A search that was never stopped."""
    out, told = tmp_path_factory.mktemp("searched") / "run", StepRecorder()
    poolsearch.search(out, by_supernet(), callbacks=[told])
    return out, told


def test_an_epoch_is_told_as_it_is_logged(searched: tuple[Path, StepRecorder]) -> None:
    out, told = searched
    steps = [f"search step {step}" for step in range(1, 5)]
    steps[2:2] = ["search epoch 0 at 2"]
    assert told.told == ["search begin", *steps, "search epoch 1 at 4", "search end"]
    epochs = [event for event in told.events if isinstance(event, EpochEvent)]
    for event, line in zip(epochs, logged(out / "events.jsonl"), strict=True):
        numbers = {name: value for name, value in line.items() if name not in ("stage", "epoch", "step")}
        assert event.values == {name: value for name, value in numbers.items() if value is not None}
        assert (event.placement, event.seed, event.seconds > 0) == (None, None, True)


@pytest.mark.parametrize("method", ["on_step", "on_epoch"])
def test_a_callback_that_raises_stops_a_search_which_then_goes_on_as_if_nothing_had_been(
    searched: tuple[Path, StepRecorder], tmp_path: Path, method: str
) -> None:
    whole, all_told = searched
    out, first, then = tmp_path / "run", StepRecorder(), StepRecorder()
    raises = Raises(method, ValueError("of the user's own"), lambda event: event.step == 2)
    with pytest.raises(ValueError, match="of the user's own") as caught:
        poolsearch.search(out, by_supernet(), callbacks=[raises, first])
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [f"raised by the callback Raises.{method}"]
    poolsearch.search(out, resume=True, callbacks=[then])
    assert first.told + then.told == [*all_told.told[:4], "search begin", *all_told.told[4:]]
    assert logged(out / "events.jsonl") == logged(whole / "events.jsonl")
    assert (out / "scores.parquet").read_bytes() == (whole / "scores.parquet").read_bytes()


@pytest.mark.slow
def test_worker_processes_tell_by_their_parent_and_are_saved_when_it_raises(tmp_path: Path) -> None:
    out, first, then = tmp_path / "run", StepRecorder(), Recorder()
    raises = Raises("on_epoch", Interrupted())
    with pytest.raises(Interrupted):
        poolsearch.search(out, by_trials(workers=2), callbacks=[raises, first])
    assert first.told[0] == "trials begin" and "trials end" not in first.told
    poolsearch.search(out, by_trials(workers=1), resume=True, callbacks=[then])
    told = [*first.told, *then.told]
    for seed in (0, 1):
        name = f"trials/4,3,3/{seed}"
        of_training = [line for line in told if line.startswith(name)]
        assert of_training == [f"{name} epoch 0 at 2", f"{name} epoch 1 at 4", f"{name} ended"], "each once, no steps"
    assert then.told[-1] == "trials end"


def test_what_is_no_callback_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    for wrong, said in (
        ([Recorder], "is no callback: each must be an object of a class derived from poolsearch.Callback"),
        ([print], "is no callback"),
        (Recorder(), "it must be a list of them"),
    ):
        with pytest.raises(PoolsearchError, match=said):
            poolsearch.run(tmp_path / "run", callbacks=wrong)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "run").exists()


def test_steps_are_made_into_events_only_where_a_callback_asks_for_them() -> None:
    assert Callbacks().watch(SUPERNETS).step is None
    assert Callbacks([Recorder()]).watch(SUPERNETS).step is None
    assert Callbacks([Recorder(), StepRecorder()]).watch(SUPERNETS).step is not None
