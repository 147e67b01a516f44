"""A run that was tested grows: more seeds, more of the ranking, another ranking, and nothing of before is lost."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolsearch
from killing import KILL_AT
from poolsearch import pipeline
from poolsearch.cli.main import main
from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.terminal import show
from poolsearch.reports.text.verdict_text import verdict as told
from poolsearch.settings import Settings
from poolsearch.stages.retraining import open_test_split
from poolsearch.storage.files import write_text
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import looks_of

pytestmark = pytest.mark.slow  # whole runs

PLACEMENTS = ("4,3,3", "5,3,2", "6,2,2", "7,1,2")
GROWN = {"retrain_seeds": 3, "top_k": 3}
FLAGS = ("--retrain-seeds", "3", "--top-k", "3")


def whole(folder: Path, settings: Settings) -> Path:
    """A run up to its verdict, without the page, which takes longest."""
    poolsearch.search(folder, settings)
    poolsearch.rank(folder)
    poolsearch.retrain(folder)
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two seeds of the first of the ranking, made once; only copies of it grow."""
    settings = Settings.of(
        preset="paper", subset=300, width=2, members=2, epochs=1, retrain_epochs=1, retrain_seeds=2, top_k=1,
        precision="fp32", batch=128, val_batch=128, device="cpu", placements=PLACEMENTS, control=("random",), workers=1,
    )  # fmt: skip
    return whole(tmp_path_factory.mktemp("grown") / "before", settings)


@pytest.fixture
def run(before: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(before, tmp_path / "run"))


def looked(run: Path) -> dict[str, Any]:
    return json.loads((run / "test.json").read_text())


def trainings(run: Path) -> dict[str, bytes]:
    """The weights of every training, and what each sees in the test images."""
    files = [*run.glob("retrain/*/*/model.safetensors"), *run.glob("retrain/*/*/test_predicted.npy")]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def undated(look: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in look.items() if name not in ("opened", "earlier")}


def test_more_seeds_and_finalists_train_what_is_missing_and_end_as_if_made_at_once(
    run: Path, before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, kept = looked(run), trainings(run)
    evaluated, pages = list[Any](), list[Path]()
    (run / "report.html").write_text("of before")
    monkeypatch.setattr(pipeline, "write_report", lambda out, *_: pages.append(out))
    of = open_test_split.predictions
    monkeypatch.setattr(open_test_split, "predictions", lambda *a: (evaluated.append(a[1]), of(*a))[1])
    assert main(["retrain", str(run), *FLAGS, "--quiet"]) == 0
    said = capsys.readouterr().out
    grown = looked(run)
    now = trainings(run)
    assert {name: now[name] for name in kept} == kept and len(now) > len(kept)
    assert 2 * len(evaluated) == len(now) - len(kept)  # nothing twice

    # the first look is as it was, and the choice too
    assert grown["earlier"] == [first]
    assert grown["winner"] == first["winner"]
    assert [a["placement"] for a in grown["answers"]] == [a["placement"] for a in first["answers"]]
    assert (first["level"], grown["level"], grown["seen"]) == (0.05, 0.025, 0)
    assert {entry["n"] for entry in grown["summary"]} == {3}
    assert "looked at 2 times" in said and "tested at 2.5 %" in said
    assert pages == [run]  # a page that is there is written anew
    assert "looked at 2 times" in told(read_run(run)).detail and "looked at once" in told(read_run(before)).detail

    # a run with as many from the start has the same trainings, to the bit, and the same results
    settings = Settings.from_dict(json.loads((before / "run.json").read_text())["given"])
    at_once = whole(tmp_path / "whole", settings.changed(**GROWN))
    assert trainings(at_once) == now
    for name in ("trials", "summary", "classes", "top1", "best_of_top", "mean_of_top", "difference", "failed"):
        assert looked(at_once)[name] == grown[name], name

    # it is not looked at again for nothing
    monkeypatch.setattr(open_test_split, "predictions", None)
    poolsearch.retrain(run)
    assert looked(run) == grown


@pytest.mark.timeout(600)
def test_killed_while_it_grows_nothing_is_lost_and_it_ends_the_same(
    run: Path, before: Path, tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first, kept = looked(run), trainings(run)
    poolsearch.retrain(run, Settings.from_dict(json.loads((run / "run.json").read_text())["given"]).changed(**GROWN))
    moments = [
        ("run.json", "after", 1), ("model.safetensors", "after", 1), ("test.json", "before", 1),
        ("test.json", "after", 1), ("test_predicted.npy", "after", 1), ("test.json", "after", 2),
        ("test.json", "before", 1),  # the results are there: this is the judgement
    ]  # fmt: skip
    killed = Path(shutil.copytree(before, tmp_path / "killed"))
    for moment in moments:  # one after the other: each goes on where the one before was killed
        words = FLAGS if moment[0] == "run.json" else ()
        done = python("-c", KILL_AT, *map(str, moment), "retrain", "--out", killed, "--quiet", *words)
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr)
        left = trainings(killed)
        assert looks_of(looked(killed))[0] == first and {name: left[name] for name in kept} == kept, moment
        assert told(read_run(killed)).sentence == first["verdict"], moment
    poolsearch.retrain(killed)
    assert undated(looked(killed)) == undated(looked(run)) and looked(killed)["earlier"] == [first]
    assert trainings(killed) == trainings(run)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--retrain-seeds", "1"],
            "--retrain-seeds 1: the test split of {run} was looked at with 2. Fewer would choose",
        ),
        (["--retrain-epochs", "9"], "{run} was made with other settings: --retrain-epochs was 1, now 9."),
        (["--answer-at", "2"], "{run} was made with other settings: --answer-at was (1.0, 1.5), now (2.0,)."),
    ],
)
def test_what_would_choose_or_compare_unequal_trainings_is_refused(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert main(["retrain", str(run), *words]) == 2
    assert said.format(run=run) in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == there


def test_an_open_look_is_finished_before_the_run_grows_and_afterwards_fewer_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(open_test_split, "judgement", fails)
        assert main(["retrain", str(run), "--top-k", "3"]) == 2
    capsys.readouterr()
    for words in (["retrain", str(run), "--top-k", "4"], ["rank", str(run), "--rank-members", "mean"]):
        assert main(words) == 2
        assert "is not judged yet. Finish that first: poolsearch run --resume" in capsys.readouterr().err
    poolsearch.retrain(run)
    assert len(looks_of(looked(run))) == 2
    assert main(["retrain", str(run), "--top-k", "1"]) == 2
    assert "--top-k 1: the test split of" in capsys.readouterr().err


def test_another_rule_ranks_again_and_its_picks_are_another_look_adjusted_for_all_that_was_seen(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, ranking, summary = looked(run), (run / "ranking.csv").read_text(), (run / "ranking.json").read_text()
    assert main(["rank", str(run), "--rank-members", "mean", "--quiet"]) == 0
    assert (run / "ranking-1.csv").read_text() == ranking and (run / "ranking-1.json").read_text() == summary
    assert json.loads((run / "ranking.json").read_text())["members"] == "mean"
    assert looked(run) == first

    # whatever the rule gave, let another placement be the first
    with open(run / "ranking.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    tested = {entry["placement"] for entry in first["summary"]}
    rows.sort(key=lambda row: (row["placement"] in tested, row["placement"]))
    lines = [",".join(rows[0])]
    for rank, row in enumerate(rows, 1):
        lines.append(",".join(f'"{v}"' if "," in v else v for v in (row | {"rank": str(rank)}).values()))
    write_text(run / "ranking.csv", "\n".join(lines) + "\n")
    capsys.readouterr()
    show(run)
    assert "The ranking has other picks now: poolsearch retrain --out" in capsys.readouterr().out
    assert told(read_run(run)).sentence == first["verdict"]
    assert (told(read_run(run)).command or "").startswith("poolsearch retrain --out")

    poolsearch.retrain(run)
    second = looked(run)
    assert second["earlier"] == [first]
    assert second["winner"] == rows[0]["placement"] != first["winner"]
    seen = {entry["placement"] for entry in first["trials"]}
    seen |= {entry["placement"] for control in first["controls"] for entry in control["trials"]}
    assert second["seen"] == len(seen - {answer["placement"] for answer in second["answers"]} - {"4,3,3"}) > 0
    assert second["level"] == 0.025
    for answer in second["answers"]:
        if answer.get("default"):
            assert answer["adjusted_p"] >= min(1, (1 + second["seen"]) * answer["default"]["difference"]["p"]) - 1e-12
    assert "had been looked at for other picks" in told(read_run(run)).detail


def test_a_run_that_is_ranked_and_not_tested_may_be_ranked_by_another_rule(
    tmp_path: Path, tiny: Callable[..., Settings], python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    out, files = tmp_path / "run", RunDir(tmp_path / "run")
    poolsearch.search(out, tiny(placements=PLACEMENTS))
    poolsearch.rank(out)
    one = files.ranking.read_bytes()
    rule = ("rank", "--quiet", "--out", out, "--rank-members", "mean")
    done = python("-c", KILL_AT, "ranking-1.csv", "after", "1", *rule)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert files.ranking.read_bytes() == one  # nothing is lost, and the rule is still the one before
    done = python("-c", KILL_AT, "ranking.csv", "before", "1", *rule)
    assert done.returncode == -signal.SIGKILL, done.stderr
    poolsearch.rank(out)  # as run.json says by now
    assert json.loads(files.ranking_summary.read_text())["members"] == "mean"
    assert (out / "ranking-1.csv").read_bytes() == one and (out / "ranking-2.csv").read_bytes() == one
    files.checkpoint.unlink()
    with pytest.raises(PoolsearchError, match="cannot be ranked again"):
        poolsearch.rank(
            out, Settings.from_dict(json.loads(files.run.read_text())["given"]).changed(rank_members="best")
        )
    assert files.ranking.exists()
