"""Tables 1 and 2 and Figure 3 of the paper: comparisons of its methods on ResNet20 and CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.research.compare.compare import compare
from poolsearch.research.recipes.folder import RecipeResult, run_options
from poolsearch.research.reports.comparison import findings_of
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import CompareSettings, RecipeName, RecipeOptions

MEMBERS = 4
"""Supernets of the mixture in both tables; the others are trained as long as all of these together."""

TABLE1 = (
    "spos", "spos:sharing=random-init", "spos:sharing=random-init:paths=any", f"mixture:members={MEMBERS}", "darts",
    "darts:sharing=same-init", "darts:sharing=random-init",
)  # fmt: skip
TABLE2 = (
    "gaea", "darts", "bse", "bse:warm-up=0.5", "spos:sharing=random-init", "mcts", "mcts:warm-up=0.5",
    f"mixture:members={MEMBERS}", "random", "proxy", "halving",
)  # fmt: skip
FIGURE3 = (
    "spos", "mixture:members=2", "mixture:members=4", "mixture:members=8", "mixture:members=2:schedule=tau-linear",
    "mixture:members=4:schedule=tau-linear", "mixture:members=8:schedule=tau-linear",
)  # fmt: skip

_SCALES: dict[str, dict[str, Any]] = {
    "mini": {"data": "digits", "width": 4, "epochs": 2, "batch": 64, "sweep_epochs": 3, "sweep_seeds": 1},
    "full": {"data": "cifar10", "epochs": 75, "batch": 256, "sweep_epochs": 200, "sweep_seeds": 3},
}
_SEEDS = {"mini": 2, "full": 3}


def comparison_recipe(
    name: RecipeName, methods: Sequence[str]
) -> Callable[[Path, RecipeOptions, bool, Progress, Trust], RecipeResult]:
    """A recipe that compares these methods by the ground truth of every placement.

    Methods with supernets are compared at their own budget (epochs in proportion to the members: paper, appendix B.1)
    and at the same total training: that of one supernet, for as many epochs as four members have together.

    Differs: the paper compares each at the former only, and DARTS, BSE and MCTS at lengths that it does not give. It
    does not say how long a warm-up is: half of the search here.

    Args:
        name: of the recipe, for messages.
        methods: with their settings, as ``--methods`` takes them.

    Returns:
        What makes it, for :class:`~poolsearch.research.recipes.Recipe`.
    """

    def make(out: Path, options: RecipeOptions, resume: bool, progress: Progress, trust: Trust = NAMED) -> RecipeResult:
        if options.early is not None or options.late is not None:
            raise PoolsearchError(f"--early and --late are for figure1, not for {name}. Leave them out.")
        if resume and options == RecipeOptions():
            page = compare(out, resume=True, progress=progress, trust=trust)
        else:
            page = compare(out, *comparison_request(options, methods), resume, progress, trust=trust)
        return RecipeResult(page, findings_of(out))

    return make


def comparison_request(options: RecipeOptions, methods: Sequence[str]) -> tuple[CompareSettings, Settings]:
    """What is compared, and the settings of all of it.

    Args:
        options: of the recipe.
        methods: with their settings, as ``--methods`` takes them.

    Returns:
        The comparison by the truth of all placements, and the settings of its runs.
    """
    scale = options.scale or "mini"
    values: dict[str, Any] = {"preset": "paper", "net": "cifar-resnet20"} | _SCALES[scale] | run_options(options)
    settings, total = Settings.of(**values), MEMBERS * values["epochs"]
    seeds = _SEEDS[scale] if options.seeds is None else options.seeds
    return CompareSettings(tuple(methods), seeds, total, "all"), settings
