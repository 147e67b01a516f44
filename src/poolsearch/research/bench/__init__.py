"""Ground truth of placements as tables, and what can be learnt from them without training anything.

``compare_samplers(Bandit.of(ground_truth("table6")), [parse_sampler("bse")], seeds=1000, draws=100)`` compares
samplers in a second; ``poolsearch.evaluation.rank_agreement`` says how well values rank placements.
"""

from __future__ import annotations

from poolsearch.evaluation.ground_truth import GroundTruth, MeasuredPlacement, ground_truth
from poolsearch.research.bench.bandit import Bandit
from poolsearch.research.bench.entrants import BenchSampler, parse_sampler
from poolsearch.research.bench.play import Baseline, BenchResult, Curve, compare_samplers

__all__ = [
    "Bandit",
    "Baseline",
    "BenchResult",
    "BenchSampler",
    "Curve",
    "GroundTruth",
    "MeasuredPlacement",
    "compare_samplers",
    "ground_truth",
    "parse_sampler",
]
