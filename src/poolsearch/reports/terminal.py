"""What a command prints: the ranking, the retrained placements, the verdict, where the page is; a check; costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from poolsearch.calibration.model import LEVEL
from poolsearch.evaluation.budget_picks import limit_text
from poolsearch.inspection_results import CheckReport, CostReport, Estimate, HoursFit, Plan, not_enough, shows_text
from poolsearch.inspection_results import duration_text as told_time
from poolsearch.progress import PlainConsole
from poolsearch.reports.data.answer_rows import AnswerRow, answer_rows, ranked_again
from poolsearch.reports.data.run_data import RunData, read_run
from poolsearch.reports.text.caveats import grave_warnings, warnings
from poolsearch.reports.text.method_notes import BY_MACS, FIRST, is_settled, truth_sentence
from poolsearch.reports.text.prediction_notes import learned_sentence, points_text, rule_sentence
from poolsearch.reports.text.verdict_text import looks_sentence
from poolsearch.samplers.successive_halving import rungs_text
from poolsearch.space import shown
from poolsearch.storage.files import read_json
from poolsearch.storage.locks import is_held
from poolsearch.storage.run_dir import RunDir
from poolsearch.texts import command

_ROWS = 10


_PROBLEMS = 10


def show(out: Path) -> None:
    """Print the results of the run in ``out``, as far as they are there."""
    files = RunDir(out)
    console = PlainConsole(soft_wrap=True)
    if files.sweep_table.exists() and (data := read_run(out)).truth:
        console.print(truth_sentence(data.truth, data.default, data.metric))
        return
    if not files.ranking.exists():
        return
    data = read_run(out)
    console.print(_ranking(data))
    if data.rungs:
        console.print(f"By trainings alone. {rungs_text(str((data.ranking_summary or {})['method']), data.rungs)}")
    if data.kind == "untrained":
        console.print(BY_MACS)
    if is_settled(data):
        console.print(FIRST)
    if data.predicts:
        console.print(f"{rule_sentence(data)} {learned_sentence(data)}")
    console.print(_answers(answer_rows(data), data.test is not None, data.predicts))
    if data.test is not None:
        console.print(_retrained(data.test, data.metric))
        console.print(
            f"First of the ranking {data.test['top1']:.2%}, best of the finalists {data.test['best_of_top']:.2%}, "
            f"their mean {data.test['mean_of_top']:.2%}"
        )
        for note in data.test.get("notes", []):
            console.print(note)
        if len(data.looks) > 1:
            console.print(looks_sentence(data))
        console.print(f"\n{data.test['verdict']}", style="bold")
        if ranked_again(data):
            console.print(f"The ranking has other picks now: {command('retrain', '--out', out)} looks at them.")
    first = grave_warnings(data)
    for doubt in first:
        console.print(f"Doubt: {doubt}")
    if first and (more := len(warnings(data)) - len(first)):
        console.print(f"The report has {more} more reason{'s' if more > 1 else ''} for doubt.")
    if files.report.exists():
        console.print(f"\nReport: {files.report}")


def show_joined(out: Path) -> None:
    """Print what becomes of the trainings of the run in ``out``, now that all have ended."""
    files = RunDir(out)
    if files.sweep_table.exists():
        text = f"What came of them is in {files.sweep_table}."
    elif is_held(out):
        text = "The process that holds the folder writes what came of them."
    else:
        again = command("search", "--resume", "--out", out)
        text = f"No process holds the folder: write what came of them by {again}"
    PlainConsole(soft_wrap=True).print(f"All trainings have ended. {text}")


def show_export(folder: Path) -> None:
    """Print what was exported, and what the run says about it."""
    found = read_json(folder / "export.json")
    console = PlainConsole(soft_wrap=True)
    told = found["verdict"] or "no verdict: the test split was not opened."
    console.print(f"\nWhat the run found: {told}")
    console.print(f"Exported: {folder}: {', '.join(found['files'])}")


def show_recipe(sentences: Sequence[str], page: Path) -> None:
    """Print what came out of a recipe."""
    console = PlainConsole(soft_wrap=True)
    for sentence in sentences:
        console.print(sentence)
    console.print(f"\nReport: {page}")


def _answers(rows: Sequence[AnswerRow], tested: bool, predicts: bool) -> Table:
    value = "prediction" if predicts else "val"
    table = Table(
        box=box.SIMPLE_HEAD, title="Answers: the first of the ranking within each limit on MACs", title_justify="left"
    )
    for name in ("limit", "pick", "MACs", *(("test", "against the default", "beats it") if tested else (value,))):
        table.add_column(name, justify="left" if name in ("limit", "pick") else "right", no_wrap=name != "pick")
    for row in rows:
        pick = row.pick
        if pick is None:
            table.add_row(limit_text(row.limit), "none was ranked")
            continue
        cells = [pick.placement + (" (default)" if pick.is_default else "")]
        cells.append("" if pick.macs_ratio is None else f"{pick.macs_ratio:.2f}x")
        if not tested:
            cells.append(points_text(pick) if predicts else pick.told(".2%"))
        else:
            probability = (row.default or {}).get("probability")
            cells += ["" if row.tested is None else f"{row.tested['mean']:.2%}", _points(row.default)]
            cells.append("" if probability is None else f"{probability:.1%}")
        table.add_row(limit_text(row.limit), *cells, style="bold" if row.better else None)
    return table


def _points(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    difference = found["difference"]
    return f"{100 * difference['mean']:+.2f} ({100 * difference['low']:+.2f} to {100 * difference['high']:+.2f})"


def _ranking(data: RunData) -> Table:
    rows = data.ranking
    stopped = sum(row.images != rows[0].images for row in rows)
    early = f", {stopped:,} of them stopped early" if stopped else ""
    if data.predicts:
        return _predicted(data)
    where = "by MACs alone" if data.kind == "untrained" else "on the search-val half"
    table = Table(title=f"Ranking {where} ({len(rows):,} placements{early})", title_justify="left")
    for name in ("rank", "placement", f"val {data.metric}", "95% interval", "MACs"):
        table.add_column(name, justify="left" if name == "placement" else "right")
    for row in rows[:_ROWS] + [row for row in rows[_ROWS:] if row.is_default]:
        outside = " (outside the restricted space)" if row.number is None else ""
        table.add_row(
            str(row.rank), row.placement + (" (default)" if row.is_default else outside), row.told(".2%"),
            f"{row.low:.1%} to {row.high:.1%}" if row.evaluated else "–",
            "" if row.macs_ratio is None else f"{row.macs_ratio:.2f}x", style="bold" if row.is_default else None,
        )  # fmt: skip
    return table


def _predicted(data: RunData) -> Table:
    rows = data.ranking
    table = Table(title=f"Ranking by prediction ({len(rows):,} placements)", title_justify="left")
    for name in (
        "rank",
        "placement",
        "points",
        f"{LEVEL:.0%} interval",
        "trials",
        *(("val",) if data.shows_metric else ()),
        "MACs",
    ):
        table.add_column(name, justify="left" if name == "placement" else "right")
    for row in rows[:_ROWS] + [row for row in rows[_ROWS:] if row.is_default]:
        known = row.prediction is not None
        table.add_row(
            str(row.rank), row.placement + (" (default)" if row.is_default else ""), points_text(row, interval=False),
            f"{row.prediction_low:+.2f} to {row.prediction_high:+.2f}" if known else "–", str(row.trials or 0),
            *((row.told(".2%"),) if data.shows_metric else ()),
            "" if row.macs_ratio is None else f"{row.macs_ratio:.2f}x",
            style="bold" if row.is_default else None,
        )  # fmt: skip
    return table


def _retrained(test: dict[str, Any], metric: str) -> Table:
    table = Table(
        title=f"Retrained on all training images, test {metric} ({test['images']:,} images)", title_justify="left"
    )
    for name in ("placement", f"test {metric}", "seeds", "MACs"):
        table.add_column(name, justify="left" if name == "placement" else "right")
    for row in test["summary"]:
        spread = "" if row["std"] is None else f" ± {row['std']:.2%}"
        table.add_row(
            shown(row["placement"]) + (" (default)" if row["is_default"] else ""), f"{row['mean']:.2%}{spread}",
            str(row["n"]), f"{row['macs_ratio']:.2f}x",
        )  # fmt: skip
    return table


def show_check(found: CheckReport) -> None:
    """Print what a check of a network looked at, and what of it does not hold."""
    console = PlainConsole()
    console.print(_blocks(found))
    console.print(_proof(found))
    for note in found.notes:
        console.print(f"{note[0].upper()}{note[1:]}.")
    if found.holds:
        console.print("\nEverything holds.", style="bold")
        return
    console.print(f"\nDoes not hold ({len(found.problems):,}):", style="bold")
    for placement, problem in found.problems[:_PROBLEMS]:
        console.print(f"  {placement}: {problem}")
    if len(found.problems) > _PROBLEMS:
        console.print(f"  and {len(found.problems) - _PROBLEMS:,} more")


def show_costs(found: CostReport) -> None:
    """Print what the placements of a network cost."""
    console = PlainConsole()
    part = "" if found.looked_at == found.placements else f", of which {found.looked_at:,} random ones were looked at"
    title = f"{found.net} on {found.image_size}: {found.placements:,} placements{part}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "default", "smallest", "10 %", "median", "90 %", "largest"):
        table.add_column(name, justify="right" if name else "left")
    for column in found.columns:
        table.add_row(column.title, column.default, *column.quantiles)
    console.print(table)
    console.print(f"default: {found.default}")
    for column in found.columns:
        console.print(f"{column.title}: {column.note}")
    if found.budget:
        console.print(f"\n{found.within:,} of {found.looked_at:,} placements are within {found.budget}.", style="bold")


def _blocks(found: CheckReport) -> Table:
    title = f"{found.net}: how each block halves its maps where there is a site before it"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in ("block", "how"):
        table.add_column(name, overflow="fold")
    table.add_column("default")
    for number, block in enumerate(found.blocks):
        where, _, how = block.partition(": ")
        table.add_row(str(number + 1), where, how, "halves" if number in found.halved else "")
    return table


def _proof(found: CheckReport) -> Table:
    table = Table(title="Proof", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    each = ", height and width each by itself" if found.axes == "h,w" else ""
    table.add_row("space", f"{found.placements:,} placements{each}; the default is {found.default}")
    part = "all of them" if found.proved == found.placements else f"{found.proved:,} of them, drawn at random"
    table.add_row("sizes of maps", f"of {part}, for images of {found.image_size}")
    table.add_row("gradients", f"of {found.ran:,} of these, run forward and backward")
    table.add_row(f"{found.outputs} of the default", _gap(found))
    against = "" if found.own else "; compared with the original's by name and shape"
    table.add_row("parameters", f"{found.parameters:,}, shared by all placements{against}")
    table.add_row("training step", f"{found.step}; then an evaluation")
    return table


def _gap(found: CheckReport) -> str:
    if found.own:
        return "no original to compare with: this network of poolsearch is made to be searched"
    if found.logit_gap is None:
        return f"not the original's: --op {found.op} pools where that is strided" if found.op != "native" else "–"
    return f"largest difference to the original's: {found.logit_gap:.3g}, in evaluation and in training"


def show_plan(found: Plan) -> None:
    """Print a plan."""
    if found.fit is not None:
        _show_fit(found, found.fit)
        return
    console = PlainConsole()
    console.print(_ways(found))
    console.print(_after(found))
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(f"\nAdvised: --method {found.method}", style="bold")
    console.print(found.reason)
    console.print(f"\nPlanned in {found.seconds:.0f} s; not counted: the start and the report, a few seconds.")


def _show_fit(found: Plan, fit: HoursFit) -> None:
    console = PlainConsole(soft_wrap=True)  # the command is to be copied
    table = Table(title=_planned_for(found), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("setting", "value", "why"):
        table.add_column(name)
    for one in fit.settings:
        value = " ".join(map(str, one.value)) if isinstance(one.value, tuple) else str(one.value)
        table.add_row(f"--{one.name.replace('_', '-')}", value or "(none)", one.why)
    console.print(table)
    stages = Table(title="Takes", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("stage", "takes", "range"):
        stages.add_column(name, justify="left" if name == "stage" else "right")
    parts = [(stage.name, stage.takes) for stage in (*found.ways[0].stages, *found.after)]
    for name, takes in (*parts, ("start and report", fit.start)):
        stages.add_row(name, told_time(takes.seconds), _range(takes))
    stages.add_row("all", told_time(fit.takes.seconds), _range(fit.takes), style="bold")
    console.print(stages)
    for warning in found.warnings:
        console.print(f"warning: {warning}")
    console.print(shows_text(fit))
    if fit.fits:
        console.print(f"\nFits into {fit.hours:g} h:\n\n    {fit.command}", style="bold")
    else:
        console.print(f"\n{not_enough(fit)}", style="bold")
    console.print(f"\nPlanned in {found.seconds:.0f} s.")


def _planned_for(found: Plan) -> str:
    return f"{found.net}, {found.placements:,} placements, default {found.default}; {found.machine}"


def _ways(found: Plan) -> Table:
    table = Table(title=_planned_for(found), title_justify="left", box=box.SIMPLE_HEAD)
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
