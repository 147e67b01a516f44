"""A comparison of samplers on a table: its files, its page, and what the terminal shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import partial
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from poolsearch.errors import PoolsearchError
from poolsearch.progress import PlainConsole
from poolsearch.reports.page.html import write_page
from poolsearch.reports.page.markup import footer, or_dash, section, table
from poolsearch.reports.text.method_notes import measured_text
from poolsearch.research.bench import BenchResult, Curve, MeasuredPlacement
from poolsearch.research.reports.regret import MOST_CURVES, regret_figures
from poolsearch.space import shown
from poolsearch.storage.files import write_text

TABLE = "regret.csv"
COLUMNS = (
    "method", "trainings", "seeds", "mean", "std", "mean_low", "mean_high", "p10", "median", "p90", "found",
)  # fmt: skip

_FOUND, _LATE = "best found", ("asked late", "Kendall's tau of late draws")
_LATE_MEANS = (
    "Asked late: regret of what was asked for in the second half, on average; and Kendall's tau of how often each "
    "placement was, with the truth."
)


def check_page(folder: Path, methods: int) -> None:
    """See that a page of so many methods can be written there, before anything is played.

    Raises:
        PoolsearchError: the folder holds something else, or the methods are too many to be told apart.
    """
    if methods > MOST_CURVES:
        raise PoolsearchError(f"{methods} methods are too many for one figure: give at most {MOST_CURVES}.")
    if folder.exists() and not (folder.is_dir() and ((folder / TABLE).exists() or not any(folder.iterdir()))):
        raise PoolsearchError(f"{folder} holds something else than a bench. Choose a new folder with --out.")


def write_bench(folder: Path, found: BenchResult, command: str) -> Path:
    """Write ``regret.csv``, ``report.html`` and ``figures/``; gives the path of the page.

    Args:
        folder: where to.
        found: the comparison.
        command: that makes it again.
    """
    write_text(folder / TABLE, as_csv(found))
    title = f"poolsearch bench: {found.bandit.truth.source}"
    return write_page(folder, title, partial(_body, found, command), regret_figures(found))


def as_csv(found: BenchResult) -> str:
    """A line for each sampler and number of trainings; regrets as fractions. Placements known without one have 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in found.baselines:
        best = int(entry.regret == 0)
        writer.writerow([f"{entry.name} {entry.placement}", 0, 0, f"{entry.regret:.6g}", *[""] * 6, best])
    for curve in found.curves:
        for t, values in enumerate(_values(curve), 1):
            writer.writerow([curve.name, t, found.seeds, *("" if v != v else f"{v:.6g}" for v in values)])
    return text.getvalue()


def _values(curve: Curve) -> Iterator[tuple[float, ...]]:
    mean_T, half_T = curve.mean_T, curve.half_T
    columns = (mean_T, curve.std_T, mean_T - half_T, mean_T + half_T, *curve.band_3T, curve.found_T)
    return zip(*(column.tolist() for column in columns), strict=True)


def show_bench(found: BenchResult) -> None:
    """Print a comparison."""
    console = PlainConsole()
    lines = Table(title=_title(found), title_justify="left", box=box.SIMPLE_HEAD)
    lines.add_column("method", overflow="fold")
    for number in found.at:
        lines.add_column(f"after {number:,}", justify="right")
    for title in (_FOUND, *_LATE):
        lines.add_column(title, justify="right")
    for name, cells in _lines(found):
        lines.add_row(name, *cells)
    console.print(lines)
    console.print(f"Regret in percentage points, mean ± standard deviation over seeds. {_LATE_MEANS}")


def _lines(found: BenchResult) -> list[tuple[str, list[str]]]:
    """A name, the regret at each number of trainings, how often the best was found after all, and late draws."""
    fixed = [
        (f"{entry.name} {shown(entry.placement)}", [f"{100 * entry.regret:.2f}"] * len(found.at) + ["–"] * 3)
        for entry in found.baselines
    ]
    return fixed + [
        (
            curve.name,
            [_mean_std(curve, number - 1) for number in found.at] + [f"{curve.found_T[-1]:.0%}", *_late(curve)],
        )
        for curve in found.curves
    ]


def _mean_std(curve: Curve, t: int) -> str:
    std = float(curve.std_T[t])
    return f"{100 * curve.mean_T[t]:.2f} ± {or_dash(None if std != std else 100 * std, '.2f')}"


def _late(curve: Curve) -> list[str]:
    """The regret of what was asked for in the second half, and how its frequency agrees with the truth."""
    known = curve.late_kendall_tau_S[~np.isnan(curve.late_kendall_tau_S)]
    return [f"{100 * curve.late_regret_S.mean():.2f}", or_dash(float(known.mean()) if len(known) else None, "+.2f")]


def _title(found: BenchResult) -> str:
    truth = found.bandit.truth
    return f"{truth.source}: {len(truth.known):,} placements, {found.seeds:,} seeds of {found.draws:,} trainings"


def _body(found: BenchResult, command: str, figures: Mapping[str, str]) -> str:
    parts = [
        _head(found),
        section("How far below the best", _table(found), figures["regret"]),
        section("How much it depends on the seed", figures["regret_by_seed"]),
        section("How to read it", *(f"<p>{text}</p>" for text in _reading(found))),
        section("To run it again", f"<pre><code>{escape(command)}</code></pre>", f"<p>{escape(_source(found))}</p>"),
        footer(version("poolsearch")),
    ]
    return "\n".join(parts)


def _head(found: BenchResult) -> str:
    best = min(found.curves, key=lambda curve: float(curve.mean_T[-1]))
    regret = 100 * float(best.mean_T[-1])
    sentence = (
        f"After {found.draws:,} trainings, {best.name} has the lowest mean regret: {regret:.2f} percentage points "
        f"below the best placement, which it takes in {best.found_T[-1]:.0%} of {found.seeds:,} searches."
    )
    return (
        f"<header>\n<h1><strong>poolsearch bench</strong>: {escape(_title(found))}</h1>\n"
        f'<p class="verdict">{escape(sentence)}</p>\n<p class="detail">Nothing was trained: rewards are drawn from a '
        "table of trainings.</p>\n</header>"
    )


def _table(found: BenchResult) -> str:
    head = [
        ("method", "text"),
        *((f"after {number:,}", "") for number in found.at),
        *((title, "") for title in (_FOUND, *_LATE)),
    ]
    lines = [("", [escape(name), *cells]) for name, cells in _lines(found)]
    caption = (
        "Simple regret in percentage points after so many trainings, mean ± standard deviation over seeds; and the "
        f"part of the searches that take the best placement in the end. {_LATE_MEANS}"
    )
    return table(caption, head, lines)


def _reading(found: BenchResult) -> list[str]:
    truth, images = found.bandit.truth, found.bandit.images
    best: MeasuredPlacement = truth.best
    scored = "" if images is None else f" It is then counted on {images:,} random images, as a minibatch's score is."
    if found.bandit.rise:
        scored += (
            f" All rewards begin {100 * found.bandit.rise:g} points lower and rise in a straight line; what is taken "
            "is told without that."
        )
    return [
        "Every draw is one training of the placement asked for. Its reward is the placement's mean in the table plus "
        f"noise with the standard deviation of single trainings.{scored} The same seed has the same rewards for all.",
        "After each, the placement of the best mean reward so far is taken; of equals, the one with fewer MACs. Regret "
        f"is how far its mean in the table is below that of the best, {escape(shown(best.placement))} "
        f"({escape(measured_text(best))}). A method is worth its name where it is below random and each-once, "
        "which learn nothing from the rewards.",
        "The table's own means are of few trainings: which placement is the best is itself not certain, and small "
        "regrets mean less than the table's noise.",
    ]


def _source(found: BenchResult) -> str:
    truth = found.bandit.truth
    trainings = sorted({entry.n for entry in truth.known})
    spread = f"{trainings[0]}" if len(trainings) == 1 else f"{trainings[0]} to {trainings[-1]}"
    part = "test" if truth.part == "test" else "search-val"
    noise = f"{100 * found.bandit.std_A.min():.2f} to {100 * found.bandit.std_A.max():.2f}"
    return (
        f"Table: {truth.source}, {len(truth.known):,} placements, means of {spread} trainings each, measured on the "
        f"{part} images; noise {noise} percentage points. Seeds: {found.seeds:,}, all from {found.seed}."
    )
