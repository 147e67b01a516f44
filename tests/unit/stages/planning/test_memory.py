"""The largest step is tried first, and refused where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import parameters_of
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.planning.memory import TrainingMemory, largest_batch, largest_step, try_largest_step
from poolsearch.train.machine import Machine


def test_a_batch_is_halved_until_it_fits() -> None:
    assert largest_batch(256, 10, 2560) == 256
    assert largest_batch(256, 10, 2559) == 128
    assert largest_batch(256, 10, 700) == 64
    assert largest_batch(256, 10, 9) == 0


def test_members_keep_weights_momentum_and_gradients_each() -> None:
    memory = TrainingMemory(Placement.parse("4,3,3"), step=1000, image=10, member=50, process=7000, free=None)
    assert memory.search(4) == 7000 + 1000 + 4 * 50
    assert memory.alone(workers=2, batch=64) == 2 * (7000 + 640 + 50)


def test_the_largest_keeps_its_maps_large_the_longest(tiny: Callable[..., Settings], tmp_path: Path) -> None:
    with open_run(tmp_path / "run", tiny(), False, SilentProgress()) as run:
        placement, image = largest_step(run)
        assert str(placement) == "8,1,1"
        # at least the output of each convolution but the last two blocks', in fp32: 15 maps of 2 to 8 channels, 8x8
        assert image > 15 * 2 * 64 * 4
        memory = try_largest_step(run)
        assert memory.member == 12 * parameters_of(run.build())
        assert memory.step >= 128 * image


def test_a_step_that_does_not_fit_is_refused_before_it_is_tried(
    tiny: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(tmp_path / "run", tiny(), False, SilentProgress()) as run:
        _, image = largest_step(run)
        member = 12 * parameters_of(run.build())
        monkeypatch.setattr(Machine, "free_memory", lambda _: 2 * member + 40 * image)
        with pytest.raises(PoolsearchError, match=r"8,1,1.*--batch 128.*Use --batch 32 or less"):
            try_largest_step(run)
        monkeypatch.setattr(Machine, "free_memory", lambda _: member)
        with pytest.raises(PoolsearchError, match="Not even one image fits"):
            try_largest_step(run)


def test_running_out_of_memory_all_the_same_is_told_the_same_way(
    tiny: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: Machine, module: object) -> object:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with open_run(tmp_path / "run", tiny(), False, SilentProgress()) as run:
        monkeypatch.setattr(Machine, "place", no_memory)
        with pytest.raises(PoolsearchError, match="Use --batch 64 or less"):
            try_largest_step(run)


def test_other_errors_of_a_step_stay_what_they_are(
    tiny: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Machine, module: object) -> object:
        raise RuntimeError("a fault")

    with open_run(tmp_path / "run", tiny(), False, SilentProgress()) as run:
        monkeypatch.setattr(Machine, "place", broken)
        with pytest.raises(RuntimeError, match="a fault"):
            try_largest_step(replace(run))
