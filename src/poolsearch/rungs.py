"""Methods that train placements stand-alone, as lists of rungs: how much they will train is known before. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from poolsearch.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Rung:
    """Placements that are trained equally far and then compared.

    Attributes:
        placements: how many. The best of the rung before; all of the space in the first.
        begun: epochs that each was trained before this rung.
        epochs: epochs that each is trained at its end.
        images: training images of an epoch.
        width: part of the network's channels that is trained, 1 for all of them.
        seeds: trainings of each placement.
    """

    placements: int
    begun: int
    epochs: int
    images: int
    width: float = 1.0
    seeds: int = 1

    @property
    def trainings(self) -> int:
        """Trainings that are begun, or gone on with."""
        return self.placements * self.seeds

    @property
    def images_seen(self) -> int:
        """Images over all trainings and epochs of the rung; MACs of an image go with ``width`` squared."""
        return self.trainings * (self.epochs - self.begun) * self.images


def rungs(settings: Settings, placements: int, images: int) -> list[Rung]:
    """The rungs of a method, in their order.

    A sweep trains all placements to the end; a proxy trains all for a short time, with fewer channels and images.
    Successive halving (Jamieson and Talwalkar 2016) trains all for a short time, the best 1/rate of them rate times as
    long, and so on up to the full length.

    Differs: a survivor goes on with its training, under one learning rate schedule of the full length, so that early
    rungs compare networks at a high learning rate.

    Args:
        settings: resolved, with a method that trains placements alone.
        placements: A, of the space.
        images: of the search-train half.
    """
    alone = settings.alone
    match settings.search.method:
        case "sweep":
            return [Rung(placements, 0, _known(alone.sweep_epochs), images, seeds=alone.sweep_seeds)]
        case "proxy":
            part = min(_known(alone.proxy_images), images)
            return [Rung(placements, 0, _known(alone.proxy_epochs), part, _known(alone.proxy_width))]
        case "halving":
            return _halved(placements, _known(alone.sweep_epochs), alone.halving_rate, alone.halving_start, images)
        case method:
            raise ValueError(f"{method} has no rungs")


def told(method: str, plan: Sequence[Rung]) -> str:
    """What a method trains, as a sentence."""
    first, last = plan[0], plan[-1]
    on = f" on {first.images:,} images"
    on += f", with {first.width:g} of the channels" if first.width != 1 else ""
    if len(plan) == 1:
        return f"{method.capitalize()}: {first.trainings:,} trainings of {_epochs(first)}{on}."
    further = "".join(f", the best {rung.placements:,} up to {rung.epochs:,}" for rung in plan[1:])
    whole = sum(rung.images_seen for rung in plan) / (last.epochs * last.images)
    return (
        f"{method.capitalize()}: {first.placements:,} placements for {_epochs(first)}{further}{on}. "
        f"Together this is as much as {whole:,.1f} whole trainings."
    )


def _epochs(rung: Rung) -> str:
    return f"{rung.epochs:,} epoch{'' if rung.epochs == 1 else 's'}"


def _halved(placements: int, full: int, rate: int, start: int | None, images: int) -> list[Rung]:
    ends = [min(start or _start(placements, full, rate), full)]
    while ends[-1] < full:
        ends.append(min(ends[-1] * rate, full))
    found = []
    for begun, end in zip([0, *ends], ends, strict=False):
        found.append(Rung(placements, begun, end, images))
        placements = max(1, placements // rate)
    return found


def _start(placements: int, full: int, rate: int) -> int:
    """Epochs of the first rung, so that the last one still compares at least ``rate`` placements."""
    longer = 1
    while placements // rate >= rate:
        placements //= rate
        longer *= rate
    return -(-full // longer)


def _known(value: T | None) -> T:
    assert value is not None, "resolve the settings first"
    return value
