"""What an open run rests on, written down when it begins and compared whenever it is opened again."""

from __future__ import annotations

from typing import Any

from poolsearch.cost.file import write_costs
from poolsearch.data import write_split
from poolsearch.nets.build import blank
from poolsearch.nets.warm_start import (
    match_weights,
)
from poolsearch.session.apply_budget import CostedSpace
from poolsearch.session.images import data_record, duplicates_of
from poolsearch.session.run import Run
from poolsearch.session.trusted import code_of
from poolsearch.settings import Settings
from poolsearch.settings.config_file import config_text
from poolsearch.storage import digests
from poolsearch.storage.files import write_json, write_text
from poolsearch.storage.run_record import (
    changed,
    check_network,
    check_same,
    installed,
    ranks_again,
    set_ranking_aside,
    tested,
)
from poolsearch.user_code import file_of


def write_basis(run: Run, given: Settings, record: dict[str, Any], found: CostedSpace) -> dict[str, Any]:
    """Write what a run rests on into its folder, or see that it is still the same.

    Args:
        run: open.
        given: settings as the user gave them.
        record: run.json as it is so far.
        found: the space within the budget, and its costs.

    Returns:
        What run.json says about the images.

    Raises:
        PoolsearchError: images, division, network or first weights are others than the run began with.
    """
    init = _initial_weights(run, record)
    data = data_record(run.images, run.split, run.image_size)
    data |= {} if run.own_task is None else {"metric_name": run.own_task.metric_name}
    check_same(run.dir, record, data, run.split.hash)
    data["duplicates"] = duplicates_of(run.dir, record, run.images, run.split)
    space = {
        "net": run.settings.net.net, "length": run.space.length, "poolings": run.space.poolings,
        "axes": run.space.axes, "paths": run.settings.net.paths, "default": str(run.space.default),
        "size": run.full_size, "covered": run.space.size,
    }  # fmt: skip
    versions, hardware, recorded = installed(), run.machine.describe(), code_of(record)
    write_costs(run.dir.costs, run.space, run.space_costs, dict(found.about))  # first: a budget rests on it
    network = record.get("network")
    if run.objects.network is not None:
        network = {"sha256": run.objects.network.digest(run.net_spec.classes)}
    check_network(run.dir, record, network)
    if ranks_again(Settings.from_record(record["given"]), given):
        set_ranking_aside(run.dir)  # before run.json says how the next is made: stopped in between, this one is remade
    write_json(run.dir.run, record | {
        "given": given.to_dict(), "settings": run.settings.to_dict(), "versions": versions, "hardware": hardware,
        "seed": run.seed, "data": data, "space": space, "budget": found.budget, "init": init,
        "network": network, "split_hash": run.split.hash, "code": {**recorded, **run.code},
    } | ({"digests": digests.NAME} if digests.are_kept(run.dir.root) else {}))  # fmt: skip
    write_text(run.dir.config, config_text(given))
    for file in (file for file, digest in run.code.items() if recorded.get(file, digest) != digest):
        run.warn(f"resumed with another {file} than the run was begun with: results may be of both.")
    named = {file_of(run.settings.net.net), file_of(run.settings.search.method), file_of(run.settings.data.task)}
    for file in (file for file in run.code if recorded and file not in recorded and file not in named):
        run.warn(
            f"resumed with {file}, which is imported now and was not recorded when the run was begun: it is new, or "
            "the run is of a version that recorded no imported files. Results may be of both."
        )
    for text in changed(record, versions, hardware):
        run.warn(f"resumed with {text}")
    write_split(run.dir, run.images, run.split)
    write_json(run.dir.skipped, run.images.skipped)
    return data


def _initial_weights(run: Run, record: dict[str, Any]) -> dict[str, Any] | None:
    """What the networks begin with, for run.json; seen to fit them as long as something may still be trained."""
    if tested(run.dir):
        return record.get("init")
    if run.weights is None:
        return None
    match = match_weights(blank(run.net_spec), run.weights)
    told = [f"networks begin with {run.weights.source}"]
    if match.replaced:
        told.append(f"missing in it or of another number of classes, so begun anew: {', '.join(match.replaced)}")
    if match.unused:
        told.append(f"not of this network, so not used: {', '.join(match.unused)}")
    run.progress.say("; ".join(told))
    unused = {"unused": match.unused} if match.unused else {}
    return {"source": run.weights.source, "sha256": run.weights.sha256, "replaced": match.replaced} | unused
