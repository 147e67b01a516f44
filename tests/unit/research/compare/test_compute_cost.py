"""What a run computes, against counts by hand and by torch's flop counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import poolsearch
from poolsearch.cost import cost_table
from poolsearch.progress import SilentProgress
from poolsearch.research.compare.compute_cost import (
    equal_epochs,
    mean_path_macs,
    relaxed_macs,
    run_work,
    whole_training,
)
from poolsearch.session.open_run import open_run
from poolsearch.settings.check import with_method
from poolsearch.space import FreeSpace
from poolsearch.supernet.relaxed import Relaxed
from poolsearch.supernet.single_path import SinglePath

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def opened(tmp_path, tiny):
    with open_run(tmp_path / "run", tiny(method="spos", members=4), False, SilentProgress()) as run:
        yield run


def test_a_relaxed_pass_is_what_the_flop_counter_says(opened):
    supernet = SinglePath(lambda norm: opened.build(norm), "batch", False)
    relaxed, size = Relaxed(supernet).eval(), opened.image_size
    blocks, resolutions = len(supernet.net.blocks), 3
    weight_LR = torch.full((blocks - 1, resolutions), 1 / resolutions)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        relaxed(torch.zeros(2, 3, *size), weight_LR)
    table = cost_table(opened.build().to("meta"), *size, FreeSpace.of(opened.space))
    assert relaxed_macs(table) == counter.get_total_flops() / 2 / 2


def test_the_mean_of_all_paths_is_that_of_all_paths(opened):
    space = FreeSpace.of(opened.space)
    size = opened.image_size
    table = cost_table(opened.build().to("meta"), *size, space)
    every = [table.macs(space[number]) for number in range(space.size)]
    assert mean_path_macs(table) == pytest.approx(sum(every) / len(every), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        # one supernet with uniform draws needs no scores: an image is 3 passes, where it is 4 of all that learn from
        # them (batches are equal), and 3.5 where they score every other step
        ({"method": "spos"}, 32), ({"method": "bse"}, 24), ({"method": "mcts"}, 24),
        ({"method": "mixture", "members": 4}, 6), ({"method": "mixture", "members": 8}, 3),
        ({"method": "mixture", "members": 1}, 32), ({"method": "spos", "sharing": "random-init"}, 32),
        ({"method": "spos", "val_every": 2}, 32), ({"method": "bse", "val_every": 2}, round(32 * 3 / 3.5)),
        ({"method": "spos", "rank_all_up_to": 35}, 32), ({"method": "bse", "rank_all_up_to": 35}, 32),
    ],
)  # fmt: skip
def test_equal_total_training(opened, changes, epochs):
    """A space of 36 that is not ranked whole makes use of scores, by any method."""
    assert equal_epochs(opened, opened.settings.changed(**changes), 32) == epochs


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"method": "spos"}, 24), ({"method": "bse"}, 24), ({"method": "mixture", "members": 4}, 6),
        ({"method": "spos", "val_every": 2}, round(24 * 4 / 3.5)),
    ],
)  # fmt: skip
def test_comparisons_of_older_versions_charge_all_scores(opened, changes, epochs):
    assert equal_epochs(opened, opened.settings.changed(**changes), 24, "all") == epochs


def test_relaxed_methods_get_fewer_epochs_in_proportion_to_their_work(opened):
    size = opened.image_size
    table = cost_table(opened.build().to("meta"), *size, FreeSpace.of(opened.space))
    ratio = 3 * float(opened.macs_A.mean()) / (6 * relaxed_macs(table))
    darts = opened.settings.changed(method="darts")
    assert equal_epochs(opened, darts, 100) == round(100 * ratio)
    assert equal_epochs(opened, darts, 1) == 1, "never none"


def test_the_unit_is_a_training_of_the_default(opened):
    macs = opened.costs.macs(opened.space.default)
    assert whole_training(opened, 5, 1000) == 3 * 5 * 1000 * macs


def test_work_of_trainings_alone_by_hand(tmp_path, tiny):
    out, placements = tmp_path / "sweep", ("4,3,3", "7,1,2")
    alone = with_method(tiny(), "sweep")
    settings = alone.changed(placements=placements, sweep_epochs=2, sweep_seeds=2, workers=1)
    poolsearch.search(out, settings)
    with open_run(out, None, True, SilentProgress()) as run:
        macs, train, val = int(run.macs_A.sum()), len(run.split.search_train), len(run.split.search_val)
        assert run_work(run) == 2 * macs * (3 * 2 * train + val)


@pytest.mark.parametrize(("method", "passes"), [("spos", 3), ("bse", 4)])
def test_work_of_a_search_by_hand(tmp_path, tiny, method, passes):
    out = tmp_path / "search"
    poolsearch.search(out, tiny(method=method, placements=("4,3,3",), epochs=2))
    poolsearch.rank(out)
    with open_run(out, None, True, SilentProgress()) as run:
        macs, steps, val = int(run.macs_A[0]), 2 * (len(run.split.search_train) // 128), len(run.split.search_val)
        assert run_work(run) == pytest.approx(macs * (steps * 128 * passes + val))
        assert run_work(run, "all") == pytest.approx(macs * (steps * 128 * 4 + val))
