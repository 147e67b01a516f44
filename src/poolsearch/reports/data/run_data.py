"""Read a run directory into one frozen value; stages that have not run yet leave their part empty.

Placements have their text for people from here on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from poolsearch.evaluation.ground_truth import MeasuredPlacement
from poolsearch.reports.data import parse
from poolsearch.reports.data.parse import Cost, FilterSet, Json, ResolutionWeights, TrialRecord
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.score_table import Scores
from poolsearch.samplers.successive_halving import Rung
from poolsearch.settings.methods import Kind, kind_of
from poolsearch.settings.tasks import metric_name
from poolsearch.space import shown
from poolsearch.storage.files import check_digests
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import RUN_SHOWN, SUMMARY, judged_looks, read_object, read_opening
from poolsearch.storage.trials_record import TrialsRecord


@dataclass(frozen=True)
class RunData:
    """All that the report needs of one run.

    Attributes:
        name: of the folder.
        out: what to give as ``--out``; never an absolute path, as pages are passed on.
        test: the newest look at the test split that was judged, as ``test.json`` has it.
        looks: all looks that were judged, the first first.
        test_opened: when the newest look began, also while its results are still missing.
        learned: of a ranking by prediction, what was trained to learn from; None where there is no ``trials.json``.
        evaluated: whether ``test.json`` has what the networks reached in the newest look, judged or not.
        look_open: whether the newest look is not judged yet.
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
    ranking: list[RankingRow]
    ranking_summary: Json | None
    trials: list[TrialRecord]
    test: Json | None
    test_opened: str | None
    skipped: list[tuple[str, str]]
    rungs: Sequence[Rung] = ()
    scored: int = 0
    truth: Sequence[MeasuredPlacement] = ()
    relaxed: ResolutionWeights | None = None
    costs: dict[str, dict[str, Cost]] = field(default_factory=dict[str, dict[str, Cost]])
    filters: list[FilterSet] = field(default_factory=list[FilterSet])
    evaluated: bool = False
    looks: Sequence[Json] = ()
    look_open: bool = False
    learned: TrialsRecord | None = None

    @cached_property
    def members(self) -> int:
        """M; 1 when nothing says otherwise."""
        if self.scores is not None:
            return self.scores.members
        return int(self.run.get("settings", {}).get("search", {}).get("members") or 1)

    @cached_property
    def untrained(self) -> frozenset[tuple[int, int]]:
        """(number, member) of the pairs never trained: their score is only the value that it began with."""
        if self.scores is None:
            return frozenset()
        number, member, count = (self.scores.last[name].to_numpy() for name in ("number", "member", "count"))
        never = count == 0
        return frozenset(zip(number[never].tolist(), member[never].tolist(), strict=True))

    def known_score(self, row: RankingRow) -> float | None:
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
    def predicts(self) -> bool:
        """Whether the ranking is by prediction."""
        return bool(self.ranking) and (self.ranking_summary or {}).get("rank_by") == "prediction"

    @property
    def shows_metric(self) -> bool:
        """Whether the ranking has a column of the metric: not where one by prediction had nothing evaluated."""
        return not self.predicts or any(row.evaluated for row in self.ranking)

    @property
    def against(self) -> str:
        """The placement that predictions are told against."""
        return shown(str((self.ranking_summary or {}).get("against", "")))

    @property
    def metric(self) -> str:
        """What placements are ranked and tested by, in words."""
        own = self.run.get("data", {}).get("metric_name")
        return str(own or metric_name(str(self.run.get("settings", {}).get("data", {}).get("metric", "accuracy"))))

    @property
    def default(self) -> str:
        """The network's own placement."""
        return shown(str(self.run.get("space", {}).get("default", "")))

    @property
    def notation(self) -> str:
        """How placements are written, where that has to be said."""
        space = self.run.get("space", {})
        if space.get("paths") == "any" or self.kind == "relaxed":
            return (
                "A list counts the blocks at each resolution. Where maps grow again, or shrink by four at once, 'at' "
                "stands before how often the maps of every block were halved: 0 is the full resolution."
            )
        if space.get("axes") != "h,w":
            return ""
        return "h and w count the blocks at each resolution of the height and of the width; one list counts both."

    @property
    def winner(self) -> RankingRow | None:
        """The first of the ranking."""
        return self.ranking[0] if self.ranking else None

    @property
    def default_row(self) -> RankingRow | None:
        return next((row for row in self.ranking if row.is_default), None)


def read_run(folder: Path) -> RunData:
    """Read the run in ``folder``.

    Raises:
        PoolsearchError: there is no run in it, or one of its files is damaged.
    """
    files = RunDir(folder)
    run = read_object(files.run, RUN_SHOWN)
    check_digests(files, run)
    default = str(cast(Json, run.get("space") or {}).get("default", ""))
    ranking = parse.ranking_of(files) if files.ranking.exists() else []
    numbers = [row.number for row in ranking if row.number is not None]
    test = read_opening(files)
    looks = [parse.results_of(files.test, look) for look in judged_looks(test)]
    summary = read_object(files.ranking_summary, SUMMARY) if files.ranking_summary.exists() else None
    name = folder.resolve().name
    return RunData(
        name=name,
        out=f"runs/{name}" if folder.resolve().parent.name == "runs" else name,
        run=run,
        events=parse.event_lines(files.events),
        scores=parse.score_table(files.scores, numbers, default) if files.scores.exists() else None,
        ranking=ranking,
        ranking_summary=summary,
        trials=parse.trials_of(files.retrain),
        test=looks[-1] if looks else None,
        looks=looks,
        look_open=bool(test) and "verdict" not in test,
        test_opened=test.get("opened"),
        evaluated="trials" in test,
        learned=parse.learned_of(files),
        skipped=parse.skipped_of(files.skipped),
        rungs=parse.rungs_of(files.ranking_summary, summary or {}),
        relaxed=parse.found_weights(files.relaxed) if files.relaxed.exists() else None,
        scored=sum(1 for _ in files.sweep.glob("*/*/metrics.json")),
        truth=parse.truth_of(folder) if files.sweep_table.exists() else (),
        costs=parse.costs_of(files.costs, {*numbers}) if files.costs.exists() else {},
        filters=parse.filters_of(files.filters) if files.filters.exists() else [],
    )
