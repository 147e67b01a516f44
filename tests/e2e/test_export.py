"""`poolsearch export` as a user calls it, and the folder as somebody without poolsearch uses it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

UNITS = """
import torch.nn.functional as F
from torch import nn


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))
"""

NET = """
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from units import Unit


@dataclass
class Config:
    units: list[list[int]]


def make(classes):
    config = Config(json.loads((Path(__file__).parent / "units.json").read_text()))
    units = [Unit(*one) for one in config.units]
    return nn.Sequential(*units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""

USE = """
import sys
sys.modules["poolsearch"] = None
from model import Backbone, load, predict
import torch
print(predict(load(), sys.argv[1])[0][0], [tuple(m.shape) for m in Backbone(load())(torch.zeros(2, 3, 8, 8))])
"""


@pytest.mark.slow
def test_a_run_with_a_network_of_the_users_own(tmp_path, command):
    """Which imports a file from beside it, and reads one: in worker processes and in the export, too."""
    (tmp_path / "mine.py").write_text(NET)
    (tmp_path / "units.py").write_text(UNITS)
    (tmp_path / "units.json").write_text("[[3, 4, 1], [4, 4, 1], [4, 8, 2], [8, 8, 1], [8, 8, 2]]")
    flags = "--preset paper --members 2 --epochs 1 --retrain-epochs 1 --retrain-seeds 1 --top-k 1 --precision fp32"
    flags += " --batch 128 --val-batch 128 --workers 2 --quiet"
    ran = command("run", "--net", "mine.py:make", *flags.split(), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    done = command("export", "runs/digits", "--placement", "default", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "digits" / "export"
    assert json.loads((folder / "export.json").read_text())["differences"]["model"]["logits"] == 0
    files = json.loads((folder / "export.json").read_text())["files"]
    assert {"original.py", "units.py", "units.json", "model.py"} <= {*files}
    for name in ("mine.py", "units.py", "units.json"):
        (tmp_path / name).unlink()
    Image.fromarray(np.zeros((20, 30), dtype=np.uint8)).save(tmp_path / "x.png")
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    used = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path / "x.png")], capture_output=True, text=True, cwd=folder, env=plain,
        check=False,
    )  # fmt: skip
    assert used.returncode == 0, used.stderr
    assert used.stdout.split(maxsplit=1)[1].strip() == "[(2, 4, 8, 8), (2, 8, 4, 4), (2, 8, 2, 2)]"


def test_mistakes_are_told_in_a_line(tmp_path, command):
    none = command("export", cwd=tmp_path)
    assert none.returncode == 2 and none.stderr.startswith("poolsearch: there is no run in runs/")
    wrong = command("export", "nowhere", cwd=tmp_path)
    assert wrong.returncode == 2 and "it holds no run" in wrong.stderr
    two = command("export", "a", "--out", "b", cwd=tmp_path)
    assert two.returncode == 2 and "two runs are named" in two.stderr


# The name of the data ended the docstring and began a text, which the name of the first class ended
DATA, CODE = "\"\"\"+'''", "''';open('ran','w')#"
CLASSES = [CODE, "\\N{x} {y} %s", "[bold]猫[bold] \x1b[2J\u202e<script>"]


@pytest.mark.slow
def test_names_of_folders_become_no_code(tmp_path, command):
    """Names of the data (and so of the run) and of classes: on the terminal, in the export, on the page."""
    data = tmp_path / DATA
    draw = np.random.default_rng(0)
    for name in CLASSES:
        (data / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(data / name / f"{i}.png")
    flags = "--width 2 --preset paper --method spos --epochs 1 --retrain-epochs 1 --retrain-seeds 1 --top-k 1 --batch 8"
    ran = command("run", "--data", data, *flags.split(), "--val-batch", "8", "--precision", "fp32", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    done = command("export", cwd=tmp_path)
    assert not [*tmp_path.rglob("ran")]
    assert done.returncode == 0, done.stderr
    (out,) = (tmp_path / "runs").iterdir()
    for said in (ran.stdout, ran.stderr, done.stdout, done.stderr):
        assert not {"\x1b", "\u202e", "\r"} & {*said}
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = "import json, model; print(json.dumps([model.CLASSES, model.RUN]))"
    used = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=out / "export", env=plain, check=False
    )
    assert used.returncode == 0, used.stderr
    assert json.loads(used.stdout) == [sorted(CLASSES), out.name]
    assert json.loads((out / "export" / "export.json").read_text())["classes"] == sorted(CLASSES)
    assert "<script>" not in (out / "export" / "README.md").read_text()
    page = (out / "report.html").read_text()
    assert '<script>"' not in page and "\u202e<script>" not in page
    assert not [*tmp_path.rglob("ran")]
