"""A page and its figures on disk: the one way in which every report of this package is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poolsearch.reports.figures.theme import Figure, to_png, to_svg
from poolsearch.reports.page.html import Body, build_page
from poolsearch.storage import files
from poolsearch.storage.disk import replacing

HEAVY_SVG = 150_000
"""Above this many bytes a still picture is drawn in pixels, so that the page stays light."""


def write_page(folder: Path, title: str, body: Body, figures: Sequence[Figure]) -> Path:
    """Write ``report.html`` and ``figures/`` into a folder.

    Args:
        folder: of a run, or of what else has a page.
        title: of the window.
        body: what stands on the page, given the HTML of each figure by its name.
        figures: what to draw.

    Returns:
        The path of the page.
    """
    paths = files.RunDir(folder)
    stills: dict[str, tuple[str, bytes]] = {}
    for figure in figures:
        svg = to_svg(figure)
        files.write_text(paths.figures / f"{figure.name}.svg", svg)
        with replacing(paths.figures / f"{figure.name}.png") as temporary:
            temporary.write_bytes(to_png(svg))
        small = len(svg) <= HEAVY_SVG
        stills[figure.name] = ("image/svg+xml", svg.encode()) if small else ("image/png", to_png(svg, 1, colours=128))
    # whoever reads a run may write its page: the digests of the folder are kept by the process that holds it
    with replacing(paths.report) as temporary:
        temporary.write_text(build_page(title, body, figures, stills), encoding="utf-8")
    return paths.report
