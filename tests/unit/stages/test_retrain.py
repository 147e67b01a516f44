"""The retraining's own choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch.context import open_run
from poolsearch.placement import Placement
from poolsearch.progress import Silent
from poolsearch.settings import Settings
from poolsearch.stages.alone import AloneTask, Trial
from poolsearch.stages.retrain import retrain_recipe


@pytest.mark.parametrize(("start", "end"), [(1e-4, 1e-4), (0.1, 0.0505)])
def test_the_learning_rate_never_rises(tmp_path: Path, tiny: Callable[..., Settings], start: float, end: float) -> None:
    """The floor is the search's; a retraining that begins below it stays where it begins."""
    with open_run(tmp_path / "run", tiny(retrain_lr=start, retrain_epochs=2, lr_floor=1e-3), False, Silent()) as run:
        task = AloneTask(run, retrain_recipe(run.settings), Trial(Placement.parse("4,3,3"), 0))
    rates = []
    for epoch in range(2):
        task.epoch_starts(epoch)
        rates.append(task.epoch_ends(epoch, epoch + 1)["learning_rate"])
    assert rates == pytest.approx([start, end])  # half-way between 0.1 and 0.001
