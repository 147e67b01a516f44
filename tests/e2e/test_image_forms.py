"""Whole runs of images that are no squares, or have one channel, up to what is exported."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import poolsearch
from poolsearch.settings import Settings

NET = """
from torch import nn


def make(classes):
    def unit(inputs, outputs, stride=1):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    units = [unit(3, 4), unit(4, 4), unit(4, 8, 2), unit(8, 8), unit(8, 8, 2)]
    return nn.Sequential(*units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""

SHORT = {
    "method": "macs", "retrain_epochs": 1, "retrain_seeds": 1, "top_k": 1, "answer_at": (), "control": (), "batch": 8,
    "precision": "fp32", "device": "cpu", "augment": "none",
}  # fmt: skip


def images(root: Path, height: int, width: int, mode: str) -> None:
    """Two classes, of images that are brighter to the left or to the right."""
    draw = np.random.default_rng(0)
    for name, ramp in (("left", np.linspace(200, 50, width)), ("right", np.linspace(50, 200, width))):
        (root / name).mkdir(parents=True)
        for number in range(12):
            grey = (ramp + draw.normal(0, 20, (height, width))).clip(0, 255).astype(np.uint8)
            Image.fromarray(grey).convert(mode).save(root / name / f"{number}.png")


def exported(folder: Path) -> ModuleType:
    """What stands in the folder's model.py."""
    spec = importlib.util.spec_from_file_location(f"model_of_{folder.parent.name}", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.nightly  # writing ONNX takes many seconds
def test_a_run_of_rectangles_and_its_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    images(tmp_path / "lines", 12, 32, "RGB")
    (tmp_path / "mine.py").write_text(NET)
    out = tmp_path / "rectangles"
    net = f"{tmp_path / 'mine.py'}:make"
    poolsearch.run(out, Settings.of(data=str(tmp_path / "lines"), net=net, axes="h,w", max_macs="1x", **SHORT))
    assert "12x32" in (out / "report.html").read_text()
    folder = poolsearch.export(out, placement="default")
    found = json.loads((folder / "export.json").read_text())
    assert found["image_size"] == found["stored"] == "12x32" and found["differences"]["model"]["logits"] == 0
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,) = session.get_inputs()
    assert given.shape[1:] == [3, 12, 32]
    monkeypatch.syspath_prepend(folder)  # where model.py finds the user's network
    model = exported(folder)
    net, x_BCHW = model.load(), torch.randn(2, 3, 12, 32)
    (logits_BK,) = session.run(None, {given.name: x_BCHW.numpy()})
    np.testing.assert_allclose(logits_BK, net(x_BCHW).detach(), atol=1e-4)
    assert {name for name, _ in model.predict(net, tmp_path / "lines" / "left" / "0.png")} == {"left", "right"}


def test_a_run_of_one_channel_and_its_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of coloured files that are no squares, with a division of their own in a table."""
    monkeypatch.setattr("poolsearch.stages.export.missing_packages", lambda: ["onnx"])
    images(tmp_path / "grey", 12, 20, "RGB")
    files = sorted((tmp_path / "grey").rglob("*.png"))
    rows = (f"{path.relative_to(tmp_path / 'grey')};{path.parent.name};{'test' if i % 4 == 0 else 'train'}"
            for i, path in enumerate(files))  # fmt: skip
    (tmp_path / "grey" / "labels.csv").write_text("\n".join(["file;label;split", *rows]))
    data, out = str(tmp_path / "grey" / "labels.csv"), tmp_path / "one"
    poolsearch.run(out, Settings.of(data=data, channels=1, width=2, placements=("4,3,3", "5,3,2"), **SHORT))
    folder = poolsearch.export(out)
    found = json.loads((folder / "export.json").read_text())
    assert len(found["mean"]) == 1 and found["image_size"] == "12x20"
    assert found["differences"]["model"]["logits"] < 1e-6
    assert json.loads((out / "test.json").read_text())["images"] == 6
    model = exported(folder)
    net = model.load()
    assert net(torch.zeros(2, 1, 12, 20)).shape == (2, 2)
    assert {name for name, _ in model.predict(net, files[0])} == {"left", "right"}
