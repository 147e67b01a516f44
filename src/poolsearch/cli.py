"""The command line: parse, call one function, print. Imports torch only when there is work to do."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.files import RunDir, read_json
from poolsearch.progress import Shown, Silent
from poolsearch.settings import (
    Auto,
    DataSettings,
    MachineSettings,
    NetSettings,
    RankSettings,
    RetrainSettings,
    SearchSettings,
    Settings,
)

_DESCRIPTION = """Find where a CNN should downsample, on your data.

  poolsearch run                                          the whole job on built-in digits, about two minutes
  poolsearch run --data FOLDER                            on a folder of class folders of images
  poolsearch run --data cifar10 --net cifar-resnet20      on a torchvision data set
  poolsearch run --resume --out runs/NAME                 go on after Ctrl-C, a crash or kill -9

'run' is search, rank, retrain and report in turn; each is a command too. 'poolsearch run --help' lists all settings."""


@dataclass(frozen=True)
class Common:
    """Where the run lies."""

    out: Auto[Path] = None
    """The run's folder. Default: runs/DATA-NET for a new run; the newest run in runs/ otherwise."""
    resume: bool = False
    """Go on with the run in --out (the newest in runs/ when not given), with its own settings."""
    quiet: bool = False
    """No progress, only the result."""


@dataclass(frozen=True)
class _WithSettings:
    common: Common = field(default_factory=Common)
    data: DataSettings = field(default_factory=DataSettings)
    net: NetSettings = field(default_factory=NetSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    rank: RankSettings = field(default_factory=RankSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)

    @property
    def settings(self) -> Settings:
        return Settings(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Settings)})


class Run(_WithSettings):
    """The whole job: search, rank, retrain the best, open the test split once, write the report."""


class Search(_WithSettings):
    """Train the supernets only."""


class Rank(_WithSettings):
    """Evaluate every placement of a finished search on the search-val half."""


class Retrain(_WithSettings):
    """Train the best placements and the default stand-alone, then open the test split once."""


@dataclass(frozen=True)
class Report:
    """Write report.html and the figures of a run, finished or not."""

    common: Common = field(default_factory=Common)


_NEW = (Run, Search)  # commands that may begin a run; the others need one
_COMMANDS: dict[str, type[Any]] = {"run": Run, "search": Search, "rank": Rank, "retrain": Retrain, "report": Report}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes: 0 done, 2 a mistake in what was asked for, 130 stopped on request."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command: Any = None
    try:
        command = _parse(arguments)
        return _do(command)
    except PoolsearchError as error:
        print(f"poolsearch: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt):
        where = f" --out {command.common.out}" if command is not None and command.common.out else ""
        print(
            f"\nStopped; everything done so far is saved. Go on with: poolsearch run --resume{where}", file=sys.stderr
        )
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"poolsearch: no space left ({error.filename or 'disk full'}). Free some, then go on with --resume.",
            file=sys.stderr,
        )
        return 2


def _parse(arguments: list[str]) -> Any:
    """The command, with ``common.out`` filled in.

    When a run is resumed, its own settings are the defaults, so that only what was really typed can differ.
    """
    kind = _COMMANDS.get(arguments[0]) if arguments else None
    asked_for_help = any(a in ("-h", "--help") for a in arguments)
    resumes = kind is not None and not asked_for_help and (kind not in _NEW or "--resume" in arguments)
    out = _value_of("--out", arguments)
    found = (Path(out) if out else _newest()) if resumes else None
    defaults = {name: _default(cls, found) for name, cls in _COMMANDS.items()}
    union: Any = Union[tuple(  # noqa: UP007
        Annotated[cls, tyro.conf.subcommand(name, default=defaults[name], description=cls.__doc__)]
        for name, cls in _COMMANDS.items()
    )]  # fmt: skip
    command = tyro.cli(
        union,
        prog="poolsearch",
        description=_DESCRIPTION,
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return dataclasses.replace(command, common=dataclasses.replace(command.common, out=_out(command, found)))


def _default(kind: type[Any], found: Path | None) -> Any:
    if found is None or kind is Report or not RunDir(found).run.exists():
        return kind()
    saved = Settings.from_dict(read_json(RunDir(found).run)["given"])
    return kind(**{f.name: getattr(saved, f.name) for f in dataclasses.fields(saved)})


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for i, argument in enumerate(arguments):
        if argument == flag and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"{flag}="):
            return argument.split("=", 1)[1]
    return None


def _newest() -> Path:
    """The run in runs/ that was worked on last.

    Raises:
        PoolsearchError: there is none.
    """
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise PoolsearchError("there is no run in runs/ to go on with. Name its folder with --out.")
    return runs[-1].parent


def _out(command: Any, found: Path | None) -> Path:
    if found is not None or command.common.out is not None:
        return found or command.common.out
    data = Path(command.data.data).stem or "data"
    name = f"{data}-{command.net.net}"
    free = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
    return next(path for path in free if not path.exists())


def _do(command: Any) -> int:
    from poolsearch import pipeline
    from poolsearch.reports.terminal import show

    common, out = command.common, command.common.out
    progress = Silent() if common.quiet else Shown()
    if isinstance(command, Report):
        print(f"Report: {pipeline.report(out)}")
        return 0
    work: dict[type[Any], Callable[[], Any]] = {
        Run: lambda: pipeline.run(out, command.settings, common.resume, progress),
        Search: lambda: pipeline.search(out, command.settings, common.resume, progress),
        Rank: lambda: pipeline.rank(out, command.settings, progress),
        Retrain: lambda: pipeline.retrain(out, command.settings, progress),
    }
    progress.say(f"Run folder: {out}")
    work[type(command)]()
    show(out)
    return 0


def console() -> None:
    """What the ``poolsearch`` script calls."""
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our output went away, as `poolsearch ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
