"""Runs within a budget: what is kept, what is told, that a resumed run measures nothing, and what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import poolsearch
from damage import forget_digests
from poolsearch.cli.main import main
from poolsearch.session import apply_budget
from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]


def costs_of(files: RunDir) -> dict[str, list[object]]:
    return pq.read_table(files.costs).to_pydict()


@pytest.mark.slow
def test_the_whole_job_at_no_more_than_the_defaults_macs(
    command: Command, tmp_path: Path, tiny_flags: list[str]
) -> None:
    out = tmp_path / "run"
    done = command("run", "--max-macs", "1.0x", *tiny_flags, "--out", out)
    assert done.returncode == 0, done.stderr
    files = RunDir(out)
    record, costs = json.loads(files.run.read_text()), costs_of(files)
    own = costs["macs"][costs["placement"].index("4,3,3")]
    assert max(costs["macs"]) == own
    kept = len(costs["number"])
    assert record["budget"] == {"given": {"max_macs": "1.0x"}, "before": 36, "tried": 36, "after": kept}
    assert record["space"]["size"] == 36 and record["space"]["covered"] == kept < 36
    assert f"budget: --max-macs 1.0x: {kept} of 36 placements are within it; the default has" in done.stderr
    assert f"36 placements; searched are the {kept} within the budget; its own is 4,3,3" in done.stderr
    assert costs["latency_ms"] == [None] * kept and min(costs["memory"]) > 0
    assert all(len(fields) == 3 for name in ("field_height", "field_width") for fields in costs[name])
    about = json.loads(pq.read_schema(files.costs).metadata[b"poolsearch"])
    assert about["batch"] == 128 and about["dtype"] == "fp32" and about["latency_batch"] is None
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        ranking = list(csv.DictReader(handle))
    assert {row["placement"] for row in ranking} == {*costs["placement"]}
    assert max(float(row["macs_ratio"]) for row in ranking) == 1.0


@pytest.mark.slow
def test_a_budget_without_the_default_compares_with_it_all_the_same(
    tmp_path: Path, tiny: Callable[..., poolsearch.Settings]
) -> None:
    poolsearch.run(tmp_path / "run", tiny(max_macs="0.6x"))
    files = RunDir(tmp_path / "run")
    assert "4,3,3" not in costs_of(files)["placement"]
    test = json.loads(files.test.read_text())
    assert test["default"] == "4,3,3" and test["difference"] is not None
    ratios = {row["placement"]: row["macs_ratio"] for row in test["summary"]}
    assert ratios.pop("4,3,3") == 1.0 and max(ratios.values()) <= 0.6


def test_a_resumed_run_measures_nothing_and_ends_the_same(
    tmp_path: Path, tiny: Callable[..., poolsearch.Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(max_latency="1.0x", latency_batch=2, epochs=1, axes="h,w", max_placements=30)
    out = poolsearch.search(tmp_path / "run", settings)
    files = RunDir(out)
    before = files.costs.read_bytes(), files.scores.read_bytes()
    assert all(latency > 0 for latency in costs_of(files)["latency_ms"])

    def never(*arguments: object) -> None:
        raise AssertionError("measured anew")

    monkeypatch.setattr(apply_budget, "latency_table", never)
    monkeypatch.setattr(apply_budget, "profile", never)
    files.scores.unlink()
    poolsearch.search(out, resume=True)
    assert (files.costs.read_bytes(), files.scores.read_bytes()) == before
    poolsearch.rank(out)
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["placement"] for row in rows} == {*costs_of(files)["placement"]}
    files.costs.unlink()
    with pytest.raises(poolsearch.PoolsearchError, match="says which placements are within the budget: restore it"):
        poolsearch.rank(out)


def test_costs_of_an_older_run_are_counted_again(tmp_path: Path, tiny: Callable[..., poolsearch.Settings]) -> None:
    out = poolsearch.search(tmp_path / "run", tiny(placements=("4,3,3", "5,3,2")))
    files = RunDir(out)
    before = costs_of(files)
    record = json.loads(files.run.read_text())
    del record["budget"], record["given"]["budget"]  # as a version without budgets left it
    files.run.write_text(json.dumps(record))
    forget_digests(out)
    old = pq.read_table(files.costs).select(["number", "placement", "macs"])
    pq.write_table(old, files.costs)
    poolsearch.rank(out)
    assert costs_of(files) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-macs", "0.1x"], "--max-macs 0.1x leaves none of the 36 placements: the smallest MACs is"),
        (["--max-macs", "1B"], "unknown unit 'b': give a number with one of the units K, M, G, T"),
        (["--max-memory", "3"], "--max-memory is '3', which has no unit"),
        (["--max-macs", "0.51x", "--members", "3"], "--members 3 is more than the"),
        (["--max-macs", "0.51x", "--members", "3"], "allow more placements (a wider budget)"),
        (["--latency-device", "cuda", "--max-latency", "1x"], "--latency-device cuda: torch sees no such device here"),
        (["--max-latency", "1m"], "units us, ms, s, such as 5ms"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_flags: list[str], flags: list[str], said: str
) -> None:
    import torch

    if "cuda" in flags and torch.cuda.is_available():
        pytest.skip("this machine has a cuda device")
    assert main(["search", *tiny_flags, *flags, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_costs_of_a_network_without_data(command: Command, tmp_path: Path) -> None:
    done = command(
        "costs", "cifar-resnet20", "--batch", "32", "--max-macs", "1.0x", "--precision", "fp32", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for part in ("36 placements", "MACs 40.81M", "receptive field 90x90 58x58", "batch 32, fp32", "default: 4,3,3"):
        assert part in said, part
    weights = [432, *[4608] * 3, 14336, *[18432] * 2, 57344, *[73728] * 2]  # of each block's convolutions
    macs = {
        (a, b, 10 - a - b): sum(w * 4.0 ** -(i >= a) * 4.0 ** -(i >= a + b) for i, w in enumerate(weights))
        for a in range(1, 9)
        for b in range(1, 10 - a)
    }
    within = sum(value <= macs[4, 3, 3] for value in macs.values())
    assert f"{within} of 36 placements are within --max-macs 1.0x." in said
    assert "latency" not in said and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "1"], "--batch is 1; allowed is at least 2"),
        (["--latency-batch", "0"], "--latency-batch is 0; allowed is at least 1"),
        (["--max-macs", "5"], "has no unit"),
        (["--classes", "0"], "--classes is 0; allowed is at least 1"),
        (["--image-size", "2"], "too small for 2 halvings"),
    ],
)
def test_mistakes_in_costs(capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    assert main(["costs", "cifar-resnet20", "--quiet", *flags]) == 2
    assert said in capsys.readouterr().err
