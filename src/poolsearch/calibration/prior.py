"""What is believed of placements before any is trained, fitted on ground truths of several networks and data sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """Of a feature, in units of the truth's spread: normal, with this mean and standard deviation."""

    mean: float
    std: float


@dataclass(frozen=True)
class Prior:
    """Weakly informative; every list is a grid, over which the model is averaged by evidence.

    Attributes:
        score: weight of the supernets' scores, where they count.
        macs, macs2: of the MACs and their square, where the scores count.
        macs_alone, macs2_alone: the same where they do not, or where there are none.
        trust: probability that the scores count.
        spreads: standard deviation of the truth over placements, in points.
        noises: of one training from another of the same placement, in points.
        lengths: of the Gaussian process, as a part of the blocks.
        rests: its standard deviation, in units of the spread.
    """

    score: Weight
    macs: Weight
    macs2: Weight
    macs_alone: Weight
    macs2_alone: Weight
    trust: float
    spreads: tuple[float, ...]
    noises: tuple[float, ...]
    lengths: tuple[float, ...]
    rests: tuple[float, ...]


PRIOR = Prior(
    score=Weight(0.34, 0.41),
    macs=Weight(0.06, 0.42),
    macs2=Weight(-0.27, 0.35),
    macs_alone=Weight(0.15, 0.54),
    macs2_alone=Weight(-0.47, 0.35),
    trust=0.75,
    spreads=(0.35, 0.7, 1.4, 2.8, 5.6),
    noises=(0.2, 0.4, 0.8, 1.6),
    lengths=(0.25, 0.6),
    rests=(0.3, 0.7),
)
"""Weights are what ``examples/calibration.py --prior`` finds in docs/results/truths; the rest was chosen beforehand."""
