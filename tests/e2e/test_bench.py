"""``poolsearch bench`` as a user runs it: on Table 6, on the folder of a sweep, and on what is neither."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from poolsearch.research.bench import Bandit, compare_samplers, ground_truth, parse_sampler

Command = Callable[..., CompletedProcess[str]]


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "regret.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_sweep(folder: Path, seeds: int) -> None:
    """The files of a finished sweep that are read: three placements, in benchmark mode."""
    folder.mkdir()
    columns = ["placement", "number", "seed", "macs", "part", "metric"]
    values = {"1,2,1": (100, 0.5), "1,1,2": (90, 0.4), "2,1,1": (120, 0.7)}
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        for number, name in enumerate(sorted(values)):
            macs, mean = values[name]
            writer.writerows([name, number, seed, macs, "test", mean + 0.01 * seed] for seed in range(seeds))
    (folder / "run.json").write_text(json.dumps({"space": {"default": "1,2,1"}}), encoding="utf-8")


def test_table_6_by_command_is_what_the_function_gives(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bench"
    done = command("bench", "--methods", "each-once", "bse:warm-up=0.5", "--seeds", "5", "--draws", "40", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "36 placements, 5 seeds of 40 trainings" in done.stdout and "bse:warm-up=0.5" in done.stdout
    rows = table_of(out)
    fixed, played = [row for row in rows if row["trainings"] == "0"], [row for row in rows if row["trainings"] != "0"]
    assert {row["method"]: float(row["mean"]) for row in fixed} == {"default 4,3,3": 0.0149, "most MACs 8,1,1": 0.0202}
    names = ("each-once", "bse:warm-up=0.5")
    found = compare_samplers(Bandit.of(ground_truth("table6")), [parse_sampler(name) for name in names], 5, 40)
    assert [(row["method"], int(row["trainings"])) for row in played] == [
        (name, t) for name in names for t in range(1, 41)
    ]
    for curve in found.curves:
        mine = [row for row in played if row["method"] == curve.name]
        assert [float(row["mean"]) for row in mine] == pytest.approx(curve.mean_T.tolist(), rel=1e-5, abs=1e-9)
        assert [float(row["p90"]) for row in mine] == pytest.approx(curve.band_3T[2].tolist(), rel=1e-5, abs=1e-9)
        assert [float(row["found"]) for row in mine] == pytest.approx(curve.found_T.tolist())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "poolsearch bench table6 --methods each-once bse:warm-up=0.5 --seeds 5 --draws 40" in page
    assert "7,1,2 (92.01% ± 0.18%)" in page
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("regret", "regret_by_seed") for kind in ("png", "svg")
    }


def test_a_sweep_is_a_table_and_its_page_can_be_made_again(tmp_path: Path, command: Command) -> None:
    write_sweep(tmp_path / "sweep", seeds=2)
    for draws in (4, 5):
        done = command("bench", tmp_path / "sweep", "--seeds", "3", "--draws", str(draws), "--score-images", "64",
                       "--quiet", cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    rows = table_of(tmp_path / "runs" / "bench-sweep")
    assert {int(row["trainings"]) for row in rows} == {0, 1, 2, 3, 4, 5}
    fixed = {row["method"]: float(row["mean"]) for row in rows if row["trainings"] == "0"}
    assert fixed == pytest.approx({"default 1,2,1": 0.2, "most MACs 2,1,1": 0.0})
    assert not (tmp_path / "sweep" / "report.html").exists()


def test_mistakes_are_told_before_anything_is_played(tmp_path: Path, command: Command) -> None:
    write_sweep(tmp_path / "once", seeds=1)
    for words, message in (
        (["nowhere"], "nowhere holds no finished sweep"),
        (["once"], "does not say how far two trainings of a placement differ"),
        (["--methods", "bsee"], "Did you mean 'bse'?"),
        (["--methods", *["bse"] * 9], "9 methods are too many for one figure: give at most 8"),
        (["--out", "once"], "once holds something else than a bench"),
        (["--seeds", "0"], "at least one of each"),
    ):
        done = command("bench", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
        assert message in done.stderr
    assert not (tmp_path / "runs").exists()
