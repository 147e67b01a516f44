"""The whole job without a supernet, as a user runs it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = "--subset 600 --width 2 --precision fp32 --device cpu --placements 4,3,3 5,3,2 7,1,2 1,1,8 2,4,4 3,3,4".split()
RETRAIN = "--retrain-epochs 2 --retrain-seeds 2 --top-k 2".split()


def text_of(page: Path) -> str:
    """The words of a page, without scripts, pictures and marks."""
    html = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page.read_text())
    return re.sub(r"\s+", " ", re.sub(r"(?s)<[^>]*>", " ", html))


@pytest.mark.parametrize(
    ("method", "flags", "said"),
    [
        ("sweep", ["--sweep-epochs", "1"], "Sweep: 6 trainings of 1 epoch on 300 images."),
        pytest.param("proxy", ["--proxy-epochs", "1", "--proxy-images", "200"],
         "Proxy: 6 trainings of 1 epoch on 200 images, with 0.5 of the channels.", marks=pytest.mark.nightly),
        ("halving", ["--halving-start", "1"],
         "Halving: 6 placements for 1 epoch, the best 2 up to 2 on 300 images. Together this is as much as 4.0 whole "
         "trainings."),
        pytest.param("random", ["--random-k", "3", "--sweep-epochs", "1"],
         "Random: 3 trainings of 1 epoch on 300 images.", marks=pytest.mark.nightly),
        pytest.param("hyperband", ["--halving-rate", "2"],
         "Hyperband: 2 brackets of random placements on 300 images: 2 placements for 1 epoch, the best 1 up to 2; 2 "
         "placements for 2 epochs. Together this is as much as 3.5 whole trainings, or less: a placement of several "
         "brackets is trained once.", marks=pytest.mark.nightly),
    ],
)  # fmt: skip
def test_run_ranks_retrains_and_writes_the_page(
    tmp_path: Path, command: Command, method: str, flags: list[str], said: str
) -> None:
    out = tmp_path / "run"
    result = command("run", "--out", out, "--method", method, *FLAGS, *RETRAIN, *flags)
    assert result.returncode == 0, result.stderr
    assert said in result.stderr, "what will be trained is told before"
    assert f"By trainings alone. {said}" in result.stdout
    files = RunDir(out)
    expected = {
        "run.json", "config.toml", "split.json", "images.parquet", "duplicates.json", "skipped.json", "costs.parquet",
        "ranking.csv", "ranking.json", "SHA256SUMS", "sweep", "sweep.csv", "retrain", "test.json", "report.html",
        "figures",
    }  # fmt: skip
    assert {p.name for p in out.iterdir() if not p.name.startswith(".")} == expected
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        ranking = list(csv.DictReader(handle))
    test = json.loads(files.test.read_text())
    assert test["winner"] == ranking[0]["placement"]
    assert {row["placement"] for row in test["summary"]} >= {row["placement"] for row in ranking[:2]} | {"4,3,3"}
    assert [stage["stage"] for stage in json.loads(files.run.read_text())["stages"]] == ["sweep", "retrain"]
    page = text_of(files.report)
    assert said in page
    assert "score member" not in page and "validation accuracy MACs" in page
    assert "supernet" not in page.split("Data, space, settings")[0].lower()
    assert (page.count("stopped") > 0) == (method in ("halving", "hyperband"))
    if method in ("random", "hyperband"):
        assert len(ranking) < 6 and f"The search covered {len(ranking)} of the 6 placements of the space" in page
    figures = sorted(p.stem for p in files.figures.glob("*.svg"))
    assert figures == ["accuracy_macs", "alone_macs", "curves", "ladder", "retrain"]


def test_macs_alone_rank_what_the_budget_allows_and_nothing_is_trained_before_the_retraining(
    tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "run"
    result = command("search", "--out", out, "--method", "macs", "--max-macs", "1.6x", *FLAGS)
    assert result.returncode == 0, result.stderr
    files = RunDir(out)
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        ranking = list(csv.DictReader(handle))
    # 7,1,2 is dearer than allowed; the later a network downsamples, the more it costs
    assert [row["placement"] for row in ranking] == ["5,3,2", "4,3,3", "3,3,4", "2,4,4", "1,1,8"]
    assert {row[name] for row in ranking for name in ("val_accuracy", "val_metric", "low", "high", "score")} == {""}
    assert not files.sweep.exists() and not files.retrain.exists()
    assert command("report", "--out", out).returncode == 0
    assert "5,3,2 has the most MACs; nothing has been trained yet" in text_of(files.report)
    done = command("run", "--resume", "--out", out, *RETRAIN)
    assert done.returncode == 0, done.stderr
    assert "Ranking by MACs alone (5 placements)" in done.stdout
    assert "nan" not in done.stdout
    test = json.loads(files.test.read_text())
    assert test["winner"] == "5,3,2"
    assert "5,3,2, first by MACs" in test["verdict"]
    page = text_of(files.report)
    assert test["verdict"] in page and "The winner was fixed by its MACs" in page
    assert not re.search(r"\bnan\b", page) and "supernet" not in page.split("Data, space, settings")[0].lower()
    assert [stage["stage"] for stage in json.loads(files.run.read_text())["stages"]] == ["rank", "retrain"]
    exported = command("export", "--out", out)
    assert exported.returncode == 0, exported.stderr
    assert json.loads((out / "export" / "export.json").read_text())["placement"] == "5,3,2"


@pytest.mark.nightly
def test_the_stages_one_by_one(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    searched = command("search", "--out", out, "--method", "sweep", "--sweep-epochs", "1", *FLAGS)
    assert searched.returncode == 0, searched.stderr
    ranking = RunDir(out).ranking.read_text()
    again = command("rank", "--out", out)
    assert again.returncode == 0, again.stderr
    assert RunDir(out).ranking.read_text() == ranking
    assert len(list(RunDir(out).sweep.glob("*/*/metrics.json"))) == 6
    wrong = command("rank", "--out", out, "--rank-top", "3")
    assert wrong.returncode == 2
    assert "--rank-top is for supernets, and --method sweep trains none" in wrong.stderr
    reported = command("report", "--out", out)
    assert reported.returncode == 0, reported.stderr
    page = text_of(RunDir(out).report)
    assert "Best on validation so far" in page or "no placement beats the default" in page
    assert "These are results of networks trained on the search-train half alone" in page
    retrained = command("retrain", "--out", out, *RETRAIN)
    assert retrained.returncode == 0, retrained.stderr
    assert json.loads((RunDir(out).retrain / "4,3,3" / "0" / "metrics.json").read_text())["epochs"] == 2


def test_a_sweep_in_benchmark_mode_is_a_table_of_the_test_split_and_chooses_nothing(
    tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "truth"
    flags = ["--method", "sweep", "--sweep-mode", "benchmark", "--sweep-epochs", "1", "--sweep-seeds", "2", *FLAGS]
    result = command("run", "--out", out, *flags)
    assert result.returncode == 0, result.stderr
    assert "Sweep: 12 trainings of 1 epoch on 600 images." in result.stderr, "all training images, not the half"
    files = RunDir(out)
    assert not files.ranking.exists() and not files.retrain.exists()
    with open(files.sweep_table, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len({(row["placement"], row["seed"]) for row in rows}) == 12
    assert {row["part"] for row in rows} == {"test"} and {row["images"] for row in rows} == {"600"}
    assert all((float(row["accuracy"]) * 359) == pytest.approx(round(float(row["accuracy"]) * 359)) for row in rows)
    test = json.loads(files.test.read_text())
    assert test["opened"] and test["for"] == "a sweep in benchmark mode" and "verdict" not in test
    means = {
        p: sum(float(r["metric"]) for r in rows if r["placement"] == p) / 2 for p in {r["placement"] for r in rows}
    }
    best = max(means.values())
    assert "Ground truth of 6 placements, 2 seeds each: " in result.stdout
    assert f"has the best test accuracy, {best:.2%}" in result.stdout
    page = text_of(files.report)
    assert "nothing is chosen by it" in page and "Every placement by itself" in page
    refused = command("retrain", "--out", out)
    assert refused.returncode == 2 and "its test split was read for every placement" in refused.stderr
    before = files.sweep_table.read_text()
    assert command("run", "--resume", "--out", out).returncode == 0
    assert files.sweep_table.read_text() == before


def test_a_page_before_the_ranking_says_how_far_it_is(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    assert command("search", "--out", out, "--method", "sweep", "--sweep-epochs", "1", *FLAGS).returncode == 0
    RunDir(out).ranking.unlink()
    RunDir(out).ranking_summary.unlink()
    (RunDir(out).sweep / "4,3,3" / "0" / "metrics.json").unlink()
    assert command("report", "--out", out).returncode == 0
    assert "5 trainings, of 6 placements, were scored on the validation images" in text_of(RunDir(out).report)


def test_what_does_not_belong_together_is_said_before_anything_is_begun(tmp_path: Path, command: Command) -> None:
    result = command("run", "--out", tmp_path / "run", "--method", "halving", "--members", "8")
    assert result.returncode == 2
    assert "--members is for supernets, and --method halving trains none" in result.stderr
    assert not (tmp_path / "run").exists()
