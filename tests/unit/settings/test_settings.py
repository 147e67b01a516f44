"""Settings: by flat name, as JSON, what is left to us, and what is out of range."""

import dataclasses
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.methods import METHODS
from poolsearch.settings.resolve import resolve
from poolsearch.storage.run_record import differences

MANY = {
    "data": "cifar10",
    "subset": 100,
    "width": 8,
    "op": "blur",
    "placements": ("4,3,3", "5,3,2"),
    "min_blocks": (2, 1, 1),
    "method": "spos",
    "members": 2,
    "score_init": "first",
    "lr": 0.05,
    "explore": 0.1,
    "rank_members": "best",
    "top_k": 5,
    "answer_at": (0.5, 2.0),
    "control": ("input-size",),
    "seed": 7,
    "device": "cpu",
    "deterministic": True,
}


def test_of_puts_each_field_into_its_group_and_leaves_the_rest():
    made = Settings.of(data="cifar10", members=2, seed=5)
    assert (made.data.data, made.search.members, made.machine.seed) == ("cifar10", 2, 5)
    assert {(group, name) for group, name, *_ in differences(Settings(), made)} == {
        ("data", "data"),
        ("search", "method"),
        ("search", "members"),
        ("machine", "seed"),
    }


def test_changed_leaves_the_old_settings_alone():
    old = Settings.of(members=2)
    new = old.changed(members=8, beta=0.5)
    assert (old.search.members, old.search.beta) == (2, 0.9)
    assert differences(old, new) == [("search", "members", 2, 8), ("search", "beta", 0.9, 0.5)]
    assert old.changed() == old


def test_names_are_unique_over_all_groups():
    # the flat names of the command line would otherwise be ambiguous
    names = [name for _, name, _ in Settings().flat()]
    assert len(names) == len({*names})


def test_every_setting_is_listed_once_with_its_value():
    made = Settings.of(**MANY)
    flat = {name: value for _, name, value in made.flat()}
    assert {name: flat[name] for name in MANY} == MANY
    groups = [getattr(made, f.name) for f in dataclasses.fields(made)]
    assert len(flat) == sum(len(dataclasses.fields(g)) for g in groups)


def test_settings_go_round_through_json():
    made = Settings.of(**MANY)
    assert Settings.from_dict(made.to_dict()) == made
    assert Settings.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert Settings.from_dict({}) == Settings()
    assert Settings.from_dict({"search": {"method": "mixture", "members": 2}}) == Settings.of(members=2)


def test_a_run_of_a_version_without_a_setting_goes_on_as_it_was_begun():
    """Learning rates were held for an epoch before there was --lr-every."""
    written = Settings.of(**MANY).to_dict()
    del written["search"]["lr_every"]
    assert Settings.from_record(written) == Settings.of(**MANY).changed(lr_every="epoch")
    for now in (Settings.of(members=2), Settings.of(lr_every="step"), Settings.of(preset="official")):
        assert Settings.from_record(now.to_dict()) == now


@pytest.mark.parametrize(
    ("given_", "nearest"),
    [("member", "members"), ("epoch", "epochs"), ("inv_temp", "inv_temp_end"), ("retrain_epoch", "retrain_epochs")],
)
def test_an_unknown_setting_names_the_nearest(given_, nearest):
    for make in (lambda: Settings.of(**{given_: 1}), lambda: Settings().changed(**{given_: 1})):
        with pytest.raises(
            PoolsearchError,
            match=f"unknown setting '{given_}'. Did you mean '{nearest}'.*Allowed: answer_at, arch_lr",
        ):
            make()


def test_an_unknown_field_of_a_file_names_the_nearest_of_its_group():
    with pytest.raises(PoolsearchError, match=r"unknown setting 'member'. Did you mean 'members'"):
        Settings.from_dict({"search": {"member": 2}})
    with pytest.raises(PoolsearchError, match=r"unknown setting 'members'"):
        Settings.from_dict({"net": {"members": 2}})
    with pytest.raises(
        PoolsearchError, match=r"unknown group of settings 'serch'. Did you mean 'search'.*data, machine"
    ):
        Settings.from_dict({"serch": {}})


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().search.members = 3


def resolved(images=25_000, val=25_000, size=32, **fields):
    return resolve(Settings.of(**fields), images, val, size)


def test_what_is_left_to_us_on_cifar10():
    made = resolved(data="cifar10", preset="paper")
    search = made.search
    assert (search.epochs, search.batch, search.val_batch, search.lr) == (75, 256, 256, 0.1)
    assert (search.weight_decay, search.inv_temp_end, search.balance_every) == (1e-3, 400.0, "step")
    assert made.retrain.retrain_epochs == 200
    assert search.members == 4 and search.beta == 0.9 and search.score_init == 1.0


def test_by_default_a_few_trials_rank_without_a_supernet():
    made = resolved(data="cifar10")
    assert (made.search.method, made.rank.rank_by, made.rank.trials) == ("bayes", "prediction", 8)


def test_a_supernet_that_is_asked_for_is_put_right_by_trials():
    made = resolved(data="cifar10", method="mixture")
    assert (made.search.members, made.search.epochs) == (1, 300)
    assert (made.rank.rank_by, made.rank.trials, made.rank.rank_members) == ("prediction", 5, "mean")
    assert resolved(data="cifar10", members=2).search.epochs == 150  # as much work
    assert resolved(data="cifar10", method="spos", retrain_epochs=10).search.epochs == 15


@pytest.mark.parametrize("asked", [{"preset": "paper"}, {"members": 2}, {"epochs": 3}, {"beta": 0.5}])
def test_what_only_supernets_have_asks_for_them(asked):
    assert Settings.of(**asked).search.method == "mixture"
    assert Settings.of(**asked, method="spos").search.method == "spos"
    assert Settings.of(method="random").changed(**asked).search.method == "random"


@pytest.mark.parametrize("asked", [{"trials": 3}, {"max_macs": "1.0x"}, {"retrain_epochs": 3}, {"lr": 0.1}])
def test_what_all_have_asks_for_none(asked):
    assert Settings.of(**asked).search.method == "bayes"


@pytest.mark.parametrize("asked", [{"rank_members": "best"}, {"rank_early_stop": True}, {"rank_by": "metric"}])
def test_what_rules_a_prediction_out_is_taken_as_asked_for(asked):
    found = resolved(method="mixture", **asked).rank
    assert (found.rank_by, found.trials) == ("metric", 0)


@pytest.mark.parametrize("method", ["random", "sweep", "mcts", "bse", "darts", "macs"])
def test_other_methods_rank_as_the_paper_has_them(method):
    assert resolved(method=method).rank == resolved(method=method, preset="paper").rank


def test_records_of_versions_without_the_preset_robust_of_today_mean_what_they_meant():
    old = Settings().to_dict()
    old["search"] |= {"preset": "paper", "members": 4, "method": "mixture"}
    del old["search"]["assign"], old["rank"]["rank_by"], old["rank"]["trials"]
    made = resolve(Settings.from_record(old), 25_000, 25_000, 32)
    assert (made.search.members, made.search.epochs, made.rank.rank_by) == (4, 40, "metric")
    old["search"] |= {"method": "random"}
    check(Settings.from_record(old))  # 4 members were the default, and of no use
    old["search"] |= {"method": "mixture", "preset": "robust"}
    made = resolve(Settings.from_record(old), 25_000, 25_000, 32)
    assert (made.search.members, made.search.score_lag, made.rank.rank_by) == (4, 8, "metric")


def test_digits_are_few_and_take_fewer_epochs():
    made = resolved(718, 719, data="digits", preset="paper")
    assert (made.search.epochs, made.retrain.retrain_epochs) == (40, 12)
    assert made.search.batch == 32  # 16 batches of 32 are 512 images, of 64 are 1024
    assert made.search.lr == pytest.approx(0.1 * 32 / 128)


def test_the_retraining_is_as_the_search_unless_told_otherwise():
    made = resolved(data="cifar10", batch=64, lr=0.02, weight_decay=0.003).retrain
    assert (made.retrain_batch, made.retrain_lr, made.retrain_weight_decay) == (64, 0.02, 0.003)
    made = resolved(data="cifar10", retrain_batch=32, retrain_lr=0.3, retrain_weight_decay=0.0).retrain
    assert (made.retrain_batch, made.retrain_lr, made.retrain_weight_decay) == (32, 0.3, 0.0)


def test_large_images_get_a_network_with_a_fixed_stem_and_smaller_evaluation_batches():
    small, large = resolved(size=64), resolved(size=224)
    assert (small.net.net, small.rank.eval_batch) == ("cifar-resnet20", 512)
    assert (large.net.net, large.rank.eval_batch) == ("resnet18", 64)
    assert resolved(size=224, net="cifar-resnet56").net.net == "cifar-resnet56"


def test_the_shorter_side_decides_on_the_network_and_the_area_on_the_batch():
    line, strip = resolved(size=ImageSize(32, 320)), resolved(size=ImageSize(16, 64))
    assert (line.net.net, line.rank.eval_batch) == ("cifar-resnet20", 64)
    assert (strip.net.net, strip.rank.eval_batch) == ("cifar-resnet20", 512)


@pytest.mark.parametrize("given_", ["48x96", 48, ImageSize(48, 96), "48"])
def test_an_image_size_is_one_number_or_two(given_):
    settings = Settings.of(image_size=given_)
    check(settings)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(PoolsearchError, match="48x96x3"):
        check(Settings.of(image_size="48x96x3"))


def test_a_square_is_one_setting_however_it_is_written():
    assert Settings.of(image_size="64x64") == Settings.of(image_size=64) == Settings.of(image_size=ImageSize.of(64))


def test_an_entry_of_a_file_that_is_not_given_is_refused():
    with pytest.raises(
        PoolsearchError, match="--init-key ema is an entry of a file of weights, and --init names no file"
    ):
        check(Settings.of(init_key="ema"))


def test_the_floor_of_the_learning_rate_is_never_above_its_start():
    assert resolved(lr=1e-4).search.lr_floor == 1e-4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preset": "offical"}, "Did you mean 'official'"),
        ({"method": "spoz"}, "Did you mean 'spos'"),
        ({"device": "gpu"}, "Allowed: auto, cpu, cuda, mps"),
        ({"norm": 3}, "--norm is 3; it must be 'batch' or 'calibrate' or 'per_placement'"),
        ({"members": "4"}, "--members is '4'; it must be int"),
        ({"members": 2.5}, "--members is 2.5; it must be int"),
        ({"members": True}, "--members is True"),
        ({"zero_init": 1}, "--zero-init is 1; it must be bool"),
        ({"score_init": "last"}, "Allowed: first"),
        ({"placements": "4,3,3"}, "--placements is '4,3,3'; it must be several values"),
    ],
)
def test_values_of_another_kind_are_refused(fields, said):
    with pytest.raises(PoolsearchError, match=re.escape(said)):
        check(Settings.of(**fields))


def test_a_list_is_as_good_as_a_tuple():
    assert Settings.of(placements=["4,3,3"]) == Settings.of(placements=("4,3,3",))


@pytest.mark.parametrize("members", [1, 2, 8])
def test_the_last_inverse_temperature_is_100_times_the_members(members):
    assert resolved(members=members).search.inv_temp_end == 100 * members


def test_spos_is_a_mixture_of_one():
    assert resolved(method="spos", members=8).search.members == 1
    assert resolved(method="spos").search == resolved(method="spos", members=1).search
    assert resolved(method="spos").search.inv_temp_end == 100


def test_official_differs_where_the_authors_release_does():
    made = resolved(data="cifar10", preset="official")
    assert (made.search.lr_every, resolved(data="cifar10").search.lr_every) == ("epoch", "step")
    search = made.search
    assert (search.batch, search.weight_decay) == (128, 0.0)  # docs/differences.md#preset-official
    assert (search.inv_temp_end, search.balance_every) == (100.0, "epoch")
    assert made.rank.rank_members == "best"
    assert resolved(data="cifar10", preset="paper").rank.rank_members == "assignment"


GIVEN = {
    "epochs": 3,
    "batch": 64,
    "val_batch": 10,
    "lr": 0.02,
    "weight_decay": 0.0,
    "inv_temp_end": 50.0,
    "balance_every": "epoch",
    "retrain_epochs": 4,
}


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_what_is_given_stays(preset):
    flat = {name: value for _, name, value in resolved(data="cifar10", preset=preset, **GIVEN).flat()}
    assert {name: flat[name] for name in GIVEN} == GIVEN


def test_with_given_weights_the_search_is_a_fine_tuning():
    made = resolved(data="cifar10", init="net.pth", preset="paper")
    search, retrain = made.search, made.retrain
    assert (search.epochs, search.lr, search.lr_floor, search.weight_decay) == (10, 0.01, 1e-4, 1e-4)
    assert (retrain.retrain_epochs, retrain.retrain_lr, retrain.retrain_weight_decay) == (20, 0.01, 1e-4)
    assert search.batch == 256  # nothing else differs
    made = resolved(718, 719, data="digits", init="net.pth", preset="paper")
    assert (made.search.epochs, made.retrain.retrain_epochs) == (10, 12)
    assert made.search.lr == pytest.approx(0.01 * 32 / 128)
    assert resolved(data="cifar10", preset="official", init="net.pth").search.weight_decay == 0.0


@given(st.integers(2, 10**6))
def test_a_fine_tunings_cosine_has_somewhere_to_go(images):
    search = resolved(images, 100, init="net.pth").search
    assert search.lr_floor == pytest.approx(search.lr / 100)


def test_what_is_given_stays_with_given_weights_too():
    flat = {name: value for _, name, value in resolved(data="cifar10", init="net.pth", lr_floor=3e-4, **GIVEN).flat()}
    assert {name: flat[name] for name in GIVEN} == GIVEN
    assert flat["lr_floor"] == 3e-4


def test_weights_and_zeros_to_begin_with_exclude_each_other():
    with pytest.raises(PoolsearchError, match=r"--zero-init .* --init .* leave one of them out"):
        check(Settings.of(init="net.pth", zero_init=True))


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("init", [None, "net.pth"])
def test_what_was_given_is_remembered_and_gives_the_same_again(preset, init):
    given_ = Settings.of(preset=preset, data="cifar10", init=init)
    once = resolve(given_, 900, 900, 32)
    assert once.given == given_
    assert resolve(once.given, 900, 900, 32) == once


def test_nothing_is_left_open_but_what_has_a_meaning_of_its_own():
    meant = {
        "subset", "groups", "image_size", "fit", "value_range", "cache_dir", "width", "op", "init", "max_macs",
        "max_memory", "max_latency", "latency_device", "hours", "halving_start", "rank_memory", "compile", "workers",
        "init_key",
    }  # fmt: skip
    for method in METHODS:
        made = resolve(Settings.of(method=method), 900, 900, 32)
        assert {name for _, name, value in made.flat() if value is None} == meant


def test_what_was_left_open_and_is_of_no_use_is_recorded_as_left_open():
    """run.json is to say nothing of a proxy where there was none."""
    of_mixture = resolved(data="cifar10", preset="paper").to_dict()
    assert of_mixture["alone"]["proxy_epochs"] is None and of_mixture["relaxed"]["arch_lr"] is None
    assert of_mixture["search"]["epochs"] == 75
    of_proxy = resolved(data="cifar10", method="proxy").to_dict()
    assert of_proxy["alone"]["proxy_epochs"] == 25
    assert of_proxy["search"]["members"] is None


@pytest.mark.parametrize(("batch", "lr"), [(512, 0.1), (256, 0.1), (128, 0.1), (64, 0.05), (16, 0.0125)])
def test_learning_rate_falls_in_proportion_below_128_images(batch, lr):
    assert resolved(batch=batch).search.lr == pytest.approx(lr)


@given(st.integers(2, 10**6), st.integers(1, 10**6))
def test_batches_leave_16_of_them_or_are_small(images, val):
    search = resolved(images, val).search
    assert 2 <= search.batch <= min(256, images)
    assert 1 <= search.val_batch <= val
    if images >= 256:
        assert search.batch & (search.batch - 1) == 0
        assert images >= 16 * search.batch
        assert search.batch == 256 or images < 16 * 2 * search.batch  # the largest such
    else:
        assert search.batch == min(16, images)


OUT = [
    ("members", 0),
    ("epochs", -1),
    ("batch", -5),
    ("val_batch", -1),
    ("val_every", 0),
    ("rank_top", 0),
    ("eval_batch", 0),
    ("top_k", 0),
    ("retrain_seeds", 0),
    ("retrain_epochs", -1),
    ("max_placements", 0),
    ("width", 0),
    ("subset", 0),
    ("image_size", 0),
    ("rank_all_up_to", 0),
    ("lr", -0.1),
    ("lr", float("nan")),
    ("lr_floor", -1e-3),
    ("momentum", 1.5),
    ("weight_decay", -1e-3),
    ("beta", 1.1),
    ("beta", 1.0),
    ("explore", -0.1),
    ("explore", 2.0),
    ("inv_temp_end", 0.5),
    ("refresh", -1),
    ("rank_control", -1),
    ("checkpoint_seconds", -1.0),
    ("seed", -1),
]


@pytest.mark.parametrize(("name", "value"), OUT)
def test_out_of_range_names_the_flag_the_value_and_the_range(name, value):
    with pytest.raises(PoolsearchError, match=rf"^--{name.replace('_', '-')} is {value}; allowed is (at least|from) "):
        check(Settings.of(**{name: value}))
    with pytest.raises(PoolsearchError, match=f"--{name.replace('_', '-')} is"):
        resolved(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control": ("mac",)}, "unknown value for --control: 'mac'. Did you mean 'macs'"),
        ({"control": "macs"}, "--control is 'macs'; it must be several values"),
        ({"placements": (433,)}, "--placements is 433; it must be str"),
        ({"answer_at": ("1",)}, "--answer-at is '1'; it must be float"),
        ({"answer_at": (1.0, 0.0)}, "--answer-at is 0.0; allowed is at least 0.001"),
    ],
)
def test_each_of_several_values_is_checked(changes, message):
    with pytest.raises(PoolsearchError, match=re.escape(message)):
        check(Settings.of(**changes))
    check(Settings.of(control=(), answer_at=()))
    check(Settings.of(control=["macs", "random"], answer_at=[1, 2.5]))


@pytest.mark.parametrize("name", ["epochs", "batch", "val_batch", "inv_temp_end", "retrain_epochs"])
def test_zero_is_out_of_range_and_not_the_default(name):
    with pytest.raises(PoolsearchError, match=f"--{name.replace('_', '-')} is 0"):
        resolved(**{name: 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", 0.0),
        ("explore", 1.0),
        ("refresh", 0),
        ("rank_control", 0),
        ("weight_decay", 0.0),
        ("inv_temp_end", 1.0),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(name, value):
    check(Settings.of(**{name: value}))


def test_defaults_are_in_range():
    check(Settings())
    assert resolved().given == Settings()


def test_settings_need_no_torch():
    modules = ["settings", "space", "evaluation.stats", "storage.files", "rng", "mixture.mixture", "samplers.uniform"]
    code = f"import sys; {'; '.join(f'import poolsearch.{m}' for m in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_ranking_by_prediction_asks_all_members_and_one_without_a_supernet_predicts():
    by_metric = resolved(preset="paper").rank
    predicted = resolved(preset="paper", rank_by="prediction", trials=3).rank
    assert (by_metric.rank_by, by_metric.trials, by_metric.rank_members) == ("metric", 0, "assignment")
    assert (predicted.rank_by, predicted.trials, predicted.rank_members) == ("prediction", 3, "mean")
    alone = resolved(method="bayes", retrain_epochs=30)
    assert (alone.rank.rank_by, alone.rank.trials, alone.alone.trial_epochs) == ("prediction", 8, 30)
    assert resolved(method="bayes", trials=5, trial_epochs=10).alone.trial_epochs == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trials": 4, "preset": "paper"}, "--trials 4 .* add --rank-by prediction"),
        ({"method": "spos", "trials": 4, "rank_by": "metric"}, "--trials 4 .* add --rank-by prediction"),
        ({"method": "bayes", "rank_by": "metric"}, "no supernet whose metric could rank"),
        ({"rank_by": "prediction", "rank_members": "assignment"}, "goes by all members, and --rank-members assignment"),
        ({"rank_by": "prediction", "rank_early_stop": True}, "--rank-early-stop stops placements"),
        ({"method": "halving", "rank_by": "prediction"}, "--rank-by is for --method .*bayes, not for halving"),
        ({"method": "bayes", "members": 2}, "--members is for supernets, and --method bayes trains none"),
    ],
)
def test_what_a_ranking_by_prediction_does_not_go_with_is_refused(given, said):
    with pytest.raises(PoolsearchError, match=said):
        check(Settings.of(**given))
