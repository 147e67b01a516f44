"""run.json: what a run was given and rests on; which settings may still change when it is resumed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import Plan
from poolsearch.settings import Settings
from poolsearch.settings.methods import flag
from poolsearch.settings.settings import DECLARED
from poolsearch.storage.files import check_digests, write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import RUN, read_object, read_opening

_BEGUN_WITH = {"before-ranking": "ranking.csv", "before-retraining": "retrain"}
"""Which file shows that what may change before something was begun may change no more."""


def begin(run_dir: RunDir, given: Settings, plan: Plan | None = None, code: Mapping[str, str] | None = None) -> None:
    """Write the settings, the plan by which they were chosen, and the SHA-256 of the Python files that they name.

    It is done before anything else, so that a run killed at once can be resumed without flags.
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
    """run.json.

    Raises:
        PoolsearchError: it is missing, damaged, or not of a run.
    """
    record = read_object(run_dir.run, RUN)
    check_digests(run_dir, record)
    return record


def add_warning(run_dir: RunDir, text: str) -> None:
    """Keep a warning for the report, once."""
    record = read_record(run_dir)
    if text not in record["warnings"]:
        record["warnings"].append(text)
        write_json(run_dir.run, record)


def write_stage(
    run_dir: RunDir, place: int, name: str, began: datetime, ended: datetime | None, resumed_at_step: int | None
) -> None:
    """Write the entry of a stage in its place; those after it go."""
    record = read_record(run_dir)
    record["stages"][place:] = [{
        "stage": name, "started": began.isoformat(timespec="seconds"),
        "ended": ended and ended.isoformat(timespec="seconds"),
        "seconds": ended and round((ended - began).total_seconds(), 1), "resumed_at_step": resumed_at_step,
    }]  # fmt: skip
    write_json(run_dir.run, record)


def saved_settings(out: Path) -> Settings:
    """The settings that the run in ``out`` was given.

    Raises:
        PoolsearchError: there is no run, or its run.json is damaged.
    """
    return Settings.from_record(read_record(RunDir(out))["given"])


def check_free(run_dir: RunDir) -> None:
    """See that a new run can begin there.

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
        raise PoolsearchError(f"the folder {run_dir.root} is not empty. Choose a new or empty one with --out.")


def differences(old: Settings, new: Settings) -> list[tuple[str, str, Any, Any]]:
    """(group, field, old, new) of every setting that differs."""
    return [
        (group, name, before, after)
        for (group, name, before), (_, _, after) in zip(old.flat(), new.flat(), strict=True)
        if before != after
    ]


def typed(settings: Settings) -> list[str]:
    """Settings that are not the defaults, as words of a command; where the cache lies is left out."""
    return [
        word
        for _, name, _, value in differences(Settings(), settings)
        if name != "cache_dir"
        for word in option_words(name, value)
    ]


def option_words(name: str, value: object) -> list[str]:
    """A setting as words of a command."""
    if isinstance(value, bool):
        return [f"--{flag(name)}"]  # every switch is off by default, so that one that differs is on
    values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [f"--{flag(name)}", *map(str, values)]


def merge(run_dir: RunDir, settings: Settings | None) -> Settings:
    """The saved settings, with changes only where nothing rests on them yet.

    Raises:
        PoolsearchError: a setting in use differs; all that do are named.
    """
    saved = saved_settings(run_dir.root)
    changes = differences(saved, settings) if settings is not None else []
    refused = [change for change in changes if _in_use(run_dir, change[1])]
    if refused:
        named = "; ".join(f"--{flag(name)} was {old!r}, now {new!r}" for _, name, old, new in refused)
        raise PoolsearchError(
            f"{run_dir.root} was made with other settings: {named}. Resume without these flags, or start a new "
            "run with --out."
        )
    return saved if settings is None else settings


def is_free(name: str) -> bool:
    """Whether a setting may differ when a run is resumed, at any time."""
    return DECLARED[name].rule.may_change == "always"


def joined(run_dir: RunDir, settings: Settings | None) -> Settings:
    """The saved settings for a process that helps, with changes to what only concerns its machine.

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
    """What is not as it was when the run was begun, or last gone on with: a sentence for each kind."""
    told: list[str] = []
    for kind, now in (("versions", versions), ("hardware", hardware)):
        if others := [f"{k} {v} is now {now.get(k)}" for k, v in record.get(kind, now).items() if now.get(k) != v]:
            told.append(f"other {kind}: {', '.join(others)}. Results may differ in the last bits.")
    return told


def _in_use(run_dir: RunDir, name: str) -> bool:
    change = DECLARED[name].rule.may_change
    return change == "never" or (change in _BEGUN_WITH and (run_dir.root / _BEGUN_WITH[change]).exists())


def installed() -> dict[str, str]:
    """The versions that results may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "torchvision", "numpy")}


def check_same(run_dir: RunDir, record: dict[str, Any], data: dict[str, Any], split_hash: str) -> None:
    """See that a resumed run has the images that it began with, divided as they were.

    Raises:
        PoolsearchError: it has not.
    """
    if record.get("data", data)["fingerprint"] != data["fingerprint"]:
        changed = f"the images of {data['name']}"
    elif record.get("split_hash", split_hash) != split_hash:
        changed = f"the groups, or the division of the images of {data['name']},"
    else:
        return
    raise PoolsearchError(f"{changed} changed since {run_dir.root} was begun. Start a new run with --out.")


def check_weights(run_dir: RunDir, sha256: str | None) -> None:
    """See that a resumed run begins its networks with the weights that it began with; None are fresh ones.

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
    """Whether a stage of this name came to its end."""
    return any(entry["stage"] == stage and entry.get("ended") for entry in read_record(run_dir)["stages"])


def tested(run_dir: RunDir) -> bool:
    """Whether the test split was opened and everything on it evaluated."""
    return "verdict" in read_opening(run_dir)
