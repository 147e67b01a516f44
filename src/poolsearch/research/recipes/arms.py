"""The searches of Figure 1: what each of them trains, for how long, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolsearch import pipeline
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import blank
from poolsearch.progress import Progress
from poolsearch.research.recipes.folder import run_options
from poolsearch.session.images import image_size_of, images_of, split_of
from poolsearch.session.prepare import absolute, net_spec, resolved, space_of
from poolsearch.session.trusted import NAMED, Trust
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.research_groups import RecipeOptions
from poolsearch.space import Placement, Space
from poolsearch.storage.files import read_json, write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import read_ranking

RESULT = "figure1.json"

_SCALES: dict[str, dict[str, Any]] = {
    "mini": {"data": "digits", "width": 8, "epochs": 10, "batch": 64},
    "full": {"data": "cifar10", "epochs": 75, "batch": 256},
}
_SEEDS = 3
_VAL_EVERY = 10  # nothing rests on the scores of minibatches here: they are only for the curve


@dataclass(frozen=True)
class Arm:
    """One kind of search.

    Attributes:
        name: of its folder.
        times: its length, in times that of a placement alone.
        roles: which placements it trains, ``early``, ``late`` or both.
    """

    name: str
    times: int
    roles: tuple[str, ...]


ARMS = (
    Arm("early", 1, ("early",)),
    Arm("late", 1, ("late",)),
    Arm("both", 1, ("early", "late")),
    Arm("both-twice", 2, ("early", "late")),
)
"""``both`` trains as many steps as one placement alone, so that each of the two gets half of them; ``both-twice`` twice
as many, so that each gets, in the mean, as many updates as when it is alone. The paper does not say which it drew."""


@dataclass(frozen=True)
class ArmRun:
    """One search of Figure 1: an arm with a seed, and the folder that it is made in."""

    arm: Arm
    seed: int
    folder: Path
    settings: Settings

    @property
    def finished(self) -> bool:
        """Whether its placements were evaluated."""
        return RunDir(self.folder).ranking.exists()


def settings_of(options: RecipeOptions) -> Settings:
    """The settings that all searches share.

    Args:
        options: what differs from the scale's settings.

    Returns:
        Settings as given, not yet resolved, of single-path one-shot training.

    Raises:
        PoolsearchError: a value is out of its range.
    """
    fixed = {"preset": "paper", "net": "cifar-resnet20", "method": "spos", "val_every": _VAL_EVERY} | _SCALES[
        options.scale or "mini"
    ]
    settings = Settings.of(**fixed | run_options(options))
    check(settings)
    return settings


def seeds_of(options: RecipeOptions) -> int:
    """How often each search is made.

    Args:
        options: ``seeds`` is read; None is three.

    Returns:
        At least 1.

    Raises:
        PoolsearchError: not at all.
    """
    if options.seeds is not None and options.seeds < 1:
        raise PoolsearchError(f"--seeds is {options.seeds}; allowed is at least 1, and an interval needs 2.")
    return options.seeds or _SEEDS


def placements_of(
    options: RecipeOptions, settings: Settings, progress: Progress, code: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The placement of each role, as files write it.

    Early is the first of the space, where every halving stands as early as it can, and late the last: no two
    placements differ more in where they pool. The paper names none.

    Args:
        options: may name either placement.
        settings: of the searches; the space is that of their network and images.
        progress: where reading the images shows itself.
        code: SHA-256 of the Python files that may run, by their paths; None: none may.

    Returns:
        Placements by ``early`` and ``late``.

    Raises:
        PoolsearchError: the data or the network cannot be read, or a placement does not fit.
    """
    space = _space(settings, code or {}, progress)
    asked = {"early": options.early, "late": options.late}
    ends = {"early": space[0], "late": space[space.size - 1]}
    found = {role: ends[role] if text is None else Placement.parse(text) for role, text in asked.items()}
    for placement in found.values():
        space.index(placement)
    if found["early"] == found["late"]:
        raise PoolsearchError(f"--early and --late are both {found['early']}: give two placements that differ.")
    return {role: str(placement) for role, placement in found.items()}


def _space(settings: Settings, code: Mapping[str, str], progress: Progress) -> Space:
    given = absolute(settings)
    images = images_of(given, progress, code)
    size = image_size_of(given, images)
    used = resolved(given, split_of(given, images), size, {})
    return space_of(blank(net_spec(used, images, size, code)), used, size)


def searches_of(out: Path, settings: Settings, placements: dict[str, str], seeds: int) -> Iterator[ArmRun]:
    """Every search of the figure.

    Args:
        out: the folder of the figure; each search has ``ARM/SEED`` in it.
        settings: that all searches share, with a number of epochs.
        placements: by role, as files write them.
        seeds: how often each arm is made, with the seeds from 0.

    Yields:
        Searches seed after seed: what is there after some time is then whole for the first seeds.

    Raises:
        ValueError: the settings have no number of epochs.
    """
    epochs = settings.search.epochs
    if epochs is None:
        raise ValueError("the searches of a figure have a given number of epochs")
    for seed in range(seeds):
        for arm in ARMS:
            changed = settings.changed(
                seed=seed,
                epochs=epochs * arm.times,
                placements=tuple(placements[role] for role in arm.roles),
            )
            yield ArmRun(arm, seed, out / arm.name / str(seed), changed)


def run_arm(search: ArmRun, progress: Progress, trust: Trust = NAMED) -> None:
    """Train the supernet and evaluate its placements on the search-val half; what is done already is left alone.

    Args:
        search: of Figure 1.
        progress: where work shows itself.
        trust: whether Python files that the folder names may run.

    Raises:
        PoolsearchError: as of a run.
        Interrupted: stopped on request; everything is saved.
    """
    if not search.finished:
        begun = RunDir(search.folder).run.exists()
        pipeline.search(search.folder, search.settings, resume=begun, progress=progress, trust=trust)
        pipeline.rank(search.folder, progress=progress, trust=trust)
    write_json(search.folder / RESULT, result_of(search))


def result_of(search: ArmRun) -> dict[str, Any]:
    """What a finished search says about its placements.

    Args:
        search: that has its ranking.

    Returns:
        JSON values: arm, seed, epochs, seconds, and ``results`` with the accuracy and the MACs of each placement.
    """
    run = read_json(RunDir(search.folder).run)
    rows = _ranked(search.folder)
    return {
        "arm": search.arm.name,
        "seed": search.seed,
        "epochs": run["settings"]["search"]["epochs"],
        "seconds": round(sum(stage["seconds"] or 0 for stage in run["stages"]), 1),
        "results": [
            {
                "role": role, "placement": placement, "val_accuracy": float(rows[placement]["val_accuracy"]),
                "images": int(rows[placement]["images"]), "macs": int(rows[placement]["macs"]),
            }
            for role, placement in zip(search.arm.roles, search.settings.net.placements, strict=True)
        ],
    }  # fmt: skip


def _ranked(folder: Path) -> dict[str, dict[str, str]]:
    return {row["placement"]: row for row in read_ranking(RunDir(folder))}


def accuracies_of(results: Sequence[dict[str, Any]], arm: str, role: str) -> list[float]:
    """The accuracy of a placement in an arm.

    Args:
        results: of searches, as :func:`result_of` gives them, in any order.
        arm: name of the arm.
        role: of the placement, ``early`` or ``late``.

    Returns:
        Fractions on search-val in the order of seeds.
    """
    found = [
        (result["seed"], entry["val_accuracy"])
        for result in results
        for entry in result["results"]
        if result["arm"] == arm and entry["role"] == role
    ]
    return [accuracy for _, accuracy in sorted(found)]
