"""How alike two representations of the same images are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def linear_cka(a_ND: ArrayLike, b_NE: ArrayLike) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019, "Similarity of neural network representations revisited",
    section 3): ``|B'A|^2 / (|A'A| |B'B|)`` of the centred features, with Frobenius norms.

    1 where the features agree up to rotation, reflection and one scale, 0 where none of one is linearly related to any
    of the other. Of few images with many features it is too high: two random matrices of N images and D features each
    have about ``D / (N + D)``.

    Args:
        a_ND, b_NE: features of the same N images; they may have different numbers of features.

    Returns:
        A number in [0, 1]; NaN where one of the two is the same for all images.

    Raises:
        ValueError: they are not two matrices with the same number of at least two images.
    """
    first, second = np.asarray(a_ND, np.float64), np.asarray(b_NE, np.float64)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or len(first) < 2:
        raise ValueError(f"need features of the same images, at least two, got {first.shape} and {second.shape}")
    first, second = first - first.mean(0), second - second.mean(0)
    within = float(np.linalg.norm(first.T @ first) * np.linalg.norm(second.T @ second))
    return float(np.linalg.norm(second.T @ first) ** 2) / within if within > 0 else math.nan
