"""When there is something new to look at on the test split, and what earlier looks mean for the next."""

from __future__ import annotations

from typing import Any

import pytest

from poolsearch.evaluation.looks import Look
from poolsearch.space import Placement
from poolsearch.stages.retraining.finalists import Selection, choose_finalists
from poolsearch.stages.retraining.looks import next_look, same_choice, shows_all
from poolsearch.storage.stage_results import judged_looks, looks_of, seeds_of, top_k_of

RANKING = [
    {"placement": name, "macs_ratio": ratio}
    for name, ratio in (("7,1,2", "2.2"), ("6,2,2", "1.8"), ("3,4,3", "0.9"), ("4,3,3", "1.0"))
]
DEFAULT = Placement.parse("4,3,3")


def selection(top_k: int, ranking: list[dict[str, str]] = RANKING) -> Selection:
    return choose_finalists(ranking, DEFAULT, top_k, (1.0,))


def look_at(chosen: Selection, seeds: int = 2, **more: Any) -> dict[str, Any]:
    """A judged look, as test.json has it."""
    trained = [(str(f.placement), f.rank) for f in chosen.finalists]
    return {
        "opened": "2026-01-01T00:00:00+00:00",
        "winner": str(chosen.winner),
        "default": "4,3,3",
        "answers": [{"limit": limit, "placement": str(pick), "better": False} for limit, pick in chosen.picks],
        "trials": [{"placement": name, "seed": s, "image_size": 8} for name, _ in trained for s in range(seeds)],
        "controls": [{"trials": [{"placement": "8,1,1", "seed": 0, "image_size": 8}]}],
        "summary": [{"placement": name, "rank": rank, "n": seeds} for name, rank in trained],
        "difference": {"mean": 0.0, "low": -0.1, "high": 0.1},
        "verdict": "There is no evidence",
    } | more


def test_more_seeds_or_finalists_are_something_new_and_fewer_are_not() -> None:
    look = look_at(selection(2))
    assert shows_all(look, selection(2), 2, 2)
    assert shows_all(look, selection(1), 1, 1)
    assert not shows_all(look, selection(2), 3, 2)
    shorter = look_at(selection(1))
    assert not shows_all(shorter, selection(2), 2, 2)
    assert shows_all(look_at(selection(9)), selection(99), 2, 99)  # there are no more to train


def test_another_first_of_the_ranking_or_another_pick_is_something_new() -> None:
    look = look_at(selection(3))
    assert not shows_all(look, selection(3, RANKING[1:] + RANKING[:1]), 2, 3)
    cheaper = [RANKING[0], RANKING[1], RANKING[3], RANKING[2]]
    assert str(selection(3, cheaper).winner) == look["winner"] and not same_choice(look, selection(3, cheaper))


def test_an_old_look_without_answers_is_not_asked_for_picks_that_were_none_of_its_own() -> None:
    old = look_at(choose_finalists(RANKING, DEFAULT, 1, ()))
    del old["answers"]
    assert shows_all(old, selection(1), 2, 1)  # the pick at 1.0 times is new, and was not asked for
    assert (seeds_of(old), top_k_of(old)) == (2, 1)
    assert not shows_all(old, selection(1), 3, 1)
    better = old | {"difference": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    assert next_look([better], selection(1)).better_before == {"7,1,2"}


def test_a_look_counts_where_something_was_tested_and_remembers_what_was_better() -> None:
    chosen = selection(2)
    assert next_look([], chosen) == Look()
    first = look_at(chosen, level=0.05)
    first["answers"][-1]["better"] = True
    one_seed = look_at(chosen, 1, level=None, difference=None)
    assert next_look([one_seed], chosen) == Look(1)
    assert next_look([one_seed, first], chosen) == Look(2, frozenset({"7,1,2"}))


@pytest.mark.parametrize("more", [{}, {"seen": 0}])
def test_new_picks_count_what_was_seen_before_them_and_later_looks_keep_that(more: dict[str, int]) -> None:
    chosen, other = selection(2), selection(1, RANKING[1:] + RANKING[:1])
    first = look_at(chosen, **more)  # seen: 7,1,2 and 6,2,2 and 3,4,3 and, as a control, 8,1,1
    found = next_look([first], other)  # its picks: 6,2,2 and 3,4,3
    assert found == Look(2, seen=2)
    again = look_at(other, 3, level=0.025, seen=found.seen)
    assert next_look([first, again], other) == Look(3, seen=2)


def test_looks_are_read_in_their_order_and_the_newest_may_be_open() -> None:
    first, second = look_at(selection(1)), look_at(selection(1), 3)
    test = second | {"earlier": [first]}
    assert looks_of(test) == judged_looks(test) == [first, second]
    opened = {"opened": "2026-01-02T00:00:00+00:00", "winner": "7,1,2", "earlier": [first]}
    assert judged_looks(opened) == [first] and len(looks_of(opened)) == 2
    assert looks_of({}) == []
    assert looks_of(first) == [first]


@pytest.mark.parametrize(("ranks", "top_k"), [([1, 2, 3], 3), ([1, 4], 1), ([1, 2, None], 2)])
def test_how_many_were_asked_for_is_read_off_old_looks(ranks: list[int | None], top_k: int) -> None:
    assert top_k_of({"summary": [{"rank": rank} for rank in ranks]}) == top_k
    assert top_k_of({"summary": [{"rank": rank} for rank in ranks], "top_k": 7}) == 7
