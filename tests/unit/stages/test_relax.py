"""The search of a relaxed method: its two steps, resuming, what it finds, and how that is ranked."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from poolsearch import pipeline
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.derive import derive, load_relaxed, rows_of
from poolsearch.stages.ranking.evaluate import evaluation_order, load_images
from poolsearch.stages.relax import RelaxedTraining, WeightHistory, check_machine
from poolsearch.storage.files import write_json
from poolsearch.supernet.relaxed import forward
from poolsearch.train.machine import Machine

pytestmark = pytest.mark.usefixtures("one_thread")

Tiny = Callable[..., Settings]
WAYS = [("darts", {}), ("darts", {"arch_optimizer": "sgd"}), ("darts", {"arch_order": 2}), ("gaea", {}),
        ("gaea", {"arch_order": 2})]  # fmt: skip
SMALL = {"members": None, "batch": 32, "val_batch": 16, "subset": 240, "checkpoint_seconds": 1000.0}


@pytest.fixture
def settings(tiny: Tiny) -> Callable[..., Settings]:
    """Few images, so that an epoch has few steps."""
    return lambda method="darts", **changes: tiny(method=method, **{**SMALL, **changes})


def opened(folder: Path, settings: Settings) -> Run:
    with open_run(folder, settings, False, SilentProgress()) as run:
        return run


def test_a_step_of_order_1_is_that_of_the_weights_and_then_that_of_the_architecture(tmp_path: Path, settings) -> None:
    """Both written out in plain torch: SGD with weight decay, then Adam on the gradient at the new weights."""
    task = RelaxedTraining(opened(tmp_path, settings(lr=0.1, weight_decay=0.01)))
    twin = RelaxedTraining(opened(tmp_path / "twin", settings(lr=0.1, weight_decay=0.01)))
    (x, y), (x_val, y_val) = twin._train.batch(0), twin._val.batch(0)
    theta = torch.ones(9, 3, requires_grad=True)
    parameters = list(twin.supernet.parameters())
    loss = F.cross_entropy(forward(twin.supernet, x, theta.softmax(1)), y)
    with torch.no_grad():
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p -= 0.1 * (g + 0.01 * p)
    logits = forward(twin.supernet, x_val, theta.softmax(1))
    (g,) = torch.autograd.grad(F.cross_entropy(logits, y_val), theta)
    task.step(0)
    for mine, theirs in zip(task.supernet.parameters(), parameters, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert torch.allclose(task.architecture.parameter, 1 - 0.01 * g / (g.abs() + 1e-8), atol=1e-6)
    assert float(task._loss) == pytest.approx(loss.item(), abs=1e-5)
    assert float(task._val_sum) == pytest.approx(float((logits.argmax(1) == y_val).float().mean()))


def test_a_step_of_order_2_looks_through_the_step_that_follows(tmp_path: Path, settings) -> None:
    run = opened(tmp_path, settings(arch_order=2, arch_optimizer="sgd", arch_lr=1.0, lr=0.1))
    task, twin = RelaxedTraining(run), RelaxedTraining(run)
    (x, y), (x_val, y_val) = twin._train.batch(0), twin._val.batch(0)
    theta, parameters = torch.ones(9, 3, requires_grad=True), dict(twin._relaxed.named_parameters())
    loss = F.cross_entropy(forward(twin.supernet, x, theta.softmax(1)), y)
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    ahead = {n: p - 0.1 * (g + 1e-3 * p) for (n, p), g in zip(parameters.items(), gradients, strict=True)}
    logits = torch.func.functional_call(twin._relaxed, ahead, (x_val, theta.softmax(1)))
    (g,) = torch.autograd.grad(F.cross_entropy(logits, y_val), theta)
    task.step(0)
    assert torch.allclose(task.architecture.parameter, 1 - g, atol=1e-6)
    assert g.abs().max() > 1e-4


def cut_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C during that step."""
    step = RelaxedTraining.step

    def interrupted(self: RelaxedTraining, number: int) -> None:
        step(self, number)
        if number == after:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RelaxedTraining, "step", interrupted)


def left(out: Path) -> dict[str, Any]:
    """All that a search leaves, without its times."""
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return {
        "checkpoint": {n: t.tolist() for n, t in load_file(out / "checkpoint" / "search.safetensors").items()},
        "events": [{k: v for k, v in event.items() if k != "seconds"} for event in events],
        "relaxed": json.loads((out / "relaxed.json").read_text()),
    }


@pytest.mark.parametrize(("method", "more"), WAYS)
def test_a_stopped_search_ends_as_one_never_stopped(
    tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any]
) -> None:
    given = settings(method, epochs=2, **more)
    pipeline.search(tmp_path / "whole", given)
    whole = left(tmp_path / "whole")
    total = whole["relaxed"]["steps"][-1]
    assert total >= 6 and len(whole["events"]) == 2
    for after in (0, total // 2, total - 2) if method == "darts" and not more else (total // 2,):
        out = tmp_path / str(after)
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            cut_off(patch, after)
            pipeline.search(out, given)
        assert not (out / "relaxed.json").exists()
        pipeline.search(out, None, resume=True)
        assert left(out) == whole


def test_another_seed_is_another_search_and_the_same_is_the_same(tmp_path: Path, settings) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pipeline.search(tmp_path / name, settings(seed=seed))
    a, b, c = (left(tmp_path / name) for name in "abc")
    assert a == b
    assert a["relaxed"]["weights"] != c["relaxed"]["weights"]


@pytest.mark.parametrize("method", ["darts", "gaea"])
def test_relaxed_json_and_events_tell_the_weights(tmp_path: Path, settings, method: str) -> None:
    pipeline.search(tmp_path, settings(method, epochs=3))
    found = left(tmp_path)
    weight_SLR = np.array(found["relaxed"]["weights"])
    assert weight_SLR.shape == (3, 9, 3)
    assert weight_SLR.sum(2) == pytest.approx(np.ones((3, 9)), abs=1e-6)
    assert found["relaxed"]["path"] == [0, *weight_SLR[-1].argmax(1)]
    assert found["relaxed"]["placement"] == str(Placement.of_resolutions(found["relaxed"]["path"]))
    entropy_S = -(weight_SLR * np.log(weight_SLR)).sum(2).mean(1) / np.log(3)
    assert [event["weight_entropy"] for event in found["events"]] == pytest.approx(entropy_S)
    assert 0 < entropy_S[-1] < entropy_S[0] < 1
    assert all(0 <= event["val_metric"] <= 1 and event["train_loss"] > 0 for event in found["events"])


def test_at_most_a_hundred_snapshots_are_kept_and_the_last_is_one() -> None:
    history = WeightHistory(1234)
    for epoch in range(1234):
        history.take(epoch, 10 * epoch + 10, [[epoch]])
    assert len(history.steps) == 100
    assert history.steps[0] == 10 and history.steps[-1] == 12340
    assert history.weight_SLR[-1] == [[1233]]


def test_order_2_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    with pytest.raises(PoolsearchError, match="Leave --compile out"):
        check_machine(Machine(cpu, "fp32", compiler="eager"), 2)
    with pytest.raises(PoolsearchError, match="bf16, fp32 or --arch-order 1"):
        check_machine(Machine(cpu, "fp16"), 2)
    for order, machine in ((1, Machine(cpu, "fp16", compiler="eager")), (2, Machine(cpu, "bf16"))):
        check_machine(machine, order)


def test_bfloat16_trains(tmp_path: Path, settings) -> None:
    for order in (1, 2):
        task = RelaxedTraining(opened(tmp_path / str(order), settings(precision="bf16", arch_order=order)))
        task.step(0)
        assert torch.isfinite(task.architecture.parameter).all() and torch.isfinite(task._loss)
        assert not torch.equal(task.architecture.parameter, torch.ones(9, 3))


def found_at(out: Path, path: list[int]) -> None:
    """As if the search had found this."""
    found = json.loads((out / "relaxed.json").read_text())
    write_json(out / "relaxed.json", found | {"path": path, "placement": str(Placement.of_resolutions(path))})


def ranking(out: Path) -> list[dict[str, str]]:
    with open(out / "ranking.csv", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize(
    ("path", "text", "number"),
    [
        ([0, 0, 0, 0, 0, 1, 1, 1, 2, 2], "5,3,2", "28"),
        ([0, 1, 0, 0, 2, 2, 1, 1, 2, 2], "1x1_-1x-1_0x0_2x2_0x0_-1x-1_0x0_1x1_0x0", ""),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "9,1", ""),
        ([0] * 10, "10", ""),
    ],
)
def test_what_was_found_stands_first_and_the_default_beside_it(
    tmp_path: Path, settings, path: list[int], text: str, number: str
) -> None:
    pipeline.search(tmp_path, settings())
    found_at(tmp_path, path)
    pipeline.rank(tmp_path)
    first, default = ranking(tmp_path)
    assert (first["placement"], first["number"], first["is_default"]) == (text, number, "False")
    assert (default["placement"], default["number"], default["is_default"]) == ("4,3,3", "23", "True")
    assert first["score"] == first["member"] == first["assignment"] == "" and first["control"] == "False"
    summary = json.loads((tmp_path / "ranking.json").read_text())
    assert summary["mode"] == "found" and summary["placements"] == 2 and summary["answers"][-1]["placement"] == text
    with open_run(tmp_path, None, True, SilentProgress()) as run:
        placement, supernet = load_relaxed(run)
        assert placement == Placement.of_resolutions(path)
        assert int(first["macs"]) == run.costs.macs(placement)
        assert float(first["macs_ratio"]) == pytest.approx(
            run.costs.macs(placement) / run.costs.macs(run.space.default)
        )
        x, y = load_images(run, evaluation_order(run))
        with torch.inference_mode():
            right = float((supernet(x, placement).argmax(1) == y).float().mean())
        assert float(first["val_accuracy"]) == pytest.approx(right, abs=1e-6)
        assert float(first["low"]) < right < float(first["high"])


def test_a_found_default_is_the_only_line(tmp_path: Path, settings) -> None:
    pipeline.search(tmp_path, settings())
    found_at(tmp_path, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    pipeline.rank(tmp_path)
    (only,) = ranking(tmp_path)
    assert only["is_default"] == "True" and only["number"] == "23"


def test_macs_of_upsampling_are_those_that_torch_counts(tmp_path: Path, settings) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    run = opened(tmp_path, settings("gaea"))
    net = run.build()
    for path in ([0, 2, 0, 1, 0, 2, 2, 1, 0, 0], [0, 0, 1, 1, 0, 0, 2, 2, 2, 2]):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, *run.image_size), Placement.of_resolutions(path))
        assert run.costs.macs(Placement.of_resolutions(path)) == counter.get_total_flops() // 2


def test_the_metric_of_the_run_is_ranked_by(tmp_path: Path, settings) -> None:
    run = opened(tmp_path, settings(metric="balanced-accuracy"))
    true_N = run.images.label_N[evaluation_order(run)]
    zeros_N = np.zeros_like(true_N)
    rows = rows_of(run, [Placement.of_blocks([10]), run.space.default], [true_N, zeros_N])
    assert [row["val_metric"] for row in rows] == pytest.approx([1.0, 0.1])
    assert rows[1]["val_accuracy"] == pytest.approx(np.mean(true_N == 0))


def test_there_is_nothing_to_rank_before_the_search_has_ended(tmp_path: Path, settings) -> None:
    with pytest.raises(PoolsearchError, match="no finished search"):
        derive(opened(tmp_path, settings()))
