"""What every sampler owes, as checks that a user's own can be put to: ``check_sampler(make, space)``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from poolsearch import rng
from poolsearch.samplers import Sampler
from poolsearch.samplers.user_sampler import Make
from poolsearch.space import Placement, Space

DRAWS = 40
Reward = Callable[[Space, Placement, int], float]


def best(space: Space) -> Placement:
    """The placement that the toy bandit rewards most.

    Args:
        space: any.

    Returns:
        The one two thirds of the way through the space.
    """
    return space[2 * space.size // 3]


def reward(space: Space, placement: Placement, step: int) -> float:
    """The reward of a toy bandit.

    It is 0.9 for the best placement, 0 to 0.4 for all others, the nearer the more, and noise of 0.05.

    Args:
        space: that the placement is numbered in; near are those of near numbers.
        placement: one of the space.
        step: the round (0-based), which the noise is keyed by.

    Returns:
        A fraction, the same for the same arguments.
    """
    away = abs(space.index(placement) - space.index(best(space)))
    mean = 0.4 * (1 - away / space.size) if away else 0.9
    return float(min(1.0, max(0.0, mean + rng.generator(0, "toy-bandit", step).normal(0, 0.05))))


def check_sampler(make: Make, space: Space) -> None:
    """See that a sampler can be used in a search: its draws are of the space, seeded, and resumable.

    Args:
        make: as FACTORY of ``--method FILE.py:FACTORY``: a sampler from the space, the seed, and the number of draws.
        space: to draw from.

    Raises:
        AssertionError: saying what is wrong.
    """
    check_legal(make, space)
    check_seeded(make, space)
    for after in (0, 1, DRAWS // 2, DRAWS - 1):
        check_resumable(make, space, after)
    check_ahead(make, space)


def check_legal(make: Make, space: Space, draws: int = DRAWS) -> None:
    """See that every placement asked for is one of the space.

    Args:
        make: as of :func:`check_sampler`.
        space: to draw from.
        draws: rounds that are played.

    Raises:
        AssertionError: one is not.
    """
    for step, placement in enumerate(play(make(space, 0, draws), space, 0, draws)):
        if placement not in space:
            raise AssertionError(f"ask() number {step} gave {placement!r}, which is no placement of the space.")


def check_seeded(make: Make, space: Space) -> None:
    """See that the seed decides the placements.

    The same one gives the same placements, and of several other seeds one gives others, where there are others.

    Args:
        make: as of :func:`check_sampler`.
        space: to draw from.

    Raises:
        AssertionError: draws of one seed differ, or the seed is not used.
    """
    first, again, *others = (play(make(space, seed, DRAWS), space, 0, DRAWS) for seed in (0, 0, 1, 2, 3))
    if again != first:
        raise AssertionError("two samplers with the same seed, told the same, asked for different placements.")
    if space.size > 1 and all(other == first for other in others):
        raise AssertionError("samplers with four different seeds asked for the same placements: the seed is not used.")


def check_resumable(make: Make, space: Space, after: int) -> None:
    """See that a sampler made anew and given the state of an older one goes on as that one does.

    Args:
        make: as of :func:`check_sampler`.
        space: to draw from.
        after: draws before the state is taken, up to :data:`DRAWS`.

    Raises:
        AssertionError: it does not, or the state is no JSON value that stays as it was.
    """
    old, new = make(space, 0, DRAWS), make(space, 0, DRAWS)
    play(old, space, 0, after)
    state = old.state()
    try:
        text = json.dumps(state)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"state() after {after} draws gave what is no JSON value: {error}") from error
    if json.loads(text) != state:
        raise AssertionError(
            f"state() after {after} draws is not the same when read back from JSON: tuples come back as lists, and "
            "keys that are numbers as texts."
        )
    rest = play(old, space, after, DRAWS - after)
    if json.loads(text) != state:
        raise AssertionError(
            "state() gave a part of the sampler, which changed while the sampler went on: give copies."
        )
    new.load_state(json.loads(text))
    if play(new, space, after, DRAWS - after) != rest:
        raise AssertionError(f"resumed from its state after {after} draws, the sampler asked for other placements.")


def check_ahead(make: Make, space: Space) -> None:
    """See that rewards may come late, in another order, or never (``--score-lag``, ``--val-every``).

    Args:
        make: as of :func:`check_sampler`.
        space: to draw from.

    Raises:
        AssertionError: what is asked for after them is no placement of the space.
    """
    sampler = make(space, 0, DRAWS)
    asked = [sampler.ask() for _ in range(10)]
    for step in (4, 2, 7):
        sampler.tell(asked[step], reward(space, asked[step], step))
    if sampler.ask() not in space:
        raise AssertionError("after rewards that came late, ask() gave what is no placement of the space.")


def play(sampler: Sampler, space: Space, first: int, draws: int, reward: Reward = reward) -> list[Placement]:
    """Play rounds of ask and tell.

    Args:
        sampler: asked and told; it is changed.
        space: of the rewards; what is asked for outside of it has none.
        first: number of the first round (0-based), for ``reward``.
        draws: how many rounds.
        reward: of (space, placement, round); the toy bandit's by default.

    Returns:
        What was asked for, in the order of the rounds.
    """
    asked: list[Placement] = []
    for step in range(first, first + draws):
        asked.append(sampler.ask())
        if asked[-1] in space:
            sampler.tell(asked[-1], reward(space, asked[-1], step))
    return asked


def favourite(make: Make, space: Space, draws: int, seed: int = 0) -> Placement:
    """What a sampler asks for most often in the last third of its draws from the toy bandit.

    Args:
        make: as of :func:`check_sampler`.
        space: to draw from.
        draws: rounds in all.
        seed: of the sampler.

    Returns:
        The placement; of several as frequent the first.
    """
    last = play(make(space, seed, draws), space, 0, draws)[-(draws // 3) :]
    return Counter[Any](last).most_common(1)[0][0]
