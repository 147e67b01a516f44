"""Small real data sets in real layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poolsearch.data.decode import decode
from poolsearch.data.form import Form
from poolsearch.data.image_file import Raw
from poolsearch.image_size import ImageSize

WriteFolder = Callable[..., Path]


@pytest.fixture
def decoded() -> Callable[[Raw, int], np.ndarray]:
    """Decodes to an array of (side, side, 3)."""
    return lambda raw, side: np.frombuffer(decode(raw, Form(ImageSize(side, side))), np.uint8).reshape(side, side, 3)


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Writes ``count`` images of random pixels into each class folder; returns the folder of classes."""

    def write(
        where: str = "data",
        classes: tuple[str, ...] = ("cat", "dog"),
        count: int = 5,
        side: int = 12,
        suffix: str = "png",
    ) -> Path:
        draw = np.random.default_rng(len(where))
        root = tmp_path / where
        for name in classes:
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number:03d}.{suffix}")
        return root

    return write
