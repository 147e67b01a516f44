"""What a page says about a ranking by prediction: by what it ranks, what it learned from, and what to doubt."""

from __future__ import annotations

from poolsearch.calibration.model import LEVEL
from poolsearch.reports.data.ranking_row import RankingRow
from poolsearch.reports.data.run_data import RunData

_LITTLE_TRUST = 0.5


def points_text(row: RankingRow, interval: bool = True) -> str:
    """The prediction for a placement, as ``+0.52 (-0.11 to +1.20)``; a dash where there is none."""
    if row.prediction is None:
        return "–"
    ends = f" ({row.prediction_low:+.2f} to {row.prediction_high:+.2f})" if interval else ""
    return f"{row.prediction:+.2f}{ends}"


def rule_sentence(data: RunData) -> str:
    """By what a ranking by prediction ranks; empty of others."""
    if not data.predicts:
        return ""
    return (
        f"Ranked by prediction: what a training alone is expected to reach on validation, in points of {data.metric} "
        f"against {data.against}, with the {LEVEL:.0%} interval."
    )


def learned_sentence(data: RunData) -> str:
    """What a ranking by prediction learned from, and how far it trusts the scores; empty of others."""
    if not data.predicts:
        return ""
    summary, trials = data.ranking_summary or {}, [] if data.learned is None else data.learned.trials
    trust, noise = summary.get("trust"), summary.get("noise")
    if not trials:
        return "No placement was trained for it: the prediction is what other networks and data sets teach (--trials)."
    placements = len({one.placement for one in trials})
    told = (
        f"It learned from {len(trials)} training{'s' if len(trials) > 1 else ''} of {placements} "
        f"placement{'s' if placements > 1 else ''} alone, on search-train"
    )
    told += "" if noise is None else f"; two trainings of one placement differ by about {noise * 2**0.5:.2f} points"
    if trust is None:
        return f"{told}."
    scores = "short trainings" if data.kind == "alone" else "supernets" if data.members > 1 else "supernet"
    return f"{told}. The probability that the scores of the {scores} say anything here is {trust:.0%}."


def predicted_sentence(data: RunData) -> str:
    """The verdict before the test split is opened, of a ranking by prediction."""
    winner, default = data.ranking[0], data.default_row
    if winner.is_default:
        return f"So far, no placement is predicted to beat the default {winner.placement}."
    best = f"First by prediction: {winner.placement} with {points_text(winner)} points against {data.against}"
    if default is None:
        return f"{best}; the default {data.default} was not ranked."
    cost = "" if winner.macs_ratio is None else f", at {winner.macs_ratio:.2f} times the default's MACs"
    return f"{best}{cost}."


def prediction_doubts(data: RunData) -> list[str]:
    """What a ranking by prediction gives reason to doubt."""
    if not data.predicts:
        return []
    winner, doubts = data.ranking[0], list[str]()
    if not (data.learned and data.learned.trials):
        doubts.append("The prediction learned from no training in this run: use --trials to see whether it holds here.")
    if not winner.is_default and (winner.prediction_low or 0) <= 0:
        doubts.append(
            f"The interval of the prediction for {winner.placement} ({winner.prediction_low:+.2f} to "
            f"{winner.prediction_high:+.2f} points) includes zero: the gain may be chance."
        )
    if (trust := (data.ranking_summary or {}).get("trust")) is not None and trust < _LITTLE_TRUST:
        doubts.append(
            f"By the trainings alone the scores of the search say little here (probability {trust:.0%}): the ranking "
            "rests on the MACs and on these trainings."
        )
    if left := sum(row.prediction is None for row in data.ranking):
        doubts.append(f"{left:,} placements were not predicted and stand last: the model holds {_held(data)}.")
    return doubts


def _held(data: RunData) -> str:
    return f"{sum(row.prediction is not None for row in data.ranking):,} of {len(data.ranking):,}"
