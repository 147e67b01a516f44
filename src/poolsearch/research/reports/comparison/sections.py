"""The page of a comparison, in its order. Every text that comes from its file passes through ``escape``."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from poolsearch.reports.data.rows import value_text
from poolsearch.reports.figures.theme import Figure
from poolsearch.reports.page.markup import caveat_list, footer, section
from poolsearch.research.reports.comparison.caveats import warnings
from poolsearch.research.reports.comparison.costs import costs
from poolsearch.research.reports.comparison.dots import found_truth, kendall_taus
from poolsearch.research.reports.comparison.findings import detail_sentence, finding_sentence
from poolsearch.research.reports.comparison.members import members
from poolsearch.research.reports.comparison.panels import panels
from poolsearch.research.reports.comparison.tables import agreements, differences, methods, seeds
from poolsearch.research.reports.comparison.values import Comparison, share


def body(data: Comparison, figures: Mapping[str, str]) -> str:
    """All sections that have something to say.

    Args:
        data: the comparison.
        figures: HTML of each figure by its name.
    """
    parts = [
        _head(data),
        section("What each method found", figures.get("found"), methods(data)),
        section("Beyond chance?", differences(data)),
        section("What it costs", figures.get("costs")),
        section("Does the mixture pay?", figures.get("members")),
        section("How well the supernets rank", figures.get("taus"), figures.get("panels"), agreements(data)),
        section("What to doubt", caveat_list(warnings(data))),
        section("Details", seeds(data), _command(data), _facts(data)),
        footer(data.version),
    ]
    return "\n".join(part for part in parts if part)


def _head(data: Comparison) -> str:
    return (
        f"<header>\n<h1><strong>poolsearch</strong>: methods compared, {escape(data.on)}</h1>\n"
        f'<p class="verdict">{escape(finding_sentence(data))}</p>\n'
        f'<p class="detail">{escape(detail_sentence(data))}</p>\n</header>'
    )


def _command(data: Comparison) -> str:
    command = f"<pre><code>{escape(data.command)}</code></pre>"
    return f"<h3>To run it again</h3>\n{command}" if data.command else ""


def _facts(data: Comparison) -> str:
    truth = data.truth
    known: list[tuple[str, object]] = [
        ("network", data.net), ("width", data.width), ("default", data.default), ("placements", data.placements),
        ("data", data.data), ("training images", data.images), ("metric", data.metric),
        ("seeds of each search", data.seeds), ("equal training: epochs in all", data.total_epochs),
        ("ground truth", truth.source), ("measured on", f"{truth.part} images"),
        ("placements with a truth", truth.placements), ("trainings of each", truth.seeds),
        ("best that is known", f"{truth.best}, {share(truth.best_mean)}" if truth.best else None),
    ]  # fmt: skip
    lines = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value_text(value))}</td></tr>'
        for name, value in known
        if value is not None
    )
    caption = "<caption><span>What was compared</span></caption>"
    return f'<div class="scroll" tabindex="0"><table class="facts">{caption}\n<tbody>\n{lines}\n</tbody></table></div>'


def figures(data: Comparison) -> list[Figure]:
    """Every figure that there are numbers for, in the order of the page."""
    made = [found_truth(data), costs(data), members(data), kendall_taus(data), panels(data)]
    return [figure for figure in made if figure is not None]
