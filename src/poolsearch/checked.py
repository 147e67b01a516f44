"""What a check of a network found, in plain values: so that it can be shown without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what of it does not hold.

    Attributes:
        net: name of the network.
        image_size: height and width of the images.
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
    """

    net: str
    image_size: int
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

    @property
    def holds(self) -> bool:
        """Whether all of it does."""
        return not self.problems
