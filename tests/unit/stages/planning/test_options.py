"""Ways from made-up prices: whole methods reckoned by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from conftest import TINY
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.planning.alone_prices import StandaloneTimes
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout
from poolsearch.stages.planning.fit import FittedRates
from poolsearch.stages.planning.jobs import retraining_job, standalone_jobs
from poolsearch.stages.planning.measure import SearchTimes
from poolsearch.stages.planning.memory import TrainingMemory
from poolsearch.stages.planning.options import (
    Measurements,
    mixture_sizes,
    retraining_estimate,
    short_of_memory,
    standalone_estimate,
    supernet_estimates,
)
from poolsearch.stages.planning.work import work_of

GIVEN = {
    "placements": ("4,3,3", "5,3,2", "3,4,3"), "members": 2, "epochs": 5, "batch": 32, "val_batch": 32, "val_every": 2,
    "retrain_epochs": 6, "retrain_batch": 32, "retrain_seeds": 2, "top_k": 1, "proxy_epochs": 2, "proxy_width": 0.5,
    "sweep_epochs": 6, "halving_start": 2, "checkpoint_seconds": 100.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """719 + 719 + 359 digits, three placements; all that only other methods use is left out. It is only read."""
    left_out = {"proxy_epochs", "proxy_width", "sweep_epochs", "halving_start"}
    settings = Settings.of(**TINY | {name: value for name, value in GIVEN.items() if name not in left_out})
    with open_run(tmp_path_factory.mktemp("planned") / "run", settings, False, SilentProgress()) as opened:
        yield opened


@pytest.fixture
def given(tiny: Callable[..., Settings]) -> Settings:
    return tiny(**GIVEN)


def flat(seconds: float) -> StepTime:
    return StepTime(np.full(3, seconds), 0.1)


def prices(run: Run, given: Settings, free: int | None = None) -> Measurements:
    """1 s a training step, 0.5 s a score, 1 s a pass whatever it holds; alone 2 s a step, 3 s beside, 4 s to score."""
    passes = FittedRates(np.array([1.0, 0.0, 0.0]), 0.1)
    search = SearchTimes(flat(1), flat(0.5), passes, {1: 0.0, 2: 0.25, 3: 0.5}, save=2.0)
    alone = StandaloneTimes(flat(2), flat(4), 719, WorkerLayout(workers=1, opening=5, begin=3))
    jobs = [retraining_job(run), *(job for jobs in standalone_jobs(run, given).values() for job in jobs)]
    memory = TrainingMemory(run.space.default, 100, 1.0, 10, 1000, free)
    return Measurements(work_of(run), memory, search, passes, dict.fromkeys(jobs, alone))


def test_only_mixtures_that_the_space_can_hold_are_told_of(run: Run) -> None:
    assert mixture_sizes(run) == [1, 2]


def test_supernets_are_steps_scores_checkpoints_and_trees(run: Run, given: Settings) -> None:
    one, two = supernet_estimates(run, [1, 2], retraining_job(run), prices(run, given))
    assert (one.method, one.members, two.method, two.members) == ("spos", 1, "mixture", 2)
    # 719 images are 22 batches of 32; 5 epochs a member; what was measured holds the work of the two that are set
    assert one.stages[0].takes.seconds == pytest.approx(5 * 22 * (1 - 0.25 + 0.5 / 2) * 1.02)
    assert two.stages[0].takes.seconds == pytest.approx(10 * 22 * (1 + 0.5 / 2) * 1.02)
    assert [stage.name for stage in two.stages] == ["search", "rank"]
    assert two.memory == 1000 + 100 + 2 * 10


def test_a_sweep_trains_all_and_scores_all(run: Run, given: Settings) -> None:
    way = standalone_estimate("sweep", standalone_jobs(run, given)["sweep"], prices(run, given))
    # three placements: 6 epochs of 22 steps of 2 s, 3 s beside, 4 s to score 719 images; one worker; 5 s to start it
    assert way.takes.seconds == pytest.approx(3 * (6 * 22 * 2 + 3 + 4) + 5)
    assert way.members is None
    assert way.what == "3 networks for 6 epochs"


def test_a_proxy_is_short_and_narrow(run: Run, given: Settings) -> None:
    (job,) = standalone_jobs(run, given)["proxy"]
    assert job.width == 1  # half of two
    assert (job.placements, job.epochs, job.seeds) == (3, 2, 1)
    way = standalone_estimate("proxy", [job], prices(run, given))
    steps = 2 * (job.images // 32)
    assert way.takes.seconds == pytest.approx(3 * (steps * 2 + 3 + 4) + 5)


def test_halving_goes_on_with_the_best(run: Run, given: Settings) -> None:
    jobs = standalone_jobs(run, given)["halving"]
    # of three a third, one, goes on from 2 epochs to three times as many
    assert [(job.placements, job.epochs) for job in jobs] == [(3, 2), (1, 4)]
    way = standalone_estimate("halving", jobs, prices(run, given))
    assert way.what == "3 networks for 2 epochs, 1 for 4 more"
    first, second = 3 * (2 * 22 * 2 + 3 + 4) + 5, 4 * 22 * 2 + 3 + 4 + 5
    assert way.takes.seconds == pytest.approx(first + second)


def test_brackets_are_trained_side_by_side(run: Run, given: Settings) -> None:
    jobs = standalone_jobs(run, given)["hyperband"]
    # 6 epochs and a rate of 3, from 2 epochs on: of 3 placements one goes on, and 2 are trained to the end
    assert [(job.placements, job.epochs, job.begins) for job in jobs] == [(3, 2, True), (1, 4, False), (2, 6, True)]
    assert (
        standalone_estimate("hyperband", jobs, prices(run, given)).what
        == "3 networks for 2 epochs, 1 for 4 more, 2 for 6"
    )
    (job,) = standalone_jobs(run, given)["random"]
    assert (job.placements, job.epochs) == (3, 6)  # all that there are


def test_finalists_are_trained_on_all_images_and_tested(run: Run, given: Settings) -> None:
    retrain, test = retraining_estimate(run, retraining_job(run), prices(run, given))
    # the first and the default, 2 seeds; 1438 images are 44 batches; 359 test images are one pass
    assert retrain.takes.seconds == pytest.approx(4 * (6 * 44 * 2 + 3) + 5)
    assert test.takes.seconds == pytest.approx(4 * (1 + 3))


def test_ways_that_need_more_memory_than_there_is_are_named(run: Run, given: Settings) -> None:
    ample, scarce = prices(run, given, free=10**6), prices(run, given, free=115)
    ways = supernet_estimates(run, [1, 2], retraining_job(run), ample)
    assert short_of_memory(ways, retraining_job(run), ample) == ()
    # 1115 bytes can be had: one supernet needs 1110, two 1120, a retraining 1000 + 32 x 1 + 10
    (warning,) = short_of_memory(ways, retraining_job(run), scarce)
    assert "mixture (2 supernets)" in warning
