"""A whole run with height and width halved each by itself: sizes told first, files, names, results."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import poolsearch
from poolsearch.space import Placement
from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]


def rows(files: RunDir) -> list[dict[str, str]]:
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.slow
def test_the_whole_job(command: Command, tmp_path: Path, tiny_flags: list[str]) -> None:
    out = tmp_path / "run"
    few = ["--rank-all-up-to", "50", "--rank-top", "5", "--rank-control", "4"]
    done = command("run", "--axes", "h,w", *few, *tiny_flags, "--out", out)
    assert done.returncode == 0, done.stderr
    told = "cifar-resnet20: 1,296 placements (height and width each by itself); its own is 4,3,3"
    assert told in done.stderr
    assert done.stderr.index(told) < done.stderr.index("images: "), "before anything is trained"

    files = RunDir(out)
    space = json.loads(files.run.read_text())["space"]
    assert space["axes"] == "h,w" and space["size"] == space["covered"] == 36**2
    costs = pq.read_table(files.costs).to_pydict()
    assert costs["number"] == [*range(1296)] and len({*costs["placement"]}) == 1296
    assert Placement.parse(costs["placement"][36 * 23 + 22]).axis_blocks()[0] == (4, 3, 3)

    ranking = rows(files)
    assert 5 <= len(ranking) <= 10 and sum(row["is_default"] == "True" for row in ranking) == 1
    assert all(costs["placement"][int(row["number"])] == row["placement"] for row in ranking)
    test = json.loads(files.test.read_text())
    finalists = [row["placement"] for row in ranking[:2]]
    assert {p.name for p in files.retrain.iterdir()} == {*finalists, "4,3,3"}
    assert {entry["placement"] for entry in test["summary"]} == {*finalists, "4,3,3"}
    for name in finalists:
        metrics = json.loads((files.retrain / name / "0" / "metrics.json").read_text())
        assert metrics["macs"] == costs["macs"][costs["placement"].index(name)]

    winner = Placement.parse(finalists[0]).shown
    assert winner in test["verdict"] and winner in done.stdout
    assert "0x0" not in done.stdout and "0x0" not in test["verdict"]
    summary = json.loads(files.ranking_summary.read_text())
    assert summary["largest_logit_difference"] == 0.0


def test_placements_as_they_are_shown_can_be_asked_for(
    tmp_path: Path, tiny: Callable[..., poolsearch.Settings]
) -> None:
    asked = ("h 4,3,3 · w 3,4,3", "4,3,3", "0x0_0x0_0x1_1x0_0x0_0x0_0x1_1x0_0x0")
    out = poolsearch.search(tmp_path / "run", tiny(axes="h,w", placements=asked, epochs=1))
    poolsearch.rank(out)
    names = {row["placement"] for row in rows(RunDir(out))}
    assert names == {str(Placement.parse(text)) for text in asked}


def test_limits_hold_along_each_axis_and_a_large_space_is_cut(
    command: Command, tmp_path: Path, tiny_flags: list[str]
) -> None:
    limits = ["--min-blocks", "3", "2", "1", "--max-blocks", "6", "4", "4"]
    done = command("search", "--axes", "h,w", *limits, "--max-placements", "20", *tiny_flags, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    axis = [(a, b, 10 - a - b) for a in range(3, 7) for b in range(2, 5) if 1 <= 10 - a - b <= 4]
    each = f"{len(axis) ** 2} placements (height and width each by itself); searched is a random subset of 20; its own"
    assert each in done.stderr
    names = pq.read_table(RunDir(tmp_path / "run").costs)["placement"].to_pylist()
    assert len(names) == 20 and "4,3,3" in names
    assert all(blocks in axis for name in names for blocks in Placement.parse(name).axis_blocks())


@pytest.mark.slow
def test_a_network_that_is_restrided(tmp_path: Path, tiny: Callable[..., poolsearch.Settings]) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def layers(a, b, stride):\n"
        "    return [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU()]\n"
        "def net(classes):\n"
        "    parts = [*layers(3, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1)]\n"
        "    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))\n"
    )
    settings = tiny(net=f"{tmp_path / 'mine.py'}:net", axes="h,w", width=None)
    files = RunDir(poolsearch.run(tmp_path / "run", settings).folder)
    assert len(rows(files)) == 36  # 6 compositions of 5 blocks at 3 resolutions
    assert json.loads(files.ranking_summary.read_text())["largest_logit_difference"] == 0.0
