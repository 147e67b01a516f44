"""The ranking stage: stopped and gone on with, stopped early, and what it does with a file that is not its own."""

import contextlib
import csv
import json
import shutil

import numpy as np
import pytest

import poolsearch
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.stages import rank as stage
from poolsearch.stages.ranking import evaluate as evaluation
from poolsearch.stages.ranking.evaluate import evaluation_order
from poolsearch.stages.ranking.tally import load_tally
from poolsearch.storage import digests, files
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import read_members

pytestmark = pytest.mark.usefixtures("one_thread")
EARLY = {"rank_early_stop": True, "top_k": 1, "eval_batch": 64}


def settings(**changes):
    tiny = {"width": 4, "members": 2, "epochs": 6, "batch": 32, "val_batch": 32, "precision": "fp32", "device": "cpu"}
    return Settings.of(**{**tiny, "preset": "paper", "checkpoint_seconds": 1000.0, **changes})


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search on digits; trained enough that placements differ."""
    out = tmp_path_factory.mktemp("rank") / "run"
    poolsearch.search(out, settings())
    return out


@pytest.fixture
def copy(searched, tmp_path):
    """Makes copies of the finished search."""
    numbers = iter(range(100))
    return lambda: shutil.copytree(searched, tmp_path / f"run{next(numbers)}")


def rows(out):
    with open(out / "ranking.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def summary(out):
    timed = ("seconds_tree", "seconds_one_by_one", "measured_saving")
    return {k: v for k, v in json.loads((out / "ranking.json").read_text()).items() if k not in timed}


def stop_after(answers, monkeypatch):
    """As Ctrl-C after so many placements of any batch were evaluated."""
    left = iter(range(answers))

    @contextlib.contextmanager
    def requests():
        yield lambda: next(left, None) is None

    monkeypatch.setattr(evaluation, "stop_requests", requests)


@pytest.mark.parametrize(
    ("changes", "answers"), [({}, 17), (EARLY, 43), ({"rank_members": "best", "eval_batch": 100}, 130)], ids=str
)
def test_stopped_again_and_again_it_ends_the_same_to_the_bit(copy, changes, answers, monkeypatch):
    whole, broken = copy(), copy()
    poolsearch.rank(whole, settings(**changes))
    stops = 0
    while not (broken / "ranking.csv").exists():
        with monkeypatch.context() as patch:
            stop_after(answers, patch)
            try:
                poolsearch.rank(broken, settings(**changes))
            except Interrupted:
                stops += 1
                assert RunDir(broken).ranking_progress.exists()
    assert stops > 2
    assert (broken / "ranking.csv").read_text() == (whole / "ranking.csv").read_text()
    assert summary(broken) == summary(whole)
    for out in (whole, broken):
        assert sorted(p.name for p in (out / "checkpoint").iterdir()) == ["SHA256SUMS", "search.safetensors"]


def test_saved_by_the_clock_it_ends_the_same_too(copy):
    seldom, often = copy(), copy()
    poolsearch.rank(seldom, settings())
    poolsearch.rank(often, settings(checkpoint_seconds=0.0))
    assert (often / "ranking.csv").read_text() == (seldom / "ranking.csv").read_text()


def progress_of(out, monkeypatch, answers=20, **changes):
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stop_after(answers, patch)
        poolsearch.rank(out, settings(**changes))


def test_what_was_evaluated_is_not_evaluated_again(copy, monkeypatch):
    out = copy()
    progress_of(out, monkeypatch, answers=20, eval_batch=719)  # all images at once
    run_tree, asked = evaluation.run_tree, []
    monkeypatch.setattr(evaluation, "run_tree", lambda m, x, p: asked.extend(p) or run_tree(m, x, p))
    poolsearch.rank(out, settings(eval_batch=719))
    assert len(asked) == 36 - 21  # that at which it was stopped is saved too
    assert len(rows(out)) == 36


@pytest.mark.parametrize("changes", [{"eval_batch": 90}, EARLY, {"rank_members": "best"}], ids=str)
def test_that_of_other_settings_is_passed_over(copy, changes, monkeypatch):
    fresh, stale = copy(), copy()
    poolsearch.rank(fresh, settings(**changes))
    progress_of(stale, monkeypatch)
    poolsearch.rank(stale, settings(**changes))
    assert (stale / "ranking.csv").read_text() == (fresh / "ranking.csv").read_text()


def test_that_of_another_search_is_passed_over(copy, tmp_path, monkeypatch):
    poolsearch.search(tmp_path / "other", settings(lr=0.07))
    fresh, stale = copy(), copy()
    poolsearch.rank(fresh, settings())
    progress_of(tmp_path / "other", monkeypatch, lr=0.07)
    shutil.copy(RunDir(tmp_path / "other").ranking_progress, RunDir(stale).ranking_progress)
    digests.seal(RunDir(stale).ranking_progress)
    poolsearch.rank(stale, settings())
    assert (stale / "ranking.csv").read_text() == (fresh / "ranking.csv").read_text()


def test_a_damaged_one_is_named(copy, monkeypatch):
    out = copy()
    progress_of(out, monkeypatch)
    path = RunDir(out).ranking_progress
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PoolsearchError, match=r"rank.safetensors is damaged.*Delete it"):
        poolsearch.rank(out, settings())


def test_a_resumed_ranking_keeps_its_batch_though_the_memory_is_another(copy, monkeypatch):
    out = copy()
    progress_of(out, monkeypatch)
    monkeypatch.setattr(stage, "eval_batch", lambda *_: 64)
    poolsearch.rank(out, settings())
    assert summary(out)["eval_batch"] == 512


def test_stopped_early_stand_below_with_what_they_saw(copy):
    exact, early = copy(), copy()
    poolsearch.rank(exact, settings(eval_batch=64))
    poolsearch.rank(early, settings(**EARLY))
    truth = {row["placement"]: row for row in rows(exact)}
    found = rows(early)
    assert {row["images"] for row in truth.values()} == {"719"}
    assert summary(exact)["early_stop"] is None
    seen = [int(row["images"]) for row in found]
    left = seen.count(719)
    assert 1 <= left < 36
    assert seen[:left] == [719] * left
    sizes = [len(part) for part in np.array_split(np.arange(719), 12)]
    assert set(seen[left:]) <= set(np.cumsum(sizes)[:-1].tolist())
    for part in (found[:left], found[left:]):
        accuracy = [float(row["val_accuracy"]) for row in part]
        assert accuracy == sorted(accuracy, reverse=True)
    # those that were not stopped are as in the exact ranking, in the same order, the first and the default among them
    whole = [row["placement"] for row in found[:left]]
    assert whole == [name for name in truth if name in whole]
    assert whole[0] == next(iter(truth))
    assert "4,3,3" in whole
    for row in found[:left]:
        assert {**row, "rank": ""} == {**truth[row["placement"]], "rank": ""}
    said = summary(early)["early_stop"]
    assert said == {
        "top": 1,
        "error": 0.01,
        "stopped": 36 - left,
        "images_saved": pytest.approx(1 - np.mean(seen) / 719),
    }


def test_the_progress_file_counts_what_it_says(copy, monkeypatch):
    out = copy()
    progress_of(out, monkeypatch, answers=40)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(
            poolsearch.session.open_run.open_run(out, None, True, poolsearch.progress.SilentProgress())
        )
        _, mixture = stage.load_search(run)
        pairs = stage.pairs_of(stage.choose_candidates(run, mixture), mixture, False)
        measure = run.measure(evaluation_order(run))
        tally = load_tally(run.dir.ranking_progress, stage._made_of(run, pairs), measure)
    # two batches, of 360 and 359 images: all 36 saw the first, five the second
    assert (tally.chunk, tally.chunks) == (1, 2)
    assert sorted(tally.images_P.tolist()) == [360] * 31 + [719] * 5
    assert tally.done == 36 * 360 + 5 * 359


@pytest.mark.parametrize("rank_members", ["assignment", "mean"])
def test_on_other_images_placements_are_run_as_in_the_ranking(copy, rank_members):
    """So that on the same images they are worth the same."""
    out = copy()
    poolsearch.rank(out, settings(rank_members=rank_members))
    with open_run(out, None, True, SilentProgress()) as run:
        again = stage.value_on(run, run.split.search_val)
        assert again == {row["placement"]: pytest.approx(float(row["val_metric"])) for row in rows(out)}
        assert stage.value_on(run, run.split.test) != again
    assert not (out / "scratch").exists()


def test_what_every_member_makes_of_every_placement_is_kept(copy):
    out = copy()
    poolsearch.rank(out, settings(rank_members="mean"))
    found = read_members(RunDir(out))
    assert [(one.number, one.member) for one in found] == [(number, m) for number in range(36) for m in range(2)]
    of = {number: [one for one in found if one.number == number] for number in range(36)}
    for row in rows(out):
        several = of[int(row["number"])]
        assert {one.placement for one in several} == {row["placement"]}
        assert float(row["val_metric"]) == sum(one.val_metric for one in several) / 2
        assert float(row["assignment"]) == several[int(row["member"])].assignment
        assert [one.images for one in several] == [719, 719]
    assert sum(one.assignment for one in of[0]) == pytest.approx(1)


def test_only_the_member_that_is_asked_is_kept(copy):
    out = copy()
    poolsearch.rank(out, settings())
    found = {one.number: one for one in read_members(RunDir(out))}
    assert [found[int(row["number"])].val_metric for row in rows(out)] == [float(r["val_metric"]) for r in rows(out)]
    assert [str(found[int(row["number"])].member) for row in rows(out)] == [row["member"] for row in rows(out)]


def test_a_damaged_list_of_members_is_named(copy):
    out = copy()
    poolsearch.rank(out, settings())
    files.write_text(RunDir(out).members, RunDir(out).members.read_text().replace("0,", "zero,", 1))
    with pytest.raises(PoolsearchError, match=r"members.csv is damaged \(line 2.*poolsearch rank"):
        read_members(RunDir(out))
