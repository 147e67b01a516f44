"""The stage of trials with made up trainings: stopped, grown, and what it leaves."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import poolsearch
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.research.compare.compute_cost import TRAINED, run_work
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.stages.ranking.standalone_table import ScoredTraining
from poolsearch.stages.standalone import rung as training
from poolsearch.storage.files import write_json, write_text
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.trials_record import read_trials

pytestmark = pytest.mark.usefixtures("one_thread")
SIX = ("4,3,3", "5,3,2", "7,1,2", "1,1,8", "2,4,4", "3,3,4")
WORTH = dict(zip(SIX, (0.80, 0.83, 0.81, 0.60, 0.74, 0.78), strict=True))


def settings(**changes):
    tiny = {"width": 2, "batch": 64, "retrain_epochs": 4, "precision": "fp32", "device": "cpu", "workers": 2}
    return Settings.of(**{**tiny, "method": "bayes", "placements": SIX, "trials": 6, **changes})


class Made:
    """Stands in for training: a value for each placement, with noise of each seed; stops after so many."""

    def __init__(self, monkeypatch, stop_after=None):
        self.left, self.trained = stop_after, []
        monkeypatch.setattr(training, "run_trials", self)

    def __call__(self, work, trials, costs, progress, label, workers, threads, cards, ended, told):
        run, _recipe, root, *_ = work.args
        for trial in trials:
            if self.left == 0:
                raise Interrupted
            self.left = None if self.left is None else self.left - 1
            noise = np.random.default_rng([SIX.index(str(trial.placement)), trial.seed]).normal(0, 0.004)
            value = round(WORTH[str(trial.placement)] + noise, 3)
            scored = ScoredTraining(round(719 * value), value, value - 0.03, value + 0.03)
            of = {"placement": str(trial.placement), "seed": trial.seed, "epochs": 4, "train_loss": 1.0}
            of |= {"images": 719, "val_images": 719, "macs": run.costs.macs(trial.placement)}
            trial.folder(root).mkdir(parents=True)
            write_json(
                trial.folder(root) / "metrics.json", of | {"rungs": [{"epochs": 4} | dataclasses.asdict(scored)]}
            )
            self.trained.append(trial)
            ended(trial, scored)


def rows(out):
    with open(RunDir(out).ranking, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def left_in(out):
    """All that is left but for times."""
    files = RunDir(out)
    return [path.read_text() for path in (files.trials_record, files.ranking, files.ranking_summary)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Six trials, never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        Made(patch)
        poolsearch.search(out, settings())
    return out


def test_the_ranking_is_in_the_order_of_the_prediction_and_says_how_it_came_about(whole):
    ranking, record = rows(whole), read_trials(RunDir(whole))
    values = [float(row["prediction"]) for row in ranking]
    assert values == sorted(values, reverse=True)
    assert ranking[0]["placement"] == "5,3,2" and ranking[-1]["placement"] == "1,1,8"
    assert [row["rank"] for row in ranking] == list("123456")
    for row in ranking:
        assert float(row["prediction_low"]) <= float(row["prediction"]) <= float(row["prediction_high"])
        assert int(row["trials"]) == sum(one.placement == row["placement"] for one in record.trials)
        assert row["val_metric"] == row["score"] == ""
    own = next(row for row in ranking if row["is_default"] == "True")
    assert (own["prediction"], own["trials"]) == ("0.0", "2")
    found = json.loads(RunDir(whole).ranking_summary.read_text())
    assert (found["rank_by"], found["against"], found["trials"], found["trust"]) == ("prediction", "4,3,3", 6, None)
    assert found["whole_trainings"] == 6
    assert found["answers"][-1]["placement"] == "5,3,2" and found["noise"] > 0
    assert found["answers"][0]["placement"] in ("4,3,3", "3,3,4"), "the pick within the default's MACs"


def test_the_record_says_why_each_was_trained_and_what_came_of_it(whole):
    record = read_trials(RunDir(whole))
    assert (record.at_once, record.epochs, record.against) == (2, 4, "4,3,3")
    assert [one.why for one in record.trials[:2]] == ["default", "default"]
    assert {one.why for one in record.trials[2:]} == {"promising"}
    assert all(one.gain >= 0.1 and one.limit in (None, 1.0, 1.5) for one in record.trials[2:])
    assert [one.round for one in record.trials] == [1, 1, 2, 2, 3, 3]
    for one in record.trials:
        assert one.value is not None and one.after is not None and one.low < one.value < one.high
        assert one.before.low <= one.before.mean <= one.before.high
        width = one.after.high - one.after.low
        assert one.placement == "4,3,3" or width < one.before.high - one.before.low, "a training narrows the interval"
    text = json.loads(RunDir(whole).trials_record.read_text())
    assert text["whole_trainings"] == 6
    assert not list(RunDir(whole).trials.glob("*/*/checkpoint*")) and not list(RunDir(whole).trials.glob("*/*/.lock"))


@pytest.mark.parametrize("stop", range(1, 6))
def test_stopped_after_any_training_it_ends_the_same_to_the_bit(whole, tmp_path, monkeypatch, stop):
    out = tmp_path / "run"
    made = Made(monkeypatch, stop)
    with pytest.raises(Interrupted):
        poolsearch.search(out, settings())
    assert not RunDir(out).ranking.exists()
    made.left = None
    poolsearch.search(out, resume=True)
    assert left_in(out) == left_in(whole)
    assert len(made.trained) == 6, "nothing is trained twice"


@pytest.mark.parametrize("before", [0, 4, 5])
def test_a_run_that_grows_is_as_one_of_that_size(whole, tmp_path, monkeypatch, before):
    out, made = tmp_path / "run", Made(monkeypatch)
    poolsearch.search(out, settings(trials=before))
    assert len(made.trained) == before
    poolsearch.rank(out, settings())
    assert left_in(out) == left_in(whole)
    assert len(made.trained) == 6
    poolsearch.rank(out, settings(trials=3))
    assert rows(out) == rows(whole), "what was trained is not forgotten"


def test_a_run_that_grew_is_not_ranked_until_it_is(whole, tmp_path, monkeypatch):
    out, made = tmp_path / "run", Made(monkeypatch)
    poolsearch.search(out, settings(trials=2))
    with pytest.raises(PoolsearchError, match=r"has no ranking yet.*poolsearch rank"):
        poolsearch.retrain(out, settings())
    assert len(made.trained) == 2 and (out / "ranking-1.csv").exists()


def test_a_training_whose_folder_was_deleted_is_made_again(whole, tmp_path, monkeypatch):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(RunDir(out).trials / "5,3,2")
    made = Made(monkeypatch)
    poolsearch.rank(out)
    assert {str(trial.placement) for trial in made.trained} == {"5,3,2"}
    assert left_in(out) == left_in(whole)


def test_a_damaged_record_is_named(whole, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    write_text(RunDir(out).trials_record, RunDir(out).trials_record.read_text().replace('"round"', '"turn"'))
    with pytest.raises(PoolsearchError, match=r"trials.json is damaged"):
        read_trials(RunDir(out))


def test_the_work_of_the_trials_counts(whole):
    with open_run(whole, None, True, SilentProgress()) as run:
        of = [one.placement for one in read_trials(run.dir).trials]
        macs = {str(run.space[n]): int(run.macs_A[n]) for n in range(run.space.size)}
        assert run_work(run) == sum(macs[name] * (TRAINED * 4 * 719 + 719) for name in of)


@pytest.mark.parametrize("members", [1, 2])
def test_supernets_and_trials_rank_together_and_nothing_is_evaluated_twice(tmp_path, monkeypatch, members):
    out, method = tmp_path / "run", {1: "spos", 2: "mixture"}[members]
    more = {} if members == 1 else {"members": 2}
    given = settings(method=method, epochs=1, val_batch=64, rank_by="prediction", trials=2, **more)
    poolsearch.search(out, given)
    made = Made(monkeypatch)
    poolsearch.rank(out, given)
    found, stamp = json.loads(RunDir(out).ranking_summary.read_text()), RunDir(out).members.stat().st_mtime_ns
    assert found["members"] == "mean" and 0 < found["trust"] < 1 and found["trials"] == 2
    assert len(RunDir(out).members.read_text().splitlines()) == 1 + 6 * members
    assert {row["val_metric"] != "" for row in rows(out)} == {True}
    before = rows(out)
    poolsearch.rank(out, given.changed(trials=4))
    assert RunDir(out).members.stat().st_mtime_ns == stamp and len(made.trained) == 4
    assert [row["placement"] for row in rows(out)] != [] and rows(out) != before
    # back to the metric: the paper's order
    poolsearch.rank(out, given.changed(rank_by="metric", trials=None))
    values = [float(row["val_metric"]) for row in rows(out)]
    assert values == sorted(values, reverse=True) and rows(out)[0]["prediction"] == ""
    assert json.loads(RunDir(out).ranking_summary.read_text())["rank_by"] == "metric"


def test_short_trainings_stand_in_for_the_scores(tmp_path, monkeypatch):
    out = tmp_path / "run"
    given = settings(method="proxy", rank_by="prediction", trials=0, proxy_epochs=1, proxy_images=128, workers=1)
    poolsearch.search(out, given)
    by_proxy = json.loads(RunDir(out).ranking_summary.read_text())
    assert by_proxy["trials"] == 0 and by_proxy["rank_by"] == "prediction" and by_proxy["noise"] is None
    assert {row["trials"] for row in rows(out)} == {"0"} and rows(out)[0]["prediction"] != ""
