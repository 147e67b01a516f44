"""What came out on the test split, for test.json."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.context import Run
from poolsearch.methods import kind_of
from poolsearch.metrics import contributions, in_words
from poolsearch.stages.alone import Trial, diverged
from poolsearch.stages.retraining.classes import class_results
from poolsearch.stages.retraining.controls import Rival
from poolsearch.stages.retraining.finalists import Chosen
from poolsearch.verdict import Compared, Judged, Trained, common_spread, compare, judge, told, verdict

Predicted = Mapping[Trial, NDArray[np.int64]]
"""The class that each trained network sees in every test image."""


def outcome(run: Run, chosen: Chosen, rivals: Sequence[Rival], predicted: Predicted) -> dict[str, Any]:
    """Everything of test.json but its opening."""
    seeds = run.settings.retrain.retrain_seeds
    trials = {f.placement: [Trial(f.placement, seed) for seed in range(seeds)] for f in chosen.finalists}
    trained = {p: _trained(run, p.shown, own, predicted) for p, own in trials.items()}
    of_rivals = {r.control: _trained(run, _name(r), r.trials, predicted) for r in rivals if r.trials}
    default, winner = trained[run.space.default], trained[chosen.winner]
    spread = common_spread(list(trained.values()))
    picks = [(limit, trained[pick]) for limit, pick in chosen.picks if pick is not None]
    judged = judge(picks, default, spread, run.seed, of_rivals.get("input-size"))
    compared = {
        # random picks differ by more than their seeds: the spread of one placement says nothing of theirs
        name: compare(winner, rival, None if name == "random" else spread, run.seed)
        for name, rival in of_rivals.items()
        if rival.name != winner.name and not rival.diverged
    }
    top = run.settings.retrain.top_k
    best = [trained[f.placement].mean for f in chosen.finalists if f.rank is not None and f.rank <= top]
    both = {"winner": chosen.winner, "default": run.space.default}
    seen = {name: [predicted[trial] for trial in trials[placement]] for name, placement in both.items()}
    return {
        "metric": run.settings.data.metric,
        "trials": [entry for own in trials.values() for entry in _entries(run, own, predicted)],
        "summary": [
            {"placement": str(f.placement), "rank": f.rank, "is_default": f.placement == run.space.default}
            | _figures(trained[f.placement])
            | {"macs": run.costs.macs(f.placement)}
            for f in chosen.finalists
        ],
        "classes": class_results(run.images.label_N[run.split.test], seen, run.images.class_names),
        "top1": winner.mean,
        "best_of_top": max(best),
        "mean_of_top": statistics.mean(best),
        "difference": judged[-1].default and dataclasses.asdict(judged[-1].default.difference),
        "answers": _answers(chosen, judged),
        "controls": [
            {"control": r.control, "why_not": r.why_not}
            | ({} if not r.trials else _figures(of_rivals[r.control]))
            | {"trials": _entries(run, r.trials, predicted), "winner": _compared(compared.get(r.control))}
            for r in rivals
        ],
        "notes": [
            told(r.control, winner, of_rivals.get(r.control), compared.get(r.control), r.why_not) for r in rivals
        ],
        "verdict": verdict(judged, default, in_words(run.settings.data.metric), _ranked(run)),
    }  # fmt: skip


def _ranked(run: Run) -> str:
    return "by MACs" if kind_of(run.settings.search.method) == "untrained" else "on the validation images"


def _trained(run: Run, name: str, trials: Sequence[Trial], predicted: Predicted) -> Trained:
    macs = statistics.mean(trial.of(run).costs.macs(trial.placement) for trial in trials)
    lost = any(diverged(trial.folder(run.dir.retrain)) for trial in trials)
    value_SN = _values(run, np.stack([predicted[trial] for trial in trials]))
    return Trained(name, macs / run.costs.macs(run.space.default), value_SN, lost)


def _values(run: Run, predicted_SN: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each test image adds to the metric of the run."""
    true_N, classes = run.images.label_N[run.split.test], len(run.images.class_names)
    return contributions(run.settings.data.metric, true_N, predicted_SN, classes)


def _name(rival: Rival) -> str:
    """A control's name, for people; that of the placement where it has one."""
    if rival.control == "random":
        return "random placements"
    first: Trial = rival.trials[0]
    size = first.image_size
    return first.placement.shown + (f" at {size}x{size}" if size else "")


def _figures(trained: Trained) -> dict[str, Any]:
    means = trained.value_SN.mean(1).tolist()
    std = statistics.stdev(means) if len(means) > 1 else None
    return {"mean": trained.mean, "std": std, "n": len(means), "macs_ratio": trained.macs_ratio}


def _entries(run: Run, trials: Sequence[Trial], predicted: Predicted) -> list[dict[str, Any]]:
    """One line for each training."""
    return [
        {
            "placement": str(trial.placement), "seed": trial.seed, "image_size": trial.of(run).image_size,
            "accuracy": float((predicted[trial] == run.images.label_N[run.split.test]).mean()),
            "value": float(_values(run, predicted[trial][None]).mean()),
        }
        for trial in trials
    ]  # fmt: skip


def _answers(chosen: Chosen, judged: Sequence[Judged]) -> list[dict[str, Any]]:
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


def _compared(found: Compared | None) -> dict[str, Any] | None:
    return found and dataclasses.asdict(found)
