"""A comparison in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from poolsearch.progress import PlainConsole
from poolsearch.research.reports.comparison.caveats import warnings
from poolsearch.research.reports.comparison.findings import detail_sentence, finding_sentence
from poolsearch.research.reports.comparison.values import (
    DASH,
    CaseResult,
    Comparison,
    CorrelationSummary,
    Reference,
    correlation_text,
    found_placement_texts,
    interval_text,
    ratio_text,
    regrets_text,
    share,
    spread_text,
    work_text,
)
from poolsearch.storage.run_dir import RunDir


def show(data: Comparison, folder: Path) -> None:
    """Print the references, every case, and what was found."""
    console = PlainConsole(soft_wrap=True)
    console.print(_table(data))
    console.print(
        "Kendall's tau and regret are of the order on validation; given MACs: the correlation with the truth of what "
        "log MACs and its square leave of both; regret in points, of the first and of the best of five; cost of the "
        "search, in whole trainings of the default."
    )
    console.print(f"\n{finding_sentence(data)}", style="bold")
    console.print(detail_sentence(data))
    for doubt in warnings(data):
        console.print(f"- {doubt}")
    if (report := RunDir(folder).report).exists():
        console.print(f"\nReport: {report}")


def _table(data: Comparison) -> Table:
    title = f"{data.on}: methods by {data.truth.source} ({data.truth.part} images)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("method", "found", f"true {data.metric}", "MACs", "Kendall's tau", "given MACs", "regret", "cost"):
        table.add_column(name, justify="left" if name in ("method", "found") else "right", overflow="fold")
    for entry in data.references:
        table.add_row(*_reference(entry), style="bold" if entry.name == "default" else "dim")
    for case in data.cases:
        table.add_row(*_case(case))
    return table


def _reference(entry: Reference) -> list[str]:
    regret = regrets_text(entry.regret1, entry.regret5)
    return [
        entry.name, entry.pick or DASH, share(entry.truth), ratio_text(entry.macs_ratio),
        _kendall_tau(entry.kendall_tau), DASH, regret, "",
    ]  # fmt: skip


def _case(case: CaseResult) -> list[str]:
    return [
        case.label, _found(case), spread_text(case.truth), ratio_text(case.macs_ratio),
        _kendall_tau(case.kendall_tau.get("ranking")), correlation_text(case.given_macs.get("ranking")),
        regrets_text(case.regret1.mean, case.regret5.mean), work_text(case),
    ]  # fmt: skip


def _found(case: CaseResult) -> str:
    """Those outside the space, whose names are long, are named below the table."""
    inside = [
        text for name, text in zip(case.found, found_placement_texts(case), strict=True) if name not in case.outside
    ]
    return "; ".join([*inside, *([f"{len(case.outside)} outside the space"] if case.outside else [])])


def _kendall_tau(found: CorrelationSummary | None) -> str:
    interval = interval_text(found)
    return correlation_text(found) + (f" ({interval})" if interval else "")
