"""The tables of the page, as HTML."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import cast

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.budget_picks import limit_text
from poolsearch.evaluation.ground_truth import MeasuredPlacement
from poolsearch.reports.data.answer_rows import AnswerRow, answer_rows, trained_controls
from poolsearch.reports.data.parse import Cost, Json
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData
from poolsearch.reports.page.markup import badges, macs_text, or_dash, table
from poolsearch.reports.text.method_notes import measured_text
from poolsearch.reports.text.prediction_notes import points_text
from poolsearch.space import Placement

_TITLES = {  # of each cost that costs.parquet may know
    "memory": "memory of a step",
    "latency_ms": "latency",
    "field_height": "receptive field",
}


def answers(data: RunData) -> str:
    """The pick of each limit, as far as it is known what it is worth."""
    lines = answer_rows(data)
    if not lines:
        return ""
    tested = data.test is not None
    head = [("MACs limit", "text"), ("pick", "text"), ("rank", ""), ("MACs vs. default", "")]
    head += [("prediction" if data.predicts else "validation", "")]
    if tested:
        head += [("test", ""), ("against the default", ""), ("beats it", ""), ("at equal MACs", "")]
    others = [name for name in _TITLES if any(name in row.costs for row in lines)]
    head += [(_TITLES[name], "") for name in others]
    caption = (
        "The pick is the first of the ranking within the limit, in times the default's MACs: fixed before "
        "anything is retrained."
    )
    if tested:
        caption += (
            f" Against the default: points of test {data.metric} with their 95% interval, and p adjusted for all picks "
            "that are tested. Beats it: the bootstrap probability. At equal MACs: against what the default is "
            "worth at the pick's MACs, where that was trained."
        )
    rows = [("winner" if row.better else "", _answer_cells(row, data.predicts, tested, others)) for row in lines]
    return table(" ".join(filter(None, [caption, data.notation])), head, rows)


def _answer_cells(row: AnswerRow, predicts: bool, tested: bool, others: Sequence[str]) -> list[str]:
    pick = row.pick
    cells = [limit_text(row.limit)]
    if pick is None:
        return [*cells, "none was ranked", *["–"] * (3 + 4 * tested + len(others))]
    flag = badges(["default"]) if pick.is_default else ""
    cells += [f"{escape(pick.placement)} {flag}", str(pick.rank)]
    cells += [or_dash(pick.macs_ratio, ".2f", " ×"), points_text(pick) if predicts else pick.told(".2%")]
    if tested:
        adjusted = "" if row.adjusted_p is None else f"<br><small>p {row.adjusted_p:.2g}</small>"
        probability = (row.default or {}).get("probability")
        cells += [_mean(row.tested), _difference(row.default) + adjusted, or_dash(probability, ".1%"), _equal(row)]
    return [*cells, *(_cost(row.costs.get(name)) for name in others)]


def _cost(cost: Cost | None) -> str:
    """A list is of the resolutions, from the first to the last; 0 stands for one that no block is at."""
    if cost is None:
        return "–"
    if isinstance(cost, list):
        return f"{', '.join(f'{pixels:,.0f}' if pixels else '–' for pixels in cost)} px"
    return f"{cost / 1e6:,.1f} MB" if isinstance(cost, int) else f"{cost:.3g} ms"


def _mean(tested: Json | None) -> str:
    if tested is None:
        return "–"
    spread = "" if tested["std"] is None else f" <small>± {100 * tested['std']:.2f}</small>"
    return f"{tested['mean']:.2%}{spread}<br><small>n = {tested['n']}</small>"


def _difference(found: Json | None) -> str:
    if not found:
        return "–"
    difference = found["difference"]
    low, high = 100 * difference["low"], 100 * difference["high"]
    return f"{100 * difference['mean']:+.2f} <small>{low:+.2f} to {high:+.2f}</small>"


def _equal(row: AnswerRow) -> str:
    found = row.equal_macs
    if not found:
        return "–"
    against = f"<br><small>against {escape(str(found['against']))}</small>"
    return f"{_difference(found)}{against}"


def by_halvings(data: RunData) -> str:
    """The first of the ranking with each number of halvings; nothing where all placements have as many."""
    net = cast("Json", cast("Json", data.run.get("settings") or {}).get("net") or {})
    if net.get("halvings", "default") == "default":
        return ""
    rows_by_halvings = defaultdict[int, list[RankingRow]](list)
    for row in data.ranking:
        blocks = _blocks_of(row.placement)
        if blocks is None:
            return ""
        rows_by_halvings[len(blocks) - 1].append(row)
    if len(rows_by_halvings) < 2:
        return ""
    head = [("halvings", ""), ("placements", ""), ("first of them", "text"), ("rank", ""), ("MACs vs. default", "")]
    head += [("prediction" if data.predicts else f"validation {data.metric}", "")]
    lines = [
        (
            "winner" if first.rank == 1 else "",
            [
                str(halvings), f"{len(rows):,}", f"{escape(first.placement)} {badges(['default'] * first.is_default)}",
                f"{first.rank:,}", or_dash(first.macs_ratio, ".2f", " ×"),
                points_text(first) if data.predicts else first.told(".2%"),
            ],
        )
        for halvings, rows in sorted(rows_by_halvings.items()) if (first := min(rows, key=lambda row: row.rank))
    ]  # fmt: skip
    return f"<h3>By the number of halvings</h3>\n{table('The first of the ranking with each.', head, lines)}"


def _blocks_of(placement: str) -> tuple[int, ...] | None:
    try:
        return Placement.parse(placement).blocks
    except PoolsearchError:
        return None


def controls(data: RunData) -> str:
    """What the winner was compared with."""
    notes = cast("list[str]", (data.test or {}).get("notes", []))
    lines = [
        ("", [
            escape(entry["control"]), escape(entry["name"]), _mean(entry), f"{entry['macs_ratio']:.2f} ×",
            _difference(entry["winner"]), or_dash((entry["winner"] or {}).get("probability"), ".1%"),
        ])
        for entry in trained_controls(data)
    ]  # fmt: skip
    if not notes:
        return ""
    head = [("control", "text"), ("network", "text"), (f"test {data.metric}", ""), ("MACs vs. default", "")]
    head += [("winner against it", ""), ("winner beats it", "")]
    told = "".join(f"<p>{escape(note)}</p>" for note in notes)
    caption = "Trained to compare the winner with; never chosen from. Differences are points with 95% intervals."
    return f"<h3>Controls</h3>\n{table(caption, head, lines) if lines else ''}\n{told}"


def truth_table(truths: Sequence[MeasuredPlacement], default: str, metric: str) -> str:
    """Every placement, best first."""
    own = next((truth.macs for truth in truths if truth.placement == default), None)
    head = [("", ""), ("placement", "text"), (f"test {metric}", ""), ("MACs", ""), ("vs. default", ""), ("", "text")]
    lines = [
        (
            "default" if truth.placement == default else "",
            [
                str(place), escape(truth.placement), measured_text(truth), macs_text(truth.macs),
                "–" if own is None else f"{truth.macs / own:.2f} ×",
                badges(["default"] if truth.placement == default else []),
            ],
        )
        for place, truth in enumerate(truths, 1)
    ]  # fmt: skip
    caption = f"Mean and standard deviation over {truths[0].n} trainings on all training images."
    return table(caption, head, lines)


MOST_CLASSES = 200


Table = tuple[str, Sequence[tuple[str, str]], Sequence[tuple[str, Sequence[str]]]]
"""Caption, head and lines, as :func:`poolsearch.reports.page.markup.table` takes them."""


_VALUES = ("recall", "precision", "f1")


def class_table(data: RunData) -> Table | None:
    """Recall, precision and F1 of each class; None before the test split was opened.

    Classes come in the order of what the winner gains: those that lose most first.
    """
    lines = cast(list[Json], (data.test or {}).get("classes", []))
    if not lines:
        return None
    same = bool(data.winner and data.winner.is_default)
    networks = ("default",) if same else ("winner", "default")
    ordered = sorted(lines, key=_gain)
    shown = ordered[:MOST_CLASSES]
    texts = [
        f"Of {'the default, which is the winner' if same else 'the winner and of the default'}: means over seeds.",
        "Recall: part of the images of a class that is right. Precision: part of those taken for the class that is.",
        "" if same else "Classes in which the winner loses recall come first.",
        f"Shown are {len(shown)} of {len(lines):,}; all are in test.json." if len(shown) < len(lines) else "",
    ]
    head = [("class", "text"), ("test images", "")]
    head += [(f"{value if value != 'f1' else 'F1'}, {name}", "") for value in _VALUES for name in networks]
    return " ".join(filter(None, texts)), head, [("", _cells(line, networks)) for line in shown]


def _gain(line: Json) -> float:
    winner, default = line["winner"]["recall"], line["default"]["recall"]
    return 0.0 if winner is None or default is None else winner - default


def _cells(line: Json, networks: Sequence[str]) -> list[str]:
    values = [line[name][value] for value in _VALUES for name in networks]
    return [escape(str(line["class"])), f"{line['images']:,}", *("–" if v is None else f"{v:.1%}" for v in values)]


def filter_table(data: RunData) -> str:
    """Training steps by block and resolution, summed over the members; nothing where weights are shared."""
    if not data.filters:
        return ""
    steps: dict[tuple[int, str], int] = defaultdict(int)
    for each in data.filters:
        steps[each.block, each.resolution] += each.steps
    resolutions = sorted({resolution for _, resolution in steps}, key=_halvings)
    blocks = sorted({block for block, _ in steps})
    lines = [
        ("", [str(block + 1), *(f"{steps[block, r]:,}" if (block, r) in steps else "–" for r in resolutions)])
        for block in blocks
    ]
    head = [("block", ""), *((escape(_fraction(resolution)), "") for resolution in resolutions)]
    caption = (
        "Training steps of each block's weights for each resolution"
        f"{', of all members together' if data.members > 1 else ''}. A dash: no placement has the block there. Weights "
        "that were trained rarely make the placements that use them look worse than they are."
    )
    return f"<h3>How often each set of weights was trained</h3>\n{table(caption, head, lines)}"


def _halvings(resolution: str) -> tuple[int, ...]:
    return tuple(int(part) for part in resolution.split("x"))


def _fraction(resolution: str) -> str:
    """A resolution in words: of height and width where they differ."""
    height, width = ("full" if n == 0 else f"1/{2**n}" for n in _halvings(resolution))
    return height if height == width else f"{height} x {width}"
