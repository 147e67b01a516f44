"""How the images of a batch get to the device, so that training does not wait for them.

A CPU takes them from the file as they are needed. A GPU has all of them in its memory where they fit; otherwise a
thread gathers the batches to come, and they are sent while the GPU works.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from poolsearch.data.cache import Images

Feed = Literal["direct", "resident", "ahead"]
Ints = npt.NDArray[np.int64]
Batch = tuple[Tensor, Tensor]
"""x_BHWC uint8 and the targets: y_B int64 of classes, uint8 (B, K) of labels, float32 (B, ...), or uint8 (B, H, W)."""
Made = TypeVar("Made")

RESIDENT_SHARE = 1 / 4
"""The part of the free memory that images may take: what training needs is still to come."""

AHEAD = 3
"""Batches that are gathered before they are asked for."""

_UPLOAD_BYTES = 64 << 20


def choose_transfer(kind: str, needed: int, free: int) -> Feed:
    """How the images get to a device.

    Args:
        kind: of the device: "cpu", "cuda", "mps".
        needed: bytes of all images.
        free: bytes of the device's memory that can be had; only a GPU's counts.

    Returns:
        "resident" where they fit into a share of a GPU's free memory, else "ahead" on a GPU; "direct" on others.
    """
    if kind != "cuda":
        return "direct"
    return "resident" if needed <= free * RESIDENT_SHARE else "ahead"


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that can be had, with what torch holds of it and does not use.

    Args:
        device: any.

    Returns:
        Bytes; 0 for what is no CUDA device.
    """
    if device.type != "cuda":
        return 0
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Send an array to the device. A GPU fetches it by itself: nobody waits until it has done what it is doing.

    Args:
        values: an array, not changed afterwards: on the CPU the tensor shares its memory.
        device: where it is wanted.

    Returns:
        A tensor of the same shape and type.
    """
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def batch_source(
    part: ImageSubset, numbers: Callable[[int], Ints], device: torch.device, transfer: Feed, steps: int | None = None
) -> Callable[[int], Batch]:
    """The function from a step to its images on the device.

    Args:
        part: what the images are of.
        numbers: from a step to the numbers of its images in ``part``, (B,).
        device: where they are wanted.
        transfer: see :func:`choose_transfer`; each gives the same.
        steps: how many there are; None: no end.

    Returns:
        A function of the step; gives x_BHWC uint8 and the targets, as stored.
    """
    if transfer == "resident":
        resident = ResidentSubset(part, device)
        return lambda step: resident.gather(numbers(step))
    if transfer == "direct":
        return lambda step: _sent(part.gather(numbers(step)), device)
    pinned = device.type == "cuda"
    ahead = Prefetcher(lambda step: part.gather(numbers(step), pinned), steps)
    return lambda step: _sent(ahead.take(step), device)


def _sent(batch: Batch, device: torch.device) -> Batch:
    x_BHWC, y_B = batch
    waits = device.type != "cuda"
    return x_BHWC.to(device, non_blocking=not waits), y_B.to(device, non_blocking=not waits)


class ImageSubset:
    """The images ``indices`` of a data set, numbered from 0 in that order.

    Args:
        images: all images.
        indices: which of them, (N,).
    """

    def __init__(self, images: Images, indices: Ints) -> None:
        self._pixels = np.asarray(images.pixels_NHWC)  # the same memory without memmap's slower indexing
        self._target_N: npt.NDArray[Any] = np.asarray(images.label_N if images.target_N is None else images.target_N)
        self._has_classes = images.target_N is None
        self._indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W, C."""
        return len(self), *self._pixels.shape[1:]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """N, and what the targets of an image have."""
        return len(self), *self._target_N.shape[1:]

    @property
    def size(self) -> int:
        """Bytes of all images, and of targets that are no classes, which take next to nothing."""
        targets = 0 if self._has_classes else int(np.prod(self.target_shape)) * self._target_N.itemsize
        return int(np.prod(self.shape)) + targets

    def gather(self, numbers: Ints, pinned: bool = False) -> Batch:
        """Copy some images into a batch on the CPU.

        Args:
            numbers: of the images in this part, (B,).
            pinned: put them in memory that a GPU can fetch them from by itself.

        Returns:
            x_BHWC uint8 and the targets, as stored.
        """
        rows = self._indices[numbers]
        x_BHWC = torch.empty((len(rows), *self.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        # "clip" writes in place; the default would check every row first and then copy
        np.take(self._pixels, rows, axis=0, out=x_BHWC.numpy(), mode="clip")
        y_B = torch.from_numpy(self._target_N[rows])
        return x_BHWC, y_B.pin_memory() if pinned else y_B


class ResidentSubset:
    """A whole part in the memory of the device.

    Args:
        part: copied there at once.
        device: with memory enough for all of it.
    """

    def __init__(self, part: ImageSubset, device: torch.device) -> None:
        self._x_NHWC = torch.empty(part.shape, dtype=torch.uint8, device=device)
        none = part.gather(np.arange(0))[1]
        self._y_N = none.new_empty(part.target_shape, device=device)
        rows = max(1, _UPLOAD_BYTES // int(np.prod(part.shape[1:])))
        for start in range(0, len(part), rows):
            chunk = slice(start, min(start + rows, len(part)))
            self._x_NHWC[chunk], self._y_N[chunk] = part.gather(np.arange(chunk.start, chunk.stop))

    def gather(self, numbers: Ints) -> Batch:
        """Copy some images into a batch, on the device.

        Args:
            numbers: of the images in the part, (B,).

        Returns:
            x_BHWC uint8 and the targets, as stored.
        """
        rows_B = to_device(numbers, self._x_NHWC.device)
        return self._x_NHWC[rows_B], self._y_N[rows_B]


class Prefetcher(Generic[Made]):
    """What will be asked for next, made in a thread while the last is in use. The thread ends with this object.

    Any step can be asked for. The next ones are taken to follow at the same distance; what was made for others is
    thrown away.

    Args:
        make: must give the same for a step whenever it is called.
        steps: how many there are; None: no end.
    """

    def __init__(self, make: Callable[[int], Made], steps: int | None = None) -> None:
        self._make = make
        self._steps = steps
        self._thread = ThreadPoolExecutor(1, "poolsearch-ahead")
        self._made: dict[int, Future[Made]] = {}
        self._last: int | None = None

    def take(self, step: int) -> Made:
        """Give what is made for a step, and have the next ones begun.

        Args:
            step: any below the number of steps.

        Returns:
            ``make(step)``; what that raises is raised here.
        """
        distance = 1 if self._last is None else max(1, step - self._last)
        self._last = step
        wanted = [step + i * distance for i in range(AHEAD + 1)]
        for other in self._made.keys() - wanted:
            self._made.pop(other).cancel()
        for next_ in wanted:
            if next_ not in self._made and (self._steps is None or next_ < self._steps):
                self._made[next_] = self._thread.submit(self._make, next_)
        return self._made[step].result()

    def __del__(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
