"""`poolsearch export` as a user calls it, and the folder as somebody without poolsearch uses it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

NET = """
import torch.nn.functional as F
from torch import nn


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def make(classes):
    units = [Unit(3, 4, 1), Unit(4, 4, 1), Unit(4, 8, 2), Unit(8, 8, 1), Unit(8, 8, 2)]
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
    (tmp_path / "mine.py").write_text(NET)
    flags = "--members 2 --epochs 1 --retrain-epochs 1 --retrain-seeds 1 --top-k 1 --precision fp32 --batch 128"
    ran = command("run", "--net", "mine.py:make", *flags.split(), "--val-batch", "128", "--quiet", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    done = command("export", "runs/digits", "--placement", "default", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "digits" / "export"
    assert json.loads((folder / "export.json").read_text())["differences"]["model"]["logits"] == 0
    (tmp_path / "mine.py").unlink()
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
