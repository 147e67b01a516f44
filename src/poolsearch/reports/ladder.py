"""The picture of placements: each network as a row of blocks that get smaller where it downsamples."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from poolsearch.errors import PoolsearchError
from poolsearch.placement import Placement
from poolsearch.reports.read import Ranked, RunData
from poolsearch.reports.theme import DEFAULT, INK, LEVELS, MUTED, WINNER, Figure, Json, rows

SHOWN = 5
ROW = 62
TALLEST = 0.84


@dataclass(frozen=True)
class Rung:
    """One row: a placement and what is written beside it."""

    placement: str
    role: str
    result: str
    cost: str
    best: bool


def ladder(data: RunData) -> Figure | None:
    """The default above the first of the ranking; None when the placement cannot be read."""
    rungs = _rungs(data)
    try:
        placements = [Placement.parse(rung.placement) for rung in rungs]
    except PoolsearchError:
        return None
    levels = sorted({level for p in placements for level in _levels(p)}, key=lambda pair: sum(pair))
    below = f" Below it: {'; '.join(rung.placement for rung in rungs[1:])}." if len(rungs) > 1 else ""
    return Figure(
        name="ladder",
        title="Where the resolution drops",
        caption=(
            "Each row is the same network with its downsampling in other places: one bar per block, input on the left; "
            "the height of a bar is its resolution. The number at the first bar of each resolution counts its blocks. "
            "Dashed lines: where the default downsamples. On the right: validation accuracy, and MACs against the "
            "default's."
        ),
        alt=f"Blocks by resolution for the default placement {data.default}.{below}",
        panels=[_chart(rungs, placements, levels)],
    )


def _rungs(data: RunData) -> list[Rung]:
    first = data.default_row
    head = _ranked_rung(first, "default") if first else Rung(data.default, "default", "", "", best=False)
    others = [row for row in data.ranking if not row.is_default][:SHOWN]
    return [head, *(_ranked_rung(row, f"rank {row.rank}") for row in others)]


def _ranked_rung(row: Ranked, role: str) -> Rung:
    role = f"default, rank {row.rank}" if row.is_default else role
    cost = "" if row.macs_ratio is None else f"{row.macs_ratio:.2f} × MACs"
    return Rung(row.placement, role, f"{row.val_accuracy:.1%}", cost, best=row.rank == 1)


def _levels(placement: Placement) -> list[tuple[int, int]]:
    """How often each block's input has been halved so far, in height and width."""
    levels: list[tuple[int, int]] = []
    height = width = 0
    for block in range(placement.length):
        down, across = placement.at(block)
        height, width = height + down, width + across
        levels.append((height, width))
    return levels


def _name(level: tuple[int, int]) -> str:
    height, width = (_fraction(exponent) for exponent in level)
    return height if height == width else f"{height} × {width}"


def _fraction(exponent: int) -> str:
    if exponent == 0:
        return "full"
    return f"1/{2**exponent}" if exponent > 0 else f"{2**-exponent}×"


def _half(level: tuple[int, int]) -> float:
    """Half the height of a bar: the geometric mean of both sides, so that a square stays true."""
    return 0.5 * TALLEST * 2.0 ** (-sum(level) / 2)


def _chart(
    rungs: list[Rung], placements: list[Placement], levels: list[tuple[int, int]]
) -> alt.LayerChart | alt.FacetChart:
    length = placements[0].length
    tallest = max(_half(level) for level in levels) / (0.5 * TALLEST)
    x = alt.X(
        "from:Q",
        title="block, from input to output",
        scale=alt.Scale(domain=[0, length], nice=False),
        axis=_block_axis(length),
    )
    y_scale = alt.Scale(domain=[-0.5, len(rungs) - 0.5], reverse=True, nice=False)
    y = alt.Y("top:Q", scale=y_scale, axis=None)
    names = [_name(level) for level in levels]
    colour = alt.Color(
        "resolution:N",
        sort=names,
        scale=alt.Scale(domain=names, range=_colours(len(names))),
        legend=alt.Legend(title="resolution", orient="top", symbolType="square", symbolSize=180, titleOrient="left"),
    )
    blocks = [block for i, p in enumerate(placements) for block in _blocks(i, rungs[i].placement, p, tallest)]
    bars = (
        alt.Chart(rows(blocks))
        .mark_rect(cornerRadius=2, stroke="white", strokeWidth=2)
        .encode(x=x, x2="to:Q", y=y, y2="bottom:Q", color=colour, tooltip=["placement:N", "block:Q", "resolution:N"])
    )
    layers = [bars, *_guides(placements[0], y, len(rungs)), *_counts(placements, tallest), *_labels(rungs)]
    return alt.layer(*layers).properties(height=ROW * len(rungs))


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


def _blocks(row: int, name: str, placement: Placement, tallest: float) -> list[Json]:
    blocks: list[Json] = []
    for i, level in enumerate(_levels(placement)):
        half = _half(level) / tallest
        blocks.append(
            {"from": i, "to": i + 1, "top": row - half, "bottom": row + half}
            | {"resolution": _name(level), "block": i + 1, "placement": name}
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


def _counts(placements: list[Placement], tallest: float) -> list[alt.Chart]:
    """How many blocks stand at each resolution, written in them where they are tall enough, else above."""
    inside: list[Json] = []
    above: list[Json] = []
    for row, placement in enumerate(placements):
        levels = _levels(placement)
        for level in dict.fromkeys(levels):
            first, count = levels.index(level), levels.count(level)
            half = _half(level) / tallest
            tall = 2 * half * ROW >= 16
            text = {"from": first + 0.5, "text": str(count), "dark": sum(level) <= 2}
            (inside if tall else above).append(text | {"top": row if tall else row - half})
    base: Json = {"x": "from:Q", "y": "top:Q", "text": "text:N"}
    pale = alt.condition("datum.dark", alt.value("white"), alt.value(INK))
    return [
        alt.Chart(rows(inside)).mark_text(fontSize=13, fontWeight="bold", baseline="middle").encode(**base, color=pale),
        alt.Chart(rows(above))
        .mark_text(fontSize=12, fontWeight="bold", baseline="bottom", dy=-2)
        .encode(**base, color=alt.value(INK)),
    ]


def _labels(rungs: list[Rung]) -> list[alt.Chart]:
    values = [{"top": i, "strong": rung.best} | vars(rung) for i, rung in enumerate(rungs)]
    chart = alt.Chart(rows(values))
    colour = alt.condition("datum.strong", alt.value(WINNER), alt.value(DEFAULT))
    big: Json = {"fontSize": 15, "fontWeight": "bold", "baseline": "bottom"}
    small: Json = {"fontSize": 12, "color": MUTED, "baseline": "top", "dy": 3}
    left: Json = {"align": "right", "dx": -12}
    right: Json = {"align": "left", "dx": 12}
    at_left, at_right = alt.value(0), alt.value("width")
    return [
        chart.mark_text(**big, **left).encode(x=at_left, y="top:Q", text="placement:N", color=colour),
        chart.mark_text(**small, **left).encode(x=at_left, y="top:Q", text="role:N"),
        chart.mark_text(**big, **right).encode(x=at_right, y="top:Q", text="result:N", color=colour),
        chart.mark_text(**small, **right).encode(x=at_right, y="top:Q", text="cost:N"),
    ]
