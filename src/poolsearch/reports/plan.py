"""What ``poolsearch plan`` prints: what each way costs, what comes after it, and which is advised."""

from __future__ import annotations

from rich import box
from rich.table import Table

from poolsearch.inspection_results import Estimate, Plan
from poolsearch.inspection_results import told as told_time
from poolsearch.progress import PlainConsole


def show_plan(found: Plan) -> None:
    """Print a plan."""
    console = PlainConsole()
    console.print(_ways(found))
    console.print(_after(found))
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(f"\nAdvised: --method {found.method}", style="bold")
    console.print(found.reason)
    console.print(f"\nPlanned in {found.seconds:.0f} s; not counted: the start and the report, a few seconds.")


def _ways(found: Plan) -> Table:
    title = f"{found.net}, {found.placements:,} placements, default {found.default}; {found.machine}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("method")
    table.add_column("trained before the ranking", overflow="fold")
    for name in ("until ranked", "range", "whole job", "memory"):
        table.add_column(name, justify="right")
    for way in found.ways:
        advised = way.method == found.method and way.members in (None, 1, found.members)
        whole = told_time((way.takes + found.after_takes).seconds)
        table.add_row(
            way.method, way.what, told_time(way.takes.seconds), _range(way.takes), whole, f"{way.memory / 1e9:.1f} GB",
            style="bold" if advised else None,
        )  # fmt: skip
    return table


def _after(found: Plan) -> Table:
    table = Table(title="After the ranking, whichever way", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("stage", "takes", "range"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in found.after:
        table.add_row(stage.name, told_time(stage.takes.seconds), _range(stage.takes))
    return table


def _range(takes: Estimate) -> str:
    return f"{told_time(takes.low)} to {told_time(takes.high)}"
