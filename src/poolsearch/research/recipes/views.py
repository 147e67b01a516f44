"""What the trained supernets of Figure 1 see: their maps, and how alike their representations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch import rng
from poolsearch.progress import SilentProgress
from poolsearch.research.recipes.cka import linear_cka
from poolsearch.session.open_run import open_run
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.space import Placement
from poolsearch.stages.rank import load_search
from poolsearch.supernet.maps import run_maps
from poolsearch.supernet.single_path import SinglePath

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IMAGES = 1024
"""As many images, or all that are new to the networks, are what representations are compared on."""
SHOWN = 2
CHANNELS = 4


@dataclass(frozen=True)
class View:
    """A trained supernet at one of its placements.

    Attributes:
        arm: the search that it is from.
        role: the placement that it is run at, ``early`` or ``late``.
    """

    arm: str
    role: str

    @property
    def name(self) -> str:
        """In files: ``both/early``."""
        return f"{self.arm}/{self.role}"


VIEWS = tuple(
    View(arm, role)
    for arm, role in (
        ("early", "early"), ("late", "late"), ("both", "early"), ("both", "late"), ("both-twice", "early"),
        ("both-twice", "late"),
    )
)  # fmt: skip
ALONE = VIEWS[:2]
_EARLY, _LATE, *_TOGETHER = VIEWS
PAIRS = (
    (_EARLY, _LATE),
    *((view, _EARLY if view.role == "early" else _LATE) for view in _TOGETHER),
    *zip(_TOGETHER[::2], _TOGETHER[1::2], strict=True),
)
"""The views that are compared: the two alone; every one trained together with the same placement alone; and the two
placements of one supernet."""


@dataclass(frozen=True)
class ViewMaps:
    """What a view makes of images; one entry for each block.

    Attributes:
        pooled_NC: the mean of each channel over the map, of every image.
        variance_C: the variance over images, in the mean over the positions of the map; of the first minibatch.
        maps_SCHW: of the first images, which are shown.
    """

    pooled_NC: list[Floats]
    variance_C: list[Floats]
    maps_SCHW: list[NDArray[np.float32]]


@dataclass(frozen=True)
class ImageSample:
    """Images to look at.

    Attributes:
        indices: those that are shown stand first.
        classes: of those that are shown.
        pixels_SHWC: of those that are shown.
    """

    indices: Ints
    classes: list[str]
    pixels_SHWC: NDArray[np.uint8]


def choose_images(folder: Path, unseen_by: Path | None, trust: Trust = NAMED) -> ImageSample:
    """Draw images of a run's search-val half that another run did not train on either.

    The first :data:`SHOWN` are of different classes.

    Args:
        folder: of the run.
        unseen_by: of the other run; None where there is none.
        trust: whether Python files that the folders name may run.

    Returns:
        At most :data:`IMAGES` images, in random order after the first.
    """
    with open_run(folder, None, True, SilentProgress(), trust=trust) as run:
        unseen = run.split.search_val
        if unseen_by is not None:
            with open_run(unseen_by, None, True, SilentProgress(), trust=trust) as other:
                unseen = np.setdiff1d(unseen, other.split.search_train)
        drawn = rng.generator(run.seed, "figure1/images").permutation(unseen)[:IMAGES]
        label_N = run.images.label_N[drawn]
        first = np.sort(np.unique(label_N, return_index=True)[1])[:SHOWN]
        classes = [run.images.class_names[label] for label in label_N[first]]
        ordered = np.concatenate([drawn[first], np.delete(drawn, first)])
        return ImageSample(ordered, classes, np.array(run.images.pixels_NHWC[drawn[first]]))


@torch.inference_mode()
def view_maps(
    folder: Path, placements: Mapping[str, str], chosen: ImageSample, trust: Trust = NAMED
) -> dict[str, ViewMaps]:
    """Run a finished search's supernet on images at some of its placements.

    The batch at hand normalises, as when the search was ranked; so minibatches are of the ranking's size.

    Args:
        folder: of the run.
        placements: by role, as files write them.
        chosen: the images.
        trust: whether Python files that the folder names may run.

    Returns:
        What the supernet makes of the images, by role.
    """
    with open_run(folder, None, True, SilentProgress(), trust=trust) as run:
        (supernet, *_), _ = load_search(run)
        loader = run.loader(chosen.indices, 1, "figure1", run.seed, augmented=False)
        batches = [x_BCHW for x_BCHW, _ in loader.chunks(run.settings.rank.eval_batch)]
        with run.machine.autocast():
            return {
                role: _seen(supernet, batches, Placement.parse(text), len(chosen.classes))
                for role, text in placements.items()
            }


def _seen(supernet: SinglePath, batches: Sequence[Tensor], placement: Placement, shown: int) -> ViewMaps:
    first = [maps_BCHW.float() for maps_BCHW in run_maps(supernet, batches[0], placement)]
    pooled = [[_array(maps_BCHW.mean((2, 3)))] for maps_BCHW in first]
    for x_BCHW in batches[1:]:
        for found, maps_BCHW in zip(pooled, run_maps(supernet, x_BCHW, placement), strict=True):
            found.append(_array(maps_BCHW.float().mean((2, 3))))
    return ViewMaps(
        [np.concatenate(found).astype(np.float64) for found in pooled],
        [_array(maps_BCHW.var(0).mean((1, 2))).astype(np.float64) for maps_BCHW in first],
        [_array(maps_BCHW[:shown]) for maps_BCHW in first],
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.cpu().numpy()


def cka_by_block(a: ViewMaps, b: ViewMaps) -> list[float]:
    """How alike two views of the same images are after each block.

    Channels are averaged over their maps, so that maps of all sizes can be compared.

    Args:
        a, b: of the same images and equally many blocks.

    Returns:
        Linear CKA for each block, in [0, 1].
    """
    return [linear_cka(a_NC, b_NC) for a_NC, b_NC in zip(a.pooled_NC, b.pooled_NC, strict=True)]


def channels_of(seen: Sequence[ViewMaps]) -> list[list[int]]:
    """The channels to show of each block, the same for all views of one supernet.

    They are the :data:`CHANNELS` whose maps vary most over images, in the mean over the views.

    Args:
        seen: the views.

    Returns:
        For each block numbers of channels, the most varying first.
    """
    by_block = zip(*(view.variance_C for view in seen), strict=True)
    return [np.argsort(-np.mean(list(variances), 0), kind="stable")[:CHANNELS].tolist() for variances in by_block]


def as_grey(maps_SCHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Maps as grey images, each by itself from its least value, 0, to its largest, 255; one without any contrast is 0.

    Args:
        maps_SCHW: of S images.

    Returns:
        Of the same shape, whole numbers.
    """
    low, high = maps_SCHW.min((2, 3), keepdims=True), maps_SCHW.max((2, 3), keepdims=True)
    span = np.where(high > low, high - low, 1)
    return np.round(255 * (maps_SCHW - low) / span).astype(np.uint8)
