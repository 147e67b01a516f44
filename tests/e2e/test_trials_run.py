"""A ranking by prediction, with and without a supernet, as a user runs it: trials, answers, page, growth, refusals."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import read_members

Command = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = (
    "--width 2 --precision fp32 --device cpu --batch 64 --workers 1 --trial-epochs 1 "
    "--placements 4,3,3 5,3,2 7,1,2 1,1,8 2,4,4 3,3,4"
).split()
RETRAIN = "--retrain-epochs 1 --retrain-seeds 2 --top-k 1 --control --answer-at 1".split()


def rows(out: Path) -> list[dict[str, str]]:
    with open(RunDir(out).ranking, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def text_of(page: Path) -> str:
    """The words of a page, without scripts, pictures and marks."""
    html = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page.read_text())
    return re.sub(r"\s+", " ", re.sub(r"(?s)<[^>]*>", " ", html))


def test_one_supernet_and_trials_from_the_images_to_the_page(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    by_prediction = "--method spos --epochs 1 --val-batch 64 --rank-by prediction --trials 4".split()
    result = command("run", "--out", out, *by_prediction, *FLAGS, *RETRAIN)
    assert result.returncode == 0, result.stderr
    files, ranking = RunDir(out), rows(out)
    record = json.loads(files.trials_record.read_text())
    assert [one["placement"] for one in record["trials"][:2]] == ["4,3,3", "4,3,3"]
    assert len(record["trials"]) <= 4 and len(read_members(files)) == 6
    values = [float(row["prediction"]) for row in ranking]
    assert values == sorted(values, reverse=True)
    test = json.loads(files.test.read_text())
    assert test["winner"] == ranking[0]["placement"]
    within = next(row["placement"] for row in ranking if float(row["macs_ratio"]) <= 1)
    assert [answer["placement"] for answer in test["answers"]] == [within, ranking[0]["placement"]]
    stages = [stage["stage"] for stage in json.loads(files.run.read_text())["stages"]]
    assert stages == ["search", "rank", "trials", "retrain"]
    assert "validation accuracy" in result.stderr and "of 4; " in result.stderr, "each training is told as it ends"
    told = f"It learned from {len(record['trials'])} trainings of"
    assert "Ranking by prediction (6 placements)" in result.stdout and told in result.stdout
    page = text_of(files.report)
    assert told in page and "Ranked by prediction: what a training alone is expected to reach" in page
    assert "The probability that the scores of the supernet say anything here is" in page
    assert (files.figures / "predictions.svg").exists() and "The winner was fixed by prediction" in page
    assert "Best by validation" not in page


def test_without_a_supernet_it_grows_to_what_it_is_at_once(tmp_path: Path, command: Command) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    result = command("search", "--out", grown, "--method", "bayes", "--trials", "3", *FLAGS)
    assert result.returncode == 0, result.stderr
    assert "Ranking by prediction" in result.stdout and "supernet" not in result.stdout.lower()
    again = command("rank", "--out", grown, "--trials", "5")
    assert again.returncode == 0, again.stderr
    assert command("search", "--out", whole, "--method", "bayes", "--trials", "5", *FLAGS).returncode == 0
    for name in ("ranking.csv", "ranking.json", "trials.json"):
        assert (grown / name).read_text() == (whole / name).read_text(), name
    assert {path.name for path in whole.iterdir() if not path.name.startswith(".")} >= {"trials", "trials.json"}
    assert not {"scores.parquet", "members.csv", "checkpoint", "sweep"} & {path.name for path in whole.iterdir()}
    assert command("report", "--out", whole).returncode == 0
    assert "nothing was trained" not in text_of(RunDir(whole).report)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--preset paper --method spos --trials 4", "add --rank-by prediction, or leave --trials out"),
        ("--method sweep --rank-by prediction", "--rank-by is for --method mixture"),
        ("--method bayes --rank-by metric", "--method bayes has no supernet whose metric could rank"),
        ("--method bayes --epochs 3", "--epochs is for supernets, and --method bayes trains none"),
        ("--rank-by prediction --rank-members best", "--rank-by prediction goes by all members"),
        ("--rank-by prediction --rank-early-stop", "leave one of the two out"),
        ("--rank-by predictions", "prediction"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, command: Command, flags: str, said: str) -> None:
    result = command("run", "--out", tmp_path / "run", *flags.split())
    assert result.returncode == 2 and said in result.stderr, result.stderr
    assert not (tmp_path / "run").exists()
