"""Which placements are evaluated, and by which member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from poolsearch import rng
from poolsearch.mixture.mixture import Mixture
from poolsearch.session.run import Run

Pair = tuple[int, int]
"""(number of a placement, member)."""


@dataclass(frozen=True)
class Candidates:
    """Which placements to evaluate, by their numbers.

    Attributes:
        numbers: all of them.
        control: those that are only the control group.
        found: the one that the search itself settled on, if it does; it stands first, whatever the accuracies.
        kept: those that are not stopped early.
    """

    numbers: list[int]
    control: frozenset[int]
    found: int | None
    kept: frozenset[int]


def choose_candidates(run: Run, mixture: Mixture, found: int | None = None) -> Candidates:
    """All of a small space; of a larger one the best by score, a random control group, the default and what was found.

    Args:
        run: the run.
        mixture: its scores.
        found: the placement that the search itself settled on, if it does.

    Returns:
        Their numbers, ascending. Places that too few scored placements leave open go to the control group.
    """
    settings, size = run.settings.rank, run.space.size
    default = {run.space.index(run.space.default)} if run.space.default in run.space else set[int]()
    kept = frozenset(default if found is None else default | {found})
    if size <= settings.rank_all_up_to:
        return Candidates(list(range(size)), frozenset(), found, kept)
    score_A = mixture.learnt_score_AM()[np.arange(size), mixture.final_member_A()]
    scored = int(np.isfinite(score_A).sum())
    if scored < size:
        run.warn(f"only {scored:,} of {size:,} placements were scored in the search: it was short for such a space.")
    top = np.argsort(-score_A, kind="stable")[: min(settings.rank_top, scored)].tolist()
    rest = np.setdiff1d(np.arange(size), top)
    draw = rng.generator(run.seed, "control")
    places = settings.rank_control + settings.rank_top - len(top)  # what the scores cannot fill is drawn
    control = draw.choice(rest, min(places, len(rest)), replace=False).tolist()
    return Candidates(sorted({*top, *control, *kept}), frozenset(control), found, kept)


def pairs_of(candidates: Candidates, mixture: Mixture, all_members: bool) -> list[Pair]:
    """Each placement with its most probable member, or with every member.

    Args:
        candidates: the placements.
        mixture: its final assignment.
        all_members: pair each placement with all M.

    Returns:
        Pairs in the order of the candidates, members ascending.
    """
    if all_members:
        return [(number, m) for number in candidates.numbers for m in range(mixture.rules.members)]
    member_A = mixture.final_member_A()
    return [(number, int(member_A[number])) for number in candidates.numbers]


def by_member(pairs: Iterable[Pair]) -> dict[int, list[int]]:
    """Placement numbers of each member, as one tree runs them.

    Args:
        pairs: in any order.

    Returns:
        By member, ascending; the numbers of each in the order of the pairs.
    """
    found: dict[int, list[int]] = {}
    for number, member in sorted(pairs, key=lambda pair: pair[1]):
        found.setdefault(member, []).append(number)
    return found
