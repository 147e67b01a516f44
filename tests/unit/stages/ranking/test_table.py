"""The rows of ranking.csv, from answers made by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from poolsearch.evaluation.measure import ClassMeasure
from poolsearch.mixture.mixture import Mixture
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.stages.ranking.choice import Candidates
from poolsearch.stages.ranking.table import evaluations_of, rows_of
from poolsearch.stages.ranking.tally import Tally
from poolsearch.stages.search import mixture_rules

THEIRS = {
    "accuracy": accuracy_score,
    "balanced-accuracy": balanced_accuracy_score,
    "macro-f1": lambda true_N, predicted_N: f1_score(true_N, predicted_N, average="macro", zero_division=0),
}
# Of 60, 25 and 15 images. In order: all of the large class and 80 % of the others; 70 % of all; a few of the large
# class taken for others, but all of these right; everything is the large class.
ANSWERS = [
    [[60, 0, 0], [5, 20, 0], [3, 0, 12]],
    [[42, 9, 9], [4, 18, 3], [2, 2, 11]],
    [[48, 6, 6], [0, 25, 0], [0, 0, 15]],
    [[60, 0, 0], [25, 0, 0], [15, 0, 0]],
]


def answered(counts):
    """(true, predicted) of each image, from how often each class is taken for each."""
    pairs = [(true, guess) for true, row in enumerate(counts) for guess, n in enumerate(row) for _ in range(n)]
    return np.array(pairs).T


@pytest.mark.parametrize(
    ("metric", "order"), [("accuracy", [0, 2, 1, 3]), ("balanced-accuracy", [2, 0, 1, 3]), ("macro-f1", [0, 2, 1, 3])]
)
def test_the_order_and_every_figure_are_those_of_the_metric(tmp_path, metric, order):
    given = Settings.of(
        width=2, members=1, epochs=1, batch=128, precision="fp32", device="cpu", metric=metric,
        placements=("4,3,3", "5,3,2", "1,1,8", "2,2,6"),
    )  # fmt: skip
    true_N = answered(ANSWERS[0])[0]
    tally = Tally.empty(4, ClassMeasure(metric, true_N, "0123456789"), 40)
    while tally.chunk < tally.chunks:
        seen = slice(int(tally.images_P[0]), int(tally.images_P[0]) + len(np.array_split(true_N, 3)[tally.chunk]))
        tally.take({i: torch.tensor(answered(counts)[1][seen]) for i, counts in enumerate(ANSWERS)})
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        mixture = Mixture(4, mixture_rules(run.settings.search))
        candidates = Candidates([0, 1, 2, 3], frozenset(), None, frozenset())
        rows = rows_of(run, evaluations_of(run, mixture, candidates, [(i, 0) for i in range(4)], tally))
    assert [row["number"] for row in rows] == order
    for row in rows:
        true_N, predicted_N = answered(ANSWERS[row["number"]])
        assert row["val_metric"] == pytest.approx(THEIRS[metric](true_N, predicted_N))
        assert row["val_accuracy"] == pytest.approx(accuracy_score(true_N, predicted_N))
        assert row["low"] < row["val_metric"] < row["high"] and row["images"] == 100


@pytest.mark.parametrize(
    ("rank_members", "order", "values"),
    # of two members each: accuracies 0.92 and 0.71, 0.88 and 0.60; better by the best is better by the mean here, too
    [("best", [0, 1], [0.92, 0.88]), ("mean", [0, 1], [0.815, 0.74])],
)
def test_several_members_count_by_the_best_or_by_their_mean(tmp_path, rank_members, order, values):
    rows = by_two_members(tmp_path, rank_members, [ANSWERS[0], ANSWERS[1], ANSWERS[2], ANSWERS[3]])
    assert [row["number"] for row in rows] == order
    assert [row["val_accuracy"] for row in rows] == pytest.approx(values)


def test_a_placement_that_one_member_learnt_well_falls_behind_by_the_mean(tmp_path):
    one_well_one_badly, both_fairly = [ANSWERS[0], ANSWERS[3]], [ANSWERS[2], ANSWERS[2]]
    assert [row["number"] for row in by_two_members(tmp_path / "a", "best", one_well_one_badly + both_fairly)] == [0, 1]
    rows = by_two_members(tmp_path / "b", "mean", one_well_one_badly + both_fairly)
    assert [row["number"] for row in rows] == [1, 0]
    assert rows[1]["val_metric"] == pytest.approx((0.92 + 0.60) / 2)
    assert rows[1]["low"] < rows[1]["val_metric"] < rows[1]["high"]


def by_two_members(tmp_path, rank_members, answers):
    given = Settings.of(
        width=2, members=2, epochs=1, batch=128, precision="fp32", device="cpu", placements=("4,3,3", "5,3,2"),
        rank_members=rank_members,
    )  # fmt: skip
    true_N = answered(answers[0])[0]
    tally = Tally.empty(4, ClassMeasure("accuracy", true_N, "0123456789"), 100)
    tally.take({i: torch.tensor(answered(counts)[1]) for i, counts in enumerate(answers)})
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        mixture = Mixture(2, mixture_rules(run.settings.search))
        pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
        candidates = Candidates([0, 1], frozenset(), None, frozenset())
        return rows_of(run, evaluations_of(run, mixture, candidates, pairs, tally))
