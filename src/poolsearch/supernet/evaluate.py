"""Many placements on many images by the prefix tree: what a ranking asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from poolsearch.errors import PoolsearchError, add_note, unknown
from poolsearch.evaluation.metrics import score
from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import METRICS
from poolsearch.space import Placement
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath

BatchMetric = Callable[[Any, Any], Any]
"""(outputs, targets) of a batch to its metric: one for each image, shape (B,), or their mean."""


@torch.inference_mode()
def evaluate_tree(
    supernet: SinglePath,
    batches: Iterable[tuple[Tensor, Any]],
    placements: Sequence[Placement],
    metric: Metric | BatchMetric = "accuracy",
) -> dict[Placement, float]:
    """The metric of many placements of a supernet on the same images.

    What placements have in common up to a block is computed once for each batch; the outputs are those of running each
    placement alone, on a CPU to the bit. No more maps are kept than the placements halve.

    Args:
        supernet: a :class:`poolsearch.SuperNet`; evaluated in evaluation mode, and left in the mode that it has.
        batches: (images, targets) such as a ``DataLoader`` gives; tensors are moved to the supernet's device.
        placements: any of the network; one that comes twice is evaluated once.
        metric: ``accuracy``, ``balanced-accuracy`` or ``macro-f1`` over all images, for outputs (B, classes) and
            targets (B,); or a function of (outputs, targets) of a batch, whose values are averaged over the images.

    Returns:
        By placement, in the order given: from 0 to 1, or what the function gives.

    Raises:
        PoolsearchError: there are no batches, a batch is no pair of images and targets, or the metric is unknown.
    """
    known = list(dict.fromkeys(placements))
    if not callable(metric) and metric not in METRICS["classification"]:
        raise unknown("metric", str(metric), METRICS["classification"])
    tally = _Means(metric, len(known)) if callable(metric) else _Classes(metric, len(known))
    was_training, device = supernet.training, next(supernet.parameters()).device
    supernet.eval()
    try:
        for batch in batches:
            x_BCHW, targets = _pair(batch)
            targets = targets.to(device) if isinstance(targets, Tensor) else targets
            tally.begin(len(x_BCHW), targets)
            for position, outputs in run_tree(supernet, x_BCHW.to(device), known):
                _take(tally, position, outputs, targets, known[position])
    finally:
        supernet.train(was_training)
    if not tally.images:
        raise PoolsearchError("there are no batches to evaluate on: give at least one pair of images and targets.")
    return dict(zip(known, tally.values(), strict=True))


def _take(tally: _Means | _Classes, position: int, outputs: Any, targets: Any, placement: Placement) -> None:
    try:
        tally.take(position, outputs, targets)
    except Exception as error:  # whatever a user's metric raises is theirs
        add_note(error, f"raised by the metric of placement {placement.shown}")
        raise


def _pair(batch: Any) -> tuple[Tensor, Any]:
    if not (isinstance(batch, (tuple, list)) and len(cast("Sequence[Any]", batch)) == 2):
        raise PoolsearchError(f"a batch is a {type(batch).__name__}: give pairs (images, targets).")
    return batch[0], batch[1]


class _Means:
    """The mean over the images of what a function gives."""

    def __init__(self, metric: BatchMetric, placements: int) -> None:
        self._metric = metric
        self._sum_A = [0.0] * placements
        self.images = 0

    def begin(self, images: int, targets: Any) -> None:
        self._batch = images
        self.images += images

    def take(self, position: int, outputs: Any, targets: Any) -> None:
        value = torch.as_tensor(self._metric(outputs, targets), dtype=torch.float64)
        if value.numel() not in (1, self._batch):
            raise PoolsearchError(
                f"the metric gave values of shape {[*value.shape]} for {self._batch} images: give one for each image, "
                "or their mean."
            )
        self._sum_A[position] += float(value.mean()) * self._batch

    def values(self) -> list[float]:
        return [total / self.images for total in self._sum_A]


class _Classes:
    """The class that each placement sees in each image."""

    def __init__(self, metric: Metric, placements: int) -> None:
        self._metric: Metric = metric
        self._true: list[np.ndarray[Any, Any]] = []
        self._seen_A: list[list[np.ndarray[Any, Any]]] = [[] for _ in range(placements)]
        self._classes = 0
        self.images = 0

    def begin(self, images: int, targets: Any) -> None:
        true_B = np.asarray(targets.cpu() if isinstance(targets, Tensor) else targets)
        if true_B.shape != (images,) or true_B.dtype.kind not in "iu":
            raise PoolsearchError(
                f"targets have the shape {[*true_B.shape]} and kind {true_B.dtype}: '{self._metric}' needs the number "
                f"of a class for each of {images} images. For other tasks give a function of (outputs, targets)."
            )
        self._true.append(true_B)
        self.images += images

    def take(self, position: int, outputs: Tensor, targets: Any) -> None:
        self._classes = outputs.shape[1]
        true_B = self._true[-1]
        if len(true_B) and not 0 <= true_B.min() <= true_B.max() < self._classes:
            raise PoolsearchError(
                f"targets are {true_B.min()} to {true_B.max()}, and the network has {self._classes} outputs: classes "
                f"are numbered 0 to {self._classes - 1}."
            )
        self._seen_A[position].append(outputs.argmax(1).cpu().numpy().astype(np.min_scalar_type(self._classes)))

    def values(self) -> list[float]:
        true_N = np.concatenate(self._true)
        return [float(score(self._metric, true_N, np.concatenate(seen), self._classes)) for seen in self._seen_A]
