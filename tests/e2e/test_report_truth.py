"""How a search's ranking agrees with a sweep of the same placements, as a user asks for it."""

from __future__ import annotations

import csv
import html
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from scipy import stats

from poolsearch.storage.run_dir import RunDir

Command = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = "--subset 600 --width 2 --precision fp32 --device cpu --placements 4,3,3 5,3,2 7,1,2 1,1,8".split()


def text_of(page: Path) -> str:
    """The words of a page, without scripts, pictures and marks."""
    found = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page.read_text())
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"(?s)<[^>]*>", " ", found)))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_report_shows_how_a_ranking_agrees_with_a_sweep(tmp_path: Path, command: Command) -> None:
    truth, out = tmp_path / "truth", tmp_path / "run"
    sweep = ["--method", "sweep", "--sweep-mode", "benchmark", "--sweep-epochs", "1"]
    assert command("search", "--out", truth, *sweep, *FLAGS).returncode == 0
    assert (
        command("search", "--out", out, "--preset", "paper", "--members", "2", "--epochs", "1", *FLAGS).returncode == 0
    )
    assert command("rank", "--out", out).returncode == 0

    assert command("report", "--out", out, "--truth", truth).returncode == 0
    means = {row["placement"]: float(row["metric"]) for row in rows_of(RunDir(truth).sweep_table)}
    ranking = rows_of(RunDir(out).ranking)
    true = [means[row["placement"]] for row in ranking]
    agreement = stats.kendalltau([float(row["val_metric"]) for row in ranking], true)[0]
    page = text_of(RunDir(out).report)
    assert f"by validation, Kendall's tau {agreement:.2f} (" in page
    regret = "it is the best" if true[0] == max(true) else f"{100 * (max(true) - true[0]):.2f} points below the best"
    assert f"has a true accuracy of {true[0]:.2%}" in page and regret in page
    assert "read from test images" in page and "the ground truth differs" not in page.lower()
    assert (RunDir(out).figures / "truth.png").exists() and (RunDir(out).figures / "truth.svg").exists()
