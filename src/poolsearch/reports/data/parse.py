"""The files of a run directory, one by one, with placements in their text for people; what is damaged is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import GroundTruth, MeasuredPlacement
from poolsearch.image_size import ImageSize
from poolsearch.reports.data.ranking_row import RankingRow, parse_ranking_row
from poolsearch.reports.data.score_table import Scores, read_scores
from poolsearch.samplers.successive_halving import Rung
from poolsearch.space import shown
from poolsearch.storage.files import damaged, parse_json, read_bytes, read_csv, read_json
from poolsearch.storage.json_shape import misfit
from poolsearch.storage.parquet import read_table
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import EVENT, RELAXED, RESULTS, read_metrics, read_object, read_ranking
from poolsearch.storage.trials_record import TrialsRecord, read_trials


@dataclass(frozen=True)
class ResolutionWeights:
    """The weights of the resolutions over the training, and what was found by them.

    Attributes:
        placement: that was found, for people.
        path: the resolution of every block, in halvings of the full one.
        steps: of the snapshots, T.
        weight_TLR: of each block but the first, and each resolution; NaN where the training diverged.
    """

    placement: str
    path: list[int]
    steps: list[int]
    weight_TLR: NDArray[np.float64]


def weights_of(found: Mapping[str, Any]) -> ResolutionWeights:
    """The contents of relaxed.json.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    weight_TLR = np.array(found["weights"], np.float64)
    if weight_TLR.shape[:2] != (len(found["steps"]), len(found["path"]) - 1) or weight_TLR.ndim != 3:
        raise ValueError(f"weights of shape {weight_TLR.shape}")
    return ResolutionWeights(shown(str(found["placement"])), list(found["path"]), list(found["steps"]), weight_TLR)


COSTS = ("memory", "field_height", "field_width", "latency_ms")


Json = dict[str, Any]


Cost = int | float | list[float]
"""Bytes, milliseconds, or receptive fields in pixels at the end of each resolution."""


@dataclass(frozen=True)
class TrialRecord:
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


def results_of(path: Path, test: Json) -> Json:
    """The results of the test split with placements as people read them."""
    if (wrong := misfit(test, RESULTS)) is not None:
        raise damaged(path, wrong)
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
    return test | lines | own


def event_lines(path: Path) -> list[Json]:
    """The lines of an events file; a last line cut off by an interruption is dropped.

    Lines of older versions, which called ``val_metric`` ``val_accuracy``, are given with the new name.
    """
    if not path.exists():
        return []
    lines = read_bytes(path, growing=True).splitlines()
    events: list[Json] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = parse_json(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise damaged(path, f"line {number}: {error}") from None
        if (wrong := misfit(event, EVENT)) is not None:
            raise damaged(path, f"line {number}: {wrong}")
        if "val_accuracy" in event:
            event["val_metric"] = event.pop("val_accuracy")
        events.append(event)
    return events


def ranking_of(files: RunDir) -> list[RankingRow]:
    """The lines of ranking.csv, best first."""
    ranking: list[RankingRow] = []
    for line, row in enumerate(read_ranking(files), start=2):
        try:
            ranking.append(parse_ranking_row(row))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(files.ranking, f"line {line}: {type(error).__name__} {error}") from None
    return ranking


def rungs_of(path: Path, summary: Json) -> list[Rung]:
    """The rungs in ranking.json; none where supernets ranked."""
    try:
        return [Rung(**rung) for rung in summary.get("rungs", [])]
    except TypeError as error:
        raise damaged(path, f"not a list of rungs: {error}") from None


def truth_of(folder: Path) -> list[MeasuredPlacement]:
    """The placements of a sweep in benchmark mode, best first; none of another."""
    return tested_entries(GroundTruth.of_sweep(folder))


def found_weights(path: Path) -> ResolutionWeights:
    """What a relaxed search found."""
    try:
        return weights_of(read_object(path, RELAXED))
    except ValueError as error:
        raise damaged(path, error) from None


def score_table(path: Path, ranked: list[int], default: str) -> Scores | None:
    """Scores and assignment over the search."""
    try:
        return read_scores(path, ranked, default)
    except PoolsearchError:
        raise
    except (pa.ArrowException, KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from None


def trials_of(folder: Path) -> list[TrialRecord]:
    """Every trial that has begun, by placement and seed."""
    trials: list[TrialRecord] = []
    for trial in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        if trial.name.isdigit():
            metrics = read_metrics(trial) if (trial / "metrics.json").exists() else None
            name, _, size = trial.parent.name.partition("@")
            name = shown(name) + (f" at {ImageSize.of(size)}" if size else "")
            trials.append(TrialRecord(name, int(trial.name), event_lines(trial / "events.jsonl"), metrics))
    return trials


def learned_of(files: RunDir) -> TrialsRecord | None:
    """What was trained to learn from, for a ranking by prediction."""
    found = read_trials(files)
    if found is None:
        return None
    trials = [replace(one, placement=shown(one.placement)) for one in found.trials]
    return replace(found, against=shown(found.against), trials=trials)


def costs_of(path: Path, numbers: set[int]) -> dict[str, dict[str, Cost]]:
    """What costs.parquet knows of these placements beside MACs, by placement and column."""
    table = read_table(path)
    columns = [name for name in COSTS if name in table.column_names]
    if not columns:
        return {}
    if not {"number", "placement"} <= {*table.column_names}:
        raise damaged(path, "it has no column number, placement")
    lines = table.select(["number", "placement", *columns]).to_pylist()
    return {
        shown(line["placement"]): {name: line[name] for name in columns if line[name] is not None}
        for line in lines
        if line["number"] in numbers
    }


def filters_of(path: Path) -> list[FilterSet]:
    """The lines of filters.csv."""
    lines = read_csv(path, ("member", "block", "resolution", "steps"))
    try:
        return [
            FilterSet(int(line["member"]), int(line["block"]), line["resolution"], int(line["steps"])) for line in lines
        ]
    except ValueError as error:
        raise damaged(path, error) from None


def skipped_of(path: Path) -> list[tuple[str, str]]:
    """``[{file, reason}]`` as pairs."""
    if not path.exists():
        return []
    found = read_json(path)
    if (wrong := misfit(found, [{"file": str, "reason": str}])) is not None:
        raise damaged(path, wrong)
    return [(entry["file"], entry["reason"]) for entry in found]


def tested_entries(truth: GroundTruth) -> list[MeasuredPlacement]:
    """The placements by their names for people, best first; none where they were not measured on the test split."""
    if truth.part != "test":
        return []
    named = (replace(entry, placement=shown(entry.placement)) for entry in truth.known)
    return sorted(named, key=lambda entry: (-entry.mean, entry.macs))
