"""What came out on the test split, for test.json."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poolsearch.evaluation.looks import Look
from poolsearch.evaluation.measure import ClassMeasure, Measure, Responses
from poolsearch.evaluation.metrics import Ints, per_class
from poolsearch.evaluation.verdict import (
    JudgedPick,
    PairComparison,
    TrainedNetwork,
    compare_networks,
    control_note,
    judge_picks,
    pooled_variance_of,
    rarest_class,
    verdict,
)
from poolsearch.session.run import Run
from poolsearch.settings.methods import kind_of
from poolsearch.space import Placement
from poolsearch.stages.retraining.controls import TrainedControl
from poolsearch.stages.retraining.failures import failure_of
from poolsearch.stages.retraining.finalists import Selection
from poolsearch.stages.standalone.trial import Trial, has_diverged

ResponsesOf = Mapping[Trial, Responses]
"""What each trained network says of every test image."""


def results_on_test(
    run: Run, measure: Measure, chosen: Selection, rivals: Sequence[TrainedControl], responses: ResponsesOf
) -> dict[str, Any]:
    """What every network reached, for test.json: nothing that takes a judgement.

    Args:
        run: open, with all trials trained.
        measure: of the test images.
        chosen: the finalists and picks.
        rivals: the controls.
        responses: of each trained network on every test image, shape (N,).

    Returns:
        JSON values by their keys; metrics as fractions, ``std`` None with one seed, no winner of controls yet.
    """
    of_finalists = _trials_of(run, chosen)
    trained = {p: _trained(run, measure, p.shown, own, responses) for p, own in of_finalists.items()}
    top = run.settings.retrain.top_k
    best = [trained[f.placement].mean for f in chosen.finalists if f.rank is not None and f.rank <= top]
    both = {"winner": chosen.winner, "default": run.space.default}
    seen = {name: [responses[trial] for trial in of_finalists[placement]] for name, placement in both.items()}
    of_classes = isinstance(measure, ClassMeasure)
    return {
        "metric": run.settings.data.metric,
        "trials": [entry for own in of_finalists.values() for entry in _entries(run, measure, own, responses)],
        "summary": [
            {"placement": str(f.placement), "rank": f.rank, "is_default": f.placement == run.space.default}
            | _figures(trained[f.placement])
            | {"macs": run.costs.macs(f.placement)}
            for f in chosen.finalists
        ],
        "classes": class_results(measure.true_N, seen, measure.class_names) if of_classes else [],
        "top1": trained[chosen.winner].mean,
        "best_of_top": max(best),
        "mean_of_top": statistics.mean(best),
        "controls": [
            {"control": r.control, "why_not": r.why_not}
            | (_figures(_trained(run, measure, _name(r), r.trials, responses)) if r.trials else {})
            | {"trials": _entries(run, measure, r.trials, responses), "winner": None}
            for r in rivals
        ],
    }


def judgement(
    run: Run, measure: Measure, chosen: Selection, rivals: Sequence[TrainedControl], responses: ResponsesOf, look: Look
) -> dict[str, Any]:
    """What the results say, for test.json: tests, intervals and sentences.

    Args:
        run: open, with all trials trained.
        measure: of the test images.
        chosen: the finalists and picks.
        rivals: the controls.
        responses: of each trained network on every test image, shape (N,).
        look: which look at the test split it is.

    Returns:
        JSON values by their keys; ``controls`` have what the winner is against each, in their order.
    """
    class_N = measure.class_N
    trained = {p: _trained(run, measure, p.shown, own, responses) for p, own in _trials_of(run, chosen).items()}
    of_rivals = {r.control: _trained(run, measure, _name(r), r.trials, responses) for r in rivals if r.trials}
    default, winner = trained[run.space.default], trained[chosen.winner]
    spread = pooled_variance_of(list(trained.values()))
    picks = [(limit, trained[pick]) for limit, pick in chosen.picks if pick is not None]
    larger, rare = of_rivals.get("input-size"), rarest_class(class_N, run.images.class_names)
    judged = judge_picks(picks, default, spread, run.seed, larger, class_N, rare, look)
    compared = {
        # random picks differ by more than their seeds: the spread of one placement says nothing of theirs
        name: compare_networks(winner, rival, None if name == "random" else spread, run.seed, class_N)
        for name, rival in of_rivals.items()
        if rival.name != winner.name and not (rival.diverged or rival.failed)
    }
    return {
        "difference": judged[-1].default and dataclasses.asdict(judged[-1].default.difference),
        "answers": _answers(chosen, judged),
        "controls": [{"winner": _compared(compared.get(r.control))} for r in rivals],
        "failed": {str(p): found.failed for p, found in trained.items() if found.failed},
        "notes": [
            control_note(r.control, winner, of_rivals.get(r.control), compared.get(r.control), r.why_not)
            for r in rivals
        ],
        "verdict": verdict(judged, default, measure.name, _ranked(run)),
    }


def _trials_of(run: Run, chosen: Selection) -> dict[Placement, list[Trial]]:
    """Of each finalist, one for each seed."""
    seeds = range(run.settings.retrain.retrain_seeds)
    return {f.placement: [Trial(f.placement, seed) for seed in seeds] for f in chosen.finalists}


def _ranked(run: Run) -> str:
    if run.settings.rank.rank_by == "prediction":
        return "by prediction"
    return "by MACs" if kind_of(run.settings.search.method) == "untrained" else "on the validation images"


def _trained(run: Run, measure: Measure, name: str, trials: Sequence[Trial], responses: ResponsesOf) -> TrainedNetwork:
    macs = statistics.mean(trial.of(run).costs.macs(trial.placement) for trial in trials)
    lost = any(has_diverged(trial.folder(run.dir.retrain)) for trial in trials)
    response_SN = np.stack([responses[trial] for trial in trials])
    value_SN, failed = measure.contributions(response_SN), failure_of(measure, response_SN, lost)
    return TrainedNetwork(name, macs / run.costs.macs(run.space.default), value_SN, lost, failed)


def _name(rival: TrainedControl) -> str:
    """A control's name, for people; that of the placement where it has one."""
    if rival.control == "random":
        return "random placements"
    first: Trial = rival.trials[0]
    size = first.image_size
    return first.placement.shown + (f" at {size}" if size else "")


def _figures(trained: TrainedNetwork) -> dict[str, Any]:
    means = trained.value_SN.mean(1).tolist()
    std = statistics.stdev(means) if len(means) > 1 else None
    return {"mean": trained.mean, "std": std, "n": len(means), "macs_ratio": trained.macs_ratio}


def _entries(run: Run, measure: Measure, trials: Sequence[Trial], responses: ResponsesOf) -> list[dict[str, Any]]:
    """One line for each training; without classes the accuracy is the metric."""
    return [
        {
            "placement": str(trial.placement), "seed": trial.seed, "image_size": trial.of(run).image_size.plain,
            "accuracy": measure.accuracy(responses[trial]),
            "value": float(measure.contributions(responses[trial][None]).mean()),
        }
        for trial in trials
    ]  # fmt: skip


def _answers(chosen: Selection, judged: Sequence[JudgedPick]) -> list[dict[str, Any]]:
    """One line for each answer; nothing was judged of those without a pick."""
    found: list[dict[str, Any]] = []
    left = iter(judged)
    for limit, pick in chosen.picks:
        entry: dict[str, Any] = {"limit": limit, "placement": pick and str(pick)}
        if pick is not None:
            answer = next(left)
            entry |= {
                "default": _compared(answer.default), "equal_macs": _compared(answer.equal_macs),
                "adjusted_p": answer.adjusted_p, "better": answer.better,
            }  # fmt: skip
        found.append(entry)
    return found


def _compared(found: PairComparison | None) -> dict[str, Any] | None:
    return found and dataclasses.asdict(found)


def class_results(
    true_N: Ints, predicted_of: Mapping[str, Sequence[Ints]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """One line for each class: its images, and recall, precision and F1 of each network, mean over its seeds.

    Args:
        true_N: the class of each test image.
        predicted_of: what each training of each network sees in them.
        class_names: of all classes. One without test images has precision alone.

    Returns:
        The lines in the order of the names; recall and F1 are NaN for a class without test images.
    """
    found = {name: per_class(true_N, np.stack(seeds), len(class_names)) for name, seeds in predicted_of.items()}
    images_K = np.bincount(true_N, minlength=len(class_names))
    return [
        {"class": label, "images": int(images_K[k])}
        | {
            name: {value: float(getattr(of, value)[:, k].mean()) for value in ("recall", "precision", "f1")}
            for name, of in found.items()
        }
        for k, label in enumerate(class_names)
    ]
