"""The numbers of a run as rows of tables, ready to be printed or drawn."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poolsearch.evaluation.stats import pareto
from poolsearch.reports.data.answer_rows import answer_rows
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData

CHUNK = 2000


@dataclass(frozen=True)
class AnnotatedRow:
    """A line of the ranking with what only the whole table tells."""

    ranked: RankingRow
    pareto: bool
    stopped: bool

    @property
    def flags(self) -> list[str]:
        """What to point out about this placement."""
        known = (
            ("default", self.ranked.is_default),
            ("control", self.ranked.control),
            ("Pareto", self.pareto),
            ("stopped", self.stopped),
            ("outside the restricted space", self.ranked.number is None),
        )
        return [name for name, holds in known if holds]


@dataclass(frozen=True)
class RetrainedRow:
    """One placement trained alone; accuracies are None until the test split is opened."""

    placement: str
    rank: int | None
    is_winner: bool
    is_default: bool
    values: dict[int, float]
    seeds: list[int]
    unfinished: int
    macs_ratio: float | None
    seconds: float

    @property
    def flags(self) -> list[str]:
        """What to point out about this placement."""
        return [name for name, holds in (("winner", self.is_winner), ("default", self.is_default)) if holds]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds; one seed has none."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def ranked_rows(data: RunData) -> list[AnnotatedRow]:
    """The ranking, each line marked when no other placement beats it on both MACs and validation accuracy.

    Those stopped early are not marked: their accuracy is that of other images, or of a shorter training.
    """
    whole = [row for row in data.ranking if row.evaluated and not was_stopped(data, row)]
    front = _front(np.array([row.macs for row in whole], float), np.array([row.value for row in whole], float))
    on_front = {row.rank for row, on in zip(whole, front, strict=True) if on}
    return [AnnotatedRow(row, row.rank in on_front, was_stopped(data, row)) for row in data.ranking]


def was_stopped(data: RunData, row: RankingRow) -> bool:
    """Whether a placement left early: the ranking, before it saw all images, or its training, before the last rung."""
    # older runs have one bracket, and do not say how many were trained to the end
    finished = (data.ranking_summary or {}).get("finished", data.rungs[-1].placements if data.rungs else math.inf)
    return row.rank > finished or row.images != data.ranking[0].images


def _front(cost: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``stats.pareto`` in chunks: it compares all pairs, which is too much at 20,000 placements.

    A point beaten within its chunk is beaten by some point that survives, so the survivors decide.
    """
    chunks = [np.arange(start, min(start + CHUNK, len(cost))) for start in range(0, len(cost), CHUNK)]
    survivors = [chunk[pareto(cost[chunk], value[chunk])] for chunk in chunks]
    on = np.zeros(len(cost), bool)
    if survivors:
        kept = np.concatenate(survivors)
        on[kept[pareto(cost[kept], value[kept])]] = True
    return on


def retrained_rows(data: RunData) -> list[RetrainedRow]:
    """Every placement that was trained alone, by rank."""
    tested = {str(entry["placement"]): entry for entry in (data.test or {}).get("summary", [])}
    names = tested or dict.fromkeys(trial.placement for trial in data.trials if trial.placement in _finalists(data))
    found = [_retrained(data, name, tested.get(name)) for name in names]
    return sorted(found, key=lambda entry: math.inf if entry.rank is None else entry.rank)


def _finalists(data: RunData) -> set[str]:
    """Who is retrained for the verdict; all others are controls."""
    top_k = int(_dict(_dict(data.run, "settings"), "retrain").get("top_k", len(data.ranking)))
    picks = {row.pick.placement for row in answer_rows(data) if row.pick is not None}
    return {data.default, *picks, *(row.placement for row in data.ranking[:top_k])}


def _retrained(data: RunData, placement: str, tested: Json | None) -> RetrainedRow:
    ranked = next((row for row in data.ranking if row.placement == placement), None)
    trials = [trial for trial in data.trials if trial.placement == placement]
    rank = tested["rank"] if tested else (ranked.rank if ranked else None)
    winner = (data.test or {}).get("winner", data.winner.placement if data.winner else None)
    opened = cast(list[Json], (data.test or {}).get("trials", []))
    return RetrainedRow(
        placement=placement,
        rank=rank,
        is_winner=placement == winner,
        is_default=placement == data.default,
        values={int(t["seed"]): float(t.get("value", t["accuracy"])) for t in opened if t["placement"] == placement},
        seeds=[trial.seed for trial in trials],
        unfinished=sum(trial.metrics is None for trial in trials),
        macs_ratio=tested["macs_ratio"] if tested else (ranked.macs_ratio if ranked else None),
        seconds=sum(float((trial.metrics or {}).get("seconds", 0)) for trial in trials),
    )


def run_facts(data: RunData) -> dict[str, list[tuple[str, str]]]:
    """What was run on what, by heading, as pairs of name and text; what the run does not say is left out."""
    run = data.run
    versions = {"poolsearch": run.get("poolsearch"), **_dict(run, "versions")}
    groups = {
        "Data": _data_facts(_dict(run, "data"), run.get("split_hash")),
        "Network and space": [(name, value_text(value)) for name, value in _dict(run, "space").items()],
        "Weights to begin with": [(name, value_text(value)) for name, value in _dict(run, "init").items()],
        "Hardware": [(name, value_text(value)) for name, value in _dict(run, "hardware").items()],
        "Versions": [(name, value_text(value)) for name, value in versions.items() if value is not None],
        "Stages": [(str(stage.get("stage")), _duration(stage)) for stage in run.get("stages", [])],
    }
    settings = {f"Settings: {group}": _pairs(value) for group, value in _dict(run, "settings").items()}
    return {name: pairs for name, pairs in {**groups, **settings}.items() if pairs}


def _data_facts(data: Json, split_hash: object) -> list[tuple[str, str]]:
    images = _dict(data, "images")
    pairs = [
        (name, value_text(data[name]))
        for name in ("name", "fingerprint", "image_size", "channels", "value_range", "skipped")
        if name in data
    ]
    pairs += [(f"images, {name.replace('_', '-')}", value_text(count)) for name, count in images.items()]
    names = cast(list[str], data.get("class_names", []))
    shown = ", ".join(names[:50]) + (f" and {len(names) - 50} more" if len(names) > 50 else "")
    pairs += [("classes", f"{len(names)}: {shown}")] if names else []
    return [*pairs, ("split hash", value_text(split_hash))] if split_hash else pairs


def _duration(stage: Json) -> str:
    resumed = stage.get("resumed_at_step")
    tail = "" if resumed is None else f", resumed at step {resumed:,}"
    seconds = stage.get("seconds")
    return ("not finished" if seconds is None else f"{seconds:,.0f} s") + f", started {stage.get('started')}" + tail


def _dict(value: Json, name: str) -> Json:
    return cast(Json, value.get(name) or {})


def _pairs(value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [(str(name), value_text(setting)) for name, setting in cast(Json, value).items()]
    return [("", value_text(value))]


def value_text(value: Any) -> str:
    """A value of run.json for reading."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(str, cast("list[Any]", value))) or "none"
    return str(value)
