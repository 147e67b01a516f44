"""The page, figures and tables of a comparison of methods: reads the folder that ``poolsearch compare`` leaves."""

from __future__ import annotations

from functools import partial
from pathlib import Path


def write_comparison(folder: Path) -> Path:
    """Write ``report.html``, ``figures/`` and ``comparison.csv`` of the comparison in ``folder``.

    Returns:
        The path of the page.

    Raises:
        PoolsearchError: there is no comparison in the folder, or its file is damaged.
    """
    # Altair takes a while to import, and whoever imports this package may never write a report
    from poolsearch.reports.page.html import write_page
    from poolsearch.research.reports.comparison.read import read_comparison
    from poolsearch.research.reports.comparison.sections import body, figures
    from poolsearch.research.reports.comparison.tables import as_csv
    from poolsearch.storage.files import write_text

    data = read_comparison(folder)
    write_text(folder / "comparison.csv", as_csv(data))
    return write_page(folder, f"poolsearch: methods on {data.on}", partial(body, data), figures(data))


def findings_of(folder: Path) -> list[str]:
    """What the comparison in ``folder`` says, as sentences.

    Raises:
        PoolsearchError: as :func:`write_comparison`.
    """
    from poolsearch.research.reports.comparison.findings import detail_sentence, finding_sentence
    from poolsearch.research.reports.comparison.read import read_comparison

    data = read_comparison(folder)
    return [finding_sentence(data), detail_sentence(data)]


def show_comparison(folder: Path) -> None:
    """Print the comparison in ``folder``: the references, every case, and what was found.

    Raises:
        PoolsearchError: as :func:`write_comparison`.
    """
    from poolsearch.research.reports.comparison.read import read_comparison
    from poolsearch.research.reports.comparison.terminal import show

    show(read_comparison(folder), folder)
