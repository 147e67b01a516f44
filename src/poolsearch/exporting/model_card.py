"""What an exported file says about its network and its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poolsearch.image_size import Fit, ImageSize
from poolsearch.nets.build import NetSpec, blank
from poolsearch.nets.poolable import Poolable, enlarge_factors, shrink_factors, split_state, state_size
from poolsearch.space import KEEP, Placement
from poolsearch.value_range import ValueRange

Factor = int | tuple[int, int]
"""Of both axes, or (height, width) where they differ."""


@dataclass(frozen=True)
class ModelCard:
    """What stands in an exported file beside the network itself.

    Attributes:
        spec, placement, seed: the network, where it downsamples, and which of its trainings this is.
        classes: their names, or those of labels or values, in the order of the outputs.
        mean, std: of each channel, in units of 0..1.
        stored: the size that an image is first made to have; the network sees its centre.
        crop: size of that part, which is then resized to ``spec.size`` where it is larger.
        fit: how an image of another shape gets into ``stored``.
        values: which become black and white in images of more than 8 bits; None where there were none.
        run: name of the run's folder.
        maker: what made this, with its version.
        task: what the network was trained for, as in the settings.
        scale: mean and deviation of each value that it gives; None where it gives none.
    """

    spec: NetSpec
    placement: Placement
    seed: int
    classes: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    stored: ImageSize
    crop: ImageSize
    run: str
    maker: str
    fit: Fit = "crop"
    values: ValueRange | None = None
    task: str = "classification"
    scale: Sequence[tuple[float, float]] | None = None

    @property
    def name(self) -> str:
        """The network as people call it."""
        return self.spec.name.rpartition("/")[2]


@dataclass(frozen=True)
class Feature:
    """The last map of one resolution: the block that makes it, its channels, how much smaller than the image it is."""

    block: int
    channels: int
    reduction: tuple[int, int]


def last_blocks(placement: Placement) -> list[int]:
    """The last block at each resolution.

    Args:
        placement: of a network of L blocks.

    Returns:
        Numbers of blocks in 0..L-1, ascending; the last is L - 1.
    """
    return [i for i in range(placement.length) if i + 1 == placement.length or placement.at(i + 1) != KEEP]


@torch.no_grad()
def states_of(net: Poolable, x_BCHW: Tensor, placement: Placement) -> tuple[Any, list[Any]]:
    """Run a network, and keep what is alive after the last block of each resolution.

    Args:
        net: in the mode that it is in; without gradients.
        x_BCHW: normalised images.
        placement: to run it at.

    Returns:
        What the network gives, such as logits (B, K); and one state for each of :func:`last_blocks`: a map
        (B, C, H, W), or a tuple of what is alive.
    """
    ends, found = last_blocks(placement), []
    state: Any = net.stem(x_BCHW)
    for index in range(placement.length):
        state = net.run_block(index, state, placement.at(index))
        if index in ends:
            live, _ = split_state(state)
            found.append(live.clone() if isinstance(live, Tensor) else tuple(live))
    return net.head(state), found


def features_of(spec: NetSpec, placement: Placement, net: Poolable | None = None) -> list[Feature]:
    """The maps that a backbone gives; where several maps are alive, all of them together.

    Args:
        spec: of the network, for images of its size; nothing is computed but shapes.
        placement: where it downsamples.
        net: the network on the meta device; None: it is built from ``spec``.

    Returns:
        One for each resolution, from the first block to the last.
    """
    net, size = net or blank(spec).eval(), spec.size
    _, states = states_of(net, torch.empty(1, net.channels, *size, device="meta"), placement)
    height, width = (round(side / n) for side, n in zip(size, state_size(states[0]), strict=True))
    features: list[Feature] = []
    for block, state in zip(last_blocks(placement), states, strict=True):
        if features:
            site = placement.at(features[-1].block + 1)
            (rows, columns), (high, wide) = shrink_factors(site), enlarge_factors(site)
            height, width = height * rows // high, width * columns // wide
        features.append(Feature(block, _channels(state), (height, width)))
    return features


def _channels(state: Any) -> int:
    values = state if isinstance(state, tuple) else (state,)
    return sum(v.shape[1] for v in values if isinstance(v, Tensor) and v.dim() == 4)


def reductions(features: Sequence[Feature]) -> list[Factor]:
    """How many times smaller than the image each map is.

    Args:
        features: the maps of one backbone.

    Returns:
        One number each, or (height, width) for all of them where the two differ anywhere.
    """
    pairs = [feature.reduction for feature in features]
    return [h for h, _ in pairs] if all(h == w for h, w in pairs) else [*pairs]
