"""What the methods without a supernet will train, known before."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.samplers.successive_halving import Rung, brackets, concurrent_rungs, draw_placements, rungs, rungs_text
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.methods import named
from poolsearch.settings.resolve import resolve


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


def test_random_search_trains_some_or_all_to_the_end():
    assert rungs_of(36, method="random") == [Rung(8, 0, 200, 25_000)]
    assert rungs_of(36, method="random", random_k=3, sweep_epochs=7) == [Rung(3, 0, 7, 25_000)]
    assert rungs_of(5, method="random") == [Rung(5, 0, 200, 25_000)]


def shape(plan):
    """Of each bracket, (placements, epochs at the end) of its rungs."""
    return [[(rung.placements, rung.epochs) for rung in own] for own in brackets(plan)]


def test_hyperband_by_hand():
    # Li et al. 2018, R = 81 and rate 3. Their Table 1 has 27, 9, 6 and 5 for the later brackets, with 3 resources left
    # over; algorithm 1 of the same paper, n = ceil((s_max + 1) / (s + 1) * 3^s), gives 135 / 4, 45 / 3, 15 / 2 and 5
    assert shape(rungs_of(1000, method="hyperband", sweep_epochs=81)) == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)], [(34, 3), (11, 9), (3, 27), (1, 81)], [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)], [(5, 81)],
    ]  # fmt: skip
    # 36 placements are all that there are; 12 / 9 and 12 / 3 epochs, whole ones; 9, ceil(9 / 2) and 3
    assert shape(rungs_of(36, method="hyperband", data="digits")) == [
        [(9, 2), (3, 4), (1, 12)], [(5, 4), (1, 12)], [(3, 12)],
    ]  # fmt: skip
    assert shape(rungs_of(4, method="hyperband", data="digits"))[0] == [(4, 2), (1, 4), (1, 12)]
    # from 2 epochs on there is no third bracket: 2 x 9 is more than 12
    assert shape(rungs_of(36, method="hyperband", data="digits", halving_start=2)) == [[(3, 4), (1, 12)], [(2, 12)]]
    with pytest.raises(PoolsearchError, match="--halving-start 10 is more than the 9 epochs"):
        rungs_of(5, method="hyperband", halving_start=10, sweep_epochs=9)


@given(
    placements=st.integers(1, 20_000), full=st.integers(1, 400), rate=st.integers(2, 6), start=st.integers(1, 400),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_brackets_of_hyperband_share_their_lengths_and_end_at_the_full_one(placements, full, rate, start, seed):
    start = min(start, full)
    made = rungs_of(placements, method="hyperband", sweep_epochs=full, halving_rate=rate, halving_start=start)
    several = brackets(made)
    longest = several[0]
    assert start * rate ** (len(several) - 1) <= full < start * rate ** len(several)
    assert longest[0].epochs >= start
    for skipped, own in enumerate(several):
        assert [rung.epochs for rung in own] == [rung.epochs for rung in longest[skipped:]]
        assert (own[0].begun, own[-1].epochs) == (0, full)
        for before, after in pairwise(own):
            assert after.begun == before.epochs < after.epochs <= rate * before.epochs
            assert after.placements == max(1, before.placements // rate)
    for own, numbers in zip(several, draw_placements(made, placements, seed), strict=True):
        assert numbers == sorted(set(numbers)) and len(numbers) == own[0].placements
        assert set(numbers) <= set(range(placements))
    at_once = concurrent_rungs(made, placements)
    assert sum(rung.images_seen for rung in at_once) <= sum(rung.images_seen for rung in made)
    assert max(rung.placements for rung in at_once) <= placements


def test_what_brackets_train_at_the_same_time_is_one_rung():
    made = rungs_of(36, 100, method="hyperband", data="digits")
    assert concurrent_rungs(made, 36) == [
        Rung(9, 0, 2, 100), Rung(3, 2, 4, 100), Rung(5, 0, 4, 100), Rung(2, 4, 12, 100), Rung(3, 0, 12, 100),
    ]  # fmt: skip
    halving = rungs_of(36, method="halving")
    assert concurrent_rungs(halving, 36) == halving


def test_draws_are_uniform_differ_between_brackets_and_follow_from_the_seed():
    plan = rungs_of(1000, method="hyperband", sweep_epochs=81)
    first = draw_placements(plan, 1000, 0)
    assert first == draw_placements(plan, 1000, 0) != draw_placements(plan, 1000, 1)
    assert not set(first[1]) <= set(first[0])
    assert draw_placements(rungs_of(36, method="halving"), 36, 5) == [list(range(36))]
    # each of 10 placements is in 3 of 10 draws; 2,000 draws have a standard deviation of 0.0102
    plan = rungs_of(10, method="random", random_k=3)
    often = [sum(number in draw_placements(plan, 10, seed)[0] for seed in range(2000)) / 2000 for number in range(10)]
    assert often == pytest.approx([0.3] * 10, abs=0.045)


def test_what_will_be_trained_is_told_in_a_sentence_however_much_it_is():
    assert (
        rungs_text("sweep", rungs_of(20_000, method="sweep"))
        == "Sweep: 20,000 trainings of 200 epochs on 25,000 images."
    )
    assert rungs_text("sweep", rungs_of(36, method="sweep", sweep_seeds=3)).startswith(
        "Sweep: 108 trainings of 200 epochs"
    )
    assert rungs_text("proxy", rungs_of(36, method="proxy", proxy_epochs=1)) == (
        "Proxy: 36 trainings of 1 epoch on 10,000 images, with 0.5 of the channels."
    )
    # 36 x 2 + 12 x 4 + 4 x 6 = 144 epochs of 12
    assert rungs_text("halving", rungs_of(36, 718, method="halving", data="digits")) == (
        "Halving: 36 placements for 2 epochs, the best 12 up to 6, the best 4 up to 12 on 718 images. "
        "Together this is as much as 12.0 whole trainings."
    )


def test_brackets_are_told_one_by_one():
    # 9 x 2 + 3 x 2 + 8 epochs, 5 x 4 + 8, 3 x 12: 96 epochs of 12
    assert rungs_text("hyperband", rungs_of(36, 718, method="hyperband", data="digits")) == (
        "Hyperband: 3 brackets of random placements on 718 images: 9 placements for 2 epochs, the best 3 up to 4, the "
        "best 1 up to 12; 5 placements for 4 epochs, the best 1 up to 12; 3 placements for 12 epochs. Together this is "
        "as much as 8.0 whole trainings, or less: a placement of several brackets is trained once."
    )


def test_work_is_trainings_times_added_epochs_times_images():
    assert Rung(10, 2, 6, 100, seeds=3).images_seen == 10 * 3 * 4 * 100
    assert Rung(10, 2, 6, 100, seeds=3).trainings == 30


@pytest.mark.parametrize("method", named("alone", "untrained"))
@pytest.mark.parametrize("fields", [{"members": 2}, {"epochs": 3}, {"norm": "calibrate"}, {"rank_top": 3}])
def test_what_is_for_supernets_is_an_error_without_one(method, fields):
    flag = next(iter(fields)).replace("_", "-")
    for see in (check, lambda settings: resolve(settings, 1000, 1000, 32)):
        with pytest.raises(PoolsearchError, match=f"--{flag} is for supernets, and --method {method} trains none"):
            see(Settings.of(method=method, **fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"proxy_width": 0.5}, "--proxy-width is for --method proxy, not for bayes"),
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
        ({"method": "sweep", "random_k": 3}, "--random-k is for --method random, not for sweep"),
        ({"method": "random", "random_k": 0}, "--random-k is 0; allowed is at least 1"),
        ({"method": "macs", "sweep_epochs": 3}, "--sweep-epochs is for .* not for macs"),
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
    code = "import sys, poolsearch.samplers.successive_halving; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
