"""What a mixture search asks for, and the metrics that it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from poolsearch.ask_tell.checks import as_metric
from poolsearch.errors import PoolsearchError
from poolsearch.space import Placement


@dataclass(frozen=True)
class Trial:
    """What a search asks for: placements of one member, to be trained in one step, or only scored.

    Made by :meth:`MixtureSearch.ask` alone. It holds plain values and may be pickled.

    Attributes:
        number: how many trials were asked for before this one.
        step: the training step, from 0.
        member: which supernet, 0..M-1.
        placements: of this member; one that was drawn twice is there twice.
        numbers: of the placements in the space.
        trained: to be trained and counted as trained; else only to be scored (:meth:`MixtureSearch.ask_stalest`).
    """

    number: int
    step: int
    member: int
    placements: tuple[Placement, ...]
    numbers: tuple[int, ...]
    trained: bool
    search: str = field(repr=False)

    @property
    def placement(self) -> Placement:
        """The placement, where there is one.

        Raises:
            PoolsearchError: there are several.
        """
        if len(self.placements) != 1:
            raise PoolsearchError(
                f"this trial has {len(self.placements)} placements: use trial.placements, all of member {self.member}, "
                "or ask() for one."
            )
        return self.placements[0]


class WaitingTrial(NamedTuple):
    """A trial that a run keeps in its own files until its metric is there; the fields are those of :class:`Trial`."""

    step: int
    member: int
    numbers: Sequence[int]
    trained: bool


def metrics_of(trial: Trial, metric: Any) -> list[tuple[int, Placement, float]]:
    """Read what a trial was told.

    Args:
        trial: with one placement or several.
        metric: a number from 0 to 1; or of several placements a mapping from each to its number.

    Returns:
        (number, placement, metric) of each placement once, in the order in which they were given.

    Raises:
        PoolsearchError: a metric is none, is missing, or is of another placement.
    """
    known = dict(zip(trial.placements, trial.numbers, strict=True))
    if not isinstance(metric, Mapping):
        if len(known) > 1:
            raise PoolsearchError(
                f"trial {trial.number} has {len(known)} different placements, and it was told a "
                f"{type(metric).__name__}: give a metric for each, such as {{placement: metric}}."
            )
        return [(trial.numbers[0], trial.placements[0], as_metric(metric, _told_of(trial, trial.placements[0])))]
    if metric.keys() != known.keys():
        lacking = [placement.shown for placement in known if placement not in metric]
        other = [str(getattr(key, "shown", repr(key)))[:40] for key in metric if key not in known]
        what = [f"{kind} {', '.join(names[:3])}" for kind, names in (("lacks", lacking), ("has also", other)) if names]
        raise PoolsearchError(
            f"the metrics told of trial {trial.number} are not those of its placements: what was given "
            f"{' and '.join(what)}. Give one for each of trial.placements."
        )
    return [(known[one], one, as_metric(value, _told_of(trial, one))) for one, value in metric.items()]


def _told_of(trial: Trial, placement: Placement) -> str:
    return f"placement {placement.shown} in trial {trial.number}"
