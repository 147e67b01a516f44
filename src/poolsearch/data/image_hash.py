"""Two hashes of an image, of 64 bits each, taken once when it is decoded: of its bytes, and of its look. Pure NumPy.

The look is the signs of the 8 x 8 lowest frequencies of the grey picture (DCT-II of 32 x 32 pixels). It changes little
with size, compression, brightness and contrast. Images of fewer than 32 pixels a side have no look, 0: there is too
little in them, and different digits of a class look like copies of each other.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

LEAST_SIDE = 32
"""Smaller images have no look."""

_FREQUENCIES = 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def image_hashes(pixels_NHWC: npt.NDArray[np.uint8]) -> Bits:
    """The hash of the bytes and that of the look of each image.

    Args:
        pixels_NHWC: images of one size; three channels are red, green and blue, others weigh alike.

    Returns:
        uint64 (N, 2): of the bytes, of the look (0 for images of fewer than 32 pixels a side).
    """
    exact_N = byte_hashes(pixels_NHWC)
    height, width = pixels_NHWC.shape[1:3]
    if min(height, width) < LEAST_SIDE:
        return np.stack([exact_N, np.zeros_like(exact_N)], 1)
    channels = pixels_NHWC.shape[3]
    grey = _LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)
    rows_NHX = pixels_NHWC.reshape(-1, height, width * channels).astype(np.float32)
    wave_NFF = _waves(height) @ rows_NHX @ np.kron(_waves(width), grey).T
    wave_NFF[:, 0, 0] = 0  # brightness is no look
    look_N = np.packbits((wave_NFF > 0).reshape(-1, _FREQUENCIES**2), axis=1).view("<u8")[:, 0]
    return np.stack([exact_N, look_N], 1)


def byte_hashes(pixels_NHWC: npt.NDArray[np.uint8]) -> Bits:
    """The hash of the bytes of each image.

    Args:
        pixels_NHWC: images of one size.

    Returns:
        uint64 (N,).
    """
    digests = [hashlib.blake2b(image, digest_size=8).digest() for image in pixels_NHWC]
    return np.frombuffer(b"".join(digests), "<u8")


@cache
def _waves(side: int) -> Floats:
    """From a row of pixels, averaged to 32, to its lowest frequencies, shape (8, side)."""
    k, n = np.arange(_FREQUENCIES)[:, None], np.arange(LEAST_SIDE)
    return (np.cos(np.pi * k * (2 * n + 1) / (2 * LEAST_SIDE)) @ averages(side, LEAST_SIDE)).astype(np.float32)


@cache
def averages(side: int, parts: int) -> Floats:
    """From a row of pixels to the averages of stretches of equal length, as a matrix.

    Args:
        side: pixels in the row.
        parts: how many stretches, of ``side / parts`` pixels each, which need not be a whole number.

    Returns:
        float32 (parts, side), to be multiplied from the left.
    """
    end = np.arange(parts + 1) * side / parts
    pixel = np.arange(side)
    covered = np.minimum(end[1:, None], pixel + 1) - np.maximum(end[:-1, None], pixel)
    return (np.clip(covered, 0, None) * parts / side).astype(np.float32)
