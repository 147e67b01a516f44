"""Ground truth of placements as tables, and what can be learnt from them without training anything.

``regrets(Bandit.of(ground_truth("table6")), [entrant("bse"), entrant("random")], seeds=1000, draws=100)`` compares
samplers in a second; ``poolsearch.evaluation.rank_agreement`` says how well values rank placements.
"""

from __future__ import annotations

from poolsearch.evaluation.ground_truth import GroundTruth, Known, ground_truth
from poolsearch.research.bench.bandit import Bandit
from poolsearch.research.bench.entrants import Entrant, entrant
from poolsearch.research.bench.play import Curve, Fixed, Regrets, regrets

__all__ = [
    "Bandit",
    "Curve",
    "Entrant",
    "Fixed",
    "GroundTruth",
    "Known",
    "Regrets",
    "entrant",
    "ground_truth",
    "regrets",
]
