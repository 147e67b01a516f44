"""Opening the test split for a look at it: its record, and what every trained network sees in its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.measure import Measure, Responses
from poolsearch.image_size import ImageSize
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.retraining.controls import TrainedControl
from poolsearch.stages.retraining.finalists import Selection
from poolsearch.stages.retraining.looks import choice, next_look, same_choice, trials_in
from poolsearch.stages.retraining.outcome import judgement, results_on_test
from poolsearch.stages.standalone.trial import Trial, predictions
from poolsearch.storage.files import atomic, damaged, finite, is_whole, write_json
from poolsearch.storage.run_record import ended
from poolsearch.storage.stage_results import looks_of, read_opening
from poolsearch.texts import command


def trials_of(chosen: Selection, rivals: Sequence[TrainedControl], seeds: int) -> list[Trial]:
    """All trainings, each once; seed by seed, so that an early stop leaves whole comparisons.

    Args:
        chosen: the finalists.
        rivals: the controls; those with nothing to train are passed over.
        seeds: trainings of each.

    Returns:
        In the order in which they are trained, those that finalists and controls share once.
    """
    every = [
        [Trial(finalist.placement, seed) for finalist in chosen.finalists]
        + [rival.trials[seed] for rival in rivals if rival.trials]
        for seed in range(seeds)
    ]
    return list(dict.fromkeys(trial for of_seed in every for trial in of_seed))


def trial_of(run: Run, entry: Mapping[str, Any]) -> Trial:
    """The training that an entry of ``test.json`` is of.

    Args:
        run: open; images of its own size are not named in a trial.
        entry: as ``trials`` has it.

    Returns:
        The training.
    """
    size = ImageSize.of(entry.get("image_size", run.image_size))
    return Trial(Placement.parse(entry["placement"]), entry["seed"], None if size == run.image_size else size)


def check_choice(run: Run, chosen: Selection) -> None:
    """A test split that is open for one winner, and one pick of each answer, is not read for others.

    Args:
        run: open, with no look at the test split or one that is not judged yet; nothing is written.
        chosen: what the ranking chooses now.

    Raises:
        PoolsearchError: it was; or what it was opened for is not known any more.
    """
    recorded = read_opening(run.dir)
    if not recorded and ended(run.dir, "retrain"):
        raise damaged(run.dir.test, "the test split was opened, and the file that says so is missing")
    if "winner" in recorded and not same_choice(recorded, chosen):
        raise PoolsearchError(
            f"the test split of {run.dir.root} was opened for {recorded['winner']}, but the ranking now begins with "
            f"{chosen.winner}, or its answers at a compute budget are others. Restore ranking.csv, or start a new run "
            "with --out."
        )


def open_test(run: Run, chosen: Selection, rivals: Sequence[TrainedControl], seeds: int) -> None:
    """Evaluate every trial on the test split, and judge.

    The opening is written down before the first image is read, and what the networks reached before it is judged: a run
    that ends between the two is gone on with by judging what is there, without evaluating or opening anything anew.
    Earlier looks stay in the record; what was evaluated for them is not evaluated again.

    Args:
        run: open, with all trials trained; ``test.json`` in its folder takes the results.
        chosen: the finalists and picks, which are fixed.
        rivals: the controls.
        seeds: trainings of each.

    Raises:
        PoolsearchError: the results cannot be judged, by a fault of ours; they stay.
    """
    looks = looks_of(read_opening(run.dir))
    before = looks.pop() if looks and "verdict" not in looks[-1] else {}
    look = next_look(looks, chosen)
    record = {
        "opened": before.get("opened", datetime.now(timezone.utc).isoformat(timespec="seconds")), **choice(chosen),
        "default": str(run.space.default), "images": len(run.split.test), "seeds": seeds,
        "top_k": run.settings.retrain.top_k, "level": look.level if _is_tested(run, chosen, seeds) else None,
        "seen": look.seen,
    }  # fmt: skip
    trials, measure = trials_of(chosen, rivals, seeds), run.measure(run.split.test, guesses=True)
    responses = _kept(run, measure, trials, [*looks, before])
    found = results_on_test(run, measure, chosen, rivals, responses) if len(responses) == len(trials) else None
    if found is None or any(before.get(name) != finite(value) for name, value in found.items()):
        if "trials" in before and found is not None:
            responses = {}  # what is kept is not what the results are of
        _write(run, record, looks)
        responses |= _evaluate(run, measure, [trial for trial in trials if trial not in responses])
        found = results_on_test(run, measure, chosen, rivals, responses)
        _write(run, record | found, looks)
    try:
        said = judgement(run, measure, chosen, rivals, responses, look)
    except Exception as error:  # a fault of ours, after all was paid for: what it cost must not be lost
        raise PoolsearchError(
            f"the networks were evaluated, and what each reached on the test split is in {run.dir.test}; but judging "
            f"it failed: {type(error).__name__}: {error}. This is a fault of poolsearch: please report it. With a "
            f"version that has it mended, {command('run', '--resume', '--out', run.dir.root)} judges these results; "
            "nothing is trained or evaluated again."
        ) from error
    controls = [entry | judged for entry, judged in zip(found["controls"], said["controls"], strict=True)]
    _write(run, record | found | said | {"controls": controls}, looks)


def _is_tested(run: Run, chosen: Selection, seeds: int) -> bool:
    """Whether any pick can be told from the default: one seed shows no difference."""
    return seeds > 1 and any(pick not in (None, run.space.default) for _, pick in chosen.picks)


def _write(run: Run, look: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> None:
    write_json(run.dir.test, {**look, **({"earlier": earlier} if earlier else {})})


def _evaluate(run: Run, measure: Measure, trials: Sequence[Trial]) -> dict[Trial, Responses]:
    """What every trained network says of the test images; kept beside it."""
    responses: dict[Trial, Responses] = {}
    with run.progress.bar("test", len(trials)) as update:
        for done, trial in enumerate(trials, 1):
            responses[trial] = predictions(run, trial, run.dir.retrain, run.split.test, "test")
            _save_array(_predicted_of(run, trial), responses[trial].astype(measure.kept_as))
            update(done, "")
    return responses


def _kept(
    run: Run, measure: Measure, trials: Sequence[Trial], looks: Sequence[Mapping[str, Any]]
) -> dict[Trial, Responses]:
    """What was evaluated in one of these looks and is still there, not damaged and as accurate as that look says."""
    accuracy = {trial_of(run, entry): entry["accuracy"] for look in looks for entry in trials_in(look)}
    responses: dict[Trial, Responses] = {}
    for trial in trials:
        if trial not in accuracy or not is_whole(_predicted_of(run, trial)):
            continue
        try:
            small = np.load(_predicted_of(run, trial), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if not measure.fits(small):
            continue
        found = small.astype(np.int64) if small.dtype.kind == "u" else small
        if measure.accuracy(found) == accuracy[trial]:
            responses[trial] = found
    return responses


def _predicted_of(run: Run, trial: Trial) -> Path:
    return trial.folder(run.dir.retrain) / "test_predicted.npy"


def _save_array(path: Path, array: Responses) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)
