"""What the methods without a supernet will train, known before."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.methods import named
from poolsearch.resolve import check, resolve
from poolsearch.rungs import Rung, rungs, told
from poolsearch.settings import Settings


def rungs_of(placements, images=25_000, **fields):
    settings = Settings.of(**{"data": "cifar10", **fields})
    return rungs(resolve(settings, images, images, 32), placements, images)


def test_a_sweep_is_one_rung_of_everything():
    assert rungs_of(36, method="sweep", data="digits") == [Rung(36, 0, 12, 25_000)]
    assert rungs_of(36, method="sweep", retrain_epochs=50) == [Rung(36, 0, 50, 25_000)]
    assert rungs_of(36, method="sweep", retrain_epochs=50, sweep_epochs=7, sweep_seeds=3) == [
        Rung(36, 0, 7, 25_000, seeds=3)
    ]


def test_a_proxy_is_one_rung_of_less():
    # 200 / 8 epochs, two fifths of 25,000 images, half of the channels
    assert rungs_of(36, method="proxy") == [Rung(36, 0, 25, 10_000, 0.5)]
    # 718 images have a batch of 32: 16 batches are 512 images, more than two fifths; an eighth of 12 epochs is 1
    assert rungs_of(36, 718, method="proxy", data="digits") == [Rung(36, 0, 2, 512, 0.5)]
    assert rungs_of(36, 20, method="proxy")[0].images == 20
    assert rungs_of(36, method="proxy", proxy_width=0.25, proxy_images=999, proxy_epochs=4) == [
        Rung(36, 0, 4, 999, 0.25)
    ]


@pytest.mark.parametrize("fields", [{"net": "timm:resnet18"}, {"init": "weights.safetensors"}])
def test_networks_that_cannot_be_narrowed_keep_their_channels_in_a_proxy(fields):
    assert rungs_of(36, method="proxy", **fields)[0].width == 1
    with pytest.raises(PoolsearchError, match=r"--proxy-width 0\.5 is for poolsearch's own networks"):
        rungs_of(36, method="proxy", proxy_width=0.5, **fields)


def test_halving_by_hand():
    # 36 -> 12 -> 4 (-> 1 would be less than 3): 12 epochs / 9 is 2 rounded up; then 6, then 18, cut at 12
    assert rungs_of(36, 718, method="halving", data="digits") == [
        Rung(36, 0, 2, 718),
        Rung(12, 2, 6, 718),
        Rung(4, 6, 12, 718),
    ]
    # 560 -> 186 -> 62 -> 20 -> 6: 200 / 81 is 3 rounded up; 3, 9, 27, 81, 243 cut at 200
    long = rungs_of(560, method="halving")
    assert [(r.placements, r.begun, r.epochs) for r in long] == [
        (560, 0, 3), (186, 3, 9), (62, 9, 27), (20, 27, 81), (6, 81, 200),
    ]  # fmt: skip
    # 1680 + 1116 + 1116 + 1080 + 714 epochs
    assert sum(r.images_seen for r in long) == 5706 * 25_000


def test_halving_from_a_given_start_goes_on_to_the_end_with_at_least_one():
    made = rungs_of(5, method="halving", halving_start=1, halving_rate=2, sweep_epochs=9)
    assert [(r.placements, r.begun, r.epochs) for r in made] == [(5, 0, 1), (2, 1, 2), (1, 2, 4), (1, 4, 8), (1, 8, 9)]
    assert rungs_of(5, method="halving", halving_start=9, sweep_epochs=9) == [Rung(5, 0, 9, 25_000)]
    with pytest.raises(PoolsearchError, match="--halving-start 10 is more than the 9 epochs"):
        rungs_of(5, method="halving", halving_start=10, sweep_epochs=9)


@given(
    placements=st.integers(1, 20_000), full=st.integers(1, 400), rate=st.integers(2, 6),
    start=st.none() | st.integers(1, 400),
)  # fmt: skip
def test_halving_goes_on_from_where_it_was_and_ends_at_the_full_length(placements, full, rate, start):
    start = start and min(start, full)
    made = rungs_of(placements, method="halving", sweep_epochs=full, halving_rate=rate, halving_start=start)
    assert (made[0].placements, made[0].begun, made[-1].epochs) == (placements, 0, full)
    for before, after in pairwise(made):
        assert after.begun == before.epochs < after.epochs <= rate * before.epochs
        assert after.placements == max(1, before.placements // rate)
    if start is None:
        assert made[-1].placements >= min(rate, placements)
        assert sum(r.images_seen for r in made) <= placements * full * 25_000  # never more than the sweep


def test_what_will_be_trained_is_told_in_a_sentence_however_much_it_is():
    assert told("sweep", rungs_of(20_000, method="sweep")) == "Sweep: 20,000 trainings of 200 epochs on 25,000 images."
    assert told("sweep", rungs_of(36, method="sweep", sweep_seeds=3)).startswith("Sweep: 108 trainings of 200 epochs")
    assert told("proxy", rungs_of(36, method="proxy", proxy_epochs=1)) == (
        "Proxy: 36 trainings of 1 epoch on 10,000 images, with 0.5 of the channels."
    )
    # 36 x 2 + 12 x 4 + 4 x 6 = 144 epochs of 12
    assert told("halving", rungs_of(36, 718, method="halving", data="digits")) == (
        "Halving: 36 placements for 2 epochs, the best 12 up to 6, the best 4 up to 12 on 718 images. "
        "Together this is as much as 12.0 whole trainings."
    )


def test_work_is_trainings_times_added_epochs_times_images():
    assert Rung(10, 2, 6, 100, seeds=3).images_seen == 10 * 3 * 4 * 100
    assert Rung(10, 2, 6, 100, seeds=3).trainings == 30


@pytest.mark.parametrize("method", named("alone"))
@pytest.mark.parametrize(
    "fields", [{"members": 2}, {"epochs": 3}, {"norm": "calibrate"}, {"preset": "robust"}, {"rank_top": 3}]
)
def test_what_is_for_supernets_is_an_error_without_one(method, fields):
    flag = next(iter(fields)).replace("_", "-")
    for see in (check, lambda settings: resolve(settings, 1000, 1000, 32)):
        with pytest.raises(PoolsearchError, match=f"--{flag} is for supernets, and --method {method} trains none"):
            see(Settings.of(method=method, **fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"proxy_width": 0.5}, "--proxy-width is for --method proxy, not for mixture"),
        (
            {"method": "spos", "sweep_epochs": 3},
            "--sweep-epochs is for .* sweep, halving, random and hyperband, not for spos",
        ),
        (
            {"method": "proxy", "sweep_epochs": 3},
            "--sweep-epochs is for .* sweep, halving, random and hyperband, not for proxy",
        ),
        ({"method": "halving", "sweep_seeds": 2}, "--sweep-seeds is for --method sweep, not for halving"),
        ({"method": "sweep", "halving_rate": 2}, "--halving-rate is for --method halving and hyperband, not for sweep"),
        ({"method": "proxy", "proxy_width": 8.0}, "--proxy-width is 8.0; allowed is from 0.01 to 1"),
        ({"method": "halving", "halving_rate": 1}, "--halving-rate is 1; allowed is at least 2"),
    ],
)
def test_what_is_for_another_method_or_out_of_range_is_an_error(fields, said):
    with pytest.raises(PoolsearchError, match=said):
        check(Settings.of(**fields))


@pytest.mark.parametrize("images", [10, 1001])
def test_a_proxy_needs_a_minibatch_of_images_and_not_more_than_there_are(images):
    with pytest.raises(PoolsearchError, match=f"--proxy-images {images} is not possible.*Choose 32 to 1000"):
        rungs_of(36, 1000, method="proxy", proxy_images=images, batch=32)


def test_counting_needs_no_torch():
    code = "import sys, poolsearch.rungs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
