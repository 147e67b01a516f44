"""Numbers of a comparison as people read them, for the page and for the terminal alike."""

from __future__ import annotations

from poolsearch.research.reports.comparison.values import Against, Case, Correlation, Spread

DASH = "–"


def share(value: float | None) -> str:
    """A metric."""
    return DASH if value is None else f"{value:.2%}"


def spread_text(spread: Spread) -> str:
    """Mean, deviation, and of how many."""
    if spread.mean is None:
        return DASH
    std = "" if spread.std is None else f" ± {100 * spread.std:.2f}"
    return f"{spread.mean:.2%}{std}" + ("" if spread.n is None else f" ({spread.n})")


def correlation_text(found: Correlation | None) -> str:
    """A correlation without its interval."""
    return DASH if found is None or found.value is None else f"{found.value:.2f}"


def interval_text(found: Correlation | None) -> str:
    """Its interval; empty where there is none."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{found.low:.2f} to {found.high:.2f}"


def points_text(value: float | None) -> str:
    """A regret in points."""
    return DASH if value is None else f"{100 * value:.2f}"


def against_text(found: Against | None) -> str:
    """A difference with its interval, in points."""
    if found is None:
        return DASH
    return f"{100 * found.mean:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def p_text(found: Against) -> str:
    """Its p value, escaped for HTML."""
    return f"p {found.p:.3f}" if found.p >= 0.001 else "p &lt; 0.001"


def ratio_text(value: float | None) -> str:
    """MACs, in times the default's."""
    return DASH if value is None else f"{value:.2f} ×"


def work_text(case: Case) -> str:
    """The cost of a search, in whole trainings of the default."""
    return DASH if case.work is None else f"{case.work:.2f}"


def seconds_text(case: Case) -> str:
    return DASH if case.seconds is None else f"{case.seconds:,.0f} s"


def regrets_text(first: float | None, fifth: float | None) -> str:
    """Of the first, and of the best of the first five."""
    return f"{points_text(first)} / {points_text(fifth)}"


def found_texts(case: Case) -> list[str]:
    """Every placement that was found, with the number of seeds where several found it."""
    return [f"{name} ×{count}" if count > 1 else name for name, count in case.found.items()]
