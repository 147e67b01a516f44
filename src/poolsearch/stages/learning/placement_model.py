"""The model of the placements of a ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolsearch.ask_tell.placement_model import PlacementModel
from poolsearch.session.run import Run
from poolsearch.space import Placement


def model_of(run: Run, rows: Sequence[dict[str, Any]], score_A: NDArray[np.float64] | None) -> PlacementModel:
    """The model of the placements of a ranking, or of a part of them.

    Args:
        run: open.
        rows: of ranking.csv, in the order of the rule without trainings.
        score_A: what is known of the placement of each row without training it alone, higher is better; None: nothing
            but its MACs.

    Returns:
        The model; its reference is the default, or where that is not ranked the placement nearest to it in MACs.
    """
    return PlacementModel.of(
        [Placement.parse(row["placement"]) for row in rows], [row["number"] for row in rows],
        [row["macs"] for row in rows], [row["macs_ratio"] for row in rows], _reference(rows), score_A,
        run.settings.retrain.answer_at, len(run.split.search_val), run.seed,
    )  # fmt: skip


def _reference(rows: Sequence[dict[str, Any]]) -> int:
    """The place of the default, or of the placement nearest to it in MACs."""
    own = [place for place, row in enumerate(rows) if row["is_default"]]
    return own[0] if own else min(range(len(rows)), key=lambda place: abs(math.log(rows[place]["macs_ratio"])))
