"""The test images class by class: what the winner and the default are worth for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poolsearch.evaluation.metrics import Ints, per_class


def class_results(
    true_N: Ints, predicted_of: Mapping[str, Sequence[Ints]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """One line for each class: its images, and recall, precision and F1 of each network, mean over its seeds.

    Args:
        true_N: the class of each test image.
        predicted_of: what each training of each network sees in them.
        class_names: of all classes. One without test images has precision alone.
    """
    found = {name: per_class(true_N, np.stack(seeds), len(class_names)) for name, seeds in predicted_of.items()}
    images_K = np.bincount(true_N, minlength=len(class_names))
    return [
        {"class": label, "images": int(images_K[k])}
        | {
            name: {value: float(getattr(of, value)[:, k].mean()) for value in ("recall", "precision", "f1")}
            for name, of in found.items()
        }
        for k, label in enumerate(class_names)
    ]
