"""Draw docs/results/resizers/rings.png: what the learned resizers make of rings that become finer outwards.

python examples/resizers_picture.py docs/results/resizers/rings.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from poolsearch.resizers import DiffStride, DynOPool, ShapeAdaptor

SIDE, ZOOM, GAP = 96, 2, 8


def rings(side: int) -> torch.Tensor:
    """A map (1, 1, side, side) from 0 to 1, whose rings are two pixels wide at the middle of each edge."""
    place = torch.arange(side) - (side - 1) / 2
    squared = place[:, None] ** 2 + place[None, :] ** 2
    return (0.5 + 0.5 * torch.cos(torch.pi / side * squared))[None, None]


def main(path: Path) -> None:
    given = rings(SIDE)
    layers = [DiffStride(2.0), ShapeAdaptor(0.51), DynOPool(0.5), DynOPool(0.5, points=4)]
    with torch.no_grad():
        pictures = [given, *(layer(given) for layer in layers)]
    widths = [picture.shape[3] * ZOOM for picture in pictures]
    canvas = Image.new("L", (sum(widths) + GAP * (len(widths) - 1), SIDE * ZOOM), 255)
    left = 0
    for picture, width in zip(pictures, widths, strict=True):
        pixels = (picture[0, 0].clamp(0, 1).numpy() * 255).round().astype(np.uint8)
        canvas.paste(Image.fromarray(pixels).resize((width, width), Image.Resampling.NEAREST), (left, 0))
        left += width + GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
