"""What the placements of a network cost, in plain values: so that it can be shown without torch."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Where the quantiles are taken: smallest, tenths, median, largest."""


@dataclass(frozen=True)
class Column:
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
class Priced:
    """Costs of a network's placements.

    Attributes:
        net: its name.
        image_size: height and width of the images.
        default: its own placement.
        placements: A, the size of the space.
        looked_at: how many of them the figures are of: all, or random ones of a large space.
        columns: MACs, receptive field, memory where it is known, and latency where it was measured.
        budget: the limits as given; empty when there is none.
        within: how many of those looked at are within it.
    """

    net: str
    image_size: int
    default: str
    placements: int
    looked_at: int
    columns: tuple[Column, ...]
    budget: str
    within: int
