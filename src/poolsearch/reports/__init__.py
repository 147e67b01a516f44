"""Pages, figures and what is printed of a run: ``data`` -> ``text`` -> ``figures`` -> ``page``.

Reads run folders only; may import neither torch nor the stages.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path


def write_report(run: Path, truth: str | Path | None = None) -> Path:
    """Write ``report.html`` and ``figures/`` of the run in ``run``, whatever stages have ended.

    Args:
        run: its folder.
        truth: what to compare the ranking with: ``table6``, or the folder of a sweep; None: nothing.

    Returns:
        The path of the page.

    Raises:
        PoolsearchError: there is no run in the folder, a file of it is damaged, or the truth does not fit the run.
    """
    # Altair takes a while to import, and whoever imports this package may never write a report
    from poolsearch.reports.data.run_data import read_run
    from poolsearch.reports.figures.all_figures import figures
    from poolsearch.reports.figures.truth_agreement import rank_with_truth
    from poolsearch.reports.page.html import write_page
    from poolsearch.reports.page.sections import body

    data = read_run(run)
    beside = None if truth is None else rank_with_truth(data, truth)
    return write_page(run, f"poolsearch: {data.name}", partial(body, data, truth=beside), figures(data, beside))
