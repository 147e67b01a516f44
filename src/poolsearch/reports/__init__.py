"""Pages and figures: reads folders only and imports no torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path


def write_report(run: Path) -> Path:
    """Write ``report.html`` and ``figures/`` of the run in ``run``, whatever stages have ended.

    Returns:
        The path of the page.

    Raises:
        PoolsearchError: there is no run in the folder, or a file of it is damaged.
    """
    # Altair takes a while to import, and whoever imports this package may never write a report
    from poolsearch.reports.plots import figures
    from poolsearch.reports.read import read_run
    from poolsearch.reports.sections import body
    from poolsearch.reports.write import write_page

    data = read_run(run)
    return write_page(run, f"poolsearch: {data.name}", partial(body, data), figures(data))


def write_comparison(folder: Path) -> Path:
    """Stub until the page exists."""
    return folder / "comparison.json"
