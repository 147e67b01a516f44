"""Read ``comparison.json`` into one frozen value; what is damaged is told, with the place where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poolsearch.errors import PoolsearchError
from poolsearch.research.reports.comparison.json_reader import JsonObject
from poolsearch.research.reports.comparison.values import (
    ORDERS,
    CaseResult,
    Comparison,
    CorrelationSummary,
    MeanStd,
    Pick,
    Point,
    Reference,
    RivalDifference,
    TruthSummary,
)
from poolsearch.settings.tasks import metric_name
from poolsearch.space import shown
from poolsearch.storage.stage_results import read_object

BUDGETS = {"own": "own budget", "equal": "equal training"}


def read_comparison(folder: Path) -> Comparison:
    """Read the comparison in ``folder``.

    Raises:
        PoolsearchError: there is none in it, or its file is damaged.
    """
    path = folder / "comparison.json"
    if not path.exists():
        raise PoolsearchError(f"{folder} holds no comparison.json: give a folder that poolsearch compare has written.")
    return comparison_of(JsonObject(path, "", read_object(path, {})))


def comparison_of(node: JsonObject) -> Comparison:
    """The whole file."""
    whole = node.part("whole_training")
    cases = _labelled([_case(entry) for entry in node.parts("cases")])
    order = list(dict.fromkeys(case.group for case in cases))
    return Comparison(
        version=node.text_or("poolsearch", ""),
        command=node.text_or("command", ""),
        metric=metric_name(node.text_or("metric", "accuracy")),
        data=Path(node.text_or("data", "unnamed data")).name,
        images=node.count("images"),
        net=node.text_or("net", "a network"),
        width=node.count("width"),
        default=shown(node.text_or("default", "")),
        placements=node.count("placements"),
        seeds=node.count("seeds"),
        total_epochs=node.number("total_epochs"),
        whole_training=(None, None) if whole is None else (whole.count("epochs"), whole.count("images")),
        truth=_known(node),
        references=[_reference(entry) for entry in node.parts("references")],
        cases=sorted(cases, key=lambda case: order.index(case.group)),
        points=[_point(entry) for entry in node.parts("points")],
        unfinished=node.texts("unfinished"),
        notes=node.texts("notes"),
    )


def _labelled(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """The cases with names of their own: where names are shared, with the budget, or else with all their settings."""
    names = [case.label for case in cases]
    budgets = [f"{case.label}, {BUDGETS.get(case.budget, case.budget)}" for case in cases]
    shared, still = Counter(names), Counter(budgets)
    return [
        replace(case, label=case.label if shared[case.label] == 1 else budget if still[budget] == 1 else case.case)
        for case, budget in zip(cases, budgets, strict=True)
    ]


def _case(node: JsonObject) -> CaseResult:
    return CaseResult(
        case=node.text("case"),
        label=node.text_or("name", node.text("case")),
        group=node.text_or("group", "other"),
        budget=node.text_or("budget", ""),
        members=node.count("members"),
        epochs_total=node.number("epochs_total"),
        seeds=node.count("seeds"),
        work=node.number("work"),
        seconds=node.number("seconds"),
        picks=[_pick(entry) for entry in node.parts("picks")],
        truth=_spread(node.part("truth")),
        regret1=_spread(node.part("regret1")),
        regret5=_spread(node.part("regret5")),
        macs_ratio=node.number("macs_ratio"),
        kendall_tau=_by_order(node.part("tau")),
        rho=_by_order(node.part("rho")),
        given_macs=_by_order(node.part("given_macs")),  # older versions had none
        against=_rivals(node.part("against")),
        verdict=node.text_or("verdict", ""),
    )


def _pick(node: JsonObject) -> Pick:
    return Pick(
        seed=node.count("seed") or 0,
        placement=shown(node.text("placement")),
        restricted=node.flag("restricted", unknown=True),
        macs_ratio=node.number("macs_ratio"),
        truth=node.number("truth"),
        truth_n=node.count("truth_n"),
        regret=node.number("regret"),
    )


def _spread(node: JsonObject | None) -> MeanStd:
    return MeanStd() if node is None else MeanStd(node.number("mean"), node.number("std"), node.count("n"))


def _correlation(node: JsonObject | None) -> CorrelationSummary:
    """Of one order it is a value, of several seeds a mean."""
    if node is None:
        return CorrelationSummary()
    value = node.number("mean" if "mean" in node.value else "value")
    return CorrelationSummary(value, node.number("low"), node.number("high"), node.number("std"), node.count("n"))


def _by_order(node: JsonObject | None) -> dict[str, CorrelationSummary]:
    if node is None:
        return {}
    return {order: _correlation(node.part(order)) for order in ORDERS if node.value.get(order) is not None}


def _rivals(node: JsonObject | None) -> dict[str, RivalDifference]:
    if node is None:
        return {}
    found = {name: _against(node.part(name)) for name in ("default", "macs", "random")}
    return {name: entry for name, entry in found.items() if entry is not None}


def _against(node: JsonObject | None) -> RivalDifference | None:
    """A difference; none where a part of it is not known, as with one seed, which has no interval."""
    if node is None:
        return None
    mean, low, high, p = (node.number(key) for key in ("mean", "low", "high", "p"))
    if mean is None or low is None or high is None or p is None:
        return None
    return RivalDifference(mean, low, high, p)


def _reference(node: JsonObject) -> Reference:
    return Reference(
        name=node.text("name"),
        pick=shown(node.text_or("pick", "")),
        truth=node.number("truth"),
        macs_ratio=node.number("macs_ratio"),
        kendall_tau=_correlation(node.part("tau")),
        rho=_correlation(node.part("rho")),
        regret1=node.number("regret1"),
        regret5=node.number("regret5"),
    )


def _known(whole: JsonObject) -> TruthSummary:
    """The ground truth; it has to be there, whatever of it is known."""
    node = whole.part("truth") or JsonObject(whole.path, "truth", {})
    best, between = node.part("best"), node.part("seed_tau")
    return TruthSummary(
        source=Path(node.text_or("source", "trainings of what was picked")).name,
        part=node.text_or("part", "test"),
        placements=node.count("placements"),
        seeds=node.count("seeds"),
        noise=node.number("noise"),
        seed_kendall_tau=None if between is None else _correlation(between),
        seed_given_macs=node.number("seed_given_macs"),
        best="" if best is None else shown(best.text_or("placement", "")),
        best_mean=None if best is None else best.number("mean"),
        default=_spread(node.part("default")),
        whole=node.flag("whole", unknown=False),
    )


def _point(node: JsonObject) -> Point:
    return Point(
        case=node.text("case"),
        seed=node.count("seed") or 0,
        placement=shown(node.text("placement")),
        val=node.number("val"),
        truth=node.number("truth"),
    )
