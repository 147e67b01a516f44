"""The test images class by class: the winner beside the default."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import cast

from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.run_data import RunData

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
