"""Fitting a job into hours: the order in which it grows, that more hours never give less, and prices by hand."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from poolsearch.inspection_results import Estimate, HoursFit, not_enough
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout
from poolsearch.stages.planning.hours import JobPrices, JobSize, ladder, largest_within, least_epochs

LEAST = JobSize(epochs=4, members=1, retrain_epochs=6, retrain_seeds=2, top_k=1, control=(), trials=0)
FULL = JobSize(
    epochs=75, members=4, retrain_epochs=200, retrain_seeds=10, top_k=3, control=("macs", "random"), trials=5
)


def certain(seconds: float) -> Estimate:
    return Estimate(seconds, seconds, seconds)


def prices(
    step: tuple[float, ...] = (1.0, 2.0, 4.0), workers: int = 1, answer_at: tuple[float, ...] = (1.0, 1.5)
) -> JobPrices:
    """Placements of 0.5, 1 and 4 times the default's MACs; the default is the second."""
    return JobPrices(
        start=certain(10),
        epoch={1: certain(3), 2: certain(7), 4: certain(15)},
        rank={1: certain(2), 2: certain(2), 4: certain(2)},
        step=StepTime(np.array(step), 0.1),
        steps=5,
        crew=WorkerLayout(workers, opening=8, begin=1),
        test_A=np.array([0.5, 0.5, 0.5]),
        macs_ratio_A=np.array([0.5, 1.0, 4.0]),
        default=1,
        answer_at=answer_at,
    )


def amounts(size: JobSize) -> tuple[int, ...]:
    """Of everything that may grow."""
    return (*(v if isinstance(v, int) else len(v) for v in dataclasses.astuple(size)),)


def test_a_job_grows_from_the_least_to_the_full_and_nothing_ever_shrinks() -> None:
    sizes = ladder(LEAST, FULL)
    assert (sizes[0], sizes[-1]) == (LEAST, FULL)
    assert len(set(sizes)) == len(sizes)
    for before, after in itertools.pairwise(sizes):
        assert all(b <= a for b, a in zip(amounts(before), amounts(after), strict=True))


def test_what_grows_first() -> None:
    sizes = ladder(LEAST, FULL)
    first = {
        "trial": next(s for s in sizes if s.trials == 1),
        "third seed": next(s for s in sizes if s.retrain_seeds == 3),
        "finalist": next(s for s in sizes if s.top_k == 2),
        "control": next(s for s in sizes if s.control),
        "member": next(s for s in sizes if s.members == 2),
        "fourth seed": next(s for s in sizes if s.retrain_seeds == 4),
    }
    places = [sizes.index(size) for size in first.values()]
    assert places == sorted(places)
    # before the third seed a half of the search's epochs and a quarter of the retraining's; before a member all
    assert (first["third seed"].epochs, first["third seed"].retrain_epochs) == (37, 50)
    assert (first["finalist"].epochs, first["control"].retrain_epochs) == (37, 50)
    assert (first["member"].epochs, first["member"].retrain_epochs) == (75, 200)
    assert first["fourth seed"].members == 4
    assert (first["trial"].epochs, first["third seed"].trials) == (37, 5)


def test_what_is_fixed_is_the_same_in_all() -> None:
    fixed = {"retrain_seeds": 5, "members": 2, "epochs": 9, "control": ("macs",)}
    sizes = ladder(dataclasses.replace(LEAST, **fixed), dataclasses.replace(FULL, **fixed))
    for name, value in fixed.items():
        assert {getattr(size, name) for size in sizes} == {value}
    assert {size.top_k for size in sizes} == {1, 2, 3}


@hypothesis_settings(max_examples=20)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=12), st.integers(1, 3), st.floats(0.01, 10))
def test_more_hours_never_give_less_and_no_more_than_there_are(rooms: list[float], workers: int, scale: float) -> None:
    job = prices(step=(scale, 2 * scale, 5 * scale), workers=workers)
    sizes = ladder(LEAST, FULL)

    cost = {size: job.takes(size).seconds for size in sizes}
    seconds = cost.__getitem__
    found = [largest_within(sizes, seconds, room) for room in sorted(rooms)]
    for room, size in zip(sorted(rooms), found, strict=True):
        if size is None:
            assert min(cost.values()) > room
        else:
            assert seconds(size) <= room
    chosen = [amounts(size) for size in found if size is not None]
    for before, after in itertools.pairwise(chosen):
        assert all(b <= a for b, a in zip(before, after, strict=True))
    assert found[: len(found) - len(chosen)] == [None] * (len(found) - len(chosen))


def test_seconds_that_do_not_grow_with_the_size_take_nothing_back() -> None:
    """A larger job may be cheaper, as where workers share it better: then the larger is taken."""
    one, two, three = ladder(LEAST, dataclasses.replace(LEAST, top_k=3))
    cost = {one: 5.0, two: 9.0, three: 7.0}
    found = [largest_within([one, two, three], lambda size: cost[size], room) for room in (4, 5, 7, 9)]
    assert found == [None, one, three, three]


def test_a_job_is_its_stages() -> None:
    job = prices(answer_at=())
    size = JobSize(epochs=6, members=2, retrain_epochs=3, retrain_seeds=2, top_k=3, control=("macs",))
    stages = {stage.name: stage.takes.seconds for stage in job.stages(size)}
    # all three are finalists, the default and the one of most MACs among them: 3 epochs of 5 steps, 1 s beside
    assert stages == {"search": 42, "rank": 2, "retrain": 2 * (15 * (1 + 2 + 4) + 3), "test": 2 * 1.5}
    assert job.takes(size).seconds == 10 + sum(stages.values())
    assert job.networks(size) == 3


def test_trials_are_rounds_of_one_for_each_worker() -> None:
    size = JobSize(epochs=6, members=1, retrain_epochs=3, retrain_seeds=2, top_k=1, control=(), trials=5)
    for workers, rounds in ((1, 5), (2, 3)):
        job = dataclasses.replace(prices(workers=workers), trial_steps=4, trial_score=0.5)
        stages = {stage.name: stage.takes.seconds for stage in job.stages(size)}
        # a mean step of 7/3 s, 3 epochs of 4 steps, 1 s to begin
        assert stages["trials"] == pytest.approx(rounds * (3 * 4 * 7 / 3 + 1 + 0.5))
        longer = dataclasses.replace(job, trial_epochs=6).stages(size)[2].takes.seconds
        assert longer == pytest.approx(rounds * (6 * 4 * 7 / 3 + 1 + 0.5))
    assert "trials" not in [s.name for s in prices().stages(dataclasses.replace(size, trials=0))]


def test_trials_alone_come_before_the_retraining() -> None:
    size = JobSize(epochs=0, members=1, retrain_epochs=3, retrain_seeds=2, top_k=1, control=(), trials=2)
    assert [stage.name for stage in prices().stages(size)] == ["trials", "retrain", "test"]


def test_workers_share_the_retraining_and_take_a_while_to_open() -> None:
    size = JobSize(epochs=6, members=2, retrain_epochs=3, retrain_seeds=2, top_k=3, control=())
    stages = {stage.name: stage.takes.seconds for stage in prices(workers=2).stages(size)}
    assert stages["retrain"] == 15 * (1 + 2 + 4) + 3 + 8


def test_a_random_control_is_one_more_of_the_mean() -> None:
    none = JobSize(epochs=6, members=1, retrain_epochs=3, retrain_seeds=2, top_k=3, control=())
    one = dataclasses.replace(none, control=("macs", "random"))
    without, with_ = (prices().stages(size) for size in (none, one))
    assert with_[2].takes.seconds - without[2].takes.seconds == pytest.approx(2 * (15 * 7 / 3 + 1))
    assert with_[3].takes.seconds - without[3].takes.seconds == pytest.approx(2 * 0.5)


def test_who_is_retrained_is_drawn_and_costly_placements_more_often() -> None:
    ratios = np.geomspace(0.25, 4, 36)
    job = dataclasses.replace(
        prices(), step=StepTime(ratios, 0.1), test_A=np.zeros(36), macs_ratio_A=ratios, default=18, answer_at=()
    )
    size = JobSize(epochs=0, members=1, retrain_epochs=1, retrain_seeds=2, top_k=3, control=())
    retrain, _ = job.stages(size)
    assert 3 <= job.networks(size) <= 4
    alike = job.networks(size) * 2 * (5 * ratios.mean() + 1)
    assert alike < retrain.takes.seconds < 2 * alike
    assert retrain.takes.low < retrain.takes.seconds < retrain.takes.high


def test_without_a_search_there_is_only_the_retraining() -> None:
    job, size = prices(), dataclasses.replace(LEAST, epochs=0)
    assert [stage.name for stage in job.stages(size)] == ["retrain", "test"]
    alone = dataclasses.replace(job, sweep=certain(1000))
    assert [stage.name for stage in alone.stages(LEAST)] == ["sweep", "retrain", "test"]
    assert alone.takes(LEAST).seconds == job.takes(size).seconds + 1000


def test_the_fewest_epochs_are_a_number_of_steps() -> None:
    assert least_epochs(44, 300, 200) == 7
    assert least_epochs(1000, 300, 200) == 2
    assert least_epochs(3, 300, 12) == 12
    assert least_epochs(3, 300, 1) == 1


@pytest.mark.parametrize(("seconds", "hours"), [(396.1, "0.12"), (3600.0, "1"), (36.0, "0.01"), (45_000.0, "13")])
def test_what_is_too_little_is_told_with_what_is_enough(seconds: float, hours: str) -> None:
    fit = HoursFit(0.05, False, "poolsearch run --epochs 2", (), certain(1), certain(seconds), (), 10, 2, 1)
    assert not_enough(fit) == (
        f"0.05 h is not enough: the least useful run takes about {hours} h: poolsearch run --epochs 2"
    )


def test_it_is_reckoned_without_torch() -> None:
    code = "import sys, poolsearch.stages.planning.hours; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
