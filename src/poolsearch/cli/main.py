"""The command line: parse, call one function, print. Imports torch only when there is work to do."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from poolsearch import texts
from poolsearch.cli.commands import (
    COMMANDS,
    DESCRIPTION,
    Apart,
    Command,
    Compare,
    Export,
    Rank,
    Recipe,
    Report,
    Research,
    Retrain,
    Run,
    Search,
)
from poolsearch.cli.dispatch import perform
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.research.compare.folder import ComparisonDir, asked_before
from poolsearch.settings import Settings
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import saved_settings

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_OURS = (*_DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)  # the machine's errors, not the program's


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 a check does not hold, 2 a mistake in what was asked for, 130 stopped."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(version("poolsearch"))
        return 0
    command: Command | Apart | Research | None = None
    try:
        command = _parse(arguments)
        return perform(command, _typed(arguments))
    except PoolsearchError as error:
        _say(f"poolsearch: {error}")
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        _say(f"\n{_stopped(command, saved=isinstance(stop, Interrupted))}")
        return 130
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        advice = " Free some space, then go on with --resume." if error.errno in _DISK_FULL else ""
        _say(f"poolsearch: {error.strerror}: {error.filename or 'while writing'}.{advice}")
        return 2


def _say(text: str) -> None:
    print(texts.printable(text), file=sys.stderr)


def _typed(arguments: Sequence[str]) -> frozenset[str]:
    """What was typed, of ``--flag=value`` also the value."""
    return frozenset(word for argument in arguments for word in (argument, argument.partition("=")[2]))


def _stopped(command: Command | Apart | Research | None, saved: bool) -> str:
    if isinstance(command, Recipe) and _begun(command.out):
        again = texts.command("recipe", command.name, "--resume", "--out", command.out)
        return f"Stopped; go on with: {again}"
    out = None if command is None or isinstance(command, Apart | Research) else command.where.out
    if out is None or not _begun(out):
        return "Stopped; nothing was begun."
    kept = "everything done so far is saved" if saved else "finished stages, trainings and checkpoints are kept"
    name = next(name for name, kind in COMMANDS.items() if isinstance(command, kind))
    flags = ["--resume"] if isinstance(command, (Run, Search, Compare)) else []
    if isinstance(command, Search) and command.where.join:
        flags = ["--join"]
    return f"Stopped; {kept}. Go on with: {texts.command(name, *flags, '--out', out)}"


def _begun(out: Path) -> bool:
    """Whether there is a run, a comparison or a recipe in a folder."""
    records = RunDir(out).run, RunDir(out).recipe, ComparisonDir(out).record
    return any(record.exists() for record in records)


def _parse(arguments: list[str]) -> Command | Apart | Research:
    """The command, with ``where.out`` filled in where it has one.

    When a run is resumed, its own settings are the defaults, so that only what was really typed can differ.
    """
    kind = COMMANDS.get(arguments[0]) if arguments else None
    asked_for_help = any(a in ("-h", "--help") for a in arguments)
    resumes = kind in (Rank, Retrain, Report) or (kind in (Run, Search, Compare) and "--resume" in arguments)
    resumes = resumes or (kind is Search and "--join" in arguments)
    out = _value_of("--out", arguments)
    found = (Path(out).expanduser() if out else _newest(kind)) if resumes and not asked_for_help else None
    union: Any = Union[tuple(  # noqa: UP007
        Annotated[cls, _subcommand(name, cls, found, whole=cls is kind)]
        for name, cls in COMMANDS.items()
    )]  # fmt: skip
    command = tyro.cli(
        union,
        prog="poolsearch",
        description=DESCRIPTION,
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    if isinstance(command, Apart | Research):
        return command
    if isinstance(command, Export):
        found = command.run or command.where.out or _newest()
        if command.where.out not in (None, found):
            raise PoolsearchError(
                f"two runs are named: {command.run} and, with --out, {command.where.out}. Leave out one."
            )
    return dataclasses.replace(command, where=dataclasses.replace(command.where, out=_out(command, found)))


def _subcommand(name: str, kind: type[Command] | type[Apart] | type[Research], found: Path | None, whole: bool) -> Any:
    """A command for tyro; in the list of all of them stands the first line of its text only."""
    text = inspect.cleandoc(kind.__doc__ or "")
    told = text if whole else text.partition("\n")[0]
    if issubclass(kind, Apart | Research):  # they have no defaults of a run, and one needs a network
        return tyro.conf.subcommand(name, description=told)
    return tyro.conf.subcommand(name, default=_default(kind, found), description=told)


def _default(kind: type[Command], found: Path | None) -> Command:
    if found is not None and kind is Compare and (folder := ComparisonDir(found)).record.exists():
        asked = asked_before(folder)
        return Compare(compare=asked.options, **asked.settings.groups())
    if found is None or not RunDir(found).run.exists():
        return kind()
    saved = saved_settings(found)
    groups = {f.name for f in dataclasses.fields(Settings)}
    return kind(**{f.name: getattr(saved, f.name) for f in dataclasses.fields(kind) if f.name in groups})


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for i, argument in enumerate(arguments):
        if argument == flag and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"{flag}="):
            return argument.split("=", 1)[1]
    return None


def _newest(kind: type[Command] | type[Apart] | type[Research] | None = None) -> Path:
    """The run, or the comparison, in runs/ that was worked on last.

    Raises:
        PoolsearchError: there is none.
    """
    record, what = ("compare.json", "comparison") if kind is Compare else ("run.json", "run")
    runs = sorted(Path("runs").glob(f"*/{record}"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise PoolsearchError(f"there is no {what} in runs/ to go on with. Name its folder with --out.")
    _say(f"Taking the newest {what} in runs/: {runs[-1].parent}. Another is named with --out.")
    return runs[-1].parent


def _out(command: Command, found: Path | None) -> Path:
    given = found or command.where.out
    if given is not None or not isinstance(command, (Run, Search, Compare)):
        return (given or _newest()).expanduser()
    name = Path(command.data.data).expanduser().resolve().stem + ("-compared" if isinstance(command, Compare) else "")
    free = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
    return next(path for path in free if not path.exists())


def console() -> None:
    """What the ``poolsearch`` script calls."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, wherever it comes
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our output went away, as `poolsearch ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
