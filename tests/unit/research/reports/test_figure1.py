"""Figure 1's page in parts: what it says, the picture of maps, and which line is which."""

import io

import numpy as np
import pytest
from PIL import Image

from poolsearch.reports.figures.theme import LEVELS, page_specs
from poolsearch.research.reports.feature_maps import TILE, MapGrid, coloured, draw_grid
from poolsearch.research.reports.figure1_charts import representations
from poolsearch.research.reports.figure1_words import caveats, sentences, view_name


def difference(arm, role, mean, low, high):
    return {"arm": arm, "role": role, "n": 3, "mean": mean, "low": low, "high": high}


@pytest.fixture
def data():
    return {
        "seeds": 3,
        "placements": {"early": "1,1,8", "late": "8,1,1"},
        "searches": [{"results": [{"role": "early", "macs": 100}]}, {"results": [{"role": "late", "macs": 790}]}],
        "differences": [
            difference("both", "early", -0.0312, -0.05, -0.0124), difference("both", "late", -0.01, -0.03, 0.01),
            difference("both-twice", "early", 0.004, 0.001, 0.007),
            difference("both-twice", "late", -0.002, None, None),
        ],
        "cka": [
            {"seed": 0, "a": "early/early", "b": "late/late", "blocks": [1.0, 0.5]},
            {"seed": 0, "a": "both/late", "b": "late/late", "blocks": [0.9, 0.4]},
            {"seed": 0, "a": "both-twice/early", "b": "both-twice/late", "blocks": [0.8, None]},
            {"seed": 0, "a": "late/late", "b": "late/late again", "blocks": [0.7, 0.3]},
        ],
    }  # fmt: skip


def test_the_sentences_tell_losses_and_what_the_interval_leaves_open(data):
    first, second, figures = sentences(data)
    assert first.endswith("early pooling loses 3.1 points and late pooling loses 1.0 points (its interval holds zero).")
    assert "early pooling gains 0.4 points and late pooling loses 0.2 points (one seed: no interval)." in second
    assert "early of both -3.12 (-5.00 to -1.24)" in figures


def test_few_seeds_and_unequal_macs_are_doubted(data):
    few, macs, *_ = caveats(data)
    assert few.startswith("3 seeds") and "7.9 times the MACs" in macs


def test_names_of_views():
    assert view_name("early", "early") == "early alone"
    assert view_name("both-twice", "late") == "late of both, twice the steps"


def test_every_comparison_is_a_line_in_its_panel(data):
    specs = page_specs(representations(data))
    apart, moved = ({row["line"] for rows in spec["datasets"].values() for row in rows} for spec in specs)
    assert apart == {"each alone", "in one supernet: both, twice the steps", "late alone, another seed"}
    assert moved == {"late of both", "late alone, another seed"}


def test_colours_go_from_dark_to_light():
    picture = np.asarray(coloured(np.array([[0, 255]], np.uint8)))
    as_text = ["#" + "".join(f"{part:02x}" for part in pixel) for pixel in picture[0]]
    assert as_text == [LEVELS[0], LEVELS[-1]]


def test_a_coarse_map_is_drawn_with_larger_pixels():
    coarse = np.array([[[[255, 0], [0, 0]]]], np.uint8)
    grid = MapGrid(["one"], ["cat"], np.zeros((1, 4, 4, 3), np.uint8), [[coarse]])
    pixels = np.asarray(Image.open(io.BytesIO(draw_grid(grid))).convert("RGB")).astype(int)
    light = np.array([int(LEVELS[-1][i : i + 2], 16) for i in (1, 3, 5)])
    rows, columns = np.nonzero((abs(pixels - light) <= 2).all(2))
    assert len(rows) == (TILE // 2) ** 2
    assert (np.ptp(rows), np.ptp(columns)) == (TILE // 2 - 1, TILE // 2 - 1)


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_images_of_any_number_of_channels_are_shown(channels):
    grid = MapGrid(["one"], ["cat"], np.full((1, 4, 4, channels), 200, np.uint8), [[np.zeros((1, 1, 2, 2), np.uint8)]])
    assert Image.open(io.BytesIO(draw_grid(grid))).size[0] > TILE
