"""Comparing methods, as a user does it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats

from forked import Forked
from poolsearch.storage.locks import locked

Command = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = Path(__file__).parents[2] / "examples"
FIVE = "4,3,3 5,3,2 7,1,2 1,1,8 3,3,4".split()
FLAGS = [
    *"--width 2 --precision fp32 --device cpu --batch 64 --subset 400 --sweep-epochs 1 --sweep-seeds 2".split(),
    *("--workers", "1", "--placements", *FIVE),
]


def compare(command: Command, out: Path, *flags: str, fails: str | None = None) -> str:
    result = command("compare", "--out", out, *flags)
    if fails is not None:
        assert result.returncode == 2 and fails in result.stderr, result.stderr
        assert "Traceback" not in result.stderr
    else:
        assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared") / "out"


def test_methods_are_compared_by_the_truth_of_what_they_find(begun: Path, command: Command) -> None:
    methods = "spos mixture:members=2 proxy:proxy-epochs=1 darts".split()
    compare(
        command, begun, "--methods", *methods, "--seeds", "2", "--epochs", "1", "--total-epochs", "2", "--truth", "all",
        *FLAGS,
    )  # fmt: skip
    found = json.loads((begun / "comparison.json").read_text())
    assert [(case["case"], case["budget"]) for case in found["cases"]] == [
        ("spos:epochs=1", "own"), ("spos:epochs=2", "equal"), ("mixture:members=2:epochs=1", "equal"),
        ("proxy:proxy-epochs=1", ""), ("darts:epochs=1", "equal"),
    ]  # fmt: skip
    truth = {}
    for path in sorted((begun / "truth" / "sweep").glob("*/*/metrics.json")):
        truth.setdefault(path.parts[-3], []).append(json.loads(path.read_text())["test_metric"])
    assert set(FIVE) <= set(truth) and all(len(values) == 2 for values in truth.values())
    for case in found["cases"]:
        for seed, pick in enumerate(case["picks"]):
            folder = begun / "runs" / case["case"].replace(":", ",") / str(seed)
            with (folder / "ranking.csv").open(newline="") as handle:
                assert next(csv.DictReader(handle))["placement"] == pick["placement"]
            assert pick["truth"] == pytest.approx(sum(truth[pick["placement"]]) / 2)
        assert case["seeds"] == 2 and case["work"] > 0
    assert found["truth"]["whole"] and found["truth"]["placements"] == 5
    best = max(sum(truth[name]) / 2 for name in FIVE)
    assert found["truth"]["best"]["mean"] == pytest.approx(best)
    spos = found["cases"][0]
    assert {point["placement"] for point in found["points"] if point["case"] == "spos:epochs=1"} == set(FIVE)
    assert all(point["test"] is not None for point in found["points"] if point["case"] == "spos:epochs=1")
    assert spos["tau"]["ranking"]["n"] == 2 and spos["tau"]["test"]["n"] == 2
    opened = json.loads((begun / "runs" / "spos,epochs=1" / "0" / "test.json").read_text())
    assert "nothing is chosen by it" in opened["for"], "the opening of the test split is recorded"
    assert (begun / "report.html").exists()


def test_more_methods_are_added_and_nothing_is_done_again(begun: Path, command: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.glob("runs/*/*/result.json")}
    compare(command, begun, "--resume", "--methods", "spos:epochs=1", "spos:epochs=2", "bse:epochs=1")
    found = json.loads((begun / "comparison.json").read_text())
    assert [case["case"] for case in found["cases"]] == ["spos:epochs=1", "spos:epochs=2", "bse:epochs=1"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_there_is_so_far_is_shown_and_nothing_is_run(begun: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "copy"
    shutil.copytree(begun, out)
    methods = "spos:epochs=1 bse:epochs=1 macs".split()
    (out / "runs" / "spos,epochs=1" / "0" / "result.json").unlink()
    for path in (out / "truth" / "sweep").glob("1,1,8/*/metrics.json"):
        path.unlink()
    left = sorted(out.glob("runs/*/*/result.json")) + sorted(out.glob("truth/sweep/*/*/metrics.json"))
    record = (out / "compare.json").read_text()
    compare(command, out, "--resume", "--so-far", "--methods", *methods)
    assert (out / "compare.json").read_text() == record, "a look changes nothing of what is gone on with"
    assert sorted(out.glob("runs/*/*/result.json")) + sorted(out.glob("truth/sweep/*/*/metrics.json")) == left
    found = json.loads((out / "comparison.json").read_text())
    assert found["unfinished"] == ["spos:epochs=1 seed 0", "macs seed 0", "macs seed 1"]
    assert [case["seeds"] for case in found["cases"]] == [1, 2, 0]
    assert {point["seed"] for point in found["points"] if point["case"] == "spos:epochs=1"} == {1}
    assert not found["truth"]["whole"]
    page = (out / "report.html").read_text()
    assert "Not finished, and left out of all that is said: spos" in page
    compare(command, tmp_path / "none", "--so-far", fails="give --resume, too")


@pytest.mark.slow
def test_two_processes_share_the_runs_and_the_trainings_of_the_truth(
    tmp_path: Path, command: Command, start: Callable[..., Forked]
) -> None:
    out = tmp_path / "out"
    first = start("compare", "--out", out, "--methods", "spos", "bse", "macs", "--seeds", "2", "--epochs", "1", *FLAGS)
    wait_for(out / "compare.json", first)
    compare(command, out, "--resume")
    said = first.communicate()
    assert first.returncode == 0, said
    found = json.loads((out / "comparison.json").read_text())
    assert found["unfinished"] == [] and [case["seeds"] for case in found["cases"]] == [2, 2, 2]
    for folder in out.glob("runs/*/*"):
        stages = [stage["stage"] for stage in json.loads((folder / "run.json").read_text())["stages"]]
        assert len(stages) == len(set(stages)), f"{folder} was made once"

    trained = out / "truth" / "sweep" / "4,3,3" / "1"
    before = json.loads((trained / "metrics.json").read_text())
    shutil.rmtree(trained)
    with locked(out / "truth"):  # as by a process that trains
        compare(command, out, "--resume", "--so-far")
        assert not trained.exists()
        helps = start("compare", "--out", out, "--resume")
        wait_for(trained / "metrics.json", helps)
    said = helps.communicate()
    assert helps.returncode == 0, said
    after = json.loads((trained / "metrics.json").read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}


def wait_for(path: Path, process: Forked) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_finished_sweep_is_the_truth_and_tells_which_members_rank_best(
    tmp_path: Path, command: Command, python: Command
) -> None:
    sweep, out = tmp_path / "sweep", tmp_path / "out"
    given = ("--method", "sweep", "--sweep-mode", "benchmark")
    assert command("search", "--out", sweep, *given, *FLAGS).returncode == 0
    mixture = ("--methods", "mixture:members=2", "--seeds", "1", "--epochs", "1")
    compare(command, out, *mixture, "--truth", str(sweep), *FLAGS)
    found = json.loads((out / "comparison.json").read_text())
    assert found["truth"]["source"] == "the sweep in sweep" and found["truth"]["seeds"] == 2
    assert not list((out / "truth" / "sweep").glob("*/*")), "nothing is trained that is known"
    compare(
        command, tmp_path / "other", "--methods", "spos", "--truth", str(sweep), "--width", "4", fails="--width 2 there"
    )

    told = python(EXAMPLES / "members_of_a_mixture.py", out, sweep)
    assert told.returncode == 0, told.stderr
    (folder,) = out.glob("runs/*/0")
    evaluated = json.loads((folder / "members.json").read_text())
    assert [len(row) for row in evaluated["accuracy_AM"]] == [2] * 5
    with (folder / "ranking.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            a = evaluated["placements"].index(row["placement"])
            assert evaluated["member"][a] == int(row["member"])
            assert evaluated["accuracy_AM"][a][int(row["member"])] == pytest.approx(float(row["val_metric"]))
    rows, best = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()[2:]]
        for part in told.stdout.split("\n\n")
    )
    assert [row[:2] for row in rows] == [["mixture:members=2:epochs=1", "1"]] * 5
    best_A = [
        0.5 if row[0] == row[1] else float(row[member] == max(row))
        for row, member in zip(evaluated["accuracy_AM"], evaluated["member"], strict=True)
    ]
    assert best == [["mixture:members=2:epochs=1", "1", f"{100 * sum(best_A) / 5:.0f} %", "50.0 %"]]
    points = [(point["val"], point["truth"]) for point in found["points"]]
    assert float(rows[0][3]) == pytest.approx(stats.kendalltau(*zip(*points, strict=True))[0], abs=0.005)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--methods", "spos", "spos"], "twice"),
        (["--methods", "nonsense"], "nonsense"),
        (["--method", "bse"], "a comparison takes several, with --methods"),
        (["--methods", "spos", "--seeds", "0"], "--seeds is 0"),
        (["--methods", "spos", "--truth", "nowhere"], "nowhere"),
        (["--resume"], "holds no comparison"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_trained(
    tmp_path: Path, command: Command, flags: list[str], said: str
) -> None:
    compare(command, tmp_path / "out", *flags, fails=said)
    assert not (tmp_path / "out" / "runs").exists()


def test_settings_of_a_comparison_stay(begun: Path, command: Command) -> None:
    compare(command, begun, "--resume", "--width", "4", fails="--width was 2, now 4")
    compare(command, begun, "--methods", "spos", fails="holds a comparison already")
