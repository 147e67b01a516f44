"""What a relaxed search leaves: relaxed.json as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.space import shown


@dataclass(frozen=True)
class Weights:
    """The weights of the resolutions over the training, and what was found by them.

    Attributes:
        placement: that was found, for people.
        path: the resolution of every block, in halvings of the full one.
        steps: of the snapshots, T.
        weight_TLR: of each block but the first, and each resolution; NaN where the training diverged.
    """

    placement: str
    path: list[int]
    steps: list[int]
    weight_TLR: NDArray[np.float64]


def weights_of(found: Mapping[str, Any]) -> Weights:
    """The contents of relaxed.json.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    weight_TLR = np.array(found["weights"], np.float64)
    if weight_TLR.shape[:2] != (len(found["steps"]), len(found["path"]) - 1) or weight_TLR.ndim != 3:
        raise ValueError(f"weights of shape {weight_TLR.shape}")
    return Weights(shown(str(found["placement"])), list(found["path"]), list(found["steps"]), weight_TLR)
