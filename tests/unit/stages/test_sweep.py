"""Ranking by trainings alone: who survives, what is trained on what, and where the weights go."""

import csv
import dataclasses
import json
from collections import Counter

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits

import poolsearch
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.samplers.successive_halving import Rung, brackets, draw_placements
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.stages import sweep as stage
from poolsearch.stages.ranking.standalone_table import standalone_rows
from poolsearch.stages.standalone import rung as training
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial
from poolsearch.storage.files import write_json
from poolsearch.storage.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("one_thread")
SIX = ("4,3,3", "5,3,2", "7,1,2", "1,1,8", "2,4,4", "3,3,4")


def settings(method, **changes):
    tiny = {"width": 2, "batch": 64, "retrain_epochs": 4, "precision": "fp32", "device": "cpu", "workers": 1}
    return Settings.of(**{**tiny, "method": method, "placements": SIX, **changes})


def rank(out, *arguments, **changes):
    poolsearch.search(out, settings(*arguments, **changes))
    return rows(out)


def rows(out):
    with open(RunDir(out).ranking, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def metrics(out):
    return {path.parts[-3]: json.loads(path.read_text()) for path in RunDir(out).sweep.glob("*/0/metrics.json")}


# Who survives: the real stage with made up learning curves, against a pruner that we did not write


class Curves:
    """Stands in for training: every placement gets what its curve says, and leaves a checkpoint as training does."""

    def __init__(self, correct_of):
        self.correct_of = correct_of
        self.trained = Counter()
        self.most_kept = 0

    def __call__(self, run, recipe, root, workers, trial, progress):
        folder = trial.folder(root)
        folder.mkdir(parents=True, exist_ok=True)
        saved, until = folder / "checkpoint.safetensors", recipe.until
        before = json.loads((folder / "metrics.json").read_text())["rungs"] if saved.exists() else []
        begun = (folder / "metrics.json").exists()
        assert begun == bool(before), "who was trained before goes on from its checkpoint, and is not trained anew"
        saved.touch()
        scored = scored_as(self.correct_of[trial.placement][until])
        record = {"rungs": [*before, {"epochs": until} | dataclasses.asdict(scored)], "train_loss": 1.0}
        of = {"placement": str(trial.placement), "seed": trial.seed, "epochs": until}
        write_json(folder / "metrics.json", of | record)
        self.trained[until] += 1
        self.most_kept = max(self.most_kept, len(list(run.dir.sweep.glob("*/*/checkpoint.safetensors"))))
        return scored


def scored_as(correct, images=1000):
    """So many images right, and an interval that nothing looks at."""
    return stage.ScoredTraining(correct, correct / images, 0, 1)


def survivors_by_optuna(correct_of, start, rate, full, level=0):
    """Numbers of epochs that each placement is trained: at each rung, everyone is asked after all others reported.

    The first rung is at ``start`` x ``rate``^``level`` epochs.
    """
    alive, reached = list(correct_of), {}
    while (step := start * rate**level) < full:
        pruner = optuna.pruners.SuccessiveHalvingPruner(start, rate, level)
        reached |= dict.fromkeys(alive, step)
        alive = [p for p in alive if not pruned(p, [*(q for q in alive if q != p), p], correct_of, step, pruner)]
        level += 1
    return reached | dict.fromkeys(alive, full)


def pruned(asked, in_turn, correct_of, step, pruner):
    sampler = optuna.samplers.RandomSampler(0)
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=sampler)
    for placement in in_turn:
        trial = study.ask()
        trial.report(correct_of[placement][step], step)
        said = trial.should_prune()
    assert placement == asked
    return said


@pytest.mark.parametrize(
    ("placements", "rate", "start", "full", "seed"),
    [(36, 3, 2, 12, 0), (36, 2, 1, 20, 1), (20, 4, 3, 30, 2), (7, 3, 1, 27, 3), (2, 3, 1, 10, 4), (36, 3, 12, 12, 5)],
)
def test_who_survives_is_who_optunas_pruner_lets_go_on(tmp_path, monkeypatch, placements, rate, start, full, seed):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draw = np.random.default_rng(seed)
    given = settings(
        "halving", placements=(), max_placements=placements, sweep_epochs=full, halving_rate=rate, halving_start=start
    )
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        # all different at every epoch, as the pruner lets ties go on
        table = np.array([draw.permutation(1000)[:placements] for _ in range(full + 1)])
        correct_of = {placement: table[:, i].tolist() for i, placement in enumerate(run.space)}
        curves = Curves(correct_of)
        monkeypatch.setattr(training, "train_trial", curves)
        plan = stage.rungs(run.settings, run.space.size, 1000)
        standings = stage.train_rungs(run, plan)
        expected = survivors_by_optuna(correct_of, start, rate, full)
        assert {run.space[s.number]: s.epochs for s in standings} == expected
        by_hand = sorted(expected, key=lambda p: (-expected[p], -correct_of[p][expected[p]]))
        assert [run.space[s.number] for s in standings] == by_hand
        assert curves.trained == Counter({r.epochs: r.placements for r in plan})
        # whoever is beaten by enough others loses its weights at once; the newest lies there until it is compared
        assert curves.most_kept <= (plan[1].placements if len(plan) > 1 else 0) + 1
        assert not list(run.dir.sweep.glob("*/*/checkpoint.safetensors"))


def levels_of(epochs, begin, rate):
    """The lengths at which a placement of a bracket was compared."""
    return {begin * rate**i for i in range(20) if begin * rate**i <= epochs}


@pytest.mark.parametrize(
    ("placements", "rate", "start", "full", "seed"), [(36, 3, 1, 27, 0), (36, 2, 1, 8, 1), (7, 3, 2, 18, 2)]
)
def test_brackets_of_hyperband_are_those_of_optunas_and_so_is_who_survives(
    tmp_path, monkeypatch, placements, rate, start, full, seed
):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draw = np.random.default_rng(seed)
    theirs = optuna.pruners.HyperbandPruner(start, full, rate)
    theirs._try_initialization(optuna.create_study())
    given = settings(
        "hyperband", placements=(), max_placements=placements, sweep_epochs=full, halving_rate=rate, halving_start=start
    )
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        table = np.array([draw.permutation(1000)[:placements] for _ in range(full + 1)])
        correct_of = {placement: table[:, i].tolist() for i, placement in enumerate(run.space)}
        curves = Curves(correct_of)
        monkeypatch.setattr(training, "train_trial", curves)
        plan = stage.rungs(run.settings, run.space.size, 1000)
        several = brackets(plan)
        assert [own[0].placements for own in several] == [min(n, placements) for n in theirs._trial_allocation_budgets]
        standings = stage.train_rungs(run, plan)
        expected, compared = {}, {}
        for bracket, numbers in enumerate(draw_placements(plan, run.space.size, run.seed)):
            part = {run.space[n]: correct_of[run.space[n]] for n in numbers}
            for placement, epochs in survivors_by_optuna(part, start, rate, full, bracket).items():
                expected[placement] = max(epochs, expected.get(placement, 0))
                seen = levels_of(epochs, start * rate**bracket, rate)
                compared[placement] = compared.get(placement, set()) | seen
        assert {run.space[s.number]: s.epochs for s in standings} == expected
        by_hand = sorted(expected, key=lambda p: (-expected[p], -correct_of[p][expected[p]]))
        assert [run.space[s.number] for s in standings] == by_hand
        # a placement of several brackets is trained once
        assert curves.trained == Counter(epochs for levels in compared.values() for epochs in levels)
        assert sum(curves.trained.values()) < sum(rung.placements for rung in plan)
        assert not list(run.dir.sweep.glob("*/*/checkpoint.safetensors"))


def test_equal_placements_are_decided_by_fewer_macs_then_by_number(tmp_path, monkeypatch):
    given = settings("halving", placements=(), sweep_epochs=9, halving_start=1)
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        curves = Curves(dict.fromkeys(run.space, [100] * 10))
        monkeypatch.setattr(training, "train_trial", curves)
        standings = stage.train_rungs(run, stage.rungs(run.settings, run.space.size, 1000))
        order = sorted(range(36), key=lambda n: (run.macs_A[n], n))
        assert [s.number for s in standings] == order
        assert [s.epochs for s in standings] == [9] * 4 + [3] * 8 + [1] * 24


# What is trained on what


def data_set(folder, name, noise=()):
    """Digits with train, val and test parts; those named are noise, under the same labels."""
    digits, draw = load_digits(), np.random.default_rng(7)
    pixels, arrays = (digits.images * 15.9).astype(np.uint8), {}
    for part, places in {"train": slice(0, 700), "val": slice(700, 1200), "test": slice(1200, 1797)}.items():
        shown = draw.integers(0, 255, pixels[places].shape, dtype=np.uint8) if part in noise else pixels[places]
        arrays |= {f"x_{part}": shown, f"y_{part}": digits.target[places]}
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def trainings(out):
    """What each training saw, in the losses of its epochs: the first rung's, since later ones are for survivors."""
    found = {}
    for path in RunDir(out).sweep.glob("*/*/events.jsonl"):
        first = json.loads(path.read_text().splitlines()[0])
        found[path.parts[-3]] = {name: value for name, value in first.items() if name != "seconds"}
    return found


@pytest.mark.parametrize(
    "method",
    ["sweep", "proxy", "halving", *(pytest.param(m, marks=pytest.mark.nightly) for m in ("random", "hyperband"))],
)
def test_search_val_is_not_trained_on_and_test_is_not_seen(tmp_path, method):
    brackets_of_two = {"halving_rate": 2} if method == "hyperband" else {}
    for name, noise in {"clean": (), "val": ("val",), "test": ("test",)}.items():
        data = str(data_set(tmp_path, f"data_{name}", noise))
        rank(tmp_path / name, method, data=data, retrain_epochs=2, placements=SIX[:3], **brackets_of_two)
    assert trainings(tmp_path / "clean") == trainings(tmp_path / "val") == trainings(tmp_path / "test")
    clean, val, test = (RunDir(tmp_path / name).ranking.read_text() for name in ("clean", "val", "test"))
    assert clean == test
    assert clean != val
    assert len(trainings(tmp_path / "clean")) in ((2, 3) if method == "hyperband" else (3,))
    assert not RunDir(tmp_path / "clean").test.exists()


def test_a_sweep_ranks_by_validation_accuracy(tmp_path):
    ranking, found = rank(tmp_path / "run", "sweep"), metrics(tmp_path / "run")
    assert {row["placement"] for row in ranking} == set(SIX)
    key = [(-float(row["val_accuracy"]), int(row["macs"]), int(row["number"])) for row in ranking]
    assert key == sorted(key)
    for row in ranking:
        metric = found[row["placement"]]
        assert float(row["val_accuracy"]) == metric["val_accuracy"] == metric["rungs"][0]["correct"] / 719
        assert (metric["epochs"], metric["images"], metric["val_images"]) == (4, 719, 719)
        assert float(row["low"]) < metric["val_accuracy"] < float(row["high"])
        assert row["score"] == row["member"] == row["assignment"] == ""
        assert (row["control"], row["images"]) == ("False", "719")
    assert [row["placement"] for row in ranking if row["is_default"] == "True"] == ["4,3,3"]
    assert not list(RunDir(tmp_path / "run").sweep.rglob("*.safetensors"))


@pytest.mark.nightly
def test_survivors_of_a_halving_end_as_if_they_had_never_been_stopped(tmp_path):
    """Under one schedule of the full length, through two stops: the sweep's networks, to the bit."""
    whole = {row["placement"]: row for row in rank(tmp_path / "sweep", "sweep")}
    ranking = rank(tmp_path / "halving", "halving", halving_rate=2, halving_start=1)
    found, swept = metrics(tmp_path / "halving"), metrics(tmp_path / "sweep")
    assert sorted(metric["epochs"] for metric in found.values()) == [1, 1, 1, 2, 2, 4]
    last = next(placement for placement, metric in found.items() if metric["epochs"] == 4)
    assert ranking[0] == whole[last] | {"rank": "1"}
    assert found[last]["train_loss"] == swept[last]["train_loss"]
    assert [rung["epochs"] for rung in found[last]["rungs"]] == [1, 2, 4]


def test_a_halving_that_begins_at_its_end_is_a_sweep(tmp_path):
    assert rank(tmp_path / "a", "sweep") == rank(tmp_path / "b", "halving", halving_start=4)


@pytest.mark.nightly
def test_hyperband_ends_as_the_sweep_does_and_random_search_is_a_part_of_it(tmp_path):
    """Whoever is trained to the end is the sweep's network, to the bit; the cost counts a placement once."""
    whole = {row["placement"]: row for row in rank(tmp_path / "sweep", "sweep")}
    ranking, found = rank(tmp_path / "band", "hyperband", halving_rate=2), metrics(tmp_path / "band")
    summary = json.loads(RunDir(tmp_path / "band").ranking_summary.read_text())
    finished = [row for row in ranking if found[row["placement"]]["epochs"] == 4]
    assert finished == ranking[: summary["finished"]]
    assert len(finished) >= 3  # those of the last bracket
    for row in finished:
        assert row == whole[row["placement"]] | {"rank": row["rank"]}
    assert sum(metric["epochs"] for metric in found.values()) / 4 == summary["whole_trainings"]
    drawn_ones = rank(tmp_path / "random", "random", random_k=3)
    assert len(drawn_ones) == len(metrics(tmp_path / "random")) == 3
    for row in drawn_ones:
        assert row == whole[row["placement"]] | {"rank": row["rank"]}
    assert [row["rank"] for row in drawn_ones] == ["1", "2", "3"]


def test_several_seeds_count_as_their_mean(tmp_path):
    once = rank(tmp_path / "once", "sweep", sweep_epochs=1)
    ranking = rank(tmp_path / "run", "sweep", sweep_seeds=2, sweep_epochs=1)
    for row in ranking:
        paths = (RunDir(tmp_path / "run").sweep / row["placement"]).glob("*/metrics.json")
        accuracies = [json.loads(path.read_text())["val_accuracy"] for path in paths]
        assert len(set(accuracies)) == 2  # another seed is another training
        assert float(row["val_accuracy"]) == pytest.approx(np.mean(accuracies))
        assert next(float(r["val_accuracy"]) for r in once if r["placement"] == row["placement"]) in accuracies


def test_the_interval_of_several_seeds_is_that_of_one_training(tmp_path):
    with open_run(tmp_path / "run", settings("sweep"), False, SilentProgress()) as run:
        (row,) = standalone_rows(
            run, [stage.TrainedPlacement(0, 4, [scored_as(359, 719), scored_as(360, 719)])], seeds=2
        )
    # Wilson by hand for 359.5, rounded to the even 360, of 719 images: z = 1.959964
    z, n, p = 1.959964, 719, 360 / 719
    middle, half = p + z * z / 2 / n, z * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2)
    assert (row["low"], row["high"]) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )
    assert row["val_accuracy"] == 359.5 / 719


def test_a_proxy_trains_the_same_placements_with_fewer_channels_and_images(tmp_path):
    given = settings("proxy", width=4, placements=())
    with open_run(tmp_path / "run", given, False, SilentProgress()) as run:
        narrow = stage.at_fidelity(run, Rung(36, 0, 2, 300, 0.5))
        assert list(narrow.space) == list(run.space) and narrow.space.size == 36
        assert (narrow.net_spec.width, run.net_spec.width) == (2, 4)
        recipe, trial = training.sweep_config(narrow.settings, 2, 2), Trial(run.space.default, 0)
        task = StandaloneTraining(narrow, recipe, trial)
        assert {p.shape[0] for p in task.net.parameters() if p.ndim == 4} == {2, 4, 8}  # of the three stages
        assert task.images == 300
        assert set(narrow.split.search_train) <= set(run.split.search_train)
        assert np.array_equal(narrow.split.search_val, run.split.search_val)
        per_class = np.bincount(run.images.label_N[narrow.split.search_train])
        share = np.bincount(run.images.label_N[run.split.search_train]) * 300 / 719
        assert np.abs(per_class - share).max() <= 1
        assert stage.at_fidelity(run, Rung(36, 0, 2, 719)).net_spec == run.net_spec
    ranking = rank(tmp_path / "ranked", "proxy", width=4)
    found = metrics(tmp_path / "ranked")
    assert {row["placement"] for row in ranking} == set(SIX)
    default = next(row for row in ranking if row["placement"] == "4,3,3")
    # of the network at hand, not of the narrow one that was trained
    assert int(default["macs"]) > 3 * found["4,3,3"]["macs"]
    assert (found["4,3,3"]["epochs"], found["4,3,3"]["images"]) == (2, 719)  # 16 batches of 64 are more than there are


def test_a_width_that_is_not_given_is_halved_too(tmp_path):
    with open_run(tmp_path / "run", settings("proxy", width=None), False, SilentProgress()) as run:
        assert stage.at_fidelity(run, Rung(6, 0, 2, 300, 0.5)).net_spec.width == 8  # of ResNet20's 16


# Stopped and gone on with


@pytest.mark.parametrize("method", ["halving", pytest.param("hyperband", marks=pytest.mark.nightly)])
def test_stopped_anywhere_it_ends_the_same(tmp_path, monkeypatch, method):
    changes = {"halving_rate": 2, "halving_start": 1, "placements": SIX[:4]}
    expected = rank(tmp_path / "whole", method, **changes)
    known, train, calls = metrics(tmp_path / "whole"), training.train_standalone, 0

    def stopping(*arguments):
        nonlocal calls
        calls += 1
        found = train(*arguments)
        if calls % 2:
            raise Interrupted  # the training is in its checkpoint, its score is not known
        return found

    monkeypatch.setattr(training, "train_standalone", stopping)
    out, stops, resume = tmp_path / "run", 0, False
    while True:
        try:
            poolsearch.search(out, None if resume else settings(method, **changes), resume=resume)
            break
        except Interrupted:
            stops, resume = stops + 1, True
    assert stops == sum(len(metric["rungs"]) for metric in known.values())  # trainings, each stopped once
    assert method == "hyperband" or stops == 4 + 2 + 1
    assert rows(out) == expected

    def timeless(found):
        return {name: metric | {"seconds": 0} for name, metric in found.items()}

    assert timeless(metrics(out)) == timeless(known)
    assert not list(RunDir(out).sweep.rglob("*.safetensors"))


def test_another_length_of_the_retraining_does_not_change_a_sweep_that_was_begun(tmp_path):
    out = tmp_path / "run"
    ranking = rank(out, "sweep")
    poolsearch.rank(out, settings("sweep", retrain_epochs=9))  # nothing is left to do, and nothing is done
    assert rows(out) == ranking
    assert {metric["epochs"] for metric in metrics(out).values()} == {4}
    assert json.loads(RunDir(out).run.read_text())["settings"]["alone"]["sweep_epochs"] == 4


def test_a_sweep_whose_trainings_diverge_stops_and_a_single_one_is_counted(tmp_path, monkeypatch):
    out = tmp_path / "run"
    for again in (False, True):
        with pytest.raises(PoolsearchError, match=r"the training of \S+ seed 0 diverged.*a lower --lr \(it was 100\)"):
            poolsearch.search(out, None if again else settings("sweep", lr=100.0, weight_decay=1.0), resume=again)
        assert not RunDir(out).ranking.exists() and not RunDir(out).test.exists()
    lost = next(path for path in sorted(RunDir(out).sweep.glob("*/0")) if path.parent.name != "4,3,3")
    for module in ("sweep", "standalone.rung"):
        monkeypatch.setattr(f"poolsearch.stages.{module}.has_diverged", lambda folder: folder == lost)
    poolsearch.search(out, resume=True)
    said = json.loads(RunDir(out).run.read_text())["warnings"]
    assert any("trainings diverged, as " in text and "lower --lr" in text for text in said)
