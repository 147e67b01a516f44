"""Feature maps as one picture: a row for each view of a supernet, a column for each block."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from poolsearch.reports.figures.theme import INK, LEVELS, MUTED

TILE = 48
"""Pixels of a map's side."""
_GAP, _CELL_GAP = 2, 8
_MARGIN, _LABEL = 10, 180
_HEADER, _CAPTION, _BAND = 30, 18, TILE + 16
_FONT = 15
_SMALL = 12


@dataclass(frozen=True)
class MapGrid:
    """What is drawn.

    Attributes:
        rows: the name of each row.
        images: the name of each image; the rows are drawn anew for each.
        pixels_SHWC: the images.
        maps: for each row, for each block, maps (images, channels, H, W) from 0 to 255.
    """

    rows: Sequence[str]
    images: Sequence[str]
    pixels_SHWC: NDArray[np.uint8]
    maps: Sequence[Sequence[NDArray[np.uint8]]]

    @property
    def blocks(self) -> int:
        """The columns."""
        return len(self.maps[0])

    @property
    def side(self) -> int:
        """How many maps stand side by side in a cell."""
        return int(np.ceil(np.sqrt(max(maps.shape[1] for row in self.maps for maps in row))))


def draw_grid(grid: MapGrid) -> bytes:
    """The picture as PNG. Pixels of coarse maps are drawn larger, so that all maps have one size."""
    cell = grid.side * TILE + (grid.side - 1) * _GAP
    width = _MARGIN + _LABEL + grid.blocks * (cell + _CELL_GAP)
    band = _BAND + len(grid.rows) * (cell + _CAPTION)
    picture = Image.new("RGB", (width, _HEADER + len(grid.images) * band), "white")
    draw = ImageDraw.Draw(picture)
    for block in range(grid.blocks):
        x = _MARGIN + _LABEL + block * (cell + _CELL_GAP)
        draw.text((x, 6), f"block {block + 1}", fill=INK, font=ImageFont.load_default(_FONT))
    for number, name in enumerate(grid.images):
        top = _HEADER + number * band
        pixels_HWC = grid.pixels_SHWC[number]
        shown = pixels_HWC[..., :3] if pixels_HWC.shape[-1] >= 3 else pixels_HWC[..., 0]  # of many channels the first
        thumbnail = Image.fromarray(shown).resize((TILE, TILE), Image.Resampling.NEAREST)
        picture.paste(thumbnail, (_MARGIN, top + 4))
        text = f"an image of class {name}"
        draw.text((_MARGIN + TILE + 10, top + TILE // 2 - 5), text, fill=MUTED, font=ImageFont.load_default(_FONT))
        for place, row in enumerate(grid.rows):
            _draw_row(picture, draw, grid, number, place, row, top + _BAND + place * (cell + _CAPTION))
    written = io.BytesIO()
    picture.quantize(128).save(written, "PNG", optimize=True)
    return written.getvalue()


def _draw_row(
    picture: Image.Image, draw: ImageDraw.ImageDraw, grid: MapGrid, number: int, place: int, name: str, top: int
) -> None:
    cell = grid.side * TILE + (grid.side - 1) * _GAP
    label, small = ImageFont.load_default(_FONT), ImageFont.load_default(_SMALL)
    draw.multiline_text((_MARGIN, top + cell // 2 - 18), name.replace(", ", ",\n"), fill=INK, font=label)
    for block, maps in enumerate(grid.maps[place]):
        x = _MARGIN + _LABEL + block * (cell + _CELL_GAP)
        for k, map_HW in enumerate(maps[number]):
            at = x + k % grid.side * (TILE + _GAP), top + k // grid.side * (TILE + _GAP)
            picture.paste(coloured(map_HW).resize((TILE, TILE), Image.Resampling.NEAREST), at)
        height, wide = maps.shape[2:]
        draw.text((x, top + cell + 1), f"{height}x{wide}", fill=MUTED, font=small)


def coloured(map_HW: NDArray[np.uint8]) -> Image.Image:
    """A map from dark, 0, to light, 255."""
    stops_C3 = np.array([[int(level[i : i + 2], 16) for i in (1, 3, 5)] for level in LEVELS], float)
    places = np.linspace(0, len(LEVELS) - 1, 256)
    table = np.stack([np.interp(places, np.arange(len(LEVELS)), stops_C3[:, c]) for c in range(3)], 1)
    return Image.fromarray(np.round(table).astype(np.uint8)[map_HW])
