"""What a page says about a ranking by trainings alone, without a supernet."""

from __future__ import annotations

from typing import cast

from poolsearch.reports.data.parse import Json
from poolsearch.reports.data.run_data import RunData
from poolsearch.samplers.successive_halving import told

BY_MACS = "Ranked by MACs alone, the most first: nothing was trained or evaluated for it."


def so_far(data: RunData) -> str:
    """How far the trainings are, while there is no ranking yet."""
    placements = cast(Json, data.run.get("space", {})).get("covered", 0)
    settings = cast(Json, data.run.get("settings", {}))
    part = "test" if cast(Json, settings.get("alone", {})).get("sweep_mode") == "benchmark" else "validation"
    return (
        f"Placements are being trained alone ({data.method}), or this was interrupted: {data.scored:,} trainings, of "
        f"{placements:,} placements, were scored on the {part} images."
    )


def trainings(data: RunData) -> str:
    """What was trained, and what the accuracies are of; empty where supernets ranked."""
    if not data.rungs:
        return ""
    accuracies = "The figures are of these trainings, on the search-train half."
    if len(data.rungs) > 1:
        accuracies = "A placement that was stopped stands with what it then had, below all that went on."
    return f"{told(data.method, data.rungs)} {accuracies}"
