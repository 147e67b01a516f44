"""What is said of a comparison, by hand-made results and truths."""

import numpy as np
import pytest

from poolsearch.evaluation.ground_truth import measured_placement
from poolsearch.evaluation.stats import partial_correlation
from poolsearch.progress import SilentProgress
from poolsearch.research.compare.cases import cases_of
from poolsearch.research.compare.compute_cost import whole_training
from poolsearch.research.compare.folder import ComparisonRequest
from poolsearch.research.compare.summary import summary
from poolsearch.research.compare.truth import ComparisonTruth
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import CompareSettings

pytestmark = pytest.mark.usefixtures("one_thread")
TRUTHS = {"4,3,3": (0.70, 0.72), "5,3,2": (0.78, 0.80), "7,1,2": (0.74, 0.74), "1,1,8": (0.60, 0.62)}
OUTSIDE = "0x0_1x1_-1x-1_0x0_0x0_0x0_0x0_0x0_0x0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    given = {"width": 2, "precision": "fp32", "device": "cpu", "batch": 64, "sweep_epochs": 3, "workers": 1}
    settings = Settings.of(method="sweep", sweep_mode="benchmark", placements=tuple(TRUTHS), **given)
    with open_run(tmp_path_factory.mktemp("truth") / "run", settings, False, SilentProgress()) as opened:
        yield opened


def result(run, seed, order, work=1.0, val=None, **changes):
    """A run that ranked these placements in this order."""
    points = [
        {"placement": p, "rank": i, "val": 0.5 - 0.01 * i, "score": 0.4 + 0.01 * i, "test": None, "macs_ratio": 1.0}
        for i, p in enumerate(order, 1)
    ]
    unit = whole_training(run, 3, len(run.split.train_all))
    return {
        "method": "spos", "seed": seed, "members": 1, "total_epochs": 2, "pick": order[0], "pick_macs_ratio": 1.5,
        "restricted": True, "seconds": 10.0, "work": work * unit, "points": points,
    } | changes  # fmt: skip


def summed(run, found, seeds=2, specs=("spos", "random"), whole=True, extra=None):
    macs = {str(p): int(m) for p, m in zip(run.space, run.macs_A, strict=True)}
    known = {p: measured_placement(p, macs[p], values) for p, values in TRUTHS.items()}
    known |= extra or {}
    asked = ComparisonRequest(Settings.of(epochs=2), CompareSettings(tuple(specs), seeds))
    cases = cases_of(specs, asked.settings, None, lambda _, total: total)
    keyed = {(cases[i].spec, seed): one for (i, seed), one in found.items()}
    return summary(asked, cases, keyed, ComparisonTruth("hand", known, whole), run)


BEST_FIRST = ["5,3,2", "7,1,2", "4,3,3", "1,1,8"]
WORST_FIRST = BEST_FIRST[::-1]


def test_a_perfect_and_a_perverse_ranking(run):
    found = summed(run, {(0, 0): result(run, 0, BEST_FIRST), (0, 1): result(run, 1, WORST_FIRST)})
    spos = found["cases"][0]
    assert [pick["truth"] for pick in spos["picks"]] == pytest.approx([0.79, 0.61])
    assert spos["truth"]["mean"] == pytest.approx(0.70) and spos["truth"]["n"] == 2
    assert spos["truth"]["std"] == pytest.approx(0.18 / 2**0.5)
    assert spos["regret1"]["mean"] == pytest.approx(0.09), "0 and 0.18"
    assert spos["regret5"]["mean"] == pytest.approx(0.0), "all are among the first five"
    assert spos["tau"]["ranking"]["mean"] == pytest.approx(0.0) and spos["tau"]["ranking"]["std"] > 1
    assert spos["tau"]["score"]["mean"] == pytest.approx(0.0) and spos["tau"]["test"] is None
    assert spos["work"] == pytest.approx(1.0) and spos["seconds"] == 10


def test_agreement_given_macs_is_of_the_values_not_of_the_order(run):
    """Of six placements with a truth; of the four of the space it is not defined."""
    extra = {
        f"{n},{9 - n},1": measured_placement(f"{n},{9 - n},1", 10**7 * (1 + n**2), [0.6 + 0.03 * n]) for n in (2, 3, 6)
    }
    order = [*BEST_FIRST, *extra]
    found = summed(run, {(0, 0): result(run, 0, order)}, whole=False, extra=extra)["cases"][0]["given_macs"]
    macs = {str(p): int(m) for p, m in zip(run.space, run.macs_A, strict=True)}
    log_A = np.log([macs[p] if p in macs else extra[p].macs for p in order])
    truth_A = [sum(TRUTHS[p]) / 2 if p in TRUTHS else extra[p].mean for p in order]
    given_A2 = np.column_stack([log_A, log_A**2])
    expected = partial_correlation([0.5 - 0.01 * i for i in range(7)], truth_A, given_A2)
    assert found["ranking"]["mean"] == pytest.approx(expected)
    assert found["score"]["mean"] == pytest.approx(-expected), "scores rise where the metric falls"
    assert found["test"] is None
    few = summed(run, {(0, 0): result(run, 0, BEST_FIRST)})
    assert few["cases"][0]["given_macs"]["ranking"] is None and few["truth"]["seed_given_macs"] is None


def test_what_has_not_ended_is_told_and_left_out(run):
    found = summed(run, {(0, 1): result(run, 1, BEST_FIRST)})
    assert found["unfinished"] == ["spos:epochs=2 seed 0", "random seed 0", "random seed 1"]
    spos, random = found["cases"]
    assert spos["seeds"] == 1 and spos["truth"] == {"mean": pytest.approx(0.79), "std": None, "n": 1}
    assert random["seeds"] == 0 and random["truth"] is None and random["picks"] == []
    assert spos["against"]["default"] is None, "one seed is no interval"
    assert "not known against the default" in spos["verdict"]


def test_the_references_need_no_search(run):
    found = summed(run, {})
    macs, default, best, random = found["references"]
    dearest = str(run.space[int(run.macs_A.argmax())])
    assert (macs["pick"], macs["truth"]) == (dearest, pytest.approx(sum(TRUTHS[dearest]) / 2))
    assert default["pick"] == "4,3,3" and default["regret1"] == pytest.approx(0.08)
    assert best["pick"] == "5,3,2" and best["regret1"] == 0
    assert random["truth"] == pytest.approx((0.71 + 0.79 + 0.74 + 0.61) / 4)
    truth = found["truth"]
    assert truth["whole"] and truth["placements"] == 4 and truth["seeds"] == 2
    assert truth["noise"] == pytest.approx((3 * 0.0002 / 4) ** 0.5), "pooled: three pairs 0.02 apart, one equal"
    assert truth["seed_tau"]["value"] == pytest.approx(1.0)


def test_what_is_found_outside_the_space_is_no_best_of_it(run):
    extra = {OUTSIDE: measured_placement(OUTSIDE, 10**6, [0.9, 0.9])}
    outside = result(run, 0, [OUTSIDE, "4,3,3"], restricted=False)
    found = summed(run, {(0, 0): outside, (0, 1): outside | {"seed": 1}}, extra=extra)
    assert found["truth"]["best"]["placement"] == "5,3,2" and found["truth"]["placements"] == 4
    spos = found["cases"][0]
    assert spos["picks"][0]["truth"] == pytest.approx(0.9) and not spos["picks"][0]["restricted"]
    assert spos["regret1"]["mean"] == pytest.approx(-0.11)
    assert spos["tau"]["ranking"] is None, "one placement of the space is no order"
    assert spos["regret5"]["mean"] == pytest.approx(-0.11), "both that it ranked are known"
    unknown = summed(run, {(0, 0): outside})["cases"][0]
    assert unknown["regret1"] is None and unknown["regret5"] is None, "the first is not trained yet"


def test_each_is_compared_with_random_placements_at_the_nearest_cost(run):
    specs = ("spos", "random:random-k=2", "random:random-k=4")
    found = {(0, s): result(run, s, BEST_FIRST, work=1.1) for s in (0, 1)}
    found |= {(1, s): result(run, s, ["4,3,3", "1,1,8"], work=1.0) for s in (0, 1)}
    found |= {(2, s): result(run, s, ["7,1,2", *WORST_FIRST], work=2.0) for s in (0, 1)}
    said = summed(run, found, specs=specs)
    assert said["cases"][0]["against"]["random"]["mean"] == pytest.approx(0.79 - 0.71), "that of two, not of four"
    assert "random" not in said["cases"][1]["against"], "random search is not held against itself"


def test_without_the_whole_truth_there_is_no_regret(run):
    found = summed(run, {(0, 0): result(run, 0, BEST_FIRST)}, whole=False)
    assert found["truth"]["best"] is None and found["truth"]["seed_tau"] is None
    assert found["cases"][0]["regret1"] is None and found["cases"][0]["regret5"] is None
    assert found["cases"][0]["truth"]["mean"] == pytest.approx(0.79)
    assert [reference["name"] for reference in found["references"]] == ["MACs alone", "default"]
