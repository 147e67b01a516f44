"""The rule of thumb, case by case."""

from __future__ import annotations

import pytest

from poolsearch.inspection_results import Estimate, MethodEstimate, StageCost, duration_text
from poolsearch.stages.planning.advice import WORTH, advise


def ways(**seconds: float) -> list[MethodEstimate]:
    found = []
    for name, value in seconds.items():
        method, _, members = name.partition("_")
        number = int(members) if members else 1 if method == "spos" else 4 if method == "mixture" else None
        found.append(MethodEstimate(method, number, "", (StageCost("search", Estimate.of(value, 0.1)),), 0))
    return found


DEAR = {"sweep": 1e6, "halving": 1e5, "proxy": 1e4, "mixture": 100.0, "spos": 25.0}


def test_the_mixture_where_everything_alone_costs_more() -> None:
    method, reason = advise(ways(**DEAR), 50, "mixture", 4)
    assert method == "mixture"
    assert "a sweep with 12 days does not fit" in reason
    assert "rule of thumb" in reason


def test_what_is_there_to_compare_with_is_never_advised() -> None:
    cheap = {"random": 1.0, "hyperband": 2.0, "macs": 0.0, "halving": 3.0, "proxy": 4.0, "bayes": 5.0}
    assert advise(ways(**DEAR | cheap), 10, "mixture", 4)[0] == "mixture"


def test_a_sweep_where_the_job_costs_no_more_than_the_part_that_it_is_worth() -> None:
    # the job with the mixture: 100 + 50; so the way may cost 1.5 x 150 - 50
    limit = WORTH * 150 - 50
    assert advise(ways(**DEAR | {"sweep": limit}), 50, "mixture", 4)[0] == "sweep"
    assert advise(ways(**DEAR | {"sweep": limit + 1}), 50, "mixture", 4)[0] == "mixture"


def test_mixtures_of_another_size_are_not_advised() -> None:
    # a sweep fits into 1.5 times the job with the eight members, not with the four that are set
    other = ways(mixture_2=10.0, mixture_4=100.0, mixture_8=2000.0, spos=5.0, sweep=1000.0)
    assert advise(other, 0, "mixture", 4)[0] == "mixture"
    assert advise(other, 0, "mixture", 8)[0] == "sweep"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (48, "48 s"),
        (720, "12 min"),
        (12_240, "3.4 h"),
        (449_280, "5.2 days"),
        (0.24, "0.2 s"),
        (9.96, "10 s"),
        (450, "7.5 min"),
    ],
)
def test_times_are_told_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_without_supernets_the_job_is_that_of_the_trials() -> None:
    cheap = {"bayes": 10.0, "sweep": 100.0, "mixture": 1000.0}
    assert advise(ways(**cheap), 0, "bayes", 1)[0] == "bayes"
    assert advise(ways(**cheap | {"sweep": 15.0}), 0, "bayes", 1)[0] == "sweep"
