"""What the run says, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from poolsearch import texts
from poolsearch.evaluation.looks import ERROR, level_spent
from poolsearch.reports.data.answer_rows import ranked_again
from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.rows import was_stopped
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.text import method_notes, prediction_notes
from poolsearch.reports.text.method_notes import sweep_so_far, truth_sentence
from poolsearch.storage.stage_results import seeds_of


@dataclass(frozen=True)
class Verdict:
    """The sentence, what makes it firmer or weaker, and the command that goes on; None when nothing is left to do."""

    sentence: str
    detail: str
    command: str | None


def verdict(data: RunData) -> Verdict:
    """The verdict of the furthest stage that has ended."""
    if data.test is not None:
        again = texts.command("retrain", "--out", data.out) if ranked_again(data) else None
        return Verdict(str(data.test["verdict"]), f"{_opened(data, data.test)} {looks_sentence(data)}", again)
    if data.truth:
        return Verdict(
            truth_sentence(data.truth, data.default, data.metric), "There is no winner and no verdict.", None
        )
    command = texts.command("run", "--resume", "--out", data.out)
    if data.ranking:
        return Verdict(_ranked_sentence(data), _ranked_detail(data), command)
    if data.kind == "alone":
        return Verdict(sweep_so_far(data), "Nothing has been ranked yet, so there is no answer yet.", command)
    if data.kind == "trials":
        done = sum(one.value is not None for one in data.learned.trials) if data.learned else 0
        told = f"Trials are under way, or were interrupted: {done:,} have ended."
        return Verdict(told, "Nothing has been ranked yet, so there is no answer yet.", command)
    if data.events:
        return Verdict(_searching_sentence(data), "Nothing has been ranked yet, so there is no answer yet.", command)
    return Verdict("The search has not logged an epoch yet.", "There is no answer yet.", command)


def _opened(data: RunData, test: Json) -> str:
    fixed = "by its MACs" if data.kind == "untrained" else "from validation"
    fixed = "by prediction" if data.predicts else fixed
    first = next((look for look in data.looks if look["winner"] == test["winner"]), test)
    images = f"the test split of {test['images']:,} images"
    if first.get("seen"):
        return f"The winner was fixed {fixed}, after {images} had been looked at for other picks."
    return f"The winner was fixed {fixed}; only then, at {time_text(first['opened'])}, was {images} opened."


def looks_sentence(data: RunData) -> str:
    """How often, with what and at which level the test split was looked at; one sentence, empty before."""
    if len(data.looks) < 2:
        return "".join(f"It was looked at once, with {_look_text(look)}." for look in data.looks)
    told = "; ".join(f"{time_text(look['opened'])} with {_look_text(look)}" for look in data.looks)
    return (
        f"The test split was looked at {len(data.looks)} times ({told}): each look is tested at half the level of the "
        f"one before, so that all together recommend a change that is none in at most {ERROR:.0%} of runs."
    )


def _look_text(look: Json) -> str:
    seeds, level = seeds_of(look), level_spent(look)
    picks = dict.fromkeys(entry["placement"] for entry in look.get("answers", []) if entry["placement"])
    named = f"pick{'' if len(picks) < 2 else 's'} {' and '.join(picks or [look['winner']])}"
    tested = "nothing tested" if level is None else f"tested at {100 * level:.3g} %"
    return f"{seeds} seed{'' if seeds == 1 else 's'}, {named}, {tested}"


def time_text(iso: object) -> str:
    """An ISO time for reading; whatever else stands there is shown as it is."""
    try:
        when = datetime.fromisoformat(str(iso))
    except ValueError:
        return str(iso)
    zone = when.strftime("%Z") if when.tzinfo else ""
    return f"{when:%Y-%m-%d %H:%M} {zone}".strip()


def _ranked_sentence(data: RunData) -> str:
    winner, default = data.ranking[0], data.default_row
    if data.predicts:
        return prediction_notes.predicted_sentence(data)
    if method_notes.is_settled(data):
        return method_notes.settled_sentence(data)
    if data.kind == "untrained":
        return f"{winner.placement} has the most MACs; nothing has been trained yet, so there is no answer yet."
    if winner.is_default:
        return f"So far, no placement beats the default {winner.placement} on validation ({winner.value:.1%})."
    best = f"Best on validation so far: {winner.placement} with {winner.value:.1%}"
    if default is None:
        return f"{best}; the default {data.default} was not ranked."
    if was_stopped(data, default) and not was_stopped(data, winner):
        return f"{best}; the default {default.placement} was stopped early (rank {default.rank})."
    cost = "" if winner.macs_ratio is None else f", at {winner.macs_ratio:.2f} times its MACs"
    return f"{best}, against {default.value:.1%} for the default {default.placement} (rank {default.rank}){cost}."


def _ranked_detail(data: RunData) -> str:
    total = len({trial.placement for trial in data.trials})
    done = sum(trial.metrics is not None for trial in data.trials)
    trained = f" {done} of {len(data.trials)} trials ({total} placements) have finished." if data.trials else ""
    if data.predicts:
        return (
            f"{prediction_notes.learned_sentence(data)} The decision comes from training the first ones and the "
            f"default on all training images, then opening the test split.{trained}"
        )
    if data.rungs:
        return (
            "These are results of networks trained on the search-train half alone. The decision comes from training "
            f"the first ones and the default on all training images, then opening the test split.{trained}"
        )
    if data.kind == "untrained":
        return f"The decision comes from training the first ones and the default, then opening the test split.{trained}"
    if data.kind == "relaxed":
        return (
            "These are results of single paths with the weights of the relaxed supernet, not what a network reaches "
            "when trained alone. The decision comes from training the placement found and the default alone, then "
            f"opening the test split.{trained}"
        )
    return (
        "These results inside the supernet rank placements; they are not what a network trained alone reaches. The "
        f"decision comes from training the first ones and the default alone, then opening the test split.{trained}"
    )


def _searching_sentence(data: RunData) -> str:
    event = data.events[-1]
    value = event.get("val_metric")
    reached = "" if value is None else f"; validation minibatches are at {value:.1%}"
    state = "The search has ended" if has_ended(data, "search") else "The search is running or was interrupted"
    return f"{state}: epoch {event.get('epoch')}{reached}."


def has_ended(data: RunData, name: str) -> bool:
    """Whether a stage came to its end."""
    stages = cast(list[Json], data.run.get("stages", []))
    return any(stage.get("stage") == name and stage.get("ended") for stage in stages)
