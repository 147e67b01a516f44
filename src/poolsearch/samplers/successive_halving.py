"""Methods that train placements stand-alone, as lists of rungs: how much they will train is known before. No torch.

Rungs that follow on one another are a bracket. Hyperband has several, all other methods have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from poolsearch import rng
from poolsearch.settings import ResolvedSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Rung:
    """Placements that are trained equally far and then compared.

    Attributes:
        placements: how many. The best of the rung before; in the first of a bracket all of the space, or random ones.
        begun: epochs that each was trained before this rung.
        epochs: epochs that each is trained at its end.
        images: training images of an epoch.
        width: part of the network's channels that is trained, 1 for all of them.
        seeds: trainings of each placement.
        bracket: which rungs this one follows on, counted from 0.
    """

    placements: int
    begun: int
    epochs: int
    images: int
    width: float = 1.0
    seeds: int = 1
    bracket: int = 0

    @property
    def trainings(self) -> int:
        """Trainings that are begun, or gone on with."""
        return self.placements * self.seeds

    @property
    def images_seen(self) -> int:
        """Images over all trainings and epochs of the rung; MACs of an image go with ``width`` squared."""
        return self.trainings * (self.epochs - self.begun) * self.images


def rungs(settings: ResolvedSettings, placements: int, images: int) -> list[Rung]:
    """The rungs of a method, in their order, bracket by bracket.

    A sweep trains all placements to the end, random search some of them; a proxy trains all for a short time, with
    fewer channels and images. Successive halving (Jamieson and Talwalkar 2016) trains all for a short time, the best
    1/rate of them rate times as long, and so on up to the full length. Hyperband (Li et al. 2018, algorithm 1) does so
    several times with random placements, fewer of them and from a longer start each time, since nobody knows how early
    placements can be told apart.

    Differs: a survivor goes on with its training, under one learning rate schedule of the full length, so that early
    rungs compare networks at a high learning rate. A placement that several brackets of Hyperband train is trained
    once, and its cost counts once. Hyperband's lengths are whole epochs, rounded up; a bracket that would draw more
    placements than there are has all of them.

    Args:
        settings: resolved, with a method that trains placements alone.
        placements: A, of the space.
        images: of the search-train half.

    Returns:
        At least one rung for each bracket.

    Raises:
        ValueError: the method is none that trains placements alone.
    """
    alone = settings.alone
    match settings.search.method:
        case "sweep":
            return [Rung(placements, 0, alone.sweep_epochs, images, seeds=alone.sweep_seeds)]
        case "proxy":
            part = min(alone.proxy_images, images)
            return [Rung(placements, 0, alone.proxy_epochs, part, alone.proxy_width)]
        case "random":
            return [Rung(min(alone.random_k, placements), 0, alone.sweep_epochs, images)]
        case "halving":
            return _halved(placements, alone.sweep_epochs, alone.halving_rate, alone.halving_start, images)
        case "hyperband":
            start = 1 if alone.halving_start is None else alone.halving_start
            return _bracketed(placements, alone.sweep_epochs, alone.halving_rate, start, images)
        case method:
            raise ValueError(f"{method} has no rungs")


def brackets(plan: Sequence[Rung]) -> list[list[Rung]]:
    """The rungs of each bracket.

    Args:
        plan: all rungs of a method.

    Returns:
        Brackets in the order in which they first come, each with its rungs in order.
    """
    found: dict[int, list[Rung]] = {}
    for rung in plan:
        found.setdefault(rung.bracket, []).append(rung)
    return list(found.values())


def draw_placements(plan: Sequence[Rung], placements: int, seed: int) -> list[list[int]]:
    """The placements that each bracket begins with: all, or so many uniform ones, none of them twice.

    Args:
        plan: all rungs of a method.
        placements: A, of the space.
        seed: of the run.

    Returns:
        For each bracket the numbers of its placements, ascending.
    """
    found: list[list[int]] = []
    for first, *_ in brackets(plan):
        order = rng.generator(seed, "bracket", first.bracket).permutation(placements)
        found.append(sorted(order[: first.placements].tolist()))
    return found


def concurrent_rungs(plan: Sequence[Rung], placements: int) -> list[Rung]:
    """Rungs that begin and end at the same epochs as one, the shorter first: these are trained at the same time.

    Of several brackets this is the most that there may be to do, as they may share placements.

    Args:
        plan: all rungs of a method.
        placements: A, of the space; no rung has more.

    Returns:
        By epochs of their end, ascending; all of bracket 0, at most ``placements`` placements each.
    """
    found: dict[tuple[int, int], Rung] = {}
    for rung in sorted(plan, key=lambda rung: (rung.epochs, -rung.begun)):
        before = found.get((rung.epochs, rung.begun))
        count = rung.placements + (before.placements if before else 0)
        found[rung.epochs, rung.begun] = replace(rung, placements=min(count, placements), bracket=0)
    return list(found.values())


def rungs_text(method: str, plan: Sequence[Rung]) -> str:
    """What a method trains, for people.

    Args:
        method: its name, with which the text begins.
        plan: all its rungs.

    Returns:
        A sentence or two.
    """
    first, last, several = plan[0], plan[-1], brackets(plan)
    on = f" on {first.images:,} images"
    on += f", with {first.width:g} of the channels" if first.width != 1 else ""
    if len(plan) == 1:
        return f"{method.capitalize()}: {first.trainings:,} trainings of {_epochs(first)}{on}."
    whole = sum(rung.images_seen for rung in plan) / (last.epochs * last.images)
    if len(several) == 1:
        return f"{method.capitalize()}: {_climbed(plan)}{on}. Together this is as much as {whole:,.1f} whole trainings."
    each = "; ".join(map(_climbed, several))
    return (
        f"{method.capitalize()}: {len(several)} brackets of random placements{on}: {each}. "
        f"Together this is as much as {whole:,.1f} whole trainings, or less: a placement of several brackets is "
        "trained once."
    )


def _climbed(bracket: Sequence[Rung]) -> str:
    further = "".join(f", the best {rung.placements:,} up to {rung.epochs:,}" for rung in bracket[1:])
    return f"{bracket[0].placements:,} placements for {_epochs(bracket[0])}{further}"


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


def _bracketed(placements: int, full: int, rate: int, start: int, images: int) -> list[Rung]:
    """Hyperband: a bracket for each number of rungs, the one with the most first.

    With ``s`` rungs before the last it begins with n = ceil((s_max + 1) / (s + 1) * rate^s) placements, for
    full / rate^s epochs (Li et al. 2018, algorithm 1, whose B is (s_max + 1) * full). Their Table 1 has 27, 9 and 6
    where this formula, for a full length of 81 and a rate of 3, has 34, 15 and 8.
    """
    most = 0
    while start * rate ** (most + 1) <= full:
        most += 1
    found: list[Rung] = []
    for bracket, after in enumerate(range(most, -1, -1)):
        count = min(placements, -(-(most + 1) * rate**after // (after + 1)))
        ends = [-(-full // rate**left) for left in range(after, -1, -1)]
        for begun, end in zip([0, *ends], ends, strict=False):
            found.append(Rung(count, begun, end, images, bracket=bracket))
            count = max(1, count // rate)
    return found


def _start(placements: int, full: int, rate: int) -> int:
    """Epochs of the first rung, so that the last one still compares at least ``rate`` placements."""
    longer = 1
    while placements // rate >= rate:
        placements //= rate
        longer *= rate
    return -(-full // longer)
