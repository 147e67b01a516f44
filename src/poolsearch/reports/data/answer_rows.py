"""The answers of a ranking and the controls, with what the test says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from poolsearch.evaluation.budget_picks import answers_of
from poolsearch.image_size import ImageSize
from poolsearch.reports.data.parse import Cost, Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData
from poolsearch.settings.groups import RetrainSettings


@dataclass(frozen=True)
class AnswerRow:
    """An answer with what is known of it; None where nothing is, yet or ever.

    Attributes:
        limit: on MACs, in times the default's; None: no limit.
        pick: the first of the ranking within it; once it was tested, that which was.
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
    ranked = {row.placement: row for row in data.ranking}
    found: list[AnswerRow] = []
    for limit, first in _first_within(data, limits):
        pick = ranked.get(judged[limit]["placement"]) if limit in judged else first
        name = pick.placement if pick else ""
        # in runs of before there were answers only the winner was compared
        entry: Json = judged.get(limit, before if name == test.get("winner") else {})
        row = (entry.get("default"), entry.get("equal_macs"), entry.get("adjusted_p"), bool(entry.get("better")))
        found.append(AnswerRow(limit, pick, tested.get(name), *row, data.costs.get(name, {})))
    return found


def ranked_again(data: RunData) -> bool:
    """Whether the ranking has other picks than those that were looked at on the test split, so that these are due."""
    if data.test is None or not data.ranking:
        return False
    looked_at = {entry["limit"]: entry["placement"] for entry in cast("list[Json]", data.test.get("answers", []))}
    looked_at[None] = data.test["winner"]
    firsts = _first_within(data, [limit for limit in looked_at if limit is not None])
    return any(looked_at[limit] != (first and first.placement) for limit, first in firsts)


def _first_within(data: RunData, limits: Sequence[float]) -> list[tuple[float | None, RankingRow | None]]:
    """The first of the ranking within each limit, and without one."""
    answers = answers_of([row.macs_ratio for row in data.ranking], limits)
    return [(answer.limit, None if answer.place is None else data.ranking[answer.place]) for answer in answers]


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
        return f"{first['placement']} at {ImageSize.of(first['image_size'])}"
    return f"{first['placement']} (most MACs)"
