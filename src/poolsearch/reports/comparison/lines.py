"""A comparison as a CSV file, one line for each case."""

from __future__ import annotations

import csv
import io

from poolsearch.research.reports.comparison.values import ORDERS, Case, Comparison, Correlation

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


def _line(case: Case) -> list[object]:
    found = "; ".join(pick.placement for pick in case.picks)
    spreads = [case.truth.mean, case.truth.std, case.truth.n, case.regret1.mean, case.regret1.std]
    orders = [
        value
        for found in (case.tau, case.rho, case.given_macs)
        for order in ORDERS
        for one in (found.get(order, Correlation()),)
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
