"""Image folders as a user has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of class folders of JPEGs of mixed sizes, without any split; each class has a colour of its own."""

    def make(classes: int = 3, images: int = 24, low: int = 40, high: int = 90, name: str = "photos") -> Path:
        draw = np.random.default_rng(0)
        root = tmp_path / name
        for c in range(classes):
            folder = root / f"class{c}"
            folder.mkdir(parents=True)
            colour = np.eye(3)[c % 3] * 120 + 60
            for i in range(images):
                height, width = draw.integers(low, high, 2)
                pixels = (colour + draw.normal(0, 30, (height, width, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03}.jpg")
        return root

    return make
