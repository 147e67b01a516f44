"""Looks at the test split: whether there is something new to look at, and what an earlier look means for the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poolsearch.evaluation.looks import Look, level_spent
from poolsearch.space import Placement
from poolsearch.stages.retraining.finalists import Selection


def choice(chosen: Selection) -> dict[str, Any]:
    """What is fixed before the test split is opened, for ``test.json``.

    Args:
        chosen: the finalists and picks.

    Returns:
        JSON values by their keys.
    """
    return {
        "winner": str(chosen.winner),
        "answers": [{"limit": limit, "placement": pick and str(pick)} for limit, pick in chosen.picks],
    }


def same_choice(look: Mapping[str, Any], chosen: Selection) -> bool:
    """Whether a look was for these picks.

    Args:
        look: as ``test.json`` has it; of older versions, which had no answers, the winner counts alone.
        chosen: the finalists and picks.

    Returns:
        True where the winner and each answer's pick are the same.
    """
    answers = [{"limit": e["limit"], "placement": e["placement"]} for e in look.get("answers", [])]
    now = choice(chosen)
    return look.get("winner") == now["winner"] and ("answers" not in look or answers == now["answers"])


def shows_all(look: Mapping[str, Any], chosen: Selection, seeds: int, top_k: int) -> bool:
    """Whether a look has seen all that the run now asks for, so that there is nothing to look at anew.

    Args:
        look: as ``test.json`` has it, judged.
        chosen: the finalists and picks.
        seeds: trainings of each.
        top_k: how many of the first of the ranking are asked for.

    Returns:
        True for the same picks and finalists, and no more seeds.
    """
    trained = {entry["placement"]: entry["n"] for entry in look["summary"]}
    asked = [str(f.placement) for f in chosen.finalists if f.rank is not None and f.rank <= top_k]
    return same_choice(look, chosen) and all(trained.get(name, 0) >= seeds for name in asked)


def next_look(earlier: Sequence[Mapping[str, Any]], chosen: Selection) -> Look:
    """The look after these.

    A look spends its level only when something is tested in it.

    Args:
        earlier: the looks so far, as ``test.json`` has them, judged.
        chosen: what is looked at now.

    Returns:
        Its number among looks that test something, and what its judgement must know of the others, with placements as
        people read them.
    """
    better = {Placement.parse(name).shown for look in earlier for name in _better(look)}
    return Look(1 + sum(level_spent(look) is not None for look in earlier), frozenset(better), _seen(earlier, chosen))


def _seen(earlier: Sequence[Mapping[str, Any]], chosen: Selection) -> int:
    """How many networks that are neither picks nor the default had been seen when the picks were chosen."""
    if not earlier:
        return 0
    if same_choice(earlier[-1], chosen):
        return int(earlier[-1].get("seen", 0))
    known = {(entry["placement"], entry.get("image_size")) for look in earlier for entry in trials_in(look)}
    default, size = earlier[-1]["default"], earlier[-1]["trials"][0].get("image_size")
    picks = {str(pick) for _, pick in chosen.picks if pick is not None}
    return sum(at != size or name not in picks | {default} for name, at in known)


def trials_in(look: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trainings of a look, of finalists and controls.

    Args:
        look: as ``test.json`` has it.

    Returns:
        An entry for each; those that both share come twice. Empty where nothing was evaluated yet.
    """
    return [*look.get("trials", []), *(entry for control in look.get("controls", []) for entry in control["trials"])]


def _better(look: Mapping[str, Any]) -> list[str]:
    """The picks that a look called better; before there were answers, the winner where its interval is above zero."""
    if "answers" in look:
        return [entry["placement"] for entry in look["answers"] if entry.get("better")]
    difference = look.get("difference")
    return [look["winner"]] if difference and difference["low"] > 0 else []
