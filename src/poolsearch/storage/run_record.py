"""run.json: what a run was given and rests on; which settings may still change when it is resumed."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import Plan
from poolsearch.settings import Settings
from poolsearch.settings.methods import flag, kind_of
from poolsearch.settings.settings import DECLARED
from poolsearch.storage.files import check_digests, read_bytes, remove, write_json, write_text
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import RUN, judged_looks, read_object, read_opening, seeds_of, top_k_of
from poolsearch.texts import command

_BEGUN_WITH = {"before-ranking": "ranking.csv", "before-retraining": "retrain"}
"""Which file shows that what may change before something was begun may change no more."""


def begin(run_dir: RunDir, given: Settings, plan: Plan | None = None, code: Mapping[str, str] | None = None) -> None:
    """Write the first ``run.json`` of a run.

    It is done before anything else, so that a run killed at once can be resumed without flags.

    Args:
        run_dir: the new run's.
        given: settings as the user gave them.
        plan: by which the method was chosen; None where it was given.
        code: SHA-256 of the Python files that the settings name, by their paths.
    """
    record = {
        "poolsearch": version("poolsearch"),
        "given": given.to_dict(),
        "code": dict(code or {}),
        "stages": [],
        "warnings": [],
    }
    write_json(run_dir.run, record if plan is None else record | {"plan": plan.to_dict()})


def read_record(run_dir: RunDir) -> dict[str, Any]:
    """Read ``run.json``.

    Args:
        run_dir: of a run.

    Returns:
        Its value, with what is read of it seen to have the right form.

    Raises:
        PoolsearchError: it is missing, damaged, or not of a run.
    """
    record = read_object(run_dir.run, RUN)
    check_digests(run_dir, record)
    return record


def add_warning(run_dir: RunDir, text: str) -> None:
    """Keep a warning for the report, once.

    Args:
        run_dir: of a run.
        text: a sentence; one that is there already is not added again.
    """
    record = read_record(run_dir)
    if text not in record["warnings"]:
        record["warnings"].append(text)
        write_json(run_dir.run, record)


def write_stage(
    run_dir: RunDir, place: int, name: str, began: datetime, ended: datetime | None, resumed_at_step: int | None
) -> None:
    """Write the entry of a stage; those after its place go.

    Args:
        run_dir: of a run.
        place: among the entries, from 0; the number of entries puts it at the end.
        name: of the stage.
        began: when.
        ended: when; None while it is under way.
        resumed_at_step: the training step that it went on from; None where it began anew, or has no steps.
    """
    record = read_record(run_dir)
    record["stages"][place:] = [{
        "stage": name, "started": began.isoformat(timespec="seconds"),
        "ended": ended and ended.isoformat(timespec="seconds"),
        "seconds": ended and round((ended - began).total_seconds(), 1), "resumed_at_step": resumed_at_step,
    }]  # fmt: skip
    write_json(run_dir.run, record)


def saved_settings(out: Path) -> Settings:
    """The settings that a run was given.

    Args:
        out: the run directory.

    Returns:
        As they were given, not resolved.

    Raises:
        PoolsearchError: there is no run, or its run.json is damaged.
    """
    return Settings.from_record(read_record(RunDir(out))["given"])


def check_free(run_dir: RunDir) -> None:
    """See that a new run can begin there.

    Args:
        run_dir: of the new run; it need not be there.

    Raises:
        PoolsearchError: it is a file, holds a run, or is not empty.
    """
    if not run_dir.root.exists():
        return
    if not run_dir.root.is_dir():
        raise PoolsearchError(f"{run_dir.root} is a file. Choose a folder with --out.")
    if run_dir.run.exists():
        raise PoolsearchError(
            f"{run_dir.root} holds a run already. Go on with it by --resume, or choose another --out."
        )
    if any(not p.name.startswith(".") for p in run_dir.root.iterdir()):
        raise PoolsearchError(
            f"the folder {run_dir.root} is not empty. Choose a new or empty one with --out. Images: --data."
        )


def differences(old: Settings, new: Settings) -> list[tuple[str, str, Any, Any]]:
    """The settings that differ.

    Args:
        old, new: settings as they were given.

    Returns:
        (group, field, old value, new value) of each, in the order of the settings.
    """
    return [
        (group, name, before, after)
        for (group, name, before), (_, _, after) in zip(old.flat(), new.flat(), strict=True)
        if before != after
    ]


def typed(settings: Settings) -> list[str]:
    """Settings that are not the defaults, as words of a command.

    Args:
        settings: as they were given.

    Returns:
        Flags, each followed by its values; where the cache lies is left out.
    """
    return [
        word
        for _, name, _, value in differences(Settings(), settings)
        if name != "cache_dir"
        for word in option_words(name, value)
    ]


def option_words(name: str, value: object) -> list[str]:
    """A setting as words of a command.

    Args:
        name: of the setting's field, such as ``image_size``.
        value: one that is not the default.

    Returns:
        The flag, and its values as texts; a switch has none.
    """
    if isinstance(value, bool):
        return [f"--{flag(name)}"]  # every switch is off by default, so that one that differs is on
    values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [f"--{flag(name)}", *map(str, values)]


def merge(run_dir: RunDir, settings: Settings | None) -> Settings:
    """The settings to go on with: the saved ones, with changes only where nothing rests on them yet.

    Args:
        run_dir: of the run.
        settings: as they are given now, all of them; None changes nothing.

    Returns:
        As given, not resolved.

    Raises:
        PoolsearchError: a setting in use differs; all that do are named.
    """
    saved = saved_settings(run_dir.root)
    changes = differences(saved, settings) if settings is not None else []
    refused = [change for change in changes if _in_use(run_dir, change[1])]
    if refused:
        named = "; ".join(changed_text(f"--{flag(name)}", old, new) for _, name, old, new in refused)
        raise PoolsearchError(
            f"{run_dir.root} was made with other settings: {named}. Resume without these flags, or start a new "
            "run with --out."
        )
    _check_grown(run_dir, saved, changes)
    return saved if settings is None else settings


def changed_text(flag: str, old: Any, new: Any) -> str:
    """That a setting has another value, for people.

    Args:
        flag: as the command line writes it.
        old, new: its values; None where it was left open.

    Returns:
        A clause.
    """
    was, now = ("not given" if value is None else repr(value) for value in (old, new))
    return f"{flag} was {was}, now {now}"


def _check_grown(run_dir: RunDir, saved: Settings, changes: Sequence[tuple[str, str, Any, Any]]) -> None:
    """What was looked at on the test split stays, and each look is ended before the next is prepared."""
    grown = {name: new for _, name, _, new in changes if DECLARED[name].rule.may_change == "grows"}
    again = [name for _, name, _, _ in changes if DECLARED[name].rule.may_change == "ranks-again"]
    if not grown and not (again and run_dir.ranking.exists()):
        return
    if again and kind_of(saved.search.method) == "sampled" and not run_dir.checkpoint.exists():
        raise PoolsearchError(f"{run_dir.root} cannot be ranked again: {run_dir.checkpoint}, the search, is missing.")
    test = read_opening(run_dir)
    if "winner" in test and "verdict" not in test:
        named = ", ".join(f"--{flag(name)}" for name in (*grown, *again))
        raise PoolsearchError(
            f"{named}: the test split of {run_dir.root} is open, and what the networks reach on it is not judged yet. "
            f"Finish that first: {command('run', '--resume', '--out', run_dir.root)}"
        )
    looks = judged_looks(test)
    looked_at = {"retrain_seeds": seeds_of(looks[-1]), "top_k": top_k_of(looks[-1])} if looks else {}
    for name, new in grown.items():
        if new < looked_at.get(name, 0):
            raise PoolsearchError(
                f"--{flag(name)} {new}: the test split of {run_dir.root} was looked at with {looked_at[name]}. Fewer "
                "would choose among results that are known: give as many or more."
            )


def set_ranking_aside(run_dir: RunDir) -> None:
    """Keep the ranking under other names, ``ranking-1.csv`` and so on, as another is to be made.

    Stopped in between, ``ranking.csv`` is still there.

    Args:
        run_dir: of a run; without a ranking nothing is done.
    """
    if not run_dir.ranking.exists():
        return
    number = next(i for i in range(1, 10_000) if not (run_dir.root / f"ranking-{i}.csv").exists())
    for path in (run_dir.members, run_dir.ranking_summary, run_dir.ranking):
        if path.exists():
            kept = path.with_name(f"{path.stem}-{number}{path.suffix}")
            write_text(kept, read_bytes(path).decode("utf-8"))
    remove(run_dir.ranking)


def ranks_again(old: Settings, new: Settings) -> bool:
    """Whether a run that has a ranking by the old settings needs another by the new ones.

    Args:
        old, new: settings as they were given.

    Returns:
        True where a setting of the ranking differs that makes another.
    """
    return any(DECLARED[name].rule.may_change == "ranks-again" for _, name, _, _ in differences(old, new))


def is_free(name: str) -> bool:
    """Whether a setting may differ when a run is resumed, at any time.

    Args:
        name: of the setting's field.

    Returns:
        True for what concerns the machine: where data and weights lie, the device, the number of workers and the like.
    """
    return DECLARED[name].rule.may_change == "always"


def joined(run_dir: RunDir, settings: Settings | None) -> Settings:
    """The saved settings for a process that helps, with changes to what only concerns its machine.

    Args:
        run_dir: of the run.
        settings: as they are given now, all of them; None changes nothing.

    Returns:
        As given, not resolved.

    Raises:
        PoolsearchError: another setting differs; all that do are named.
    """
    saved = saved_settings(run_dir.root)
    changes = differences(saved, settings) if settings is not None else []
    if refused := [f"--{flag(name)}" for _, name, _, _ in changes if not is_free(name)]:
        allowed = ", ".join(f"--{flag(name)}" for name in sorted(filter(is_free, DECLARED)))
        raise PoolsearchError(
            f"{', '.join(refused)}: who joins a run has its settings. Leave these flags out; of a process's own are "
            f"{allowed}."
        )
    return saved if settings is None else settings


def changed(record: dict[str, Any], versions: dict[str, Any], hardware: dict[str, Any]) -> list[str]:
    """What is not as it was when the run was begun, or last gone on with.

    Args:
        record: run.json; what it does not have counts as unchanged.
        versions: of now, as of :func:`installed`.
        hardware: of now, as of :meth:`poolsearch.train.machine.Machine.describe`.

    Returns:
        A sentence for the versions and one for the hardware, where they changed.
    """
    told: list[str] = []
    for kind, now in (("versions", versions), ("hardware", hardware)):
        if others := [f"{k} {v} is now {now.get(k)}" for k, v in record.get(kind, now).items() if now.get(k) != v]:
            told.append(f"other {kind}: {', '.join(others)}. Results may differ in the last bits.")
    return told


def _in_use(run_dir: RunDir, name: str) -> bool:
    change = DECLARED[name].rule.may_change
    return change == "never" or (change in _BEGUN_WITH and (run_dir.root / _BEGUN_WITH[change]).exists())


def installed() -> dict[str, str]:
    """The versions that results may depend on.

    Returns:
        By name: of Python, torch, torchvision and NumPy.
    """
    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "torchvision", "numpy")}


def check_same(run_dir: RunDir, record: dict[str, Any], data: dict[str, Any], split_hash: str) -> None:
    """See that a resumed run has the images that it began with, divided as they were.

    Args:
        run_dir: of the run, for the message.
        record: run.json; what it does not have yet counts as the same.
        data: what run.json would say of the images now, with their ``fingerprint`` and ``name``.
        split_hash: of their division now.

    Raises:
        PoolsearchError: it has not.
    """
    if record.get("data", data)["fingerprint"] != data["fingerprint"]:
        changed = f"the images of {data['name']}, or what is to be learned of them,"
    elif record.get("split_hash", split_hash) != split_hash:
        changed = f"the groups, or the division of the images of {data['name']},"
    else:
        return
    raise PoolsearchError(
        f"{changed} changed since {run_dir.root} was begun. Start a new run with --out. If the files are the same, an "
        "older poolsearch read them by other rules (it read hidden folders, did not know folders dev/ as a "
        "part, passed over .npy files, read only the first page of a TIFF): go on with the version that began the run, "
        "or start a new one."
    )


def check_network(run_dir: RunDir, record: dict[str, Any], network: dict[str, str] | None) -> None:
    """See that a resumed run has the network that it began with, where that is given as an object.

    Args:
        run_dir: of the run, for the message.
        record: run.json.
        network: what run.json would say of it now; None: it is given by its name.

    Raises:
        PoolsearchError: it has another.
    """
    if "split_hash" in record and record.get("network") != network:
        raise PoolsearchError(
            f"{run_dir.root} was begun with another network: its modules, or the shapes of their weights, were not "
            "those of the one that is given now. Give that one, or start a new run in another folder."
        )


def check_weights(run_dir: RunDir, sha256: str | None) -> None:
    """See that a resumed run begins its networks with the weights that it began with.

    Args:
        run_dir: of the run.
        sha256: of the weights that are given now; None: fresh ones.

    Raises:
        PoolsearchError: it does not.
    """
    record = read_record(run_dir)
    before = (record.get("init") or {}).get("sha256")
    if "data" in record and before != sha256:
        raise PoolsearchError(
            f"{run_dir.root} was begun with {_weights(before)}, and now there are {_weights(sha256)}. Give back --init "
            "as it was, or start a new run with --out."
        )


def _weights(sha256: str | None) -> str:
    return f"weights of SHA-256 {sha256[:12]}..." if sha256 else "fresh weights"


def ended(run_dir: RunDir, stage: str) -> bool:
    """Whether a stage came to its end.

    Args:
        run_dir: of a run.
        stage: its name in run.json.

    Returns:
        True where one entry of this name has ended.
    """
    return any(entry["stage"] == stage and entry.get("ended") for entry in read_record(run_dir)["stages"])


def tested(run_dir: RunDir) -> bool:
    """Whether the test split was opened and what the networks reached on it was judged, once or more.

    Args:
        run_dir: of a run.

    Returns:
        False also where it was opened for the first time and the judgement is not done.
    """
    return bool(judged_looks(read_opening(run_dir)))
