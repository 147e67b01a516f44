"""The trainer's parts, each against a closed form, plain torch, or by hand."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from poolsearch.callbacks import EpochEvent, StepEvent, TrainingName, Watch
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.settings.groups import MachineSettings
from poolsearch.tasks.classification import classification
from poolsearch.train import checkpoint
from poolsearch.train.loop import LoopFiles, run_loop
from poolsearch.train.machine import Machine, pick_machine
from poolsearch.train.optim import Cosine, load_momentum, momentum_tensors, set_lr, sgd
from poolsearch.train.step import backward, predict, train_step

CPU = Machine(torch.device("cpu"), "fp32")
TASK = classification("accuracy")


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (5, 0.0505), (10, 0.001)])
def test_cosine_starts_halves_and_ends_where_it_should(step: int, expected: float) -> None:
    assert Cosine(0.1, 0.001, 10).at(step) == pytest.approx(expected)


@pytest.mark.parametrize("hold", [1, 4])
def test_cosine_is_torchs_own_schedule_stepped_as_often(hold: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=28 // hold, eta_min=1e-3)
    for step in range(28):
        assert Cosine(0.1, 1e-3, 28, hold).at(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % hold == 0:
            schedule.step()


@pytest.mark.parametrize(("epochs", "last"), [(1, 0.1), (2, 0.0505), (3, 0.02575), (4, 0.0155)])
def test_held_for_an_epoch_a_short_training_is_never_annealed(epochs: int, last: float) -> None:
    """Its last rate by hand, the cosine of 0, 90, 120, 135 degrees; falling at every step it gets to the floor."""
    steps = 80 * epochs
    assert Cosine(0.1, 0.001, steps, hold=80).at(steps - 1) == pytest.approx(last, abs=1e-4)
    assert Cosine(0.1, 0.001, steps).at(steps - 1) == pytest.approx(0.001, abs=1e-4)


def test_a_step_is_momentum_sgd_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([1])
    optimizer = sgd([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    velocity, expected = torch.zeros_like(weight), weight.detach().clone()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(3):
        logits = x @ expected.T
        probability = logits.softmax(1)
        loss = -probability[0, 1].log()
        gradient = (probability - nn.functional.one_hot(y, 2)).T @ x + 0.01 * expected
        velocity = 0.9 * velocity + gradient
        expected = expected - 0.1 * velocity
        found = train_step(lambda: backward(TASK, lambda z: z @ weight.T, x, y, scaler, CPU), optimizer, scaler)
        assert float(found) == pytest.approx(float(loss), abs=1e-6)
        assert torch.allclose(weight, expected, atol=1e-6)


def test_the_most_probable_class_is_predicted() -> None:
    logits = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert predict(TASK, lambda x: x, logits, torch.zeros(3, dtype=torch.int64), CPU).tolist() == [1, 0, 1]


def test_momentum_goes_through_a_checkpoint_also_of_a_parameter_that_had_no_gradient_yet() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = sgd([a, b], 0.1, 0.9, 0.0)
    a.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    saved = momentum_tensors(optimizer)
    assert torch.equal(saved["0"], torch.tensor([1.0, 2.0]))
    assert torch.equal(saved["1"], torch.zeros(2))
    other = sgd([nn.Parameter(a.detach().clone()), nn.Parameter(b.detach().clone())], 0.1, 0.9, 0.0)
    load_momentum(other, saved)
    for opt in (optimizer, other):
        set_lr(opt, 0.05)
        for parameter in opt.param_groups[0]["params"]:
            parameter.grad = torch.tensor([0.5, 0.5])
        opt.step()
    for mine, theirs in zip(optimizer.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert torch.equal(mine, theirs)


def test_the_optimizer_is_torchs_own_loop_over_parameters() -> None:
    mine, theirs = (nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3))
    theirs.load_state_dict(mine.state_dict())
    ours = sgd(mine.parameters(), 0.1, 0.9, 1e-3)
    plain = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, weight_decay=1e-3, foreach=False)
    x = torch.randn(2, 3, 5, 5)
    for _ in range(4):
        for net, optimizer in ((mine, ours), (theirs, plain)):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_checkpoint_keeps_values_and_says_when_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    checkpoint.save(path, {"a/x": weight, "a/y": torch.tensor(3)}, {"step": 5})
    tensors, meta = checkpoint.load(path)
    assert torch.equal(checkpoint.under_prefix("a", tensors)["x"], weight)
    assert meta == {"step": 5}
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PoolsearchError, match="damaged"):
        checkpoint.load(path)


def test_fp16_without_cuda_is_refused() -> None:
    with pytest.raises(PoolsearchError, match="needs a CUDA device"):
        pick_machine(MachineSettings(device="cpu", precision="fp16"))


class Walk:
    """A task whose result depends on every step, its order, and torch's own generator."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs, self.steps_per_epoch, self.device = 3, 5, torch.device("cpu")
        self.x = torch.zeros(1, dtype=torch.float64)
        self.log: list[Any] = []
        self._stop_after = stop_after

    def step(self, step: int) -> Tensor:
        self.x = self.x * 0.9 + step / (1 + step // self.steps_per_epoch) + torch.rand(1, dtype=torch.float64)
        if step == self._stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        return self.x

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        return {"x": self.x.item()}

    def note(self) -> str:
        return ""

    def tensors(self) -> dict[str, Tensor]:
        return {"x": self.x}

    def meta(self) -> Any:
        return {}

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        self.x = tensors["x"]


def loop(task: Walk, folder: Path, watch: Watch | None = None) -> int:
    """Run the task to its end, or to where it is stopped; gives the step that it began at."""
    files = LoopFiles(folder / "c.safetensors", folder / "events.jsonl", every_seconds=1000, of={"stage": "walk"})
    began = checkpoint.step_of(files.checkpoint) or 0
    run_loop(task, files, "walk", SilentProgress(), {"stage": "walk"}, seed=1, watch=watch)
    return began


def events(folder: Path) -> list[tuple[int, float]]:
    found = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [(event["epoch"], event["x"]) for event in found]


@pytest.mark.parametrize("stop_after", [0, 3, 4, 9, 13, 14])
def test_a_stopped_loop_ends_as_one_never_stopped(tmp_path: Path, stop_after: int) -> None:
    whole = Walk()
    assert loop(whole, tmp_path / "whole") == 0
    with pytest.raises(Interrupted):
        loop(Walk(stop_after), tmp_path / "stopped")
    again = Walk()
    assert loop(again, tmp_path / "stopped") == stop_after + 1
    assert torch.equal(again.x, whole.x)
    assert events(tmp_path / "stopped") == events(tmp_path / "whole")


def test_events_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    whole = Walk()
    loop(whole, tmp_path)
    with pytest.raises(Interrupted):
        loop(Walk(stop_after=6), tmp_path / "killed")
    with open(tmp_path / "killed" / "events.jsonl", "a") as handle:
        handle.write('{"epoch": 1, "x": 7}\n{"half a li')  # what a killed process wrote after its last checkpoint
    loop(Walk(), tmp_path / "killed")
    assert events(tmp_path / "killed") == events(tmp_path)


class Told:
    """Keeps the steps and epochs that it is told; raises at one of them."""

    def __init__(self, raise_at: int | None = None, at: type = StepEvent) -> None:
        self.told: list[tuple[str, int]] = []
        self._raise_at, self._at = raise_at, at
        self.watch = Watch(TrainingName(stage="walk", training="walk"), self, self)

    def __call__(self, event: EpochEvent | StepEvent) -> None:
        self.told.append((type(event).__name__, event.step))
        if event.step == self._raise_at and isinstance(event, self._at):
            raise ZeroDivisionError("of the user's own")


def test_steps_and_epochs_are_told_in_their_order(tmp_path: Path) -> None:
    told, task = Told(), Walk()
    loop(task, tmp_path, told.watch)
    steps = [("StepEvent", step) for step in range(1, 16)]
    for step in (15, 10, 5):
        steps.insert(step, ("EpochEvent", step))
    assert told.told == steps


@pytest.mark.parametrize(
    ("at", "step"), [(StepEvent, 1), (StepEvent, 7), (StepEvent, 15), (EpochEvent, 5), (EpochEvent, 15)]
)
def test_who_is_told_and_raises_loses_nothing_and_is_told_nothing_twice(tmp_path: Path, at: type, step: int) -> None:
    whole, all_told = Walk(), Told()
    loop(whole, tmp_path / "whole", all_told.watch)
    first, then, again = Told(step, at), Told(), Walk()
    with pytest.raises(ZeroDivisionError):
        loop(Walk(), tmp_path / "stopped", first.watch)
    assert loop(again, tmp_path / "stopped", then.watch) == step
    assert first.told + then.told == all_told.told
    assert torch.equal(again.x, whole.x)
    assert events(tmp_path / "stopped") == events(tmp_path / "whole")


@pytest.mark.parametrize("stop_after", [3, 4, 14])
def test_a_loop_that_is_stopped_and_gone_on_with_tells_everything_once(tmp_path: Path, stop_after: int) -> None:
    all_told, first, then = Told(), Told(), Told()
    loop(Walk(), tmp_path / "whole", all_told.watch)
    with pytest.raises(Interrupted):
        loop(Walk(stop_after), tmp_path / "stopped", first.watch)
    loop(Walk(), tmp_path / "stopped", then.watch)
    assert first.told + then.told == all_told.told


def test_a_finished_loop_does_nothing_more(tmp_path: Path) -> None:
    first, second = Walk(), Walk()
    loop(first, tmp_path)
    loop(second, tmp_path)
    assert torch.equal(first.x, second.x)


def test_the_callers_generator_and_handlers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before, handler = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    loop(Walk(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert signal.getsignal(signal.SIGINT) is handler
