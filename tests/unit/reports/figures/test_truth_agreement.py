"""A run's ranking beside a ground truth: against SciPy, by hand, and what does not fit together."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_run import HOSTILE, compositions, write_fake_run
from scipy import stats

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import GroundTruth
from poolsearch.reports.data.run_data import RunData, read_run
from poolsearch.reports.figures.all_figures import figures
from poolsearch.reports.figures.theme import page_specs
from poolsearch.reports.figures.truth_agreement import agreement_sentence, rank_with_truth, truth_figure, truth_note
from poolsearch.reports.page.sections import body


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", 2, snapshots=3, stages=("search", "rank"))


@pytest.fixture(scope="module")
def data(run: Path) -> RunData:
    return read_run(run)


def write_sweep(
    folder: Path,
    values: Mapping[str, Sequence[float]],
    macs: Mapping[str, int],
    record: dict[str, Any] | None = None,
    part: str = "test",
) -> Path:
    """A folder with as much of a finished sweep as a ground truth is read from."""
    folder.mkdir(parents=True)
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["placement", "number", "seed", "macs", "part", "metric"])
        for number, (placement, found) in enumerate(values.items()):
            writer.writerows([placement, number, seed, macs[placement], part, one] for seed, one in enumerate(found))
    if record is not None:
        (folder / "run.json").write_text(json.dumps(record))
    return folder


def macs_of(data: RunData) -> dict[str, int]:
    return {row.placement: row.macs for row in data.ranking}


def test_kendall_tau_and_rho_are_those_of_scipy(data: RunData) -> None:
    found = rank_with_truth(data, "table6")
    truth = {entry.placement: entry.mean for entry in GroundTruth.table6().known}
    true = [truth[row.placement] for row in data.ranking]
    assert len(true) == 36
    for values, agreement in (
        ([row.value for row in data.ranking], found.by_validation),
        ([row.score for row in data.ranking], found.by_score),
    ):
        assert agreement is not None
        assert agreement.kendall_tau.value == pytest.approx(stats.kendalltau(values, true)[0])
        assert agreement.rho.value == pytest.approx(stats.spearmanr(values, true)[0])
        assert agreement.kendall_tau.low < agreement.kendall_tau.value < agreement.kendall_tau.high


def test_the_regret_of_the_winner_by_hand(tmp_path: Path, data: RunData) -> None:
    first, second, third = (row.placement for row in data.ranking[:3])
    values = {first: [0.90, 0.91], second: [0.92, 0.94], third: [0.80, 0.81], "9,9,9": [0.99, 0.99]}
    sweep = write_sweep(tmp_path / "sweep", values, macs_of(data) | {"9,9,9": 1})
    found = rank_with_truth(data, sweep)
    assert agreement_sentence(data, found) == (
        f"The first of the ranking, {first}, has a true accuracy of 90.50%, 2.50 points below the best of the 3 "
        f"placements that are in both, {second} (93.00%)."
    )
    assert "read from test images" in truth_note(found)
    values[first] = [0.99, 0.99]
    best = rank_with_truth(data, write_sweep(tmp_path / "best", values, macs_of(data) | {"9,9,9": 1}, part="val"))
    assert agreement_sentence(data, best).endswith("99.00%: it is the best of the 3 placements that are in both.")
    assert "search-val half" in truth_note(best) and "test" not in truth_note(best)


def test_a_winner_that_the_truth_does_not_have(tmp_path: Path, data: RunData) -> None:
    names = [row.placement for row in data.ranking[1:4]]
    sweep = write_sweep(tmp_path / "sweep", {name: [0.5] for name in names}, macs_of(data))
    assert agreement_sentence(data, rank_with_truth(data, sweep)).startswith(
        f"The first of the ranking, {data.ranking[0].placement}, is not in the ground truth. The first that is, "
        f"{names[0]}, has a true accuracy of 50.00%"
    )


def test_placements_are_matched_by_their_text_whatever_form_a_file_has(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path / "run", 2, compositions(5, 3), ("search", "rank"), 3, unequal=True))
    with (tmp_path / "run" / "ranking.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    values = {row["placement"]: [0.5 + i / 100] for i, row in enumerate(rows)}
    assert any("x" in placement for placement in values)
    sweep = write_sweep(tmp_path / "sweep", values, {row["placement"]: int(row["macs"]) for row in rows})
    found = rank_with_truth(data, sweep)
    assert len(found.ranked) == len(rows)
    assert found.by_validation.kendall_tau.value == pytest.approx(-1)  # the truth was made to fall with the rank


def test_too_few_in_common_is_told(tmp_path: Path, data: RunData) -> None:
    names = [row.placement for row in data.ranking[:2]]
    sweep = write_sweep(tmp_path / "sweep", {name: [0.5] for name in [*names, "9,9,9"]}, macs_of(data) | {"9,9,9": 1})
    with pytest.raises(PoolsearchError, match=r"only 2 of the 36 ranked placements are among the 3 of .* at least 3"):
        rank_with_truth(data, sweep)


def test_what_has_no_ranking_or_is_no_truth_is_told(tmp_path: Path, run: Path, data: RunData) -> None:
    searched = read_run(write_fake_run(tmp_path / "run", 2, compositions(5, 3), ("search",), 3))
    with pytest.raises(PoolsearchError, match="has no ranking to compare with a ground truth"):
        rank_with_truth(searched, "table6")
    with pytest.raises(PoolsearchError, match="holds no finished sweep"):
        rank_with_truth(data, run)


def test_a_sweep_in_benchmark_mode_ranks_nothing(data: RunData) -> None:
    itself = dataclasses.replace(data, truth=GroundTruth.table6().known, ranking=[])
    with pytest.raises(PoolsearchError, match="is a ground truth itself: it ranks nothing"):
        rank_with_truth(itself, "table6")


def test_what_was_stopped_early_is_left_out(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path / "run", 2, stages=("search", "rank"), snapshots=3, stopped=6))
    found = rank_with_truth(data, "table6")
    assert (len(found.ranked), found.stopped) == (30, 6)
    assert "Left out: 6 that were stopped early." in truth_figure(data, found).caption


def test_a_truth_of_other_data_metric_or_width_is_doubted(tmp_path: Path, run: Path, data: RunData) -> None:
    record = json.loads((run / "run.json").read_text())
    values = {row.placement: [row.value] for row in data.ranking}
    same = rank_with_truth(data, write_sweep(tmp_path / "same", values, macs_of(data), record))
    assert same.differs == []
    record["data"]["fingerprint"] = "0123456789abcdef0000"
    record["settings"]["data"] |= {"metric": "macro-f1"}
    other = {name: 4 * macs for name, macs in macs_of(data).items()}
    found = rank_with_truth(data, write_sweep(tmp_path / "other", values, other, record))
    assert found.differs[0] == (
        "The ground truth differs from the run in the data: 0123456789abcdef there, b3f9c2d1 here."
    )
    assert found.differs[-1].startswith("The same placements have 4.00 times the MACs in the ground truth")
    assert len(found.differs) == 2  # the run does not say its metric
    assert rank_with_truth(data, write_sweep(tmp_path / "bare", values, macs_of(data))).differs == []


def test_table_6_is_of_the_whole_of_cifar10(data: RunData) -> None:
    own = {**data.run, "data": {**data.run["data"], "name": "digits"}}
    own["settings"] = {**own["settings"], "data": {"subset": 5000, "metric": "accuracy"}}
    said = " ".join(rank_with_truth(dataclasses.replace(data, run=own), "table6").differs)
    assert "in the data: cifar10 there, digits here" in said
    assert "training images (--subset): all there, 5000 here" in said


def test_the_page_shows_the_figure_and_what_to_doubt(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path / "run", 2, stages=("search", "rank"), snapshots=3))
    record = {"space": {"net": HOSTILE, "default": "4,3,3"}}
    values = {row.placement: [row.value] for row in data.ranking}
    found = rank_with_truth(data, write_sweep(tmp_path / "a&b", values, macs_of(data), record))
    names = [figure.name for figure in figures(data, found)]
    assert names[-1] == "truth" and "truth" not in [figure.name for figure in figures(data)]
    text = body(data, {"truth": "FIGURE"}, found)
    assert "How the ranking agrees with the ground truth" in text and "FIGURE" in text
    assert HOSTILE not in text and "&lt;/script&gt;" in text
    assert "How the ranking agrees" not in body(data, {})
    figure = figures(data, found)[-1]
    correlation = found.by_validation.kendall_tau
    assert f"Kendall's tau {correlation.value:.2f} ({correlation.low:.2f} to {correlation.high:.2f})" in figure.caption
    points = [max(spec["datasets"].values(), key=len) for spec in page_specs(figure)]
    assert [len(panel) for panel in points] == [36, 36]
    assert {point["placement"]: point["truth"] for point in points[0]} == {k: v[0] for k, v in values.items()}
    assert {point["member"] for point in points[0]} == {"0", "1"}
