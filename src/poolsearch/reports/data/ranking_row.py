"""A line of ``ranking.csv``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from poolsearch.space import shown


@dataclass(frozen=True)
class RankingRow:
    """One line of ``ranking.csv``; accuracies are fractions, ``None`` stands for a column of later versions.

    Predictions are in points, and None where the ranking is not by prediction; ``trials`` are the placement's own.

    Accuracies and their interval are NaN where nothing was evaluated. ``number`` is None for a placement
    outside the space, as a relaxed search may find.
    """

    rank: int
    placement: str
    number: int | None
    val_accuracy: float
    low: float
    high: float
    score: float | None
    member: int | None
    assignment: float | None
    macs: int
    macs_ratio: float | None
    is_default: bool
    control: bool
    images: int | None = None
    val_metric: float | None = None
    prediction: float | None = None
    prediction_low: float | None = None
    prediction_high: float | None = None
    trials: int | None = None

    @property
    def value(self) -> float:
        """The metric on the validation images."""
        return self.val_accuracy if self.val_metric is None else self.val_metric

    @property
    def evaluated(self) -> bool:
        """Whether anything is known of the placement but its cost."""
        return not math.isnan(self.val_accuracy)

    def told(self, form: str) -> str:
        """The metric for people, in this format; a dash where nothing was evaluated."""
        return format(self.value, form) if self.evaluated else "–"


def parse_ranking_row(row: dict[str, str]) -> RankingRow:
    """A line of the file, by the names of its columns.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    return RankingRow(
        rank=int(row["rank"]),
        placement=shown(row["placement"]),
        number=_integer(row["number"]),
        val_accuracy=float(row["val_accuracy"] or "nan"),
        low=float(row["low"] or "nan"),
        high=float(row["high"] or "nan"),
        score=_number(row["score"]),
        member=_integer(row["member"]),
        assignment=_number(row["assignment"]),
        macs=int(float(row["macs"])),
        macs_ratio=_number(row["macs_ratio"]),
        is_default=row["is_default"].lower() in ("true", "1"),
        control=row["control"].lower() in ("true", "1"),
        images=_integer(row.get("images", "")),
        val_metric=_number(row.get("val_metric", "")),
        prediction=_number(row.get("prediction", "")),
        prediction_low=_number(row.get("prediction_low", "")),
        prediction_high=_number(row.get("prediction_high", "")),
        trials=_integer(row.get("trials", "")),
    )


def _number(text: str) -> float | None:
    """An empty cell, ``None`` or NaN means not known."""
    if text.lower() in ("", "none", "nan", "null"):
        return None
    return float(text)


def _integer(text: str) -> int | None:
    return None if (number := _number(text)) is None else int(number)
