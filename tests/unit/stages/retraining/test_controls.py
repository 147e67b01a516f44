"""What the winner is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from poolsearch.image_size import ImageSize
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.retrain import retrain_config
from poolsearch.stages.retraining.controls import make_controls, size_for
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial

of = ImageSize.of


def square(size: ImageSize) -> int:
    return size.pixels


@pytest.mark.parametrize(
    ("target", "size"),
    [(41 * 41, 41), (41 * 41 + 40, 41), (41 * 41 + 43, 42), (33 * 33, 33), (32 * 32 + 1, None), (10 * 32 * 32, 101)],
)
def test_the_size_with_the_nearest_macs(target: int, size: int | None) -> None:
    assert size_for(target, 32 * 32, of(32), square) == (size and of(size))


def test_sizes_that_the_network_cannot_run_at_are_passed_over() -> None:
    assert size_for(41 * 41, 32 * 32, of(32), lambda size: square(size) if size.height % 8 == 0 else None) == of(40)
    assert size_for(41 * 41, 32 * 32, of(32), lambda _: None) is None


def test_a_rectangle_grows_in_its_shape() -> None:
    assert size_for(3 * 41 * 41, 3 * 32 * 32, ImageSize(32, 96), square) == (41, 123)


def test_controls_of_a_run(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    settings = tiny(control=("macs", "random", "input-size"))
    winner = Placement.parse("5,3,2")
    with open_run(tmp_path / "run", settings, False, SilentProgress()) as run:
        macs, chance, larger = make_controls(run, winner, 5)
        assert make_controls(run, winner, 5) == [macs, chance, larger]
        other = replace(run, settings=run.settings.changed(seed=1))
        assert make_controls(other, winner, 5)[1] != chance
        all_ = make_controls(run, winner, 40)[1].trials
        nothing = make_controls(run, Placement.parse("3,4,3"), 5)[2]
        costs = {size: run.at(size).costs.macs(run.space.default) for size in map(of, (8, 9, 10))}
        target = run.costs.macs(winner)
    assert [str(trial) for trial in macs.trials] == [f"8,1,1 seed {seed}" for seed in range(5)]
    assert [trial.seed for trial in chance.trials] == list(range(5))
    assert len({trial.placement for trial in chance.trials}) == 5
    assert len({trial.placement for trial in all_[:36]}) == 36  # none comes twice before all have come
    nearest = min(costs, key=lambda size: abs(costs[size] - target))
    assert {(str(trial.placement), trial.image_size) for trial in larger.trials} == {("4,3,3", nearest)}
    assert nothing.trials == [] and "3,4,3 has no more MACs than the default" in str(nothing.why_not)


def test_a_larger_image_is_seen_whole_and_its_trial_has_a_folder_of_its_own(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    trial = Trial(Placement.parse("4,3,3"), 1, of(12))
    assert trial.folder(tmp_path) == tmp_path / "4,3,3@12" / "1"
    assert str(trial) == "4,3,3 at 12x12 seed 1"
    with open_run(tmp_path / "run", tiny(augment="none"), False, SilentProgress()) as run:
        x_BCHW, _ = run.at(of(12)).loader(run.split.train_all, 16, "retrain", 0, augmented=True).batch(0)
        own_BCHW, _ = run.loader(run.split.train_all, 16, "retrain", 0, augmented=True).batch(0)
        task = StandaloneTraining(run, retrain_config(run.settings), trial)
        task.step(0)
    assert x_BCHW.shape == (16, 3, 12, 12) and own_BCHW.shape == (16, 3, 8, 8)
    # the same images, enlarged: their means stay, up to what interpolation does at the border
    means, own = x_BCHW.mean((1, 2, 3)), own_BCHW.mean((1, 2, 3))
    assert float(((means - means.mean()) * (own - own.mean())).sum() / (means.std() * own.std() * 15)) > 0.95
