"""Who is trained, on rankings made by hand."""

from __future__ import annotations

import pytest

from poolsearch.space import Placement
from poolsearch.stages.retraining.finalists import choose_finalists

RANKING = [("7,1,2", 2.0), ("5,3,2", 1.5), ("8,1,1", 3.0), ("3,4,3", 0.9), ("4,3,3", 1.0), ("2,2,6", 0.5)]
DEFAULT = Placement.parse("4,3,3")


def chosen(top_k: int, answer_at: tuple[float, ...], ranking: list[tuple[str, float]] = RANKING):
    rows = [{"placement": name, "macs_ratio": str(ratio)} for name, ratio in ranking]
    found = choose_finalists(rows, DEFAULT, top_k, answer_at)
    finalists = [(str(f.placement), f.rank) for f in found.finalists]
    return finalists, [(limit, pick and str(pick)) for limit, pick in found.picks], str(found.winner)


def test_the_picks_are_trained_beside_the_first_and_the_default() -> None:
    finalists, picks, winner = chosen(1, (1.0, 1.5))
    assert finalists == [("7,1,2", 1), ("5,3,2", 2), ("3,4,3", 4), ("4,3,3", 5)]
    assert picks == [(1.0, "3,4,3"), (1.5, "5,3,2"), (None, "7,1,2")]
    assert winner == "7,1,2"


def test_finalists_that_are_no_pick_are_trained_and_no_answer() -> None:
    finalists, picks, _ = chosen(3, ())
    assert finalists == [("7,1,2", 1), ("5,3,2", 2), ("8,1,1", 3), ("4,3,3", 5)]
    assert picks == [(None, "7,1,2")]


def test_a_default_that_was_not_ranked_is_trained_last() -> None:
    finalists, picks, _ = chosen(1, (1.0,), RANKING[:3])
    assert finalists == [("7,1,2", 1), ("4,3,3", None)]
    assert picks == [(1.0, None), (None, "7,1,2")]


def test_a_default_that_leads_is_every_answer() -> None:
    finalists, picks, winner = chosen(1, (1.0, 1.5), [RANKING[4], RANKING[0]])
    assert finalists == [("4,3,3", 1)]
    assert {pick for _, pick in picks} == {winner} == {"4,3,3"}


@pytest.mark.parametrize("top_k", [6, 100])
def test_no_more_are_trained_than_are_ranked(top_k: int) -> None:
    assert [rank for _, rank in chosen(top_k, (1.0,))[0]] == [1, 2, 3, 4, 5, 6]
