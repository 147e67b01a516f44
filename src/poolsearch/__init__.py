"""poolsearch finds where a CNN should downsample.

``poolsearch.run("runs/mine", Settings.of(data="cifar10"))`` is the whole job; ``search``, ``rank``, ``retrain`` and
``report`` are its stages; ``export`` writes the network that was found as files that stand alone. ``check`` proves that
a network can be searched, ``costs`` says what its placements cost, ``plan`` what a search will. ``compare`` holds
methods against each other. See ``poolsearch --help`` for the same on the command line.

Around a training loop of your own: ``restride`` moves the downsampling of any CNN, ``MixtureSearch`` says what to train
next and is told how good it was (docs/library.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolsearch.ask_tell import MixtureSearch, TrialSearch
    from poolsearch.callbacks import Callback, EpochEvent, StageEvent, StepEvent, TrialEvent
    from poolsearch.cost.costs import placement_costs
    from poolsearch.errors import Interrupted, PoolsearchError
    from poolsearch.mixture.mixture import MixtureRules
    from poolsearch.nets.restride import restride
    from poolsearch.pipeline import check, costs, export, open, plan, rank, report, retrain, run, search  # noqa: A004
    from poolsearch.research.compare.compare import compare
    from poolsearch.result import Result
    from poolsearch.session.trusted import Trust
    from poolsearch.settings import Settings
    from poolsearch.settings.research_groups import CompareSettings
    from poolsearch.space import Placement, Space
    from poolsearch.supernet.evaluate import evaluate_tree
    from poolsearch.supernet.own_network import SuperNet
    from poolsearch.tasks.task import Task

__all__ = [
    "Callback",
    "CompareSettings",
    "EpochEvent",
    "Interrupted",
    "MixtureRules",
    "MixtureSearch",
    "Placement",
    "PoolsearchError",
    "Result",
    "Settings",
    "Space",
    "StageEvent",
    "StepEvent",
    "SuperNet",
    "Task",
    "TrialEvent",
    "TrialSearch",
    "Trust",
    "check",
    "compare",
    "costs",
    "evaluate_tree",
    "export",
    "open",
    "placement_costs",
    "plan",
    "rank",
    "report",
    "restride",
    "retrain",
    "run",
    "search",
]

_HOMES = {
    "Callback": "callbacks",
    "EpochEvent": "callbacks",
    "StageEvent": "callbacks",
    "StepEvent": "callbacks",
    "TrialEvent": "callbacks",
    "CompareSettings": "settings.research_groups",
    "compare": "research.compare.compare",
    "Interrupted": "errors",
    "PoolsearchError": "errors",
    "Result": "result",
    "Placement": "space",
    "MixtureRules": "mixture.mixture",
    "MixtureSearch": "ask_tell",
    "TrialSearch": "ask_tell",
    "Settings": "settings",
    "Space": "space",
    "SuperNet": "supernet.own_network",
    "Task": "tasks.task",
    "evaluate_tree": "supernet.evaluate",
    "placement_costs": "cost.costs",
    "restride": "nets.restride",
    "Trust": "session.trusted",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the stages need torch, and ``poolsearch --help`` should not wait for it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("poolsearch")
    if name not in __all__:
        raise AttributeError(f"module 'poolsearch' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"poolsearch.{_HOMES.get(name, 'pipeline')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
