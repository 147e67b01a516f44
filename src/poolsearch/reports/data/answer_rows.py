"""The answers of a ranking and the controls, with what the test says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from poolsearch.evaluation.budget_picks import answers_of
from poolsearch.reports.data.parse import Cost, Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData
from poolsearch.settings.groups import RetrainSettings


@dataclass(frozen=True)
class AnswerRow:
    """An answer with what is known of it; None where nothing is, yet or ever.

    Attributes:
        limit: on MACs, in times the default's; None: no limit.
        pick: the first of the ranking within it.
        tested: the pick's line of ``test.json``'s summary.
        default: the pick against the default: difference and probability.
        equal_macs: the pick against what the default is worth at the pick's MACs: the same, and against what.
        adjusted_p: p value, adjusted for all answers that were tested.
        better: whether the test says that the pick beats the default.
        costs: other costs of the pick, by the name of their column.
    """

    limit: float | None
    pick: RankingRow | None
    tested: Json | None
    default: Json | None
    equal_macs: Json | None
    adjusted_p: float | None
    better: bool
    costs: dict[str, Cost]


def answer_rows(data: RunData) -> list[AnswerRow]:
    """The answers, the one without a limit last; none while there is no ranking."""
    if not data.ranking:
        return []
    test = data.test or {}
    tested = {entry["placement"]: entry for entry in cast("list[Json]", test.get("summary", []))}
    judged: dict[float | None, Json] = {entry["limit"]: entry for entry in cast("list[Json]", test.get("answers", []))}
    before: Json = {"default": test.get("difference") and {"difference": test["difference"]}}
    limits = [limit for limit in judged if limit is not None] or limits_of(data)
    found: list[AnswerRow] = []
    for answer in answers_of([row.macs_ratio for row in data.ranking], limits):
        pick = None if answer.place is None else data.ranking[answer.place]
        # in runs of before there were answers only the winner was compared
        entry: Json = judged.get(answer.limit, before if answer.place == 0 else {})
        name = pick.placement if pick else ""
        row = (entry.get("default"), entry.get("equal_macs"), entry.get("adjusted_p"), bool(entry.get("better")))
        found.append(AnswerRow(answer.limit, pick, tested.get(name), *row, data.costs.get(name, {})))
    return found


def limits_of(data: RunData) -> Sequence[float]:
    """The limits that the run was asked for; the default's in runs of before there were any."""
    asked = cast("Json", data.run.get("settings", {}).get("retrain", {}))
    return cast("Sequence[float]", asked.get("answer_at", RetrainSettings().answer_at))


def trained_controls(data: RunData) -> list[Json]:
    """What was trained to compare the winner with, as in ``test.json``, with a name for people."""
    found = cast("list[Json]", (data.test or {}).get("controls", []))
    return [entry | {"name": _control_name(entry)} for entry in found if entry["trials"]]


def _control_name(entry: Json) -> str:
    first = entry["trials"][0]
    if entry["control"] == "random":
        return "random placements"
    if entry["control"] == "input-size":
        return f"{first['placement']} at {first['image_size']}x{first['image_size']}"
    return f"{first['placement']} (most MACs)"
