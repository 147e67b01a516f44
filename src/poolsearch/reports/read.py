"""Read a run directory into one frozen value; stages that have not run yet leave their part empty.

Placements have their text for people from here on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from poolsearch.errors import PoolsearchError
from poolsearch.files import RunDir, read_json
from poolsearch.methods import Kind, kind_of
from poolsearch.metrics import in_words
from poolsearch.placement import shown
from poolsearch.reports.ranked import Ranked, ranked
from poolsearch.reports.score_table import Scores, read_scores
from poolsearch.reports.truth import Truth, read_truth
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


@dataclass(frozen=True)
class RunData:
    """All that the report needs of one run.

    Attributes:
        name: of the folder.
        out: what to give as ``--out``; never an absolute path, as pages are passed on.
        test: ``test.json`` once it holds results.
        test_opened: when the test split was opened, also while its results are still missing.
        rungs: what a method without supernets trained; empty for others, and before there is a ranking.
        scored: trainings of such a method that have a validation accuracy.
        truth: of a sweep in benchmark mode that has ended, every placement on the test split, best first.
        relaxed: what a relaxed search found; None for other methods, and before its end.
        costs: of each ranked placement, what ``costs.parquet`` knows beside MACs, by the name of its column.
        filters: how often each set of weights was trained, where a block has several.
    """

    name: str
    out: str
    run: Json
    events: list[Json]
    scores: Scores | None
    ranking: list[Ranked]
    ranking_summary: Json | None
    trials: list[Trial]
    test: Json | None
    test_opened: str | None
    skipped: list[tuple[str, str]]
    rungs: Sequence[Rung] = ()
    scored: int = 0
    truth: Sequence[Truth] = ()
    relaxed: Weights | None = None
    costs: dict[str, dict[str, Cost]] = field(default_factory=dict[str, dict[str, Cost]])
    filters: list[FilterSet] = field(default_factory=list[FilterSet])

    @cached_property
    def members(self) -> int:
        """M; 1 when nothing says otherwise."""
        if self.scores is not None:
            return self.scores.members
        return int(self.run.get("settings", {}).get("search", {}).get("members", 1))

    @cached_property
    def untrained(self) -> frozenset[tuple[int, int]]:
        """(number, member) of the pairs never trained: their score is only the value that it began with."""
        if self.scores is None:
            return frozenset()
        number, member, count = (self.scores.last[name].to_numpy() for name in ("number", "member", "count"))
        never = count == 0
        return frozenset(zip(number[never].tolist(), member[never].tolist(), strict=True))

    def known_score(self, row: Ranked) -> float | None:
        """The score of a ranked placement, None when it says nothing."""
        return None if (row.number, row.member) in self.untrained else row.score

    @property
    def method(self) -> str:
        """How the placements are ranked."""
        return str(self.run.get("settings", {}).get("search", {}).get("method", "mixture"))

    @property
    def kind(self) -> Kind:
        """What the method trains."""
        return kind_of(self.method)

    @property
    def metric(self) -> str:
        """What placements are ranked and tested by, in words."""
        return in_words(str(self.run.get("settings", {}).get("data", {}).get("metric", "accuracy")))

    @property
    def default(self) -> str:
        """The network's own placement."""
        return shown(str(self.run.get("space", {}).get("default", "")))

    @property
    def notation(self) -> str:
        """How placements are written, where that has to be said."""
        space = self.run.get("space", {})
        if space.get("paths") == "any":
            return (
                "A list counts the blocks at each resolution. Where a placement rises again, it is written as the "
                "exponents of height x width before each block but the first: 1 halves, 2 divides by four, -1 doubles."
            )
        if space.get("axes") != "h,w":
            return ""
        return "h and w count the blocks at each resolution of the height and of the width; one list counts both."

    @property
    def winner(self) -> Ranked | None:
        """The first of the ranking."""
        return self.ranking[0] if self.ranking else None

    @property
    def default_row(self) -> Ranked | None:
        return next((row for row in self.ranking if row.is_default), None)


def read_run(folder: Path) -> RunData:
    """Read the run in ``folder``.

    Raises:
        PoolsearchError: there is no run in it, or one of its files is damaged.
    """
    files = RunDir(folder)
    run = _object(files.run)
    default = str(cast(Json, run.get("space") or {}).get("default", ""))
    ranking = _ranking(files.ranking) if files.ranking.exists() else []
    numbers = [row.number for row in ranking if row.number is not None]
    test = _object(files.test, ("opened",)) if files.test.exists() else {}
    summary = _object(files.ranking_summary) if files.ranking_summary.exists() else None
    name = folder.resolve().name
    return RunData(
        name=name,
        out=f"runs/{name}" if folder.resolve().parent.name == "runs" else name,
        run=run,
        events=_lines(files.events),
        scores=_scores(files.scores, numbers, default) if files.scores.exists() else None,
        ranking=ranking,
        ranking_summary=summary,
        trials=_trials(files.retrain),
        test=_readable(files.test, _complete(files.test, test, TEST_KEYS)) if "verdict" in test else None,
        test_opened=test.get("opened"),
        skipped=_skipped(files.skipped),
        rungs=_rungs(files.ranking_summary, summary or {}),
        relaxed=_weights(files.relaxed) if files.relaxed.exists() else None,
        scored=sum(1 for _ in files.sweep.glob("*/*/metrics.json")),
        truth=_truth(files.sweep_table) if files.sweep_table.exists() else (),
        costs=_costs(files.costs, {*numbers}) if files.costs.exists() else {},
        filters=_filters(files.filters) if files.filters.exists() else [],
    )


def _damaged(path: Path, why: object) -> PoolsearchError:
    return PoolsearchError(f"{path} is damaged ({why}). Restore it, or start again in a new folder with --out.")


def _object(path: Path, keys: Sequence[str] = ()) -> Json:
    value = read_json(path)
    if not isinstance(value, dict):
        raise _damaged(path, f"it holds a {type(value).__name__}, not an object")
    return _complete(path, cast(Json, value), keys)


def _complete(path: Path, value: Json, keys: Sequence[str]) -> Json:
    if missing := [key for key in keys if key not in value]:
        raise _damaged(path, f"it lacks {', '.join(missing)}")
    return value


def _readable(path: Path, test: Json) -> Json:
    """The results of the test split with placements as people read them."""
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
        raise _damaged(path, f"not lists of placements: {error!r}") from None
    return test | lines | own


def _lines(path: Path) -> list[Json]:
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
            raise _damaged(path, f"line {number}: {error}") from None
        if not isinstance(event, dict) or "epoch" not in event:
            raise _damaged(path, f"line {number} is not an object with an epoch")
        events.append(cast(Json, event))
    return events


def _ranking(path: Path) -> list[Ranked]:
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    ranking: list[Ranked] = []
    for line, row in enumerate(rows, start=2):
        try:
            ranking.append(ranked(row))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"line {line}: {type(error).__name__} {error}") from None
    return sorted(ranking, key=lambda line: line.rank)


def _rungs(path: Path, summary: Json) -> list[Rung]:
    try:
        return [Rung(**rung) for rung in summary.get("rungs", [])]
    except TypeError as error:
        raise _damaged(path, f"not a list of rungs: {error}") from None


def _truth(path: Path) -> list[Truth]:
    try:
        return read_truth(path)
    except (KeyError, ValueError) as error:
        raise _damaged(path, repr(error)) from None


def _weights(path: Path) -> Weights:
    try:
        return weights_of(_object(path))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__} {error}") from None


def _scores(path: Path, ranked: list[int], default: str) -> Scores | None:
    try:
        return read_scores(path, ranked, default)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise _damaged(path, error) from None


def _trials(folder: Path) -> list[Trial]:
    """Every trial that has begun, by placement and seed."""
    trials: list[Trial] = []
    for trial in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        metrics = _object(trial / "metrics.json") if (trial / "metrics.json").exists() else None
        if trial.name.isdigit():
            name, _, side = trial.parent.name.partition("@")
            name = shown(name) + (f" at {side}x{side}" if side else "")
            trials.append(Trial(name, int(trial.name), _lines(trial / "events.jsonl"), metrics))
    return trials


def _costs(path: Path, numbers: set[int]) -> dict[str, dict[str, Cost]]:
    try:
        columns = [name for name in COSTS if name in pq.read_schema(path).names]
        if not columns:
            return {}
        lines = pq.read_table(path, columns=["number", "placement", *columns]).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise _damaged(path, error) from None
    return {
        shown(line["placement"]): {name: line[name] for name in columns if line[name] is not None}
        for line in lines
        if line["number"] in numbers
    }


def _filters(path: Path) -> list[FilterSet]:
    with path.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    try:
        return [
            FilterSet(int(line["member"]), int(line["block"]), line["resolution"], int(line["steps"])) for line in lines
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__} {error}") from None


def _skipped(path: Path) -> list[tuple[str, str]]:
    """``[{file, reason}]`` as pairs."""
    if not path.exists():
        return []
    try:
        return [(str(entry["file"]), str(entry["reason"])) for entry in read_json(path)]
    except (KeyError, TypeError) as error:
        raise _damaged(path, f"not a list of file and reason: {error!r}") from None
