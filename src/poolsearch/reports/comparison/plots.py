"""The charts of a comparison, each defined once for the page and for the files."""

from __future__ import annotations

from poolsearch.reports.figures.theme import Figure
from poolsearch.research.reports.comparison.costs import costs
from poolsearch.research.reports.comparison.dots import found, taus
from poolsearch.research.reports.comparison.members import members
from poolsearch.research.reports.comparison.panels import panels
from poolsearch.research.reports.comparison.values import Comparison


def figures(data: Comparison) -> list[Figure]:
    """Every figure that there are numbers for, in the order of the page."""
    made = [found(data), costs(data), members(data), taus(data), panels(data)]
    return [figure for figure in made if figure is not None]
