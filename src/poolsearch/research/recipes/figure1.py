"""Figure 1 of the paper: two placements in one supernet disturb each other (docs/claims.md#claim-by-claim)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from poolsearch.evaluation.stats import mean_interval
from poolsearch.progress import Progress
from poolsearch.research.recipes.arms import (
    ARMS,
    RESULT,
    ArmRun,
    accuracies_of,
    placements_of,
    run_arm,
    searches_of,
    seeds_of,
    settings_of,
)
from poolsearch.research.recipes.folder import RecipeResult, absolute_options, begin_recipe, options_of
from poolsearch.research.recipes.views import (
    ALONE,
    PAIRS,
    VIEWS,
    ImageSample,
    View,
    ViewMaps,
    as_grey,
    channels_of,
    choose_images,
    cka_by_block,
    view_maps,
)
from poolsearch.research.reports.figure1 import write_figure1
from poolsearch.research.reports.figure1_words import sentences
from poolsearch.session.prepare import absolute
from poolsearch.session.trusted import NAMED, FolderPermissions, Trust
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import RecipeOptions
from poolsearch.storage.files import atomic, read_json, write_json
from poolsearch.storage.locks import locked
from poolsearch.storage.run_dir import RunDir

MAPS = "maps.npz"


def figure1(out: Path, options: RecipeOptions, resume: bool, progress: Progress, trust: Trust = NAMED) -> RecipeResult:
    """Train a placement that pools early, one that pools late, and both in one supernet; compare them.

    Each search is single-path one-shot training (SPOS) restricted to one or two placements, on the same images, with
    the same weights at the start; of one placement alone it is that network's own training. All are evaluated on the
    whole search-val half. Leaves a run folder for each search with a ``figure1.json``, and of all together
    ``figure1.json``, ``maps.npz``, ``report.html`` and ``figures/``.

    Differs: the paper shows neither the placements nor how long both were trained. Here they are the two ends of the
    space, and both are trained as long as one alone and twice as long; the accuracy is that on search-val.

    Args:
        out: the folder; new or empty, unless ``resume``.
        options: what to change; with ``resume`` those that it was begun with may be left out.
        resume: go on with what is in ``out``; finished searches are not made again.
        progress: where work shows itself.
        trust: whether a Python file that the folder names may run.

    Returns:
        The page, and what came out.

    Raises:
        PoolsearchError: a mistake in what was asked for.
        Interrupted: stopped on request; everything is saved.
    """
    named = trust.named(Settings.of(net=options.net))
    options = options_of(out, "figure1", options, resume)
    settings, seeds = settings_of(options), seeds_of(options)
    code = FolderPermissions(out, trust, named).code(absolute(settings), progress)
    placements = placements_of(options, settings, progress, code)
    with locked(out):
        if not resume:
            options = absolute_options(options, settings)
            settings = settings_of(options)
            begin_recipe(out, "figure1", options)
        trust = trust.also(settings)
        searches = list(searches_of(out, settings, placements, seeds))
        with progress.bar("figure1", len(searches)) as update:
            for done, search in enumerate(searches):
                update(done, f"{search.arm.name}, seed {search.seed}")
                run_arm(search, progress, trust)
            update(len(searches), "")
        progress.say("looking into the trained supernets")
        seen = _look_into(out, searches, placements, trust)
        result = _summary(options, searches, placements) | seen
        write_json(out / RESULT, result)
        return RecipeResult(write_figure1(out), sentences(result))


def _summary(options: RecipeOptions, searches: Sequence[ArmRun], placements: dict[str, str]) -> dict[str, Any]:
    """What is measured, of what, and on what."""
    run = read_json(RunDir(searches[0].folder).run)
    results = [read_json(search.folder / RESULT) for search in searches]
    return {
        "recipe": "figure1",
        "scale": options.scale or "mini",
        "poolsearch": version("poolsearch"),
        "versions": run["versions"],
        "hardware": run["hardware"],
        "data": {name: run["data"][name] for name in ("images", "fingerprint")}
        | {"name": Path(run["data"]["name"]).name},  # pages are passed on: no whole path of a folder
        "net": run["settings"]["net"]["net"],
        "settings": {name: run["settings"]["search"][name] for name in ("batch", "lr", "weight_decay", "norm")}
        | {"width": run["settings"]["net"]["width"]},
        "placements": placements,
        "default": run["space"]["default"],
        "seeds": len(searches) // len(ARMS),
        "searches": results,
        "means": [_mean(results, view) for view in VIEWS],
        "differences": [_difference(results, view) for view in VIEWS if view not in ALONE],
    }  # fmt: skip


def _mean(results: Sequence[dict[str, Any]], view: View) -> dict[str, Any]:
    values = accuracies_of(results, view.arm, view.role)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "arm": view.arm, "role": view.role, "n": len(values), "mean": float(np.mean(values)), "std": deviation,
        "values": values,
    }  # fmt: skip


def _difference(results: Sequence[dict[str, Any]], view: View) -> dict[str, Any]:
    """A placement trained together less the same one alone, over seeds, which share halves and first weights."""
    together, alone = accuracies_of(results, view.arm, view.role), accuracies_of(results, view.role, view.role)
    values = [a - b for a, b in zip(together, alone, strict=True)]
    mean, low, high = mean_interval(values)
    return {
        "arm": view.arm, "role": view.role, "n": len(values), "mean": mean, "low": low, "high": high, "values": values,
    }  # fmt: skip


def _look_into(out: Path, searches: Sequence[ArmRun], placements: dict[str, str], trust: Trust) -> dict[str, Any]:
    """Compare the representations of every seed, and keep the maps of the first."""
    folders = {(search.arm.name, search.seed): search.folder for search in searches}
    seeds = len(searches) // len(ARMS)
    cka: list[dict[str, Any]] = []
    shown: dict[str, Any] = {}
    for seed in range(seeds):
        other = (seed + 1) % seeds
        chosen = choose_images(folders["early", seed], folders["early", other] if seeds > 1 else None, trust)
        seen: dict[View, ViewMaps] = {}
        for arm in ARMS:
            found = view_maps(folders[arm.name, seed], {role: placements[role] for role in arm.roles}, chosen, trust)
            seen |= {View(arm.name, role): view for role, view in found.items()}
        cka += [_alike(seed, a.name, b.name, seen[a], seen[b], chosen) for a, b in PAIRS]
        for view in ALONE if seeds > 1 else ():
            again = view_maps(folders[view.arm, other], {view.role: placements[view.role]}, chosen, trust)[view.role]
            cka.append(_alike(seed, view.name, f"{view.name} again", seen[view], again, chosen))
        if seed == 0:
            shown = _keep_maps(out, seen, chosen)
    return {"cka": cka, "maps": shown}


def _alike(seed: int, a: str, b: str, seen_a: ViewMaps, seen_b: ViewMaps, chosen: ImageSample) -> dict[str, Any]:
    return {"seed": seed, "a": a, "b": b, "images": len(chosen.indices), "blocks": cka_by_block(seen_a, seen_b)}


def _keep_maps(out: Path, seen: dict[View, ViewMaps], chosen: ImageSample) -> dict[str, Any]:
    """Write ``maps.npz``; gives what its maps are of."""
    channels = {arm.name: channels_of([view for at, view in seen.items() if at.arm == arm.name]) for arm in ARMS}
    arrays = {
        f"{at.name}/{block}": as_grey(maps_SCHW[:, channels[at.arm][block]])
        for at, view in seen.items()
        for block, maps_SCHW in enumerate(view.maps_SCHW)
    }
    arrays["images"] = chosen.pixels_SHWC
    with atomic(out / MAPS) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    return {"seed": 0, "classes": chosen.classes, "channels": channels}
