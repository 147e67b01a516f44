"""What docs/resizers.md shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

PAGE = Path(__file__).parents[3] / "docs" / "resizers.md"


def test_the_examples_of_the_page_run(capsys) -> None:
    layers = [nn.Conv2d(3, 4, 3, stride=s, padding=1) for s in (1,)] + [nn.Conv2d(4, 4, 3, s, 1) for s in (2, 1, 2, 1)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    batch = torch.rand(4, 3, 32, 32), torch.arange(4)
    names = {"batches": [batch] * 2, "model": model, "criterion": nn.CrossEntropyLoss()}
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(code, names)
    assert "{'1': (" in capsys.readouterr().out
    names["loss"].backward()
    assert all(p.grad is not None for p in names["net"].parameters())
