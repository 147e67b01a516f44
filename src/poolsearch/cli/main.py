"""The command line: parse, call one function, print. Imports torch only when there is work to do."""

from __future__ import annotations

import codecs
import dataclasses
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from poolsearch import texts
from poolsearch.cli.commands import COMMANDS, DESCRIPTION, Command
from poolsearch.cli.commands.research_commands import Compare, Recipe
from poolsearch.cli.commands.run_commands import Export, Rank, Report, Retrain, Run, Search
from poolsearch.cli.dispatch import perform
from poolsearch.cli.options import check_rest, make_parser, options_of, typed_values
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.research.compare.folder import ComparisonDir, read_request
from poolsearch.settings import Settings
from poolsearch.settings.config_file import read_config
from poolsearch.storage.run_dir import RunDir, new_folder, newest_folder
from poolsearch.storage.run_record import saved_settings

_IN_ASCII = {"\u00b1": "+/-", "\u00d7": "x", "\u2264": "<=", "\u2013": "-", "\u00b7": "-"}
"""The signs in our own texts, for where they cannot be shown."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# the machine's errors, or those of a name that was given, not the program's
_NOT_OURS = (*_DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 1 a check does not hold, 2 a mistake in what was asked for, 130 stopped."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _replace_what_cannot_be_shown()
    if "--version" in arguments:
        print(version("poolsearch"))
        return 0
    command: Command | None = None
    try:
        command = _parse(arguments)
        return perform(command, _typed(arguments))
    except PoolsearchError as error:
        _say(f"poolsearch: {error}")
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        _say(f"\n{_stopped(command, saved=isinstance(stop, Interrupted))}")
        return 130
    except RuntimeError as error:
        if "home directory" not in str(error):  # as pathlib says it of a ~user that there is not
            raise
        _say(f"poolsearch: a path begins with ~ and a user that this machine does not have ({error}) Write it out.")
        return 2
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        advice = " Free some space, then go on with --resume." if error.errno in _DISK_FULL else ""
        _say(f"poolsearch: {error.strerror}: {error.filename or 'while writing'}.{advice}")
        return 2


def _replace_what_cannot_be_shown() -> None:
    """Where there is only cp1252 or ASCII, print ``+/-`` for a sign of ours, and ``\\u732b`` for a letter of a name."""
    codecs.register_error("poolsearch", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # of a stream whose file was changed for a pipe below it
                stream.reconfigure(errors="poolsearch")


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1
    sign = _IN_ASCII.get(error.object[error.start])
    return codecs.backslashreplace_errors(error) if sign is None else (sign, error.end)


def _say(text: str) -> None:
    print(texts.printable(text), file=sys.stderr)


def _typed(arguments: Sequence[str]) -> frozenset[str]:
    """What was typed, of ``--flag=value`` also the flag and the value."""
    return frozenset(word for argument in arguments for word in (argument, *argument.partition("=")[::2]))


def _stopped(command: Command | None, saved: bool) -> str:
    out = _folder(command)
    if command is None or out is None or not _begun(out):
        return "Stopped; nothing was begun."
    name = next(name for name, kind in COMMANDS.items() if isinstance(command, kind))
    if isinstance(command, Recipe):
        return f"Stopped; go on with: {texts.command(name, command.name, '--resume', '--out', out)}"
    kept = "everything done so far is saved" if saved else "finished stages, trainings and checkpoints are kept"
    flags = ["--resume"] if isinstance(command, (Run, Search, Compare)) else []
    if isinstance(command, Search) and command.where.join:
        flags = ["--join"]
    return f"Stopped; {kept}. Go on with: {texts.command(name, *flags, '--out', out)}"


def _folder(command: Command | None) -> Path | None:
    """The folder that a command works in; None of one that leaves none."""
    if isinstance(command, Recipe):
        return command.out
    if isinstance(command, (Run, Search, Rank, Retrain, Report, Export, Compare)):
        return command.where.out
    return None


def _begun(out: Path) -> bool:
    """Whether there is a run, a comparison or a recipe in a folder."""
    records = RunDir(out).run, RunDir(out).recipe, ComparisonDir(out).record
    return any(record.exists() for record in records)


def _parse(arguments: list[str]) -> Command:
    """The command, with ``where.out`` filled in where it has one.

    When a run is resumed, its own settings are the defaults, so that only what was really typed can differ.
    """
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    everything = "--help-all" in arguments
    asked = ["--help" if word == "--help-all" else word for word in arguments]
    parser = make_parser(COMMANDS, chosen, everything)
    parser.description = DESCRIPTION
    found, rest = parser.parse_known_args(asked or ["--help"])
    options = vars(found)
    name = options.pop("command")
    kind = COMMANDS[name]
    check_rest(rest, name, COMMANDS, before=bool(rest) and asked.index(rest[0]) < asked.index(name))
    values = typed_values(options, {option.name: option for _, _, option in options_of(kind)})
    return _made(kind, values)


def _made(kind: type[Command], values: dict[str, Any]) -> Command:
    """The command with these values; what was not typed is that of --config, or of the folder that it goes on with."""
    for place in values.keys() & {"run", "out", "config"}:
        values[place] = values[place].expanduser()
    if "run" in values and values.setdefault("out", values["run"]).resolve() != values["run"].resolve():
        named = f"{values['run']} and, with --out, {values['out']}"
        raise PoolsearchError(f"two runs are named: {named}. Leave out one.")
    begun: dict[str, Any] = {}
    if kind in (Rank, Retrain, Report, Export) or (kind is not Recipe and (values.get("resume") or values.get("join"))):
        values["out"] = values["out"] if "out" in values else _newest(kind)
        begun = _saved(kind, values["out"])
    if "config" in values:
        begun["settings"] = begun.get("settings", Settings()).changed(**read_config(values["config"]))
    command = kind(**dict(_fields(kind, begun, values)))
    if isinstance(command, (Run, Search, Compare)) and command.where.out is None:
        command = dataclasses.replace(command, where=dataclasses.replace(command.where, out=_free(command)))
    return command


def _fields(kind: type[Command], begun: dict[str, Any], values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a command: options of its own, and groups of options with what was typed of them."""
    owner = {option.name: field.partition(".")[0] for field, _, option in options_of(kind)}
    for item in dataclasses.fields(kind):
        if item.default_factory is dataclasses.MISSING:
            yield item.name, values.get(item.name, item.default)
            continue
        part = begun.get(item.name, item.default_factory())
        typed = {name: value for name, value in values.items() if owner.get(name) == item.name}
        yield item.name, part.changed(**typed) if isinstance(part, Settings) else dataclasses.replace(part, **typed)


def _saved(kind: type[Command], out: Path) -> dict[str, Any]:
    """What the run or the comparison in a folder was given; nothing where there is none, which is said later."""
    if kind is Compare and (folder := ComparisonDir(out)).record.exists():
        asked = read_request(folder)
        return {"compare": asked.options, "settings": asked.settings}
    return {"settings": saved_settings(out)} if kind is not Compare and RunDir(out).run.exists() else {}


def _newest(kind: type[Command]) -> Path:
    """The run, or the comparison, in runs/ that was worked on last.

    Raises:
        PoolsearchError: there is none.
    """
    record, what = ("compare.json", "comparison") if kind is Compare else ("run.json", "run")
    newest = newest_folder(record, what)
    _say(f"Taking the newest {what} in runs/: {newest}. Another is named with --out.")
    return newest


def _free(command: Run | Search | Compare) -> Path:
    """A folder in runs/ that is not there yet, named as the data."""
    data = command.settings.data.data
    return new_folder(Path(data).expanduser().resolve().stem + ("-compared" if isinstance(command, Compare) else ""))


def console() -> None:
    """What the ``poolsearch`` script calls."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, wherever it comes
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our output went away, as `poolsearch ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
