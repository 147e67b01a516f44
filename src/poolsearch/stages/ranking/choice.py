"""Which placements are evaluated, and by which member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from poolsearch import rng
from poolsearch.context import Run
from poolsearch.mixture.mixture import Mixture

Pair = tuple[int, int]
"""(number of a placement, member)."""


@dataclass(frozen=True)
class Candidates:
    """Numbers of the placements to evaluate, and which of them are only the control group."""

    numbers: list[int]
    control: frozenset[int]


def choose(run: Run, mixture: Mixture) -> Candidates:
    """All of a small space; of a larger one the best by score, a random control group and the default."""
    settings, size = run.settings.rank, run.space.size
    if size <= settings.rank_all_up_to:
        return Candidates(list(range(size)), frozenset())
    score_A = mixture.learnt_score_AM()[np.arange(size), mixture.final_member_A()]
    scored = int(np.isfinite(score_A).sum())
    if scored < size:
        run.warn(f"only {scored:,} of {size:,} placements were scored in the search: it was short for such a space.")
    top = np.argsort(-score_A, kind="stable")[: min(settings.rank_top, scored)].tolist()
    rest = np.setdiff1d(np.arange(size), top)
    draw = rng.generator(run.seed, "control")
    places = settings.rank_control + settings.rank_top - len(top)  # what the scores cannot fill is drawn
    control = draw.choice(rest, min(places, len(rest)), replace=False).tolist()
    default = [run.space.index(run.space.default)] if run.space.default in run.space else []
    return Candidates(sorted({*top, *control, *default}), frozenset(control))


def pairs_of(candidates: Candidates, mixture: Mixture, all_members: bool) -> list[Pair]:
    """Each placement with its most probable member, or with every member."""
    if all_members:
        return [(number, m) for number in candidates.numbers for m in range(mixture.rules.members)]
    member_A = mixture.final_member_A()
    return [(number, int(member_A[number])) for number in candidates.numbers]


def by_member(pairs: Iterable[Pair]) -> dict[int, list[int]]:
    """Placement numbers of each member, as one tree runs them."""
    found: dict[int, list[int]] = {}
    for number, member in sorted(pairs, key=lambda pair: pair[1]):
        found.setdefault(member, []).append(number)
    return found
