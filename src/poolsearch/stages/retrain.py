"""Retraining: the best placements and the default, stand-alone, on all training images; then the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.session.run import Run
from poolsearch.settings import ResolvedSettings
from poolsearch.stages.retraining.controls import make_controls
from poolsearch.stages.retraining.finalists import read_selection
from poolsearch.stages.retraining.looks import shows_all, trials_in
from poolsearch.stages.retraining.open_test_split import check_choice, open_test, trial_of, trials_of
from poolsearch.stages.standalone.trial import TrainingConfig, train_trials
from poolsearch.storage.stage_results import looks_of, read_opening


def retrain(run: Run) -> None:
    """Train the finalists and the controls with n seeds each, then look at the test split.

    Finished trials are kept and not trained again. The winner is the first of the ranking, and the pick of each answer
    the first within its limit on MACs: they are fixed, and written down, before the test split is opened; other
    finalists are reported, never chosen from.

    A run that was looked at is left as it is, but for trainings whose folder was deleted, unless it has grown: by more
    seeds or finalists the picks stay, by another ranking they may change. Then what is missing is trained, and all is
    judged in a new look (:mod:`poolsearch.evaluation.looks`); the results of earlier ones stay in ``test.json``.
    Leaves ``retrain/`` and ``test.json``.

    Args:
        run: open, with a ranking; its folder takes the files.

    Raises:
        PoolsearchError: there is no ranking, the run is a sweep in benchmark mode, or the test split was opened for
            another choice and what is on it not judged yet, or a training of a pick or of the default diverged.
        Interrupted: stopped on request; the state is saved.
    """
    if run.settings.is_benchmark:
        raise PoolsearchError(
            f"{run.dir.root} is a sweep in benchmark mode: its test split was read for every placement, so that it can "
            "choose none. Start a run without --sweep-mode benchmark for a verdict."
        )
    chosen, seeds = read_selection(run), run.settings.retrain.retrain_seeds
    looks = looks_of(read_opening(run.dir))
    judged = bool(looks) and "verdict" in looks[-1]
    if judged and shows_all(looks[-1], chosen, seeds, run.settings.retrain.top_k):
        _train_again(run, looks)
        return
    with run.stage("retrain"):
        if judged:
            run.progress.say(f"look {len(looks) + 1} at the test split: results of earlier ones stay in test.json")
        else:
            check_choice(run, chosen)
        controls = make_controls(run, chosen.winner, seeds)
        for rival in controls:
            if rival.why_not:
                run.progress.say(f"control {rival.control}: nothing to train, as {rival.why_not}")
        picks = {chosen.winner, run.space.default, *(pick for _, pick in chosen.picks if pick is not None)}
        trials = trials_of(chosen, controls, seeds)
        # a split that is open already says what became of each
        train_trials(run, retrain_config(run.settings), trials, run.dir.retrain, () if looks else picks)
        open_test(run, chosen, controls, seeds)


def _train_again(run: Run, looks: Sequence[Mapping[str, Any]]) -> None:
    """Train what was tested and is not there any more, as someone deleted what was damaged; the verdict stays."""
    trials = [trial_of(run, entry) for look in looks for entry in trials_in(look)]
    if lost := [trial for trial in trials if not (trial.folder(run.dir.retrain) / "metrics.json").exists()]:
        with run.stage("retrain"):
            train_trials(run, retrain_config(run.settings), list(dict.fromkeys(lost)), run.dir.retrain)


def retrain_config(settings: ResolvedSettings) -> TrainingConfig:
    """The training of finalists, from resolved settings.

    Args:
        settings: of the run.

    Returns:
        Training on both halves by the ``--retrain-`` settings; momentum and the schedule's form are the search's.
    """
    retrain, search = settings.retrain, settings.search
    lr = retrain.retrain_lr
    return TrainingConfig(
        purpose="retrain",
        part="train_all",
        epochs=retrain.retrain_epochs,
        batch=retrain.retrain_batch,
        lr=lr,
        lr_floor=min(search.lr_floor, lr),
        lr_every=search.lr_every,
        momentum=search.momentum,
        weight_decay=retrain.retrain_weight_decay,
    )
