"""The charts of a run, each defined once for the page and for the files."""

from __future__ import annotations

from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.accuracy import accuracy_macs
from poolsearch.reports.figures.curves import curves
from poolsearch.reports.figures.heatmap import assignment
from poolsearch.reports.figures.ladder import ladder
from poolsearch.reports.figures.outcomes import retrain, scores
from poolsearch.reports.figures.predictions import predictions
from poolsearch.reports.figures.relaxed import found_path, weights_over_training
from poolsearch.reports.figures.test_accuracy import accuracy_on_test_by_macs
from poolsearch.reports.figures.theme import Figure
from poolsearch.reports.figures.truth_agreement import RankingWithTruth, truth_figure


def figures(data: RunData, truth: RankingWithTruth | None = None) -> list[Figure]:
    """Every figure that the finished stages allow, in the order of the page.

    Args:
        data: the run.
        truth: the ranking beside a ground truth, where one was given.
    """
    made = [
        ladder(data), found_path(data), predictions(data), accuracy_macs(data), accuracy_on_test_by_macs(data),
        retrain(data), assignment(data), weights_over_training(data), curves(data), scores(data),
        truth and truth_figure(data, truth),
    ]  # fmt: skip
    return [figure for figure in made if figure is not None]
