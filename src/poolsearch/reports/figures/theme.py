"""How every figure looks, and the one form in which charts go both to files and to the page.

A figure is a few panels. The page lays its panels out in a grid that follows the window's width; for the SVG and PNG
files the same panels are set side by side at a fixed width.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

Json = dict[str, Any]

INK, MUTED, FAINT, GRID = "#1f2933", "#616e7c", "#9aa5b1", "#e6e9ed"
# Okabe and Ito's palette, which stays distinct under the common colour blindnesses; roles, not names, are used
WINNER, DEFAULT, OTHER, CONTROL, FRONT = "#D55E00", "#000000", "#0072B2", "#8a94a0", "#009E73"
MEMBERS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#000000"]
# Dark to light with falling resolution: lightness alone tells the order, also in grey print
LEVELS = ["#1b2a5c", "#27698f", "#3fa593", "#a3cf62", "#f4d35e", "#fbeaa6"]
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
FILE_WIDTH = 860
LABEL = 320  # pixels of the name of a placement on an axis; Vega's own limit cuts those with two axes
PERCENT = ".1%"


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
        name: of its files and its anchor.
        title, caption: what it is and how to read it.
        alt: the same for who cannot see it.
        panels: charts without a width.
        columns: how many panels stand side by side where there is room.
    """

    name: str
    title: str
    caption: str
    alt: str
    panels: Sequence[alt.Chart | alt.LayerChart | alt.FacetChart]
    columns: int = 1


class _Rows(alt.InlineData):
    """Data that copies of a chart share: Altair copies a chart at every change of it, and nothing changes its data."""

    def __deepcopy__(self, memo: object) -> _Rows:
        return self


def rows(values: Sequence[Json]) -> alt.InlineData:
    """Inline data without Altair's limit of 5000 rows."""
    return _Rows(values=list(values))


def page_specs(figure: Figure) -> list[Json]:
    """One Vega-Lite spec per panel, as wide as the element it is put in."""
    with debug_mode(False):
        fit = alt.AutoSizeParams(type="fit-x", contains="padding")
        return [_spec(panel.properties(width="container", autosize=fit)) for panel in figure.panels]


def file_spec(figure: Figure) -> Json:
    """One Vega-Lite spec of all panels at the width of the files."""
    with debug_mode(False):
        gap = 24
        width = (FILE_WIDTH - gap * (figure.columns - 1)) / figure.columns - 70
        panels = [panel.properties(width=width) for panel in figure.panels]
        if len(panels) == 1:
            return _spec(panels[0])
        return _spec(alt.concat(*panels, columns=figure.columns, spacing=gap).resolve_scale(color="independent"))


def _spec(chart: Any) -> Json:
    """Not compared with Vega-Lite's schema, which takes longer than all else: charts differ between runs in data only,
    so that the tests compare each kind once."""
    return styled(chart).to_dict(validate=False)


def styled(chart: Any) -> Any:
    """A chart with the fonts and colours of all of them."""
    axis: Json = {
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "labelColor": MUTED,
        "titleColor": INK,
        "gridColor": GRID,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "titlePadding": 8,
    }
    return (
        chart.configure(font=FONT, background="white", padding=6)
        .configure_view(stroke=None)
        .configure_axis(**axis)
        .configure_title(
            fontSize=14,
            fontWeight="bold",
            anchor="start",
            color=INK,
            subtitleColor=MUTED,
            subtitleFontSize=12,
            offset=10,
        )
        .configure_legend(
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelColor=INK, titleColor=MUTED
        )
    )


def to_svg(figure: Figure) -> str:
    """The figure as SVG text."""
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.vegalite_to_svg(json.dumps(file_spec(figure)), vl_version=version)


def to_png(svg: str, scale: float = 2, colours: int | None = None) -> bytes:
    """An SVG of :func:`to_svg` as a PNG of ``scale`` times its size, with a palette when ``colours`` are few enough.

    Pillow writes it anew, since the converter's own files are several times larger.
    """
    import vl_convert
    from PIL import Image

    image = Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=scale))).convert("RGB")
    written = io.BytesIO()
    (image if colours is None else image.quantize(colours)).save(written, "PNG")
    return written.getvalue()


def macs_unit(largest: float) -> tuple[float, str]:
    """The divisor and the words for it with which MACs up to ``largest`` are read best."""
    for size, unit in ((1e9, "billion "), (1e6, "million "), (1e3, "thousand ")):
        if largest >= size:
            return size, unit
    return 1.0, ""
