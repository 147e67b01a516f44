"""The picture of placements: each network as a row of blocks that get smaller where it downsamples."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.rows import was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.theme import DEFAULT, INK, LEVELS, MUTED, WINNER, Figure, Json, rows
from poolsearch.reports.text.prediction_notes import points_text
from poolsearch.space import Placement

SHOWN = 5
ROW = 62
SPLIT_ROW = 104  # where a bar has two halves, each with its number
TALLEST = 0.84
LEAST_INSIDE = 16  # pixels of a bar that a number fits into
AXES = ("height", "width")


@dataclass(frozen=True)
class LadderRow:
    """One row: a placement and what is written beside it."""

    placement: str
    role: str
    result: str
    cost: str
    best: bool


@dataclass(frozen=True)
class Scale:
    """How sizes are drawn.

    Attributes:
        split: the upper half of a bar is the height, the lower half the width; else both are one.
        tallest: what the largest map's size is divided by.
    """

    split: bool
    tallest: float

    @property
    def row(self) -> int:
        """Pixels of a row."""
        return SPLIT_ROW if self.split else ROW

    def half(self, exponent: int) -> float:
        """Half the height of a bar, in rows, for a map that was halved so often."""
        return 0.5 * TALLEST * 2.0**-exponent / self.tallest


def ladder(data: RunData) -> Figure | None:
    """The default above the first of the ranking; None when the placement cannot be read."""
    entries = _entries(data)
    try:
        placements = [Placement.parse(entry.placement) for entry in entries]
    except PoolsearchError:
        return None
    exponents = sorted({e for p in placements for level in _levels(p) for e in level})
    scale = Scale(any(h != w for p in placements for h, w in _levels(p)), 2.0 ** -exponents[0])
    below = f" Below it: {'; '.join(entry.placement for entry in entries[1:])}." if len(entries) > 1 else ""
    return Figure(
        name="ladder",
        title="Where the resolution drops",
        caption=_caption(data, scale.split),
        alt=f"Blocks by resolution for the default placement {data.default}.{below}",
        panels=[_chart(entries, placements, exponents, scale)],
    )


def _caption(data: RunData, split: bool) -> str:
    bars = "the height of a bar is its resolution"
    if split:
        bars = "the upper half of a bar is the resolution of its height, the lower half that of its width"
    known = f"validation {data.metric}" if data.shows_metric else f"predicted points of {data.metric}"
    texts = [
        "Each row is the same network with its downsampling in other places: one bar per block, input on the left; "
        f"{bars}. The number at the first bar of each resolution counts its blocks. Dashed lines: where the default "
        f"downsamples. On the right: {known}, and MACs against the default's.",
        data.notation,
    ]
    return " ".join(filter(None, texts))


def _entries(data: RunData) -> list[LadderRow]:
    first = data.default_row
    head = _ranked_entry(data, first, "default") if first else LadderRow(data.default, "default", "", "", best=False)
    others = [row for row in data.ranking if not row.is_default][:SHOWN]
    return [head, *(_ranked_entry(data, row, f"rank {row.rank}") for row in others)]


def _ranked_entry(data: RunData, row: RankingRow, role: str) -> LadderRow:
    role = f"default, rank {row.rank}" if row.is_default else role
    role += ", stopped" if was_stopped(data, row) else ""
    cost = "" if row.macs_ratio is None else f"{row.macs_ratio:.2f} × MACs"
    known = row.told(".1%") if data.shows_metric else points_text(row, interval=False)
    return LadderRow(row.placement, role, known, cost, best=row.rank == 1)


def _levels(placement: Placement) -> list[tuple[int, int]]:
    """How often each block's input has been halved so far, in height and width."""
    levels: list[tuple[int, int]] = []
    height = width = 0
    for block in range(placement.length):
        down, across = placement.at(block)
        height, width = height + down, width + across
        levels.append((height, width))
    return levels


def _fraction(exponent: int) -> str:
    if exponent == 0:
        return "full"
    return f"1/{2**exponent}" if exponent > 0 else f"{2**-exponent}×"


def _chart(
    entries: list[LadderRow], placements: list[Placement], exponents: list[int], scale: Scale
) -> alt.LayerChart | alt.FacetChart:
    length = placements[0].length
    x = alt.X(
        "from:Q",
        title="block, from input to output",
        scale=alt.Scale(domain=[0, length], nice=False),
        axis=_block_axis(length),
    )
    y_scale = alt.Scale(domain=[-0.5, len(entries) - 0.5], reverse=True, nice=False)
    y = alt.Y("top:Q", scale=y_scale, axis=None)
    names = [_fraction(exponent) for exponent in exponents]
    colour = alt.Color(
        "resolution:N",
        sort=names,
        scale=alt.Scale(domain=names, range=_colours(len(names))),
        legend=alt.Legend(title="resolution", orient="top", symbolType="square", symbolSize=180, titleOrient="left"),
    )
    blocks = [block for i, p in enumerate(placements) for block in _blocks(i, entries[i].placement, p, scale)]
    tips = ["placement:N", "block:Q", *(["axis:N"] if scale.split else []), "resolution:N"]
    bars = (
        alt.Chart(rows(blocks))
        .mark_rect(cornerRadius=2, stroke="white", strokeWidth=2)
        .encode(x=x, x2="to:Q", y=y, y2="bottom:Q", color=colour, tooltip=tips)
    )
    layers = [bars, *_guides(placements[0], y, len(entries)), *_counts(placements, scale), *_labels(entries)]
    return alt.layer(*layers).properties(height=scale.row * len(entries))


def _block_axis(length: int) -> alt.Axis:
    middles = [i + 0.5 for i in range(length)]
    return alt.Axis(
        values=middles,
        labelExpr="format(datum.value + 0.5, 'd')",
        grid=False,
        ticks=False,
        domain=False,
        labelOverlap=True,
    )


def _colours(count: int) -> list[str]:
    return [LEVELS[min(i, len(LEVELS) - 1)] for i in range(count)]


def _blocks(row: int, name: str, placement: Placement, scale: Scale) -> list[Json]:
    blocks: list[Json] = []
    for i, level in enumerate(_levels(placement)):
        whole = {"from": i, "to": i + 1, "block": i + 1, "placement": name}
        up, down = map(scale.half, level)
        if not scale.split:
            blocks.append(whole | {"top": row - up, "bottom": row + down, "resolution": _fraction(level[0])})
            continue
        for axis, exponent, edges in zip(AXES, level, ((row - up, row), (row, row + down)), strict=True):
            blocks.append(
                whole | {"top": edges[0], "bottom": edges[1], "resolution": _fraction(exponent), "axis": axis}
            )
    return blocks


def _guides(default: Placement, y: alt.Y, count: int) -> list[alt.Chart]:
    """Where the default downsamples, through every row, so that the eye need not travel."""
    levels = _levels(default)
    sites = [
        {"from": i, "top": -0.5, "bottom": count - 0.5} for i in range(1, len(levels)) if levels[i] != levels[i - 1]
    ]
    chart = alt.Chart(rows(sites)).encode(x="from:Q", y=y, y2="bottom:Q")
    return [
        chart.mark_rule(color="white", strokeWidth=4),
        chart.mark_rule(color=DEFAULT, strokeWidth=1.5, strokeDash=[5, 3]),
    ]


def _counts(placements: list[Placement], scale: Scale) -> list[alt.Chart]:
    """How many blocks stand at each resolution, written in them where they are tall enough, else beside."""
    found = [count for row, p in enumerate(placements) for count in _counts_of(row, p, scale)]
    base: Json = {"x": "from:Q", "y": "top:Q", "text": "text:N"}
    pale = alt.condition("datum.dark", alt.value("white"), alt.value(INK))
    inside: Json = {"fontSize": 13, "fontWeight": "bold", "baseline": "middle"}
    outside: Json = {"fontSize": 12, "fontWeight": "bold"}

    def at(place: str) -> alt.Chart:
        return alt.Chart(rows([count for count in found if count["place"] == place]))

    return [
        at("inside").mark_text(**inside).encode(**base, color=pale),
        at("above").mark_text(**outside, baseline="bottom", dy=-2).encode(**base, color=alt.value(INK)),
        at("below").mark_text(**outside, baseline="top", dy=3).encode(**base, color=alt.value(INK)),
    ]


def _counts_of(row: int, placement: Placement, scale: Scale) -> list[Json]:
    counts: list[Json] = []
    for axis, way in ((0, -1), (1, 1)) if scale.split else ((0, -1),):
        levels = [level[axis] for level in _levels(placement)]
        for exponent in dict.fromkeys(levels):
            half = scale.half(exponent)
            inside = scale.row * half * (1 if scale.split else 2) >= LEAST_INSIDE
            middle = row + way * half / 2 if scale.split else row
            counts.append(
                {
                    "from": levels.index(exponent) + 0.5,
                    "top": middle if inside else row + way * half,
                    "text": str(levels.count(exponent)),
                    "place": "inside" if inside else "above" if way < 0 else "below",
                    "dark": exponent <= 1,
                }
            )
    return counts


def _labels(entries: list[LadderRow]) -> list[alt.Chart]:
    values = [
        {"top": i, "strong": entry.best} | vars(entry) | _lines(entry.placement) for i, entry in enumerate(entries)
    ]
    chart = alt.Chart(rows(values))
    colour = alt.condition("datum.strong", alt.value(WINNER), alt.value(DEFAULT))
    big: Json = {"fontSize": 15, "fontWeight": "bold", "baseline": "bottom"}
    small: Json = {"fontSize": 12, "color": MUTED, "baseline": "top", "dy": 3}
    left: Json = {"align": "right", "dx": -12}
    right: Json = {"align": "left", "dx": 12}
    at_left, at_right = alt.value(0), alt.value("width")
    return [
        chart.mark_text(**big, **left, dy=-18).encode(x=at_left, y="top:Q", text="above:N", color=colour),
        chart.mark_text(**big, **left).encode(x=at_left, y="top:Q", text="line:N", color=colour),
        chart.mark_text(**small, **left).encode(x=at_left, y="top:Q", text="role:N"),
        chart.mark_text(**big, **right).encode(x=at_right, y="top:Q", text="result:N", color=colour),
        chart.mark_text(**small, **right).encode(x=at_right, y="top:Q", text="cost:N"),
    ]


def _lines(placement: str) -> Json:
    """Height above width, where they are given apart."""
    above, _, line = placement.rpartition(" · ")
    return {"above": above, "line": line}
