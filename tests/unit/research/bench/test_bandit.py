"""A table as a bandit: its space, the deviation of its noise, and what is taken after a few rewards, by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from poolsearch.errors import PoolsearchError
from poolsearch.research.bench import Bandit, GroundTruth, MeasuredPlacement
from poolsearch.research.bench.bandit import space_of
from poolsearch.space import FreeSpace

TABLE6 = GroundTruth.table6()


def table(*known: MeasuredPlacement, default: str = "") -> GroundTruth:
    return GroundTruth("a small table", default, "test", known)


def test_the_space_of_table_6_is_the_papers_in_its_order() -> None:
    space = space_of(TABLE6)
    assert (space.length, space.poolings, space.size, str(space.default)) == (10, 2, 36, "4,3,3")
    assert [str(placement) for placement in space] == TABLE6.placements


def test_the_bandit_has_the_36_placements_of_the_reference(shared: Path) -> None:
    """The numbers of the paper, which were typed from it by someone else."""
    with (shared / "reference" / "table6_cifar10_resnet20.csv").open(newline="") as handle:
        rows = {
            ",".join(row[f"blocks_at_{size}"] for size in (32, 16, 8)): row for row in csv.DictReader(handle)
        }  # fmt: skip
    bandit = Bandit.of(TABLE6)
    assert {str(placement) for placement in bandit.space} == rows.keys() and len(rows) == 36
    for number, placement in enumerate(bandit.space):
        row = rows[str(placement)]
        assert 100 * bandit.truth.mean_A[number] == pytest.approx(float(row["accuracy_percent"]), abs=1e-9)
        assert 100 * bandit.std_A[number] == pytest.approx(float(row["std_percent"]), abs=1e-9)


def test_a_part_of_a_space_in_any_order_is_a_space_in_its_own() -> None:
    part = table(TABLE6.by_placement["7,1,2"], TABLE6.by_placement["1,1,8"], TABLE6.by_placement["4,3,3"])
    bandit = Bandit.of(part)
    assert [str(placement) for placement in bandit.space] == ["1,1,8", "4,3,3", "7,1,2"]
    assert bandit.truth.placements == ["1,1,8", "4,3,3", "7,1,2"]
    assert bandit.truth.mean_A.tolist() == [TABLE6.by_placement[name].mean for name in ("1,1,8", "4,3,3", "7,1,2")]


def test_height_and_width_each_by_itself_and_all_paths_are_spaces_too() -> None:
    known = MeasuredPlacement("1,2", 1, 0.5, 0.1, 2)
    apart = space_of(table(known, replace(known, placement="1x0_0x1")))
    assert apart.axes == "h,w" and apart.size == 2
    rising = space_of(table(replace(known, placement="1,1,1"), replace(known, placement="1x1_-1x-1")))
    assert isinstance(rising, FreeSpace) and rising.size == 2


def test_placements_of_no_one_space_are_refused() -> None:
    known = MeasuredPlacement("1,2", 1, 0.5, 0.1, 2)
    with pytest.raises(PoolsearchError, match="a small table are of no one space"):
        space_of(table(known, replace(known, placement="1,2,1")))
    with pytest.raises(PoolsearchError, match="of no one space"):
        space_of(table(replace(known, placement="1x0_0x1")))


def test_noise_is_normal_with_each_placements_own_deviation_and_mean() -> None:
    reward_TA = Bandit.of(TABLE6).rewards_TA(seed=1, draws=4000)
    risen_TA = Bandit.of(TABLE6, rise=0.5).rewards_TA(seed=1, draws=4000)
    np.testing.assert_allclose(reward_TA - risen_TA, np.linspace(0.5, 0, 4000)[:, None] * np.ones(36), atol=1e-12)
    std_A = np.array([entry.std for entry in TABLE6.known])
    z_TA = (reward_TA - TABLE6.mean_A) / std_A
    np.testing.assert_allclose(z_TA.std(0, ddof=1), 1, atol=4 / math.sqrt(2 * 4000))
    np.testing.assert_allclose(z_TA.mean(0), 0, atol=4 / math.sqrt(4000))
    assert stats.kstest(z_TA.ravel(), "norm").pvalue > 1e-3
    correlation_AA = np.corrcoef(z_TA.T) - np.eye(36)
    assert abs(correlation_AA).max() < 5 / math.sqrt(4000)


def test_a_placement_trained_once_has_the_pooled_noise() -> None:
    """Pooled by degrees of freedom: sqrt((2 * 0.01^2 + 4 * 0.02^2) / 6)."""
    found = Bandit.of(
        table(
            MeasuredPlacement("1,2,1", 1, 0.5, 0.01, 3),
            MeasuredPlacement("2,1,1", 1, 0.5, 0.02, 5),
            MeasuredPlacement("1,1,2", 1, 0.5, None, 1),
        )
    )
    by_name = dict(zip(map(str, found.space), found.std_A, strict=True))
    assert by_name["1,2,1"] == 0.01 and by_name["2,1,1"] == 0.02
    assert by_name["1,1,2"] == pytest.approx(math.sqrt((2 * 0.01**2 + 4 * 0.02**2) / 6))


def test_where_nothing_says_how_far_trainings_differ_it_has_to_be_given() -> None:
    once = table(MeasuredPlacement("1,2", 1, 0.5, None, 1), MeasuredPlacement("2,1", 1, 0.6, None, 1))
    with pytest.raises(PoolsearchError, match=r"each was trained once.*--sweep-seeds 2.*--noise"):
        Bandit.of(once)
    assert Bandit.of(once, noise=0.003).std_A.tolist() == [0.003, 0.003]
    assert set(Bandit.of(TABLE6, noise=0.0).std_A) == {0.0}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"noise": value} for value in (-0.1, math.nan, math.inf)),
        *({"rise": value} for value in (-0.1, 2.0, math.nan)),
        {"images": 0},
    ],
)
def test_what_is_no_noise_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PoolsearchError, match="give"):
        Bandit.of(TABLE6, **wrong)


def test_rewards_are_the_seeds_and_the_first_do_not_depend_on_how_many_there_are() -> None:
    for bandit in (Bandit.of(TABLE6), Bandit.of(TABLE6, images=64)):
        whole = bandit.rewards_TA(7, 50)
        assert (bandit.rewards_TA(7, 50) == whole).all()
        assert (bandit.rewards_TA(7, 20) == whole[:20]).all()
        assert (bandit.rewards_TA(8, 50) != whole).mean() > 0.8


def test_the_score_of_a_minibatch_is_a_part_of_its_images_with_binomial_noise() -> None:
    reward_TA = Bandit.of(TABLE6, noise=0.0, images=50).rewards_TA(0, 4000)
    assert np.allclose(50 * reward_TA, np.round(50 * reward_TA))
    mean_A = TABLE6.mean_A
    np.testing.assert_allclose(reward_TA.mean(0), mean_A, atol=5 * math.sqrt(0.1 / 50 / 4000))
    np.testing.assert_allclose(reward_TA.var(0), mean_A * (1 - mean_A) / 50, rtol=0.15)


def test_what_is_taken_by_hand() -> None:
    """Best mean reward so far; the second placement's falls below the first's; equals go to the one of fewer MACs."""
    bandit = Bandit.of(
        table(
            MeasuredPlacement("1,3", 30, 0.1, 0.1, 2),
            MeasuredPlacement("2,2", 20, 0.2, 0.1, 2),
            MeasuredPlacement("3,1", 10, 0.3, 0.1, 2),
        )
    )
    asked_ST = np.array([[0, 1, 1, 2, 2], [2, 2, 0, 0, 1]])
    reward_ST = np.array([[0.5, 0.75, 0.125, 0.5, 0.75], [0.25, 0.25, 0.5, 0.0, 0.25]])
    #            means of seed 0: .5 | .75 beats .5 | .4375 does not | .5 ties, and is cheaper | .625
    #            seed 1: .25 | .25 | .5 | .25 ties with the cheaper 2 | three tie
    assert bandit.taken_ST(asked_ST, reward_ST).tolist() == [[0, 1, 0, 2, 2], [2, 2, 0, 2, 2]]
