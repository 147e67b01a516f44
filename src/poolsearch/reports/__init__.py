"""The report of a run: reads a run directory only and imports no torch."""

from __future__ import annotations

from pathlib import Path

from poolsearch import files

HEAVY_SVG = 150_000
"""Above this many bytes a still picture is drawn in pixels, so that the page stays light."""


def write_report(run: Path) -> Path:
    """Write ``report.html`` and ``figures/`` of the run in ``run``, whatever stages have ended.

    Returns:
        The path of the page.

    Raises:
        PoolsearchError: there is no run in the folder, or a file of it is damaged.
    """
    # Altair takes a while to import, and whoever imports this package may never write a report
    from poolsearch.reports.page import build_page
    from poolsearch.reports.plots import figures
    from poolsearch.reports.read import read_run
    from poolsearch.reports.theme import to_png, to_svg

    data = read_run(run)
    paths = files.RunDir(run)
    drawn = figures(data)
    stills: dict[str, tuple[str, bytes]] = {}
    for figure in drawn:
        svg = to_svg(figure)
        files.write_text(paths.figures / f"{figure.name}.svg", svg)
        with files.atomic(paths.figures / f"{figure.name}.png") as temporary:
            temporary.write_bytes(to_png(svg))
        small = len(svg) <= HEAVY_SVG
        stills[figure.name] = ("image/svg+xml", svg.encode()) if small else ("image/png", to_png(svg, 1, colours=128))
    files.write_text(paths.report, build_page(data, drawn, stills))
    return paths.report
