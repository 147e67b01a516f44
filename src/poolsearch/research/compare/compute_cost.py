"""How much a run computes, in multiply-adds: a forward pass counts once, going backward through it twice more."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poolsearch.cost import CostTable, cost_table
from poolsearch.nets.build import blank
from poolsearch.research.compare.cases import Charged
from poolsearch.session.run import Run
from poolsearch.settings import ResolvedSettings
from poolsearch.settings.methods import kind_of
from poolsearch.space import KEEP, FreeSpace
from poolsearch.stages.search import search_epochs
from poolsearch.storage.parquet import read_table
from poolsearch.storage.stage_results import read_metrics, read_object, read_ranking

TRAINED = 3
"""Passes that training on an image counts as."""
_SECOND_ORDER = 12  # passes more of a step that looks through the next one: both minibatches, and backward twice


def whole_training(run: Run, epochs: int, images: int) -> float:
    """What training the network's own placement once computes, which work is told in units of.

    Args:
        run: an open run of the network and the images.
        epochs: of that training.
        images: in an epoch.

    Returns:
        Multiply-adds.
    """
    return float(TRAINED * epochs * images * run.costs.macs(run.space.default))


def uses_scores(run: Run, settings: ResolvedSettings) -> bool:
    """Whether anything depends on the scores of minibatches: which member or placement is drawn, or which is ranked.

    A single supernet with uniform draws is trained without them; only in a space that is too large to be ranked whole
    do they choose what is evaluated.

    Args:
        run: an open run of the network and the images.
        settings: of the search, resolved.

    Returns:
        True for every search but one of a single supernet with uniform draws in a space that is ranked whole.
    """
    search = settings.search
    uniform = search.method == "spos" or (search.method == "mixture" and search.members == 1)
    return not uniform or run.space.size > settings.rank.rank_all_up_to


def _scored_images(run: Run, settings: ResolvedSettings, charged: Charged) -> float:
    """Images that are scored in a step of the search, on average, of those scores that count."""
    if charged == "used" and not uses_scores(run, settings):
        return 0.0
    return settings.search.val_batch / settings.search.val_every


def epoch_work(run: Run, settings: ResolvedSettings, charged: Charged = "used") -> float:
    """What an epoch of one member of a search with supernets computes, with the scores after its steps.

    Args:
        run: an open run of the network and the images.
        settings: of the search, resolved.
        charged: which scores count.

    Returns:
        Multiply-adds, for placements of average MACs.
    """
    search = settings.search
    batch, val_batch = search.batch, search.val_batch
    steps = len(run.split.search_train) // batch
    if kind_of(search.method) == "relaxed":
        again = _SECOND_ORDER if settings.relaxed.arch_order == 2 else 0
        macs = relaxed_macs(_free_table(run))
        return float(steps * macs * (TRAINED * (batch + val_batch) + again * batch))
    macs = mean_path_macs(_free_table(run)) if settings.net.paths == "any" else float(run.macs_A.mean())
    scored = _scored_images(run, settings, charged)
    return steps * macs * search.placements_per_step * (TRAINED * batch + scored)


def equal_epochs(run: Run, settings: ResolvedSettings, total: int, charged: Charged = "used") -> int:
    """Epochs per member of a search that is as much work as a single supernet (SPOS) of a given length.

    Args:
        run: an open run of the network and the images.
        settings: of the search, resolved.
        total: epochs of the single supernet.
        charged: which scores count.

    Returns:
        A whole number, rounded, at least 1.
    """
    members = settings.search.members if settings.search.method == "mixture" else 1
    single = settings.changed(method="spos", members=1, paths="restricted", placements_per_step=1, val_every=1)
    each = members * epoch_work(run, settings, charged)
    return max(1, round(total * epoch_work(run, single, charged) / each))


def relaxed_macs(table: CostTable) -> float:
    """What a forward pass of the relaxed supernet on one image computes: every block but the first at every resolution.

    Args:
        table: of a free space, so that it has every block at every resolution.

    Returns:
        Multiply-adds.
    """
    # the table has the second block at lower resolutions by its site alone: nothing before it is at any but the full
    rest = sum(cost.macs for (index, _, site), cost in table.block.items() if index == 1 or site == KEEP)
    return float(table.stem.macs + rest + max(table.head.values()))


def mean_path_macs(table: CostTable) -> float:
    """The mean of all paths: each block is at each of its resolutions equally often, whatever the others do.

    Args:
        table: of a free space, so that it has every block at every resolution.

    Returns:
        Multiply-adds of a forward pass on one image.
    """
    blocks = {index for index, _, _ in table.block}
    each = (np.mean([cost.macs for (i, _, _), cost in table.block.items() if i == index]) for index in blocks)
    return float(table.stem.macs + sum(each) + np.mean(list(table.head.values())))


def run_work(run: Run, charged: Charged = "used") -> float:
    """All that a run computed up to its ranking, with the ranking; but scores that count only.

    Args:
        run: open, with its ranking; stand-alone trainings and draws are read from its folder.
        charged: which scores count.

    Returns:
        Multiply-adds; 0 for a ranking by MACs, which trains nothing. Trials that a prediction learned from count.
    """
    return _trainings(run.dir.trials) + _before_trials(run, charged)


def _before_trials(run: Run, charged: Charged) -> float:
    """The search, and the evaluation of its placements."""
    kind = kind_of(run.settings.search.method)
    if kind in ("untrained", "trials"):
        return 0.0
    if kind == "alone":
        return _trainings(run.dir.sweep)
    summary = read_object(run.dir.ranking_summary, {"images": int, "macs_saving?": float})
    if kind == "relaxed":
        return search_epochs(run.settings.search) * epoch_work(run, run.settings) + summary["images"] * _ranked(run)
    return _drawn(run, charged) + summary["images"] * _ranked(run) / summary["macs_saving"]


def _trainings(root: Path) -> float:
    """Of placements alone: each as far as it came, and scored at the end of each rung."""
    found = [read_metrics(path.parent) for path in sorted(root.glob("*/*/metrics.json"))]
    return float(sum(
        one["macs"] * (TRAINED * one["epochs"] * one["images"] + one["val_images"] * len(one["rungs"])) for one in found
    ))  # fmt: skip


def _drawn(run: Run, charged: Charged) -> float:
    """Of placements drawn in a search, each as often as it was."""
    search = run.settings.search
    last = read_table(run.dir.scores, ["step", "number", "count"]).to_pydict()
    step, number, count = (np.array(last[name]) for name in ("step", "number", "count"))
    drawn = float((run.macs_A[number] * count)[step == step.max()].sum())
    return drawn * (TRAINED * search.batch + _scored_images(run, run.settings, charged))


def _ranked(run: Run) -> float:
    """MACs of one image by all ranked placements, one by one."""
    return float(sum(int(row["macs"]) for row in read_ranking(run.dir)))


def _free_table(run: Run) -> CostTable:
    return cost_table(blank(run.net_spec), *run.image_size, FreeSpace.of(run.space))
