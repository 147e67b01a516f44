"""The files of a run directory, one by one, with placements in their text for people; what is damaged is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.bench.table import GroundTruth, Known
from poolsearch.errors import PoolsearchError
from poolsearch.files import read_json
from poolsearch.placement import shown
from poolsearch.reports.ranked import Ranked, ranked
from poolsearch.reports.score_table import Scores, read_scores
from poolsearch.reports.truth import tested
from poolsearch.reports.weights import Weights, weights_of
from poolsearch.rungs import Rung

COSTS = ("memory", "field_height", "field_width", "latency_ms")
TEST_KEYS = ("winner", "images", "trials", "summary", "verdict", "top1", "best_of_top", "mean_of_top")

Json = dict[str, Any]
Cost = int | float | list[float]
"""Bytes, milliseconds, or receptive fields in pixels at the end of each resolution."""


@dataclass(frozen=True)
class Trial:
    """One stand-alone training; ``metrics`` is None while it is not finished."""

    placement: str
    seed: int
    events: list[Json]
    metrics: Json | None


@dataclass(frozen=True)
class FilterSet:
    """The weights of a block for one resolution (``1x1``: halvings of height x width so far) in one member, and the
    steps that trained them."""

    member: int
    block: int
    resolution: str
    steps: int


def damaged(path: Path, why: object) -> PoolsearchError:
    """The error for a file that is not as it was written."""
    return PoolsearchError(f"{path} is damaged ({why}). Restore it, or start again in a new folder with --out.")


def json_object(path: Path, keys: Sequence[str] = ()) -> Json:
    """A JSON file that holds an object with these keys."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise damaged(path, f"it holds a {type(value).__name__}, not an object")
    return complete(path, cast(Json, value), keys)


def complete(path: Path, value: Json, keys: Sequence[str]) -> Json:
    """The value, which has all of these keys."""
    if missing := [key for key in keys if key not in value]:
        raise damaged(path, f"it lacks {', '.join(missing)}")
    return value


def results_of(path: Path, test: Json) -> Json:
    """The results of the test split with placements as people read them."""
    complete(path, test, TEST_KEYS)
    try:
        lines = {
            name: [entry | {"placement": shown(entry["placement"])} for entry in cast(list[Json], test[name])]
            for name in ("trials", "summary")
        }
        own: Json = {"winner": shown(test["winner"])}
        if "answers" in test:
            answers = cast("list[Json]", test["answers"])
            own["answers"] = [e | {"placement": e["placement"] and shown(e["placement"])} for e in answers]
        if "controls" in test:
            controls = cast("list[Json]", test["controls"])
            own["controls"] = [
                entry | {"trials": [t | {"placement": shown(t["placement"])} for t in entry["trials"]]}
                for entry in controls
            ]
    except (KeyError, TypeError) as error:
        raise damaged(path, f"not lists of placements: {error!r}") from None
    return test | lines | own


def event_lines(path: Path) -> list[Json]:
    """The lines of an events file; a last line cut off by an interruption is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    events: list[Json] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise damaged(path, f"line {number}: {error}") from None
        if not isinstance(event, dict) or "epoch" not in event:
            raise damaged(path, f"line {number} is not an object with an epoch")
        events.append(cast(Json, event))
    return events


def ranking_of(path: Path) -> list[Ranked]:
    """The lines of ranking.csv, best first."""
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    ranking: list[Ranked] = []
    for line, row in enumerate(rows, start=2):
        try:
            ranking.append(ranked(row))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, f"line {line}: {type(error).__name__} {error}") from None
    return sorted(ranking, key=lambda line: line.rank)


def rungs_of(path: Path, summary: Json) -> list[Rung]:
    """The rungs in ranking.json; none where supernets ranked."""
    try:
        return [Rung(**rung) for rung in summary.get("rungs", [])]
    except TypeError as error:
        raise damaged(path, f"not a list of rungs: {error}") from None


def truth_of(folder: Path) -> list[Known]:
    """The placements of a sweep in benchmark mode, best first; none of another."""
    return tested(GroundTruth.of_sweep(folder))


def found_weights(path: Path) -> Weights:
    """What a relaxed search found."""
    try:
        return weights_of(json_object(path))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from None


def score_table(path: Path, ranked: list[int], default: str) -> Scores | None:
    """Scores and assignment over the search."""
    try:
        return read_scores(path, ranked, default)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise damaged(path, error) from None


def trials_of(folder: Path) -> list[Trial]:
    """Every trial that has begun, by placement and seed."""
    trials: list[Trial] = []
    for trial in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        metrics = json_object(trial / "metrics.json") if (trial / "metrics.json").exists() else None
        if trial.name.isdigit():
            name, _, side = trial.parent.name.partition("@")
            name = shown(name) + (f" at {side}x{side}" if side else "")
            trials.append(Trial(name, int(trial.name), event_lines(trial / "events.jsonl"), metrics))
    return trials


def costs_of(path: Path, numbers: set[int]) -> dict[str, dict[str, Cost]]:
    """What costs.parquet knows of these placements beside MACs, by placement and column."""
    try:
        columns = [name for name in COSTS if name in pq.read_schema(path).names]
        if not columns:
            return {}
        lines = pq.read_table(path, columns=["number", "placement", *columns]).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise damaged(path, error) from None
    return {
        shown(line["placement"]): {name: line[name] for name in columns if line[name] is not None}
        for line in lines
        if line["number"] in numbers
    }


def filters_of(path: Path) -> list[FilterSet]:
    """The lines of filters.csv."""
    with path.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    try:
        return [
            FilterSet(int(line["member"]), int(line["block"]), line["resolution"], int(line["steps"])) for line in lines
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from None


def skipped_of(path: Path) -> list[tuple[str, str]]:
    """``[{file, reason}]`` as pairs."""
    if not path.exists():
        return []
    try:
        return [(str(entry["file"]), str(entry["reason"])) for entry in read_json(path)]
    except (KeyError, TypeError) as error:
        raise damaged(path, f"not a list of file and reason: {error!r}") from None
