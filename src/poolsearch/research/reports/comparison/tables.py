"""The tables of a comparison as HTML. Every text that comes from its file passes through ``escape``."""

from __future__ import annotations

import csv
import io
from html import escape

from poolsearch.reports.page.markup import badges, or_dash, table
from poolsearch.research.reports.comparison.values import (
    ORDERS,
    CaseResult,
    Comparison,
    CorrelationSummary,
    Reference,
    against_text,
    correlation_text,
    found_placement_texts,
    interval_text,
    p_text,
    ratio_text,
    regrets_text,
    seconds_text,
    share,
    spread_text,
    work_text,
)

GIVEN_MACS = (
    "Given MACs: the correlation with the truth of what log MACs and its square leave of both (partial, Pearson's), 0 "
    "for an order that only follows the MACs."
)


_OUTSIDE = "<br>" + badges(["outside the space"])


def methods(data: Comparison) -> str:
    """The paper's Table 2: what each method found, how good that is, and what it cost; references above."""
    head = [
        ("method", "wrap"), ("found", "text"), (f"true {data.metric}", ""), ("MACs", ""), ("Kendall's tau", ""),
        ("Spearman's rho", ""), ("given MACs", ""), ("regret, 1 / 5", ""), ("cost", ""),
    ]  # fmt: skip
    lines = [(_role(entry), _reference_cells(data, entry)) for entry in data.references]
    lines += [("", _case_cells(case)) for case in data.cases]
    return table(_methods_caption(data), head, lines)


def _methods_caption(data: Comparison) -> str:
    epochs, images = data.whole_training
    whole = "" if epochs is None or images is None else f" of {epochs} epochs on {images:,} images"
    where = escape(data.truth.source)
    return (
        f"Mean ± standard deviation of the ground truth of what the seeds found (how many), by {where}. MACs: against "
        "the default's. Kendall's tau and Spearman's rho: agreement of the order on validation with the truth, with "
        f"the 95% interval over placements. {GIVEN_MACS} Regret, in points: how far the first, and the best of the "
        "first five, are below the best that is known. Cost: the search, in whole trainings of the "
        f"default{whole}, and in seconds. References need no search."
    )


def _role(entry: Reference) -> str:
    return "default" if entry.name == "default" else ""


def _reference_cells(data: Comparison, entry: Reference) -> list[str]:
    spread = spread_text(data.truth.default) if entry.name == "default" else share(entry.truth)
    # the default's spread stands only where it is of the same mean
    truth = spread if entry.truth is None or entry.truth == data.truth.default.mean else share(entry.truth)
    return [
        f"<em>{escape(entry.name)}</em>", escape(entry.pick) or "–", truth, ratio_text(entry.macs_ratio),
        _correlation(entry.kendall_tau), _correlation(entry.rho), "–", regrets_text(entry.regret1, entry.regret5), "–",
    ]  # fmt: skip


def _case_cells(case: CaseResult) -> list[str]:
    by = "ranking"
    return [
        f"{escape(case.label)}<br><small>{escape(case.case)}</small>" if case.label != case.case else escape(case.case),
        "<br>".join(map(escape, found_placement_texts(case))) + (_OUTSIDE if case.outside else ""),
        spread_text(case.truth), ratio_text(case.macs_ratio), _correlation(case.kendall_tau.get(by)),
        _correlation(case.rho.get(by)), _correlation(case.given_macs.get(by)),
        regrets_text(case.regret1.mean, case.regret5.mean),
        f"{work_text(case)}<br><small>{seconds_text(case)}</small>",
    ]  # fmt: skip


def _correlation(found: CorrelationSummary | None) -> str:
    interval = interval_text(found)
    return correlation_text(found) + (f"<br><small>{interval}</small>" if interval else "")


def agreements(data: Comparison) -> str:
    """By what the placements were ordered, and how well each order agrees with the truth; none where no order does."""
    cases = [case for case in data.cases if case.kendall_tau or case.rho]
    if not cases:
        return ""
    kinds = {"kendall_tau": "Kendall's tau", "rho": "Spearman's rho", "given_macs": "given MACs"}
    names = [(kind, order) for kind in kinds for order in ORDERS]
    head = [("method", "text"), *((f"{kinds[kind]}, {ORDERS[order]}", "") for kind, order in names)]
    lines = [
        (_role(entry), _agreement_cells(entry)) for entry in data.references if entry.kendall_tau.value is not None
    ]
    lines = [(role, cells + ["–"] * (1 + len(names) - len(cells))) for role, cells in lines]
    lines += [("", [escape(case.label), *(_correlation(_of(case, *name)) for name in names)]) for case in cases]
    caption = (
        "Kendall's tau and Spearman's rho with the ground truth, means over seeds, with the mean of the 95% intervals "
        "over placements. Ordered by the metric on the whole search-val half (validation), by the scores that were "
        f"kept during the search, and by the metric on the test images. MACs order by themselves. {GIVEN_MACS}"
    )
    if data.truth.seed_given_macs is not None:
        caption += f" Two trainings of all placements agree to {data.truth.seed_given_macs:.2f} given MACs."
    return table(caption, head, lines)


def _agreement_cells(entry: Reference) -> list[str]:
    return [f"<em>{escape(entry.name)}</em>", _correlation(entry.kendall_tau), "–", "–", _correlation(entry.rho)]


def _of(case: CaseResult, kind: str, order: str) -> CorrelationSummary | None:
    return {"kendall_tau": case.kendall_tau, "rho": case.rho, "given_macs": case.given_macs}[kind].get(order)


def differences(data: Comparison) -> str:
    """Each case against the default, MACs alone and a random placement; none where none is known."""
    cases = [case for case in data.cases if case.against]
    if not cases:
        return ""
    rivals = {"default": "the default", "macs": "MACs alone", "random": "a random placement"}
    head = [("method", "text"), *((f"against {name}", "") for name in rivals.values())]
    lines = [("", [escape(case.label), *(_difference(case, rival) for rival in rivals)]) for case in cases]
    caption = (
        f"Difference of the true {escape(data.metric)} of what was found, in points, with its 95% interval and p "
        "value. Each row is judged by itself; the first sentence adjusts for there being several."
    )
    return table(caption, head, lines)


def _difference(case: CaseResult, rival: str) -> str:
    found = case.against.get(rival)
    return against_text(found) + ("" if found is None else f"<br><small>{p_text(found)}</small>")


def seeds(data: Comparison) -> str:
    """What every seed of every case found."""
    head = [
        ("method", "text"), ("seed", ""), ("found", "text"), (f"true {data.metric}", ""), ("trainings", ""),
        ("regret", ""), ("MACs vs. default", ""),
    ]  # fmt: skip
    lines = [
        ("", [
            escape(case.label), str(pick.seed), escape(pick.placement) + ("" if pick.restricted else _OUTSIDE),
            share(pick.truth), or_dash(pick.truth_n, "d"),
            or_dash(None if pick.regret is None else 100 * pick.regret, ".2f"), ratio_text(pick.macs_ratio),
        ])
        for case in data.cases
        for pick in case.picks
    ]  # fmt: skip
    if not lines:
        return ""
    inside = table("Regret in points below the best that is known.", head, lines)
    return f"<details><summary>Every seed of every method</summary>{inside}</details>"


_ORDERED = [
    f"{name}_{order}{end}" for name in ("tau", "rho", "given_macs") for order in ORDERS for end in ("", "_low", "_high")
]


_RIVALS = [f"against_{rival}{end}" for rival in ("default", "macs", "random") for end in ("", "_low", "_high", "_p")]


COLUMNS = [
    "case", "name", "group", "budget", "members", "epochs_total", "seeds", "work", "seconds", "found", "outside",
    "macs_ratio", "truth", "truth_std", "truth_n", "regret1", "regret1_std", "regret5", "regret5_std", *_ORDERED,
    *_RIVALS, "verdict",
]  # fmt: skip


def as_csv(data: Comparison) -> str:
    """The text of the file; metrics and regrets are fractions, an empty cell is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_line(case) for case in data.cases)
    return text.getvalue()


def _line(case: CaseResult) -> list[object]:
    found = "; ".join(pick.placement for pick in case.picks)
    spreads = [case.truth.mean, case.truth.std, case.truth.n, case.regret1.mean, case.regret1.std]
    orders = [
        value
        for found in (case.kendall_tau, case.rho, case.given_macs)
        for order in ORDERS
        for one in (found.get(order, CorrelationSummary()),)
        for value in (one.value, one.low, one.high)
    ]
    rivals = [
        None if entry is None else value
        for entry in (case.against.get(name) for name in ("default", "macs", "random"))
        for value in ((None,) * 4 if entry is None else (entry.mean, entry.low, entry.high, entry.p))
    ]
    return [
        case.case, case.label, case.group, case.budget, case.members, case.epochs_total, case.seeds, case.work,
        case.seconds, found, "; ".join(case.outside), case.macs_ratio, *spreads, case.regret5.mean, case.regret5.std,
        *orders, *rivals, case.verdict,
    ]  # fmt: skip
