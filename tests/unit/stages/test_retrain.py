"""The retraining's own choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.retrain import retrain_config
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial


@pytest.mark.parametrize(("start", "half"), [(1e-4, 1e-4), (0.1, 0.0505)])
@pytest.mark.parametrize("every", ["step", "epoch"])
def test_the_learning_rate_never_rises(
    tmp_path: Path, tiny: Callable[..., Settings], start: float, half: float, every: str
) -> None:
    """The floor is the search's; a retraining that begins below it stays where it begins."""
    settings = tiny(retrain_lr=start, retrain_epochs=2, lr_floor=1e-3, lr_every=every)
    with open_run(tmp_path / "run", settings, False, SilentProgress()) as run:
        task = StandaloneTraining(run, retrain_config(run.settings), Trial(Placement.parse("4,3,3"), 0))
    rates = []
    for step in range(2 * task.steps_per_epoch):
        task.step(step)
        (group,) = task._optimizer.param_groups
        rates.append(group["lr"])
    first, second = rates[: task.steps_per_epoch], rates[task.steps_per_epoch :]
    assert second[0] == pytest.approx(half)  # half-way between 0.1 and 0.001
    assert rates == sorted(rates, reverse=True)
    held = every == "epoch" or start == half
    assert len(set(first)) == len(set(second)) == (1 if held else task.steps_per_epoch)
    assert task.epoch_ends(1, len(rates))["learning_rate"] == rates[-1]
