"""What a comparison found, for comparison.json: each method's finds by the truth, its agreement with it, its cost."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from poolsearch.evaluation.ground_truth import GroundTruth, MeasuredPlacement
from poolsearch.evaluation.rank_agreement import Agreement, Correlation, Floats, agreement, agreement_given_macs
from poolsearch.evaluation.stats import holm
from poolsearch.research.compare.cases import Case
from poolsearch.research.compare.compute_cost import whole_training
from poolsearch.research.compare.folder import ComparisonRequest
from poolsearch.research.compare.judge import FoundPlacements, MeanDifference, difference_of, verdict_text
from poolsearch.research.compare.truth import ComparisonTruth
from poolsearch.session.run import Run
from poolsearch.stages.standalone.rung import training_images

Json = dict[str, Any]
LEAST = 3
"""Placements that a rank correlation needs at the least."""


def summary(
    asked: ComparisonRequest,
    cases: Sequence[Case],
    found: Mapping[tuple[str, int], Json],
    truth: ComparisonTruth,
    run: Run,
) -> Json:
    """The contents of comparison.json.

    Args:
        asked: what is compared.
        cases: all of them.
        found: result.json of each run that has ended, by spec and seed.
        truth: of at least what was found, and the default.
        run: that in which placements are trained alone.

    Returns:
        JSON values; the metric as a fraction, work in units of one whole training of the default.
    """
    settings, default = run.settings, str(run.space.default)
    epochs, images = settings.alone.sweep_epochs, len(training_images(run))
    unit = whole_training(run, epochs, images)
    table = GroundTruth(truth.source, default, "test", tuple(truth.of.values()))
    space = _of_space(table, run) if truth.whole else None
    seeds = range(asked.options.seeds)
    of_case = {case.spec: [found[case.spec, s] for s in seeds if (case.spec, s) in found] for case in cases}
    gaps = _gaps(cases, of_case, table, run)
    adjusted = _adjusted(gaps)
    return {
        "poolsearch": version("poolsearch"),
        "command": asked.command,
        "metric": settings.data.metric,
        "data": run.images.name,
        "images": len(run.split.train_all),
        "net": settings.net.net,
        "width": settings.net.width,
        "default": default,
        "placements": run.space.size,
        "seeds": asked.options.seeds,
        "total_epochs": asked.options.total_epochs,
        "whole_training": {"epochs": epochs, "images": images},
        "truth": _truth(table, space, run),
        "references": _references(table, space, run),
        "cases": [
            _case(case, of_case[case.spec], table, space, unit)
            | {
                "against": {name: each and dataclasses.asdict(each) for name, each in gaps[case.spec].items()},
                "verdict": verdict_text(gaps[case.spec], adjusted[case.spec]),
            }
            for case in cases
        ],
        "points": [
            {"case": case.spec, "seed": one["seed"], "truth": _mean(table, point["placement"])} | point
            for case in cases
            for one in of_case[case.spec]
            for point in one["points"]
        ],
        "unfinished": [
            f"{case.spec} seed {seed}"
            for case in cases
            for seed in seeds
            if (case.spec, seed) not in found
        ],
        "notes": [],
    }  # fmt: skip


def _of_space(table: GroundTruth, run: Run) -> GroundTruth:
    """Without what was found outside the space: the best, and how rankings agree, are of the space alone."""
    return dataclasses.replace(table, known=tuple(table.by_placement[str(placement)] for placement in run.space))


def _truth(table: GroundTruth, space: GroundTruth | None, run: Run) -> Json:
    values_AS = None if space is None else space.value_AS
    between = beyond = None
    if space is not None and values_AS is not None and values_AS.shape[1] > 1:
        between = agreement(values_AS[:, 0], values_AS[:, 1])
        beyond = agreement_given_macs(values_AS[:, 0], values_AS[:, 1], space.macs_A)
    return {
        "source": table.source, "part": table.part, "placements": len((space or table).known),
        "seeds": max((one.n for one in table.known), default=0), "noise": _finite(table.noise),
        "whole": space is not None, "seed_tau": between and _correlation(between.kendall_tau),
        "seed_given_macs": beyond and _finite(beyond.value),
        "best": space and {
            "placement": space.best.placement, "mean": space.best.mean, "macs_ratio": _ratio(space.best, run)
        },
        "default": _known(table.by_placement.get(table.default)),
    }  # fmt: skip


def _references(table: GroundTruth, space: GroundTruth | None, run: Run) -> list[Json]:
    """What is known without a search: MACs alone, the default, the best, and what a random placement is worth."""
    fixed = {"MACs alone": str(run.space[int(run.macs_A.argmax())]), "default": table.default}
    found = [
        _reference(name, table.by_placement.get(placement), placement, space, run) for name, placement in fixed.items()
    ]
    if space is None:
        return found
    found[0] |= _agreement(agreement(space.macs_A, space.mean_A))
    found.append(_reference("best", space.best, space.best.placement, space, run))
    mean, ratio = float(space.mean_A.mean()), float(space.macs_A.mean()) / run.costs.macs(run.space.default)
    random = {"truth": mean, "macs_ratio": ratio, "regret1": space.best.mean - mean}
    return [*found, {"name": "one random placement", "pick": None} | random]


def _reference(name: str, known: MeasuredPlacement | None, placement: str, space: GroundTruth | None, run: Run) -> Json:
    if known is None:
        return {"name": name, "pick": placement, "truth": None, "macs_ratio": None, "regret1": None}
    regret = None if space is None else space.best.mean - known.mean
    return {"name": name, "pick": placement, "truth": known.mean, "macs_ratio": _ratio(known, run), "regret1": regret}


def _case(case: Case, found: Sequence[Json], table: GroundTruth, space: GroundTruth | None, unit: float) -> Json:
    best, known_of_space = (math.nan if space is None else space.best.mean), space or table
    by = {"ranking": "rank", "score": "score", "test": "test"}
    agreements = {name: [_agree(one, column, known_of_space) for one in found] for name, column in by.items()}
    return {
        "case": case.spec, "name": case.name, "group": case.method, "budget": case.budget, "members": case.members,
        "epochs_total": next((one["total_epochs"] for one in found), None), "seeds": len(found),
        "work": _mean_of(one["work"] / unit for one in found),
        "seconds": _mean_of(one["seconds"] for one in found),
        "macs_ratio": _mean_of(one["pick_macs_ratio"] for one in found),
        "picks": [_pick(one, table, best) for one in found],
        "truth": _spread(_mean(table, one["pick"]) for one in found),
        "regret1": _spread(_regret(table, one["pick"], best) for one in found),
        "regret5": _spread(_regret_of_five(one, table, best) for one in found),
        "tau": {name: _together([each and each.kendall_tau for each in all_]) for name, all_ in agreements.items()},
        "rho": {name: _together([each and each.rho for each in all_]) for name, all_ in agreements.items()},
        "given_macs": {
            name: _together([_agree_given_macs(one, column, known_of_space) for one in found])
            for name, column in (by | {"ranking": "val"}).items()
        },
    }  # fmt: skip


def _pick(one: Json, table: GroundTruth, best: float) -> Json:
    known = table.by_placement.get(one["pick"])
    return {
        "seed": one["seed"], "placement": one["pick"], "restricted": one["restricted"],
        "macs_ratio": one["pick_macs_ratio"], "truth": known and known.mean, "truth_n": known and known.n,
        "regret": _regret(table, one["pick"], best), "seconds": one["seconds"],
    }  # fmt: skip


def _agree(one: Json, by: str, table: GroundTruth) -> Agreement | None:
    """How the placements of a run, by their rank, score or test value, agree with the truth."""
    value_A, mean_A, _ = _known_points(one, by, table)
    return agreement(value_A, mean_A, one["seed"]) if len(value_A) >= LEAST else None


def _agree_given_macs(one: Json, by: str, table: GroundTruth) -> Correlation | None:
    """The same given their MACs, by their metric on validation, score or test value."""
    value_A, mean_A, macs_A = _known_points(one, by, table)
    return agreement_given_macs(value_A, mean_A, macs_A, one["seed"]) if len(value_A) >= LEAST else None


def _regret_of_five(one: Json, table: GroundTruth, best: float) -> float | None:
    """How far the best of the first five that a run ranked is below the best of all; None where one is not known."""
    first = [_mean(table, point["placement"]) for point in sorted(one["points"], key=lambda point: point["rank"])[:5]]
    known = [mean for mean in first if mean is not None]
    return None if math.isnan(best) or not first or len(known) < len(first) else best - max(known)


def _known_points(one: Json, by: str, table: GroundTruth) -> tuple[Floats, Floats, Floats]:
    """What a run says of placements, higher for better ones, the truth, and MACs, of those where both are known."""
    sign = -1 if by == "rank" else 1
    found = [(point[by], table.by_placement.get(point["placement"])) for point in one["points"]]
    known = [
        (sign * value, entry.mean, entry.macs) for value, entry in found if value is not None and entry is not None
    ]
    value_A, mean_A, macs_A = np.array(known, float).reshape(-1, 3).T
    return value_A, mean_A, macs_A


def _gaps(
    cases: Sequence[Case], of_case: Mapping[str, Sequence[Json]], table: GroundTruth, run: Run
) -> dict[str, dict[str, MeanDifference | None]]:
    """Each case against the default, the most MACs, and the random placements at the cost nearest to its own."""
    freedom = sum(one.n - 1 for one in table.known if one.std is not None)
    found = {case.spec: _found([one["pick"] for one in of_case[case.spec]], table) for case in cases}
    fixed = {
        "default": _found([table.default], table),
        "macs": _found([str(run.space[int(run.macs_A.argmax())])], table),
    }
    result: dict[str, dict[str, MeanDifference | None]] = {}
    for case in cases:
        others: dict[str, FoundPlacements | None] = dict(fixed)
        random = [other for other in cases if other.method == "random" and of_case[other.spec]]
        if random and of_case[case.spec] and case.method != "random":
            cost = _cost(of_case[case.spec])
            near = min(random, key=lambda other: abs(math.log(_cost(of_case[other.spec]) / cost)))
            others["random"] = found[near.spec]
        own = found[case.spec]
        result[case.spec] = {
            name: own and other and difference_of(own, other, table.noise, freedom) for name, other in others.items()
        }
    return result


def _cost(found: Sequence[Json]) -> float:
    return statistics.fmean(max(one["work"], 1.0) for one in found)


def _found(placements: Sequence[str], table: GroundTruth) -> FoundPlacements | None:
    """None where one of the placements is not known, or there is none."""
    known = [table.by_placement[name] for name in placements if name in table.by_placement]
    if not known or len(known) < len(placements):
        return None
    return FoundPlacements(placements, [one.mean for one in known], [one.n for one in known])


def _adjusted(gaps: Mapping[str, Mapping[str, MeanDifference | None]]) -> dict[str, dict[str, float]]:
    """P values of each case by what it is compared with, adjusted for there being several cases (Holm)."""
    found: dict[str, dict[str, float]] = {spec: {} for spec in gaps}
    for name in {name for of in gaps.values() for name in of}:
        known = {spec: each.p for spec, of in gaps.items() if (each := of.get(name)) is not None}
        for spec, p in zip(known, holm(list(known.values())), strict=True):
            found[spec][name] = p
    return found


def _mean(table: GroundTruth, placement: str) -> float | None:
    known = table.by_placement.get(placement)
    return known and known.mean


def _regret(table: GroundTruth, placement: str, best: float) -> float | None:
    mean = _mean(table, placement)
    return None if mean is None or math.isnan(best) else best - mean


def _ratio(known: MeasuredPlacement, run: Run) -> float:
    return known.macs / run.costs.macs(run.space.default)


def _known(known: MeasuredPlacement | None) -> Json | None:
    return known and {"mean": known.mean, "std": known.std, "n": known.n}


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _spread(values: Iterable[float | None]) -> Json | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "mean": statistics.fmean(known),
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "n": len(known),
    }


def _together(found: Sequence[Correlation | None]) -> Json | None:
    """Over seeds; the interval is the mean of those over placements."""
    known = [each for each in found if each is not None and math.isfinite(each.value)]
    spread = _spread(each.value for each in known)
    return spread and spread | {
        "low": statistics.fmean(each.low for each in known), "high": statistics.fmean(each.high for each in known),
    }  # fmt: skip


def _correlation(found: Correlation) -> Json:
    return {"value": found.value, "low": found.low, "high": found.high}


def _agreement(found: Agreement) -> Json:
    return {
        "tau": _correlation(found.kendall_tau), "rho": _correlation(found.rho), "regret1": found.regret1,
        "regret5": found.regret5,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
