"""The rows of the tables on a case small enough to check by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_run import compositions, write_fake_run

from poolsearch.evaluation.stats import pareto
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.rows import ranked_rows, retrained_rows
from poolsearch.reports.data.run_data import RunData, read_run
from poolsearch.reports.page.sections import macs_text, rerun_command
from poolsearch.reports.text.caveats import early_stops, grave_warnings, warnings
from poolsearch.reports.text.method_notes import trainings_summary
from poolsearch.reports.text.verdict_text import verdict
from poolsearch.samplers.successive_halving import Rung


def ranked(rank: int, placement: str, accuracy: float, macs: int, control: bool = False) -> RankingRow:
    interval = (accuracy - 0.004, accuracy + 0.004)
    return RankingRow(
        rank, placement, rank, accuracy, *interval, accuracy, 0, 1.0, macs, macs / 100, placement == "4,3,3", control
    )


def data_of(ranking: list[RankingRow]) -> RunData:
    run = {"space": {"default": "4,3,3", "size": 36, "covered": 36}}
    return RunData("r", "runs/r", run, [], None, ranking, {"images": 5000}, [], None, None, [])


BY_HAND = [
    ranked(1, "7,1,2", 0.92, 200),
    ranked(2, "6,2,2", 0.91, 150),
    ranked(3, "8,1,1", 0.91, 300),  # dearer than 6,2,2 and no better
    ranked(4, "4,3,3", 0.90, 100),
    ranked(5, "2,6,2", 0.88, 120),  # the default is cheaper and better
    ranked(6, "1,1,8", 0.87, 50, control=True),
]


def test_flags_by_hand() -> None:
    flags = {row.ranked.placement: row.flags for row in ranked_rows(data_of(BY_HAND))}
    assert flags == {
        "7,1,2": ["Pareto"],
        "6,2,2": ["Pareto"],
        "8,1,1": [],
        "4,3,3": ["default", "Pareto"],
        "2,6,2": [],
        "1,1,8": ["control", "Pareto"],
    }


def test_what_was_stopped_early_is_marked_and_no_rival_of_what_saw_all_images() -> None:
    seen = [5000, 5000, 5000, 5000, 64, 64]
    early = [dataclasses.replace(row, images=n) for row, n in zip(BY_HAND, seen, strict=True)]
    lucky = dataclasses.replace(early[5], val_accuracy=0.99)  # of 64 images, and in the control group
    data = data_of([*early[:5], lucky])
    flags = {row.ranked.placement: row.flags for row in ranked_rows(data)}
    assert flags["2,6,2"] == ["stopped"]
    assert flags["1,1,8"] == ["control", "stopped"]  # the cheapest, but no point of the front
    assert flags["4,3,3"] == ["default", "Pareto"]
    assert not any("control group" in text for text in warnings(data))


def halved(**changes: object) -> RunData:
    """By hand as above, but the first two were trained to the end and the others stopped after two epochs."""
    run = {"space": {"default": "4,3,3", "size": 6, "covered": 6}, "settings": {"search": {"method": "halving"}}}
    plan = [Rung(6, 0, 2, 5000), Rung(2, 2, 12, 5000)]
    return dataclasses.replace(data_of(BY_HAND), **{"run": run, "rungs": plan, **changes})


def test_what_a_halving_stopped_is_marked_and_no_rival_of_what_was_trained_to_the_end() -> None:
    flags = {row.ranked.placement: row.flags for row in ranked_rows(halved())}
    assert flags == {
        "7,1,2": ["Pareto"],
        "6,2,2": ["Pareto"],
        "8,1,1": ["stopped"],
        "4,3,3": ["default", "stopped"],
        "2,6,2": ["stopped"],
        "1,1,8": ["control", "stopped"],  # the cheapest, but of a shorter training
    }


def test_accuracies_of_a_longer_and_a_shorter_training_are_not_compared() -> None:
    close = [dataclasses.replace(row, high=0.95) for row in BY_HAND]
    assert any("overlap" in text for text in warnings(data_of(close)))
    assert not any("overlap" in text for text in warnings(halved(ranking=close)))
    said = verdict(halved())
    assert said.sentence == (
        "Best on validation so far: 7,1,2 with 92.0%; the default 4,3,3 was stopped early (rank 4)."
    )
    assert "supernet" not in said.detail and "trained on the search-train half alone" in said.detail


def test_trainings_alone_are_said_in_a_sentence() -> None:
    assert trainings_summary(data_of(BY_HAND)) == ""
    # 6 x 2 + 2 x 10 = 32 epochs of 12
    assert trainings_summary(halved()) == (
        "Halving: 6 placements for 2 epochs, the best 2 up to 12 on 5,000 images. Together this is as much as 2.7 "
        "whole trainings. A placement that was stopped stands with what it then had, below all that went on."
    )


def test_before_its_ranking_a_method_without_supernets_says_how_far_it_is() -> None:
    said = verdict(halved(ranking=[], rungs=[], scored=4))
    assert "trained alone (halving)" in said.sentence and "4 trainings, of 6 placements" in said.sentence


def stopped_early(**changes: object) -> RunData:
    found = {"top": 3, "error": 0.01, "stopped": 1200, "images_saved": 0.8}
    summary = {"images": 5000, "norm": "per_placement", "early_stop": found} | changes
    return dataclasses.replace(data_of(BY_HAND), ranking_summary=summary)


def test_early_stops_are_said_with_their_error_probability() -> None:
    assert early_stops(data_of(BY_HAND)) == ""
    said = early_stops(stopped_early())
    assert said.startswith("1,200 placements were stopped early, as soon as they were behind the first 3 beyond chance")
    assert said.endswith("The probability that any of the first 3 was stopped is at most 1%.")


def test_what_the_error_probability_rests_on_is_doubted() -> None:
    def doubts(data: RunData) -> list[str]:
        return [text for text in warnings(data) if "early" in text]

    assert doubts(stopped_early()) == []
    assert "BatchNorm by the batch at hand" in doubts(stopped_early(norm="batch"))[0]
    data = stopped_early()
    more = dataclasses.replace(data, run=data.run | {"settings": {"retrain": {"top_k": 5}}})
    assert doubts(more) == ["Placements were stopped early to find the first 3, but 5 are retrained."]


def test_the_front_of_chunks_is_the_front_of_all() -> None:
    rng = np.random.default_rng(1)
    accuracy, macs = rng.random(5000).round(3), rng.integers(1, 400, 5000)
    rows = [ranked(i + 1, str(i), float(a), int(m)) for i, (a, m) in enumerate(zip(accuracy, macs, strict=True))]
    front = [row.pareto for row in ranked_rows(data_of(rows))]
    assert front == pareto(macs, accuracy).tolist()


def test_the_verdict_before_retraining_names_both_and_the_command() -> None:
    said = verdict(data_of(BY_HAND))
    assert said.sentence == (
        "Best on validation so far: 7,1,2 with 92.0%, against 90.0% for the default 4,3,3 (rank 4), "
        "at 2.00 times its MACs."
    )
    assert said.command == "poolsearch run --resume --out runs/r"


def test_the_verdict_when_the_default_leads() -> None:
    assert "no placement beats the default 4,3,3" in verdict(data_of([ranked(1, "4,3,3", 0.9, 100)])).sentence


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"ranking": [ranked(1, "7,1,2", 0.907, 200), ranked(2, "4,3,3", 0.90, 100)]}, "overlap"),
        ({"ranking": [ranked(1, "7,1,2", 0.91, 200)]}, "was not ranked"),
        ({"ranking": [ranked(1, "7,1,2", 0.95, 9, True), *BY_HAND[1:]]}, "control group reaches 95.0%"),
        ({"ranking_summary": {"images": 300}}, "300 validation images"),
        ({"ranking_summary": {"tau_score_accuracy": 0.1}}, "hardly agree"),
        ({"run": {"space": {"default": "4,3,3", "size": 90_000, "covered": 20_000}}}, "20,000 of the 90,000"),
        (
            {"run": {"stages": [{"stage": "retrain", "ended": None}]}, "test": None},
            "'retrain' was begun and has not ended",
        ),
        ({"run": {"warnings": ["own"]}}, "own"),
    ],
)
def test_doubts(change: dict[str, object], warning: str) -> None:
    assert warnings(data_of(BY_HAND)) == []
    assert any(warning in text for text in warnings(dataclasses.replace(data_of(BY_HAND), **change)))


def test_scores_that_are_old_or_were_never_updated_are_doubted(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 2, compositions(5, 3), ("search", "rank"), snapshots=3))
    assert data.scores is not None
    assert not data.untrained
    last = data.scores.last.to_pydict()
    zero = dataclasses.replace(data.scores, last=_with(data, count=[0] * len(last["count"])))
    assert any("never trained" in text for text in warnings(dataclasses.replace(data, scores=zero)))
    old = dataclasses.replace(data.scores, last=_with(data, age=[20_000] * len(last["age"])))
    assert any("older than a quarter" in text for text in warnings(dataclasses.replace(data, scores=old)))
    assert dataclasses.replace(data, scores=zero).known_score(data.ranking[0]) is None


def _with(data: RunData, **column: list[int]) -> object:
    import pyarrow as pa

    assert data.scores is not None
    return pa.table(data.scores.last.to_pydict() | column)


def test_retrained_rows(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 2, snapshots=3))
    rows = retrained_rows(data)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 13]
    assert rows[0].flags == ["winner"]
    assert rows[-1].flags == ["default"]
    assert data.test is not None
    assert rows[0].mean == pytest.approx(data.test["summary"][0]["mean"])
    assert rows[0].std == pytest.approx(data.test["summary"][0]["std"])
    assert rows[0].seeds == [0, 1, 2]


def test_the_command_holds_what_differs_from_the_defaults() -> None:
    given = {"data": {"data": "my photos"}, "net": {"zero_init": True, "placements": ["4,3,3", "5,3,2"]}}
    command = rerun_command({"given": given})
    assert command == "poolsearch run --data 'my photos' --zero-init --placements 4,3,3 5,3,2"
    assert rerun_command({"given": {"search": {"of_another_version": 1}}}) is None


@pytest.mark.parametrize(
    ("macs", "text"), [(512, "512"), (40_800_000, "40.8 M"), (4.1e9, "4.1 G"), (2.5e12, "2,500 G")]
)
def test_macs_text(macs: float, text: str) -> None:
    assert macs_text(macs) == text


def test_members_at_different_levels_are_doubted_first() -> None:
    """Each member's placements differ by 2 points, the two members' means by 20."""
    rows = [
        dataclasses.replace(ranked(i + 1, f"{i},1,1", 0.8 - 0.2 * member + 0.005 * i, 100), member=member)
        for i, member in enumerate([0] * 5 + [1] * 5)
    ]
    data = dataclasses.replace(data_of(rows), run={"space": {"default": "0,1,1"}})
    rows[0] = dataclasses.replace(rows[0], is_default=True)
    first = warnings(data)[0]
    assert first.startswith("The members are at different levels: the placements of each have 63.5% to 81.0%")
    assert "--rank-members mean" in first
    by_mean = dataclasses.replace(data, ranking_summary={"images": 5000, "members": "mean"})
    assert not any("levels" in text for text in warnings(by_mean))
    alike = [dataclasses.replace(row, member=i % 2) for i, row in enumerate(BY_HAND)]
    assert not any("levels" in text for text in warnings(data_of(alike)))


def test_a_supernet_far_below_what_its_placements_reach_alone_is_the_first_doubt(tmp_path: Path) -> None:
    data = read_run(write_fake_run(tmp_path, 2, snapshots=3))
    assert grave_warnings(data) == []
    low = [dataclasses.replace(row, val_accuracy=row.val_accuracy - 0.4) for row in data.ranking]
    found = warnings(dataclasses.replace(data, ranking=low))
    assert found[0].startswith("In the supernet the 6 retrained placements have ")
    assert "Use more --epochs in a new run." in found[0]


@pytest.mark.parametrize(("count", "left"), [(13, "25%"), (21, "11%"), (22, None)])
def test_a_search_whose_scores_are_still_the_initial_one_was_too_short(
    tmp_path: Path, count: int, left: str | None
) -> None:
    """0.9^13 = 0.25, 0.9^21 = 0.11, 0.9^22 = 0.098."""
    data = read_run(write_fake_run(tmp_path, 2, compositions(5, 3), ("search", "rank"), snapshots=3))
    assert data.scores is not None
    few = _with(data, count=[count] * data.scores.last.num_rows)
    found = grave_warnings(dataclasses.replace(data, scores=dataclasses.replace(data.scores, last=few)))
    said = [text for text in found if "too short for its space" in text]
    assert bool(said) == (left is not None)
    assert all(f"still weighs {left}. Use more --epochs or fewer --members" in text for text in said)


def test_what_may_make_the_answer_wrong_comes_before_the_runs_own_warnings_and_what_is_weak() -> None:
    data = data_of([ranked(1, "7,1,2", 0.95, 9, True), *BY_HAND[1:]])
    few = {"images": 300, "tau_score_accuracy": 0.1}
    found = warnings(dataclasses.replace(data, ranking_summary=few, run=data.run | {"warnings": ["own"]}))
    assert [found.index(next(t for t in found if word in t)) for word in ("control group", "hardly", "own")] == [
        0,
        1,
        2,
    ]
    assert any("300 validation images" in text for text in found[3:])
