"""Retraining: the best placements and the default, stand-alone, on all training images; then the test split, once."""

from __future__ import annotations

from poolsearch.errors import PoolsearchError
from poolsearch.session.open_run import Run
from poolsearch.settings import ResolvedSettings
from poolsearch.space import Placement
from poolsearch.stages.retraining.controls import make_controls
from poolsearch.stages.retraining.finalists import read_selection
from poolsearch.stages.retraining.open_test_split import check_choice, open_test, trials_of
from poolsearch.stages.standalone.trial import TrainingConfig, Trial, train_trials
from poolsearch.storage.run_record import tested
from poolsearch.storage.stage_results import RESULTS, read_object


def retrain(run: Run) -> None:
    """Train the finalists and the controls with n seeds each, then open the test split.

    Finished trials are kept and not trained again; a run whose test split was opened is left as it is, but for
    trainings whose folder was deleted. The winner is the first of the ranking, and the pick of each answer the first
    within its limit on MACs: they are fixed, and written down, before the test split is opened; other finalists are
    reported, never chosen from.
    Leaves ``retrain/`` and ``test.json``.

    Args:
        run: open, with a ranking; its folder takes the files.

    Raises:
        PoolsearchError: there is no ranking, the run is a sweep in benchmark mode, or the test split was opened for
            another choice.
        Interrupted: stopped on request; the state is saved.
    """
    if tested(run.dir):
        _train_again(run)
        return
    if run.settings.is_benchmark:
        raise PoolsearchError(
            f"{run.dir.root} is a sweep in benchmark mode: its test split was read for every placement, so that it can "
            "choose none. Start a run without --sweep-mode benchmark for a verdict."
        )
    with run.stage("retrain"):
        chosen, seeds = read_selection(run), run.settings.retrain.retrain_seeds
        check_choice(run, chosen)
        controls = make_controls(run, chosen.winner, seeds)
        for rival in controls:
            if rival.why_not:
                run.progress.say(f"control {rival.control}: nothing to train, as {rival.why_not}")
        train_trials(run, retrain_config(run.settings), trials_of(chosen, controls, seeds), run.dir.retrain)
        open_test(run, chosen, controls, seeds)


def _train_again(run: Run) -> None:
    """Train what was tested and is not there any more, as someone deleted what was damaged; the verdict stays."""
    found = read_object(run.dir.test, RESULTS)
    entries = [*found["trials"], *(entry for control in found.get("controls", []) for entry in control["trials"])]
    trials = [
        Trial(Placement.parse(e["placement"]), e["seed"], None if size == run.image_size else size)
        for e in entries
        for size in [e.get("image_size", run.image_size)]
    ]
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
