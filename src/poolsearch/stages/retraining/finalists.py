"""Who is trained stand-alone: the first of the ranking, the picks of its answers, and the network's own placement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poolsearch.evaluation.budget_picks import answers_of
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.storage.stage_results import read_ranking


@dataclass(frozen=True)
class Finalist:
    """A placement that is retrained; ``rank`` is its place in the ranking, None where it was not ranked."""

    placement: Placement
    rank: int | None


@dataclass(frozen=True)
class Selection:
    """What validation chose, before anything is known of the test images.

    Attributes:
        finalists: who is trained, by rank; the winner is the first.
        picks: (limit on MACs, placement) of each answer, in the order of
            :func:`~poolsearch.evaluation.budget_picks.answers_of`; None where nothing ranked is within the limit.
    """

    finalists: list[Finalist]
    picks: list[tuple[float | None, Placement | None]]

    @property
    def winner(self) -> Placement:
        """The first of the ranking: the answer without a limit."""
        return self.finalists[0].placement


def read_selection(run: Run) -> Selection:
    """The top-k of the ranking, the pick of each answer, and the default.

    Args:
        run: open, with a ranking.

    Returns:
        Who is trained, and the picks; nothing of the test images is known in it.

    Raises:
        PoolsearchError: there is no ranking.
    """
    settings = run.settings.retrain
    return choose_finalists(read_ranking(run.dir), run.space.default, settings.top_k, settings.answer_at)


def choose_finalists(
    ranking: Sequence[Mapping[str, str]], default: Placement, top_k: int, answer_at: Sequence[float]
) -> Selection:
    """Who is trained.

    Args:
        ranking: ``placement`` and ``macs_ratio`` of every line, best first.
        default: the network's own placement, which need not be ranked.
        top_k: how many of the first.
        answer_at: limits of the answers, in times the default's MACs.

    Returns:
        Each placement once, by rank, a default that is not ranked last; and the pick of each limit.
    """
    names = [row["placement"] for row in ranking]
    answers = answers_of([float(row["macs_ratio"]) for row in ranking], answer_at)
    places = {*range(min(top_k, len(names))), *(answer.place for answer in answers if answer.place is not None)}
    own = str(default)
    if own in names:
        places.add(names.index(own))
    found = [Finalist(Placement.parse(names[place]), place + 1) for place in sorted(places)]
    return Selection(
        found if own in names else [*found, Finalist(default, None)],
        [(answer.limit, None if answer.place is None else Placement.parse(names[answer.place])) for answer in answers],
    )
