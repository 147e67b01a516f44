"""Batches by step number: any step can be asked for, in any order, in any process, and is always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from poolsearch.data.augment import centre, normalise, pad_crop_flip, random_resized_crop_flip
from poolsearch.data.cache import Images
from poolsearch.data.prefetch import Batch, Feed, ImageSubset, batch_source, choose_transfer, free_bytes
from poolsearch.errors import PoolsearchError, unknown
from poolsearch.image_size import ImageSize
from poolsearch.rng import generator
from poolsearch.tasks.dense import IGNORED

Augment = Literal["none", "crop", "crop-flip", "resized-crop-flip"]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MEAN_STD_CHUNK_BYTES = 16 << 20


class Loader:
    """Batches of ``images[indices]`` and their targets, augmented and normalised on ``device``.

    Targets are numbers of classes, int64 (B,), or as the images have others: uint8 (B, K) of 0 and 1 for each label;
    float32 (B, ...), which stay as they are whatever is done to the images; uint8 (B, H, W), masks, which are cut,
    mirrored and resized as their images are, each pixel that of the nearest one, and what is added does not count.

    The order of an epoch comes from (seed, purpose, epoch), the augmentation of a step from (seed, purpose +
    "/augment", step); nothing that is remembered between steps changes a batch.

    Args:
        images: all images.
        indices: which of them, (N,).
        batch: images in a training batch; the rest of an epoch that fills no batch is left out, another one each epoch.
        seed, purpose: key the random draws.
        device: where the batches are wanted.
        image_size: of what comes out, the side of a square or height and width; at most the stored size, unless
            ``view`` is given.
        augment: "crop" shifts by up to an eighth of each side (4 pixels of 32), "crop-flip" also mirrors,
            "resized-crop-flip" is ImageNet's.
        mean_C, std_C: in units of 0..1; see :func:`mean_std`.
        feed: how the images get to the device; None: as suits the device and its free memory, when the first batch is
            asked for. The batches are the same.
        view: the size of the part of the image that is seen, at most the stored one: a smaller one than ``image_size``
            is enlarged, and stays as sharp as it is stored. None: ``image_size``.
        memory_format: of the batches.

    Raises:
        PoolsearchError: unknown ``augment``, or ``image_size`` (``view`` where given) larger than the stored images.
    """

    def __init__(
        self,
        images: Images,
        indices: Ints,
        batch: int,
        seed: int,
        purpose: str,
        device: torch.device | str,
        image_size: ImageSize | int,
        augment: Augment,
        mean_C: Sequence[float] | Floats,
        std_C: Sequence[float] | Floats,
        feed: Feed | None = None,
        view: ImageSize | int | None = None,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        if augment not in get_args(Augment):
            raise unknown("augmentation", augment, get_args(Augment))
        size = ImageSize.of(image_size)
        _check_sizes(images, batch, size if view is None else ImageSize.of(view))
        self._part = ImageSubset(images, indices)
        self._has_masks = images.kind == "masks"
        self._order = BatchOrder(len(indices), batch, seed, purpose)
        self._asked_feed: Feed | None = feed
        self._seed = seed
        self._purpose = purpose
        self._device = torch.device(device)
        self._size = size
        self._view = view
        self._augment: Augment = augment
        self._memory_format = memory_format
        self._mean_C = torch.tensor(np.asarray(mean_C), dtype=torch.float32, device=self._device)
        self._std_C = torch.tensor(np.asarray(std_C), dtype=torch.float32, device=self._device)

    def __len__(self) -> int:
        """How many images there are in all."""
        return len(self._part)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch.

        Raises:
            PoolsearchError: there is not one.
        """
        return self._order.steps_per_epoch

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Make a training batch, augmented and normalised.

        Args:
            step: number of the batch, counted from 0 through all epochs.

        Returns:
            x_BCHW float32 and the targets, both on the device.

        Raises:
            PoolsearchError: see :attr:`steps_per_epoch`.
        """
        x_BHWC, targets = self._take(step)
        if self._has_masks:
            targets = self._augmented(targets[..., None], step, masks=True)[..., 0].to(torch.uint8).contiguous()
        return self._normalised(self._augmented(x_BHWC, step)), targets

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give every image once, in the order of the indices, not augmented.

        Args:
            size: the most images in a chunk; there are ceil(N / size) nearly equal ones.

        Yields:
            x_BCHW float32 and the targets, both on the device.
        """
        number = -(-len(self) // size)
        chunks = np.array_split(np.arange(len(self)), max(1, number))
        feed = "direct" if self._feed == "direct" else "ahead"  # each is needed once: none has to stay on the device
        take = batch_source(self._part, chunks.__getitem__, self._device, feed, number)
        for chunk in range(number):
            x_BHWC, targets = take(chunk)
            if self._has_masks:
                targets = self._central(targets[..., None], masks=True)[..., 0].contiguous()
            yield self._normalised(self._central(x_BHWC)), targets

    @cached_property
    def _feed(self) -> Feed:
        return self._asked_feed or choose_transfer(self._device.type, self._part.size, free_bytes(self._device))

    @cached_property
    def _take(self) -> Callable[[int], Batch]:
        return batch_source(self._part, self._order.numbers, self._device, self._feed)

    def _normalised(self, x_BHWC: Tensor) -> Tensor:
        return normalise(x_BHWC, self._mean_C, self._std_C, self._memory_format)

    def _central(self, x_BHWC: Tensor, masks: bool = False) -> Tensor:
        return centre(x_BHWC, self._size, self._view, nearest=masks)

    def _augmented(self, x_BHWC: Tensor, step: int, masks: bool = False) -> Tensor:
        """The images of a step, or their masks, which the same draws vary alike."""
        draw = generator(self._seed, f"{self._purpose}/augment", step)
        if self._augment == "resized-crop-flip":
            return random_resized_crop_flip(x_BHWC, self._size, draw, nearest=masks)
        x_BHWC = self._central(x_BHWC, masks)
        if self._augment == "none":
            return x_BHWC
        pad = max(1, self._size.height // 8), max(1, self._size.width // 8)
        flip = self._augment == "crop-flip"
        return pad_crop_flip(x_BHWC, draw, pad, flip, padding=IGNORED if masks else 0)


class BatchOrder:
    """Which images a step takes, as numbers below ``images``. Every epoch has a random order of its own.

    Args:
        images: how many there are.
        batch: how many a step takes.
        seed, purpose: with the number of the epoch, key its order.
    """

    def __init__(self, images: int, batch: int, seed: int, purpose: str) -> None:
        self._images = images
        self._batch = batch
        self._seed = seed
        self._purpose = purpose
        self._epoch: tuple[int, Ints] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """See :attr:`Loader.steps_per_epoch`."""
        steps = self._images // self._batch
        if steps == 0:
            raise PoolsearchError(
                f"a batch of {self._batch} is larger than the {self._images} images there are ({self._purpose}). "
                f"Set the batch to {max(1, self._images)} or less, or add images."
            )
        return steps

    def numbers(self, step: int) -> Ints:
        """The images of a step.

        Args:
            step: number of the batch, counted from 0 through all epochs.

        Returns:
            Numbers of the images, (batch,).

        Raises:
            PoolsearchError: see :attr:`Loader.steps_per_epoch`.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, generator(self._seed, self._purpose, epoch).permutation(self._images))
        return self._epoch[1][place * self._batch : (place + 1) * self._batch]


def mean_std(pixels_NHWC: npt.NDArray[np.uint8], indices: Ints) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel over some images.

    Exact: values are counted, not summed. A channel that never changes gets the deviation 1, so that it can be
    divided by.

    Args:
        pixels_NHWC: all images.
        indices: which of them to look at, at least one.

    Returns:
        Mean and standard deviation, float64 (C,) each, in units of 0..1.
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


def _check_sizes(images: Images, batch: int, size: ImageSize) -> None:
    stored = images.size
    if size.height > stored.height or size.width > stored.width:
        raise PoolsearchError(
            f"image_size is {size.plain}, but the images are stored at {stored}. Choose no more, or store them larger "
            f"with --image-size {size.plain}."
        )
    if batch < 1:
        raise PoolsearchError(f"batch is {batch}; it must be at least 1.")
