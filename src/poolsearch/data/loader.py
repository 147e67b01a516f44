"""Batches by step number: any step can be asked for, in any order, in any process, and is always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from poolsearch.data.augment import centre, normalise, pad_crop_flip, random_resized_crop_flip
from poolsearch.data.cache import Images
from poolsearch.errors import PoolsearchError, unknown
from poolsearch.rng import generator

Augment = Literal["none", "crop", "crop-flip", "resized-crop-flip"]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MEAN_STD_CHUNK_BYTES = 16 << 20


class Loader:
    """Batches of ``images[indices]``, augmented and normalised on ``device``.

    The order of an epoch comes from (seed, purpose, epoch), the augmentation of a step from (seed, purpose +
    "/augment", step); nothing is remembered between steps but the order of the current epoch.

    Args:
        batch: images in a training batch; the rest of an epoch that fills no batch is left out, another one each epoch.
        image_size: side in pixels of what comes out; at most the stored side.
        augment: "crop" shifts by up to an eighth of the side (4 pixels of 32), "crop-flip" also mirrors,
            "resized-crop-flip" is ImageNet's.
        mean_C, std_C: in units of 0..1; see :func:`mean_std`.

    Raises:
        PoolsearchError: unknown ``augment``, or ``image_size`` larger than the stored images.
    """

    def __init__(
        self,
        images: Images,
        indices: Ints,
        batch: int,
        seed: int,
        purpose: str,
        device: torch.device | str,
        image_size: int,
        augment: Augment,
        mean_C: Sequence[float] | Floats,
        std_C: Sequence[float] | Floats,
    ) -> None:
        if augment not in get_args(Augment):
            raise unknown("augmentation", augment, get_args(Augment))
        _check_sizes(images, batch, image_size)
        self._images = images
        self._pixels = np.asarray(images.pixels_NHWC)  # the same memory without memmap's slower indexing
        self._indices = np.asarray(indices, dtype=np.int64)
        self._batch = batch
        self._seed = seed
        self._purpose = purpose
        self._device = torch.device(device)
        self._size = image_size
        self._augment: Augment = augment
        self._mean_C = torch.tensor(np.asarray(mean_C), dtype=torch.float32, device=self._device)
        self._std_C = torch.tensor(np.asarray(std_C), dtype=torch.float32, device=self._device)
        self._order: tuple[int, Ints] | None = None

    def __len__(self) -> int:
        """How many images there are in all."""
        return len(self._indices)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch.

        Raises:
            PoolsearchError: there is not one.
        """
        steps = len(self._indices) // self._batch
        if steps == 0:
            raise PoolsearchError(
                f"a batch of {self._batch} is larger than the {len(self._indices)} images there are ({self._purpose}). "
                f"Set the batch to {max(1, len(self._indices))} or less, or add images."
            )
        return steps

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Training batch number ``step``, counted from 0 through all epochs.

        Returns:
            x_BCHW float32 in channels_last memory, and y_B int64, both on the device.

        Raises:
            PoolsearchError: see :attr:`steps_per_epoch`.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        rows = self._epoch_order(epoch)[place * self._batch : (place + 1) * self._batch]
        x_BHWC, y_B = self._gather(rows)
        draw = generator(self._seed, f"{self._purpose}/augment", step)
        return normalise(self._augmented(x_BHWC, draw), self._mean_C, self._std_C), y_B

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in the order of the indices, not augmented, in ceil(N / size) nearly equal chunks."""
        number = -(-len(self._indices) // size)
        for rows in np.array_split(self._indices, number) if number else []:
            x_BHWC, y_B = self._gather(rows)
            yield normalise(centre(x_BHWC, self._size), self._mean_C, self._std_C), y_B

    def _epoch_order(self, epoch: int) -> Ints:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, generator(self._seed, self._purpose, epoch).permutation(self._indices))
        return self._order[1]

    def _gather(self, rows: Ints) -> tuple[Tensor, Tensor]:
        x_BHWC = torch.from_numpy(np.take(self._pixels, rows, axis=0))
        y_B = torch.from_numpy(self._images.label_N[rows])
        if self._device.type == "cuda":
            return x_BHWC.pin_memory().to(self._device, non_blocking=True), y_B.to(self._device, non_blocking=True)
        return x_BHWC.to(self._device), y_B.to(self._device)

    def _augmented(self, x_BHWC: Tensor, draw: np.random.Generator) -> Tensor:
        if self._augment == "resized-crop-flip":
            return random_resized_crop_flip(x_BHWC, self._size, draw)
        x_BHWC = centre(x_BHWC, self._size)
        if self._augment == "none":
            return x_BHWC
        return pad_crop_flip(x_BHWC, draw, max(1, self._size // 8), flip=self._augment == "crop-flip")


def mean_std(pixels_NHWC: npt.NDArray[np.uint8], indices: Ints) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel over the images ``indices``, in units of 0..1.

    Exact: values are counted, not summed. A channel that never changes gets the deviation 1, so that it can be
    divided by.
    """
    channels = pixels_NHWC.shape[-1]
    count_CV = np.zeros((channels, 256), dtype=np.int64)
    rows = max(1, _MEAN_STD_CHUNK_BYTES // int(np.prod(pixels_NHWC.shape[1:])))
    for start in range(0, len(indices), rows):
        chunk = np.take(np.asarray(pixels_NHWC), indices[start : start + rows], axis=0).reshape(-1, channels)
        for channel in range(channels):
            count_CV[channel] += np.bincount(chunk[:, channel], minlength=256)
    value_V = np.arange(256) / 255
    share_CV = count_CV / count_CV.sum(axis=1, keepdims=True)
    mean_C = share_CV @ value_V
    variance_C = (share_CV * (value_V - mean_C[:, None]) ** 2).sum(axis=1)
    std_C = np.sqrt(variance_C)
    return mean_C, np.where(std_C == 0, 1.0, std_C)


def _check_sizes(images: Images, batch: int, image_size: int) -> None:
    stored = min(images.pixels_NHWC.shape[1:3])
    if not 1 <= image_size <= stored:
        raise PoolsearchError(
            f"image_size is {image_size}, but the images are stored with a side of {stored}. Choose 1 to {stored}, "
            f"or store them larger with --image-size {image_size}."
        )
    if batch < 1:
        raise PoolsearchError(f"batch is {batch}; it must be at least 1.")
