"""Trials: stand-alone trainings of a few placements, each chosen by what those before showed; then a ranking by
prediction.

The trainings are those of a sweep: on search-train, scored on search-val, and the same seed begins with the same
weights and sees the same minibatches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.ask_tell.placement_model import PlacementModel
from poolsearch.ask_tell.trial_search import TrialSearch
from poolsearch.calibration.choose import WORTH
from poolsearch.samplers.successive_halving import Rung
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages import by_macs
from poolsearch.stages.learning.placement_model import model_of
from poolsearch.stages.ranking.table import answer_entries, as_csv
from poolsearch.stages.standalone.rung import train_rung
from poolsearch.stages.standalone.trial import Trial, has_diverged, unfinished_folder, worker_layout
from poolsearch.storage.files import remove, write_json, write_text
from poolsearch.storage.locks import remove_lock
from poolsearch.storage.trials_record import RecordedTrial, TrialsRecord, read_trials

MOST_AT_ONCE = 4
"""Trainings of a round unless ``--workers`` asks for more: what is chosen together cannot learn from each other."""


def learn(
    run: Run, rows: Sequence[dict[str, Any]], summary: dict[str, Any], score_A: NDArray[np.float64] | None
) -> None:
    """Train ``--trials`` placements alone, and rank all by what is then expected of them.

    Rounds of one training per worker: first the default, twice in all, then what promises most, until ``--trials`` are
    done or nothing promises 0.1 points. Stopped at any moment, it goes on where it was and ends the same to the bit;
    with more ``--trials`` than before it trains those that are missing. The test split is not touched. Leaves
    ``trials/``, ``trials.json``, ``ranking.csv`` and ``ranking.json``.

    Args:
        run: open; its folder takes the files.
        rows: of ranking.csv, in the order of the rule without trainings.
        summary: the contents of ranking.json by that rule.
        score_A: what is known of the placement of each row, higher is better; None: nothing but its MACs.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    with run.stage("trials"):
        search, record = _train(run, model_of(run, rows, score_A))
        belief, ranked = search.belief(), rows_by_prediction(rows, search)
        # of a proxy that of its own trainings is told, in units of their length
        work = {} if "rungs" in summary else {"whole_trainings": record.whole_trainings(_whole_epochs(run))}
        write_json(run.dir.ranking_summary, summary | {
            "answers": answer_entries(ranked, run.settings.retrain.answer_at), "rank_by": "prediction",
            "against": record.against, "trust": None if score_A is None else belief.trust,
            "noise": belief.noise if record.trials else None, "trials": len(record.trials), **work,
        })  # fmt: skip
        write_text(run.dir.ranking, as_csv(ranked))  # where it is, the ranking is whole


def search_by_trials(run: Run) -> None:
    """A search without a supernet: the trials alone, and what they teach about all placements.

    Args:
        run: open, with ``--method bayes``; its folder takes the files.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    rows = by_macs.rows_of(run)
    summary = {
        "images": len(run.split.search_val), "metric": run.settings.data.metric, "mode": "all",
        "method": run.settings.search.method, "placements": len(rows),
    }  # fmt: skip
    learn(run, rows, summary, None)


def rows_by_prediction(rows: Sequence[dict[str, Any]], search: TrialSearch) -> list[dict[str, Any]]:
    """The rows of ranking.csv by prediction; a tie is decided by fewer MACs, then by number.

    Args:
        rows: in the order of the rule without trainings.
        search: of their placements, or of a part of them; others come last, in the order given.

    Returns:
        The same rows in their new order, with a value of each of the columns of a prediction.
    """
    predicted, trained = search.predictions(), [one.placement for one in search.trials]

    def place(row: dict[str, Any]) -> tuple[float, ...]:
        known = predicted.get(row["placement"])
        return (1,) if known is None else (0, -known.mean, row["macs"], row["number"])

    found: list[dict[str, Any]] = []
    for rank, row in enumerate(sorted(rows, key=place), 1):
        known = predicted.get(row["placement"])
        values = (None, None, None) if known is None else (known.mean, known.low, known.high)
        named = dict(zip(("prediction", "prediction_low", "prediction_high"), values, strict=True))
        found.append(row | {"rank": rank} | named | {"trials": trained.count(row["placement"])})
    return found


def _train(run: Run, model: PlacementModel) -> tuple[TrialSearch, TrialsRecord]:
    """Round by round, until all are trained or nothing promises enough."""
    most = run.settings.rank.trials
    record = read_trials(run.dir) or TrialsRecord(
        _at_once(run), run.settings.alone.trial_epochs, str(model.reference), []
    )
    begun = [replace(one, value=None, low=None, high=None) for one in record.trials]  # told anew from their folders
    search = TrialSearch.of_model(model, record.at_once, begun)
    record = _trained(run, search, record, most)
    while search.ask_round(most):
        record = replace(record, trials=search.trials)
        _write(run, record)  # before anything of the round is trained: who goes on trains the same
        record = _trained(run, search, record, most)
    _write(run, record)
    for one in record.trials:
        remove_lock(_trial(one).folder(run.dir.trials))
    if lost := [one for one in record.trials if has_diverged(_trial(one).folder(run.dir.trials))]:
        run.warn(f"{len(lost)} of {len(record.trials)} trials diverged, as {_trial(lost[0])}: lower --lr in a new run.")
    if len(record.trials) < most:
        run.progress.say(f"after {len(record.trials)} of {most} trials no other promises {WORTH:g} points")
    return search, record


def _trained(run: Run, search: TrialSearch, record: TrialsRecord, most: int) -> TrialsRecord:
    """The record with what came of all its trainings; those that have not ended are trained now."""
    if not record.trials:
        return record
    root = run.dir.trials
    trials = [_trial(one) for one in record.trials]
    rung = Rung(len(trials), 0, record.epochs, len(run.split.search_train))
    found = train_rung(
        run, rung, rung.epochs, trials, "trials", lambda trial, _: remove(unfinished_folder(trial.folder(root))),
        root=root, at_once=record.at_once, later=max(0, most - len(trials)),
    )  # fmt: skip
    for trial in search.waiting():
        scored = found[Trial(trial.placement, trial.seed)]
        search.tell(trial, scored.value, scored.low, scored.high)
    record = replace(record, trials=search.trials)
    _write(run, record)
    _tell(run, search, record)
    return record


def _tell(run: Run, search: TrialSearch, record: TrialsRecord) -> None:
    """Say what is the best so far within each limit, after a round."""
    model, predicted = search.model, search.predictions()
    ratio = dict(zip(map(str, model.placements), model.macs_ratio_A.tolist(), strict=True))
    texts: list[str] = []
    for limit in (*sorted(model.limits), None):
        within = [name for name in predicted if limit is None or ratio[name] <= limit]
        if within:
            best = max(within, key=lambda name: predicted[name].mean)
            where = "without a limit" if limit is None else f"within {limit:g} times the MACs"
            told = predicted[best]
            shown = Placement.parse(best).shown
            texts.append(f"{where} {shown} {told.mean:+.2f} ({told.low:+.2f} to {told.high:+.2f})")
    against = Placement.parse(record.against).shown
    run.progress.say(
        f"trials: after {len(record.trials)}, the best in points against {against}, as predicted: {'; '.join(texts)}"
    )


def _trial(one: RecordedTrial) -> Trial:
    return Trial(Placement.parse(one.placement), one.seed)


def _at_once(run: Run) -> int:
    """Trainings of a round: one per worker."""
    return run.settings.machine.workers or worker_layout(run, MOST_AT_ONCE)[0]


def _whole_epochs(run: Run) -> int:
    """Of a whole training: as long as the retraining."""
    return run.settings.retrain.retrain_epochs


def _write(run: Run, record: TrialsRecord) -> None:
    write_json(run.dir.trials_record, record.to_dict(_whole_epochs(run)))
