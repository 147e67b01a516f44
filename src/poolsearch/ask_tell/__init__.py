"""The search around a training loop of one's own: ask what to train next, tell what came of it. No torch.

:class:`MixtureSearch` for supernets, :class:`TrialSearch` for stand-alone trainings. The stages of a run use the same
two. May import ``samplers``, ``mixture``, ``calibration`` and what lies below them.
"""

from __future__ import annotations

from poolsearch.ask_tell.mixture_ranking import RankedPlacement
from poolsearch.ask_tell.mixture_search import MixtureSearch
from poolsearch.ask_tell.ranking import Ranking
from poolsearch.ask_tell.trial import Trial
from poolsearch.ask_tell.trial_search import PredictedPlacement, StandaloneTrial, TrialSearch

__all__ = [
    "MixtureSearch",
    "PredictedPlacement",
    "RankedPlacement",
    "Ranking",
    "StandaloneTrial",
    "Trial",
    "TrialSearch",
]
