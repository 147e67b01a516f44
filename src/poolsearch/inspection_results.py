"""What a check, costs and a plan found, in plain values: so that it can be shown and kept without torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from poolsearch.image_size import ImageSize


@dataclass(frozen=True)
class Estimate:
    """Seconds that something will take, and the range in which they should lie."""

    seconds: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: float, error: float) -> Estimate:
        """An estimate with the same relative error in both directions.

        Args:
            seconds: expected.
            error: relative: 0.2 is a fifth less to a fifth more.

        Returns:
            Its range begins at 0 where the error is above 1.
        """
        return cls(seconds, seconds * max(0.0, 1 - error), seconds * (1 + error))

    def __add__(self, other: Estimate) -> Estimate:
        """Both, one after the other. What is wrong for one is wrong for the other: a slow machine is slow for all."""
        return Estimate(self.seconds + other.seconds, self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Estimate:
        """So many times the same."""
        return Estimate(self.seconds * factor, self.low * factor, self.high * factor)


NOTHING = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class StageCost:
    """A stage of a run, or a part of one."""

    name: str
    takes: Estimate


@dataclass(frozen=True)
class MethodEstimate:
    """One way to a ranking of the placements.

    Attributes:
        method: as in ``--method``.
        members: M, the supernets; None for a method that trains stand-alone.
        what: what is trained, in a few words.
        stages: up to the ranking, by their names in run.json.
        memory: bytes at its peak, of all its processes together.
    """

    method: str
    members: int | None
    what: str
    stages: tuple[StageCost, ...]
    memory: int

    @property
    def takes(self) -> Estimate:
        """All of its stages."""
        return sum((stage.takes for stage in self.stages), NOTHING)


@dataclass(frozen=True)
class ChosenSetting:
    """A setting that was fitted to the hours: its name, its value, and why it is that."""

    name: str
    value: Any
    why: str


@dataclass(frozen=True)
class SmallestDifference:
    """What a job can show.

    Attributes:
        accuracy: of the default; it is not known before the job, and so assumed.
        difference: the smallest that would be told from chance, as a fraction.
    """

    accuracy: float
    difference: float


@dataclass(frozen=True)
class HoursFit:
    """The job that fits into the hours, or the smallest there is where none does.

    Attributes:
        hours: that were given.
        fits: whether it does.
        command: that does it, for a shell.
        settings: that were chosen for it, in the order of their stages.
        start: seconds of starting, of reading the images, and of the report.
        takes: of all of it.
        shows: the smallest differences, at accuracies that the default may have.
        images, seeds, answers: that these rest on: test images, trainings of each network, picks that are tested.
    """

    hours: float
    fits: bool
    command: str
    settings: tuple[ChosenSetting, ...]
    start: Estimate
    takes: Estimate
    shows: tuple[SmallestDifference, ...]
    images: int
    seeds: int
    answers: int


@dataclass(frozen=True)
class Plan:
    """What each way costs on this machine, and which is advised.

    Attributes:
        net, default: the network, and its own placement for people.
        placements: A, the size of the space.
        members: M of the mixture that is set.
        machine: what it was measured on, in words.
        largest: the placement of which a training step was tried for its memory, for people.
        largest_bytes: what that step took beside what the process held before.
        free_bytes: memory that was free before it; None when the system does not say.
        ways: each way to a ranking.
        after: what comes after it, whichever was taken: retraining and test.
        method: the ``--method`` that is advised.
        reason: why, in a sentence.
        warnings: what will not go well, such as memory that does not suffice.
        seconds: that planning took.
        fit: with ``--hours``, what fits into them; ``ways`` then has that one way.
    """

    net: str
    default: str
    placements: int
    members: int
    machine: str
    largest: str
    largest_bytes: int
    free_bytes: int | None
    ways: tuple[MethodEstimate, ...]
    after: tuple[StageCost, ...]
    method: str
    reason: str
    warnings: tuple[str, ...]
    seconds: float
    fit: HoursFit | None = None

    @property
    def after_takes(self) -> Estimate:
        """All that comes after the ranking."""
        return sum((stage.takes for stage in self.after), NOTHING)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values.

        Returns:
            By the names of the attributes, with all that they hold.
        """
        return dataclasses.asdict(self)


def duration_text(seconds: float) -> str:
    """A time for people.

    Args:
        seconds: 0 or more.

    Returns:
        In the unit that suits it: 0.4 s, 48 s, 7.5 min, 3.4 h, 12 days.
    """
    units = (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 172_800), ("days", 86_400, float("inf")))
    unit, size = next((unit, size) for unit, size, most in units if seconds < most)
    return f"{seconds / size:.{0 if seconds / size >= 9.95 else 1}f} {unit}"


def not_enough(fit: HoursFit) -> str:
    """That the hours are too few, and what the least is.

    Args:
        fit: of the smallest job, which does not fit.

    Returns:
        A sentence with the command of that job.
    """
    return (
        f"{fit.hours:g} h is not enough: the least useful run takes about {_hours(fit.takes.seconds)} h: {fit.command}"
    )


def fit_text(fit: HoursFit) -> str:
    """What was fitted into the hours, in lines for people.

    Args:
        fit: of a job that fits.

    Returns:
        A line for each setting with its reason, one for the time, one for what the job can show, and the command.
    """
    values = [(f"--{one.name.replace('_', '-')} {_value(one.value)}".rstrip(), one.why) for one in fit.settings]
    width = max(len(text) for text, _ in values)
    takes = fit.takes
    within = f"{duration_text(takes.low)} to {duration_text(takes.high)}"
    lines = [
        f"Fitted into {fit.hours:g} h: about {duration_text(takes.seconds)} ({within}), start and report included",
        *(f"  {text:<{width}}  {why}" for text, why in values),
        shows_text(fit),
        f"The same without planning: {fit.command}",
    ]
    return "\n".join(lines)


def shows_text(fit: HoursFit) -> str:
    """The smallest differences that a job can show.

    Args:
        fit: of the job.

    Returns:
        A sentence, with what it rests on.
    """
    if not fit.shows:
        return "It can show no difference: a verdict needs two seeds."
    if all(one.difference >= 1 - one.accuracy for one in fit.shows):
        return (
            f"It can show no difference: {fit.images:,} test images and {fit.seeds} seeds tell nothing from chance. "
            "Give more hours, or more test images."
        )
    points = ", ".join(
        f"{100 * one.difference:.1f} points if the default reaches {one.accuracy:.0%}" for one in fit.shows
    )
    return (
        f"The smallest difference that it can show: {points} ({fit.images:,} test images, {fit.seeds} seeds, "
        f"{fit.answers} answer{'' if fit.answers == 1 else 's'}; a typical spread of seeds is assumed)."
    )


def _value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _hours(seconds: float) -> str:
    """Hours to two figures, rounded up."""
    hours = seconds / 3600
    unit = 10 ** (math.floor(math.log10(hours)) - 1)
    return f"{math.ceil(hours / unit) * unit:.2g}"


PARTS = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Where the quantiles are taken: smallest, tenths, median, largest."""


@dataclass(frozen=True)
class CostColumn:
    """One kind of cost.

    Attributes:
        title: in a word or two.
        note: what it is of.
        default: of the network's own placement.
        quantiles: of all placements, at ``PARTS``.
    """

    title: str
    note: str
    default: str
    quantiles: tuple[str, ...]


@dataclass(frozen=True)
class CostReport:
    """Costs of a network's placements.

    Attributes:
        net: its name.
        image_size: of the images.
        default: its own placement.
        placements: A, the size of the space.
        looked_at: how many of them the figures are of: all, or random ones of a large space.
        columns: MACs, receptive field, memory where it is known, and latency where it was measured.
        budget: the limits as given; empty when there is none.
        within: how many of those looked at are within it.
    """

    net: str
    image_size: ImageSize
    default: str
    placements: int
    looked_at: int
    columns: tuple[CostColumn, ...]
    budget: str
    within: int


@dataclass(frozen=True)
class CheckReport:
    """What was looked at, and what of it does not hold.

    Attributes:
        net: name of the network.
        image_size: of the images.
        own: whether it is one of poolsearch's, which was made movable and has no original.
        op: how a site downsamples.
        blocks: for each, where it is and how it downsamples, in words.
        halved: the blocks (0-based) with a halving before them at the default placement.
        default: its own placement.
        axes: whether height and width are halved together (``hw``) or each by itself (``h,w``).
        placements: A, the size of the space.
        proved: placements of which the sizes of all maps were looked at.
        ran: of those, how many were run forward and backward.
        parameters: learnable numbers.
        logit_gap: the largest difference of the logits at the default placement to the original's; None where there is
            nothing to compare with.
        problems: (placement, what does not hold) of all that does not.
        step: the training step that was made: images, memory format, precision.
        notes: what is not as in the original, in sentences.
        outputs: what the network gives, "logits" or "maps".
    """

    net: str
    image_size: ImageSize
    own: bool
    op: str
    blocks: tuple[str, ...]
    halved: frozenset[int]
    default: str
    axes: str
    placements: int
    proved: int
    ran: int
    parameters: int
    logit_gap: float | None
    problems: tuple[tuple[str, str], ...]
    step: str
    notes: tuple[str, ...] = ()
    outputs: str = "logits"

    @property
    def holds(self) -> bool:
        """Whether all of it does."""
        return not self.problems
