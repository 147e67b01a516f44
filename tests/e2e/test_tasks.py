"""Whole runs of tasks other than classification, from Python objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import poolsearch
from poolsearch import PoolsearchError

SMALL: dict[str, Any] = {
    "method": "mixture", "members": 1, "epochs": 1, "batch": 32, "retrain_epochs": 2, "retrain_seeds": 2, "top_k": 1,
    "control": (), "device": "cpu", "precision": "fp32", "trials": 0, "retrain_lr": 0.2,
}  # fmt: skip

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        sizes = [(3, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1)]
        self.body = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes)
        )
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
"""


SEGMENTER = """
import torch
import torch.nn.functional as F
from torch import nn


def unit(a, b, stride):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())


class Segmenter(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fine = nn.Sequential(unit(3, 8, 1), unit(8, 8, 1))
        self.coarse = nn.Sequential(unit(8, 16, 2), unit(16, 16, 1))
        self.decoder, self.head = unit(24, 8, 1), nn.Conv2d(8, num_classes, 1)

    def forward(self, x):
        fine = self.fine(x)
        coarse = F.interpolate(self.coarse(fine), size=fine.shape[-2:])
        return {"aux": coarse, "out": self.head(self.decoder(torch.cat([fine, coarse], 1)))}
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("net") / "mine.py"
    file.write_text(NET)
    return f"{file}:Net"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Of 8 x 8 pixels, some dark and some bright, each half by itself."""
    draw = np.random.default_rng(0)
    half = draw.integers(0, 4, (300, 2)) * 64
    noise = draw.integers(0, 60, (300, 8, 8, 3))
    return (half.repeat(4, 1)[:, None, :, None] + noise).astype(np.uint8)


def parts(images: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    return {"train": (images[:220], targets[:220]), "test": (images[220:], targets[220:])}


def test_several_labels_of_an_image(images: np.ndarray, net: str, tmp_path: Path) -> None:
    target_NK = (images[:, :, ::4, 0].mean(1) > 120).astype(np.uint8)  # of the left and the right half
    given = parts(images, target_NK)
    result = poolsearch.run(tmp_path / "run", net=net, task="multi-label", cache_dir=tmp_path, **given, **SMALL)
    record, test = (json.loads((result.folder / name).read_text()) for name in ("run.json", "test.json"))
    assert record["settings"]["data"]["metric"] == "sample-f1" and record["data"]["class_names"] == ["0", "1"]
    assert test["classes"] == [] and all(trial["accuracy"] == trial["value"] for trial in test["trials"])
    # what stands in the report is what the networks reach, computed apart from it
    pixels_BCHW = torch.from_numpy(images[220:]).permute(0, 3, 1, 2) / 255
    entry = test["trials"][0]
    with torch.no_grad():
        seen = result.network(entry["placement"], entry["seed"])(pixels_BCHW).numpy() > 0
    there = target_NK[220:] > 0
    both, every = (seen & there).sum(1), seen.sum(1) + there.sum(1)
    expected = np.where(every > 0, 2 * both / np.maximum(every, 1), 1.0).mean()
    assert entry["value"] == pytest.approx(expected, abs=1e-6)
    kept = np.load(next(result.folder.glob("retrain/*/0/test_predicted.npy")))
    assert kept.shape == (80,) and kept.dtype == np.float32
    page = result.page.read_text()
    assert "test F1 of labels" in page and "Class by class" not in page


def test_values_of_an_image_come_out_in_their_own_units(images: np.ndarray, net: str, tmp_path: Path) -> None:
    value_NK = np.stack([images.mean((1, 2, 3)), 1000 + images[:, :, :4].mean((1, 2, 3))], 1).astype(np.float32)
    more = {"retrain_epochs": 12, "cache_dir": tmp_path}
    result = poolsearch.run(
        tmp_path / "run", net=net, task="regression", **parts(images, value_NK), **{**SMALL, **more}
    )
    test = json.loads((result.folder / "test.json").read_text())
    assert test["top1"] > 0.6  # a third is what always saying the mean reaches
    network = result.network()
    with torch.no_grad():
        found_NK = network(torch.from_numpy(images[220:]).permute(0, 3, 1, 2) / 255).numpy()
    assert np.abs(found_NK - value_NK[220:]).mean(0).max() < value_NK.std(0).min()
    # and so they do of the exported file, which needs no poolsearch
    folder = poolsearch.export(result.folder)
    Image.fromarray(images[250]).save(tmp_path / "image.png")
    told = subprocess.run(
        [sys.executable, folder / "model.py", tmp_path / "image.png"], capture_output=True, text=True, check=True
    ).stdout
    values = [float(part.split()[-1]) for part in told.strip().split(": ", 1)[1].split(", ")]
    assert values == pytest.approx(found_NK[30].tolist(), rel=1e-3)


def test_the_class_of_every_pixel(images: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SEGMENTER)
    mask_NHW = (images[..., 0] > 120).astype(np.uint8)
    mask_NHW[:, 0] = 255  # does not count
    given = {**parts(images, mask_NHW), **SMALL, "retrain_epochs": 6, "cache_dir": tmp_path}
    result = poolsearch.run(tmp_path / "run", net=f"{file}:Segmenter", task="dense", **given)
    test = json.loads((result.folder / "test.json").read_text())
    entry = test["trials"][0]
    with torch.no_grad():
        network = result.network(entry["placement"], entry["seed"])
        outputs = network(torch.from_numpy(images[220:]).permute(0, 3, 1, 2) / 255)
    seen_NHW, true_NHW = outputs["out"].argmax(1).numpy()[:, 1:], mask_NHW[220:, 1:]
    iou_N = []
    for seen, true in zip(seen_NHW, true_NHW, strict=True):
        both = [((seen == k) & (true == k)).sum() for k in (0, 1)]
        either = [((seen == k) | (true == k)).sum() for k in (0, 1)]
        iou_N.append(np.mean([b / e for b, e in zip(both, either, strict=True) if e]))
    assert entry["value"] == pytest.approx(np.mean(iou_N), abs=1e-6)
    assert test["top1"] > 0.6  # brighter than a threshold: learnt in no time
    Image.fromarray(images[250]).save(tmp_path / "image.png")
    folder = poolsearch.export(result.folder, entry["placement"], entry["seed"])
    told = subprocess.run(
        [sys.executable, folder / "model.py", tmp_path / "image.png"], capture_output=True, text=True, check=True
    ).stdout
    share_2 = [float((outputs["out"][30].argmax(0) == number).float().mean()) for number in (0, 1)]
    assert told.strip().endswith(", ".join(f"{number} {share:.1%}" for number, share in enumerate(share_2) if share))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs[:, 0], targets)


def closeness(outputs: Tensor, targets: Tensor) -> Tensor:
    return (1 - (outputs[:, 0] - targets).abs()).clamp(0, 1).mean()


class Stop(poolsearch.Callback):
    """Ends a run where its retraining begins."""

    def on_stage(self, event: poolsearch.StageEvent) -> None:
        if (event.stage, event.phase) == ("retrain", "begin"):
            raise ZeroDivisionError


def test_a_task_that_is_an_object_is_given_again_to_go_on(images: np.ndarray, net: str, tmp_path: Path) -> None:
    task = poolsearch.Task(loss, closeness, per_image=False, metric_name="batch closeness")
    target_N = (images.mean((1, 2, 3)) / 255).astype(np.float32)
    given = {"net": net, "task": task, "cache_dir": tmp_path} | parts(images, target_N) | SMALL
    whole = poolsearch.run(tmp_path / "whole", **given)
    assert "batch closeness" in whole.page.read_text()
    with pytest.raises(ZeroDivisionError):
        poolsearch.run(tmp_path / "run", **given, callbacks=[Stop()])
    with pytest.raises(PoolsearchError, match=r"begun with a task that is a Python object, batch closeness. Give it"):
        poolsearch.run(tmp_path / "run", resume=True)
    poolsearch.run(tmp_path / "run", resume=True, task=task)
    tests = [json.loads((tmp_path / name / "test.json").read_text()) for name in ("whole", "run")]
    assert tests[0]["trials"] == tests[1]["trials"] and len(tests[0]["trials"]) > 1


def test_a_task_from_a_file_is_used_by_workers_too(images: np.ndarray, net: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(
        "import poolsearch, torch\n"
        "from torch import nn\n"
        "def two_values():\n"
        "    return poolsearch.Task(\n"
        "        loss=nn.functional.mse_loss, metric=lambda o, t: (1 - (o - t).abs()).clamp(0, 1).mean(1),\n"
        "        collate=lambda items: torch.tensor([[i['a'], i['b']] for i in items]), metric_name='nearness')\n"
    )
    value_NK = np.stack([images.mean((1, 2, 3)), images[:, :, :4].mean((1, 2, 3))], 1) / 255
    items = [(image, {"a": float(a), "b": float(b)}) for image, (a, b) in zip(images, value_NK, strict=True)]
    more = {"workers": 2, "cache_dir": tmp_path, "retrain_epochs": 1}
    result = poolsearch.run(
        tmp_path / "run", net=net, task=f"{file}:two_values", train=items[:220], test=items[220:], **{**SMALL, **more}
    )
    assert "nearness" in result.verdict or "training failed" in result.verdict or "came out first" in result.verdict
    assert json.loads((result.folder / "run.json").read_text())["data"]["targets"] == "values"


def test_what_does_not_fit_the_task_is_refused_before_anything_is_trained(
    images: np.ndarray, net: str, tmp_path: Path
) -> None:
    target_N = images.mean((1, 2, 3)).astype(np.float32)
    big = poolsearch.Task(loss, lambda o, t: (o[:, 0] - t).abs())
    for task, message in (
        (big, r"the metric of the task gives values from .* It must be between 0 and 1"),
        (poolsearch.Task(loss, closeness), r"gives the shape \[\] for .* images; expected is"),
        (poolsearch.Task(lambda o, _: o, closeness), r"the loss of the task gives the shape"),
        ("foo", r"unknown task 'foo'"),
    ):
        with pytest.raises(PoolsearchError, match=message):
            poolsearch.run(tmp_path / "run", net=net, task=task, cache_dir=tmp_path, **parts(images, target_N), **SMALL)
        assert not (tmp_path / "run" / "run.json").exists()
