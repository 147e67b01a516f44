"""A table of ground truth as a bandit: to ask for a placement is to train it once, which takes no time here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import Floats, GroundTruth
from poolsearch.space import FreeSpace, Placement, Space


@dataclass(frozen=True)
class Bandit:
    """What every training of every placement would give.

    A reward is the placement's mean and normal noise with its own standard deviation; it is not cut at 1, so that its
    mean stays that of the table. With ``images`` it is then the part of so many images that are right, drawn at random
    (binomial), as the score of a minibatch is.

    Attributes:
        truth: the table, its placements in the order of the space.
        space: of these placements.
        std_A: standard deviation of one training of each.
        images: of a score; None for as many as those of the table.
        rise: how much lower all rewards begin. They rise to the table's in a straight line, as the scores of all
            placements do while a supernet learns.
    """

    truth: GroundTruth
    space: Space
    std_A: Floats
    images: int | None = None
    rise: float = 0.0

    @classmethod
    def of(cls, truth: GroundTruth, noise: float | None = None, images: int | None = None, rise: float = 0.0) -> Bandit:
        """The bandit of a table.

        Args:
            truth: the table.
            noise: standard deviation of every placement's trainings; None takes that of the table: the placement's own,
                or that of all placements pooled where there is a single training of it.
            images, rise: as the attributes.

        Returns:
            The bandit, with the table's entries in the order of the space that holds just these placements.

        Raises:
            PoolsearchError: neither the table nor ``noise`` says how far trainings differ, or no space holds the
                placements.
        """
        if images is not None and images < 1:
            raise PoolsearchError(f"{images} images cannot be scored: give at least 1, or none for all of the table's.")
        if noise is not None and not 0 <= noise < math.inf:
            raise PoolsearchError(f"a noise of {noise} is no standard deviation: give a fraction, such as 0.002, or 0.")
        if not 0 <= rise <= 1:
            raise PoolsearchError(f"a rise of {rise} is no part of all images: give a fraction, such as 0.4, or 0.")
        space = space_of(truth)
        known = tuple(truth.by_placement[str(placement)] for placement in space)
        pooled = truth.noise if noise is None else noise
        std_A = np.array([entry.std if noise is None and entry.std is not None else pooled for entry in known])
        if np.isnan(std_A).any():
            raise PoolsearchError(
                f"{truth.source} does not say how far two trainings of a placement differ: each was trained once. Make "
                "a sweep with --sweep-seeds 2 or more, or give the standard deviation with --noise, such as 0.002."
            )
        return cls(replace(truth, known=known), space, std_A, images, rise)

    @cached_property
    def number_of(self) -> dict[Placement, int]:
        """The number of each placement: looked up, as it is asked for at every draw."""
        return {placement: number for number, placement in enumerate(self.space)}

    def rewards_TA(self, seed: int, draws: int) -> Floats:
        """The reward of every placement at every draw.

        Without a rise, the first rows do not depend on ``draws``.

        Args:
            seed: of the noise; every draw and placement has noise of its own.
            draws: T.

        Returns:
            Fractions, shape (T, A).
        """
        noise_TA = rng.generator(seed, "bench-noise").standard_normal((draws, self.space.size))
        reward_TA = self.truth.mean_A + self.std_A * noise_TA - self.missing_T(draws)[:, None]
        if self.images is None:
            return reward_TA
        draw = rng.generator(seed, "bench-images")
        return draw.binomial(self.images, reward_TA.clip(0, 1)) / self.images

    def missing_T(self, draws: int) -> Floats:
        """How far the rewards are below the table's at every draw.

        Args:
            draws: T.

        Returns:
            Fractions, shape (T,): ``rise`` at the first draw, 0 at the last.
        """
        return self.rise * np.linspace(1, 0, draws)

    def taken_ST(self, asked_ST: NDArray[np.int64], reward_ST: Floats) -> NDArray[np.int64]:
        """The placement that would be taken after each draw: the best mean reward so far, of equals fewer MACs.

        How far all rewards have risen is not counted.

        Args:
            asked_ST: numbers of the placements asked for, of S seeds and T draws each.
            reward_ST: the rewards that followed, as fractions.

        Returns:
            Numbers of placements, shape (S, T).
        """
        cheapest_A = np.argsort(self.truth.macs_A, kind="stable")
        place_A = np.argsort(cheapest_A)
        reward_ST = reward_ST + self.missing_T(asked_ST.shape[1])
        every_S = np.arange(len(asked_ST))
        sum_SA, count_SA = (np.zeros((len(asked_ST), self.space.size)) for _ in range(2))
        mean_SA = np.full(sum_SA.shape, -math.inf)
        taken_ST = np.empty_like(asked_ST)
        for t, asked_S in enumerate(asked_ST.T):
            at = every_S, place_A[asked_S]
            sum_SA[at] += reward_ST[:, t]
            count_SA[at] += 1
            mean_SA[at] = sum_SA[at] / count_SA[at]
            taken_ST[:, t] = cheapest_A[mean_SA.argmax(1)]  # the first of equals
        return taken_ST


def space_of(truth: GroundTruth) -> Space:
    """The space of just the placements of a table.

    Args:
        truth: the table; its default, or its first placement that halves both axes together, says how many blocks there
            are and how often maps are halved.

    Returns:
        The first kind of space that has them all (both axes together, each by itself, free), limited to them.

    Raises:
        PoolsearchError: they are of no one space.
    """
    placements = [Placement.parse(entry.placement) for entry in truth.known]
    named = [Placement.parse(truth.default)] if truth.default else []
    default = next((placement for placement in (*named, *placements) if placement.blocks is not None), None)
    if default is not None and default.blocks is not None:
        whole = Space(default.length, len(default.blocks) - 1, default)
        for space in (whole, replace(whole, axes="h,w"), FreeSpace.of(whole)):
            if all(placement in space for placement in placements):
                return space.keep(placements)
    raise PoolsearchError(
        f"the placements of {truth.source} are of no one space: all need the same number of blocks, and one has to "
        "halve height and width together, such as 4,3,3."
    )
