"""The parts of the page, in its order. Every text that comes from a run passes through ``escape``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.rows import AnnotatedRow, RetrainedRow, ranked_rows, retrained_rows, run_facts
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.figures.truth_agreement import TITLE, RankingWithTruth, agreement_sentence, truth_note
from poolsearch.reports.page.markup import badges, caveat_list, footer, macs_text, or_dash, section, table
from poolsearch.reports.page.tables import answers, by_halvings, class_table, controls, filter_table, truth_table
from poolsearch.reports.text.caveats import early_stops, grave_warnings, warnings
from poolsearch.reports.text.method_notes import BY_MACS, FIRST, is_settled, path_description, trainings_summary
from poolsearch.reports.text.prediction_notes import learned_sentence, rule_sentence
from poolsearch.reports.text.verdict_text import verdict
from poolsearch.settings import Settings
from poolsearch.storage.run_record import typed
from poolsearch.texts import command

SHOWN_ROWS = 20


MOST_ROWS = 1000


MOST_SKIPPED = 200


def body(data: RunData, figures: Mapping[str, str], truth: RankingWithTruth | None = None) -> str:
    """All sections that have something to say.

    Args:
        data: the run.
        figures: HTML of each figure by its name.
        truth: the ranking beside a ground truth, where one was given.
    """
    parts = [
        _head(data),
        section("Answers at a compute budget", answers(data), figures.get("alone_macs"), figures.get("accuracy_macs")),
        section("Where the resolution drops", figures.get("ladder")),
        section("Every placement by itself", _truth(data)),
        section("What the relaxed search found", _found(data), figures.get("relaxed")),
        section("Ranking", by_halvings(data), _ranking(data), figures.get("predictions")),
        section(TITLE, _agreement(data, truth), figures.get("truth")),
        section("Trained alone", _retrain(data), figures.get("retrain"), controls(data)),
        section("Class by class", _classes(data)),
        _search(data, figures),
        section("What to doubt", caveat_list([*warnings(data), *(truth.differs if truth else ())])),
        section("Skipped files", _skipped(data)),
        section("The run", _command(data), _facts(data)),
        footer(str(data.run.get("poolsearch", ""))),
    ]
    return "\n".join(part for part in parts if part)


def _head(data: RunData) -> str:
    said = verdict(data)
    dataset = cast(Json, data.run.get("data") or {})
    space = cast(Json, data.run.get("space") or {})
    # of a path only its end: pages are passed on, and where the images lay is nobody else's business
    on = f"{_end(space.get('net')).removeprefix('object:')} on {_end(dataset.get('name'))}"
    doubts = grave_warnings(data)
    first = f"<p>To be doubted first:</p>\n{caveat_list(doubts)}\n" if doubts else ""
    command = "" if said.command is None else f"<p>To go on:</p>\n<pre><code>{escape(said.command)}</code></pre>"
    return (
        f"<header>\n<h1><strong>poolsearch</strong>: {escape(data.name)}, {escape(on)}</h1>\n"
        f'<p class="verdict">{escape(said.sentence)}</p>\n<p class="detail">{escape(said.detail)}</p>\n'
        f"{first}{command}\n</header>"
    )


def _end(name: object) -> str:
    """Of a path its last part; any other name as it is."""
    return PurePath(str(name or "")).name


def _found(data: RunData) -> str:
    return "" if data.relaxed is None else f"<p>{escape(path_description(data))}</p>"


def _ranking(data: RunData) -> str:
    lines = ranked_rows(data)
    if not lines:
        return ""
    images = (data.ranking_summary or {}).get("images")
    on = f" on {images:,} images" if images else ""
    caption = f"Validation {data.metric}{on} with its 95% interval. Pareto: nothing ranked is both cheaper and better."
    caption = BY_MACS if data.kind == "untrained" else "" if data.kind == "trials" else caption
    order = FIRST if is_settled(data) else ""
    rule = [rule_sentence(data), learned_sentence(data)]
    caption = " ".join(filter(None, [*rule, caption, order, data.notation, trainings_summary(data), early_stops(data)]))
    first = _ranking_table(data, caption, lines[:SHOWN_ROWS])
    rest = lines[SHOWN_ROWS:MOST_ROWS]
    if not rest:
        return first
    left = len(lines) - SHOWN_ROWS - len(rest)
    more = f" The last {left:,} are only in ranking.csv." if left else ""
    caption = f"Ranks {SHOWN_ROWS + 1} to {SHOWN_ROWS + len(rest)}.{more}"
    return f"{first}\n<details><summary>{len(rest)} more</summary>{_ranking_table(data, caption, rest)}</details>"


def _ranking_table(data: RunData, caption: str, lines: Sequence[AnnotatedRow]) -> str:
    mixture = data.members > 1
    head = [("rank", ""), ("placement", "text")]
    head += [("prediction", ""), ("trials", "")] if data.predicts else []
    head += [(f"validation {data.metric}", "")] if data.shows_metric else []
    head += [("score", "")] if data.kind == "sampled" else []
    head += [("member", "")] if mixture else []
    head += [("MACs", ""), ("vs. default", ""), ("remarks", "text")]
    cells = [_ranking_cells(data, row) for row in lines]
    return table(caption, head, [(_role(row), line) for row, line in zip(lines, cells, strict=True)])


def _role(row: AnnotatedRow) -> str:
    return "winner" if row.ranked.rank == 1 else "default" if row.ranked.is_default else ""


def _supernet_cells(data: RunData, row: AnnotatedRow) -> list[str]:
    """The score, and the member where there are several; nothing where placements were not drawn and scored."""
    score = [or_dash(data.known_score(row.ranked), ".2%")] if data.kind == "sampled" else []
    return score + ([or_dash(row.ranked.member, "d")] if data.members > 1 else [])


def _prediction_cells(data: RunData, row: AnnotatedRow) -> list[str]:
    """What is expected of a training, and how many there were; nothing where the ranking is by another rule."""
    ranked = row.ranked
    if not data.predicts:
        return []
    if ranked.prediction is None:
        return ["–", or_dash(ranked.trials, "d")]
    interval = f" <small>{ranked.prediction_low:+.2f} to {ranked.prediction_high:+.2f}</small>"
    return [f"{ranked.prediction:+.2f}{interval}", or_dash(ranked.trials, "d")]


def _ranking_cells(data: RunData, row: AnnotatedRow) -> list[str]:
    ranked = row.ranked
    value = ranked.told(".2%")
    value += f" <small>{100 * ranked.low:.2f} to {100 * ranked.high:.2f}</small>" if ranked.evaluated else ""
    cells = [str(ranked.rank), escape(ranked.placement), *_prediction_cells(data, row)]
    cells += [*([value] if data.shows_metric else []), *_supernet_cells(data, row)]
    return [*cells, macs_text(ranked.macs), or_dash(ranked.macs_ratio, ".2f", " ×"), badges(row.flags)]


def _agreement(data: RunData, truth: RankingWithTruth | None) -> str:
    return "" if truth is None else f"<p>{escape(agreement_sentence(data, truth))} {escape(truth_note(truth))}</p>"


def _truth(data: RunData) -> str:
    return truth_table(data.truth, data.default, data.metric) if data.truth else ""


def _retrain(data: RunData) -> str:
    entries = retrained_rows(data)
    if not entries:
        return ""
    start = "given weights" if data.run.get("init") else "scratch"
    caption = f"Mean and standard deviation over seeds of networks trained from {start} on all training data. "
    caption += "The test split has not been opened yet." if data.test is None else _finalists(data.test, data.metric)
    head = [("rank", ""), ("placement", "text"), (f"test {data.metric}", ""), ("trained", ""), ("seeds", "text")]
    head += [("MACs vs. default", ""), ("seconds", ""), ("remarks", "text")]
    return table(caption, head, [(next(iter(entry.flags), ""), _retrain_cells(entry)) for entry in entries])


def _finalists(test: Json, metric: str) -> str:
    """The three figures of the paper's Table 7."""
    return (
        f"Test {metric} of the first of the ranking: {test['top1']:.2%}. Of the finalists, the best reached "
        f"{test['best_of_top']:.2%} and their mean is {test['mean_of_top']:.2%}; these two are shown, "
        "never chosen from."
    )


def _classes(data: RunData) -> str:
    found = class_table(data)
    return "" if found is None else table(*found)


def _retrain_cells(entry: RetrainedRow) -> list[str]:
    spread = "" if entry.std is None else f" <small>± {100 * entry.std:.2f}</small>"
    mean = "–" if entry.mean is None else f"{entry.mean:.2%}{spread}"
    ended = len(entry.seeds) - entry.unfinished
    count = str(len(entry.values) or ended) if not entry.unfinished else f"{ended} of {len(entry.seeds)}"
    seeds = ", ".join(str(seed) for seed in entry.seeds or sorted(entry.values))
    macs = or_dash(entry.macs_ratio, ".2f", " ×")
    cells = [or_dash(entry.rank, "d"), escape(entry.placement), mean, count, seeds, macs]
    return [*cells, f"{entry.seconds:,.0f}", badges(entry.flags)]


def _search(data: RunData, figures: Mapping[str, str]) -> str:
    titles = {
        "assignment": "Which member learns which placement",
        "weights": "How the weights of the resolutions went",
        "curves": "Curves",
        "scores": "How well the scores rank",
    }
    parts = [f"<h3>{title}</h3>\n{figures[name]}" for name, title in titles.items() if name in figures]
    return section("How the search went", *parts, filter_table(data))


def _skipped(data: RunData) -> str:
    if not data.skipped:
        return ""
    shown = data.skipped[:MOST_SKIPPED]
    tail = f" The first {len(shown)} are shown; all are in skipped.json." if len(data.skipped) > len(shown) else ""
    caption = f"Left out of the data: {len(data.skipped):,}.{tail}"
    lines = [("", [escape(path), escape(reason)]) for path, reason in shown]
    return table(caption, [("file", "wrap"), ("why", "wrap")], lines)


_OBJECT = " object:"  # before the name of a network or task that was given as a Python object


def _command(data: RunData) -> str:
    command = rerun_command(data.run)
    shown = "" if command is None else f"<pre><code>{escape(command)}</code></pre>"
    if command is not None and _OBJECT in command:
        shown = "<p>It was begun from Python with objects, which no command can name: poolsearch.run(...).</p>"
    return f"<h3>To run it again</h3>\n{shown}\n<p>All settings, as they were used, are below and in run.json.</p>"


def _facts(data: RunData) -> str:
    tables = [_facts_table(title, pairs) for title, pairs in run_facts(data).items()]
    summary = "Data, space, settings, versions, hardware, seconds per stage"
    return "\n".join([f"<details><summary>{summary}</summary>", *tables, "</details>"])


def _facts_table(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    lines = "\n".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in pairs)
    caption = f"<caption><span>{escape(title)}</span></caption>"
    return f'<div class="scroll" tabindex="0"><table class="facts">{caption}\n<tbody>\n{lines}\n</tbody></table></div>'


def rerun_command(run: Json) -> str | None:
    """The command that makes the run again: what was given and is not the default; None when that cannot be told."""
    try:
        given = Settings.from_record(run.get("given") or run.get("settings") or {})
    except (PoolsearchError, AttributeError, TypeError):
        return None  # settings of another version of this package
    return command("run", *typed(given))
