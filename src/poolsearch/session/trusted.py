"""What a run folder may have done on this machine: run Python files of the user's own, and keep images somewhere.

A run folder is data and may come from anybody, but its ``run.json`` names files to run. So only those run that this
user named themselves, which is remembered in a private file of theirs, outside every run folder.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from poolsearch.errors import PoolsearchError
from poolsearch.progress import Progress
from poolsearch.settings import Settings
from poolsearch.storage.files import sha256
from poolsearch.user_code import file_of, imports_of, source_of

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ONLY_MINE = 0o700
_PYTHON = "(from Python: trust=poolsearch.Trust(everything=True))"

Entry = tuple[str, str]
"""A whole path, and the SHA-256 of the file that was there; of a folder it is empty."""


@dataclass(frozen=True)
class Trust:
    """What the caller names and trusts, of what a run folder names.

    Attributes:
        everything: trust whatever the run folder names, once looked at: ``--trust``.
        words: what the caller said themselves, such as ``mine.py:make``, where other settings were filled up from the
            run folder; None: all the settings that are given are the caller's own words.
    """

    everything: bool = False
    words: frozenset[str] | None = None

    def also(self, *settings: Settings) -> Trust:
        """Count the Python files of some settings as the caller's own words, too.

        Args:
            *settings: that name them.

        Returns:
            The same trust otherwise; this one where all settings are the caller's own words anyway.
        """
        texts = frozenset(text for each in settings for text, _ in _files(each))
        return self if self.words is None else replace(self, words=self.words | texts)

    def named(self, settings: Settings | None) -> frozenset[Path]:
        """Which files and folders the caller named.

        Args:
            settings: as they were given; None names nothing.

        Returns:
            Whole paths of Python files, and of the cache folder.
        """
        if settings is None:
            return frozenset()
        given, cache = _files(settings), settings.data.cache_dir
        given += [] if cache is None else [(cache, _whole(cache))]
        return frozenset(path for text, path in given if self.words is None or text in self.words)


NAMED = Trust()
"""What the caller's settings name, and what this user named before."""


@dataclass(frozen=True)
class FolderPermissions:
    """What one folder may have done.

    Attributes:
        folder: a run folder, or another with a record of settings.
        trust: of the caller.
        named: what they named now.
        recorded: SHA-256 of the files that the run was begun with, by their paths as its settings write them.
    """

    folder: Path
    trust: Trust
    named: frozenset[Path]
    recorded: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, folder: Path, trust: Trust, named: frozenset[Path], record: Mapping[str, Any]) -> FolderPermissions:
        """The permissions of a run folder.

        Args:
            folder: of the run.
            trust: of the caller.
            named: files and folders that the caller named now.
            record: its run.json.

        Returns:
            With the SHA-256 of the files that the run was begun with.
        """
        return cls(folder, trust, named, code_of(record))

    def code(self, settings: Settings, progress: Progress, searched: bool = False) -> dict[str, str]:
        """SHA-256 of each Python file that may run: those that these settings name, and what these import from beside.

        What is new is remembered.

        Args:
            settings: of the run, with whole paths.
            progress: told where nothing can be remembered.
            searched: the search has ended; later stages need no sampler, so that one that may not run is left out.

        Returns:
            By the path as the settings write it; of what is imported, by the whole path.

        Raises:
            PoolsearchError: there is no such file, or it may not run: why, and what to do.
        """
        found = self._admitted(settings.net.net, "network", progress)
        found |= self._admitted(settings.data.task, "task", progress)
        try:
            return found | self._admitted(settings.search.method, "sampler", progress)
        except PoolsearchError:
            if searched:
                return found
            raise

    def _admitted(self, name: str | None, what: str, progress: Progress) -> dict[str, str]:
        if (file := file_of(name)) is None:
            return {}
        path = _whole(file)
        files = {file: path} | {str(each): each for each in imports_of(path) if each != path}
        digests = {name: sha256(source_of(each, what)) for name, each in files.items()}
        known, is_named = read_named(), path in self.named
        for name, each in files.items():
            digest, where = digests[name], "" if each == path else f"imported by {file}, "
            is_mine = is_named or (str(each), digest) in known
            why = None if self.trust.everything else self._why_not(name, each, digest, is_mine)
            if why:
                raise PoolsearchError(
                    f"{self.folder} would run the Python file {each} ({where}SHA-256 {digest}), {why} It was not run: "
                    "it could do whatever you can."
                )
        keep_named([(str(each), digests[name]) for name, each in files.items()], progress)
        return digests

    def _why_not(self, file: str, path: Path, digest: str, is_mine: bool) -> str | None:
        """Why a file may not run, and what to do; None: it may. ``is_mine``: the user named it, or what imports it."""
        before = self.recorded.get(file, digest)
        if before != digest:
            return (
                f"which is not what the run was begun with (SHA-256 {before}). Put that back; or look at it, and if "
                f"the run is to go on with it, give the same command with --trust {_PYTHON}."
            )
        if path.is_relative_to(self.folder.resolve()):
            return (
                "which lies inside that folder, as code that came with it does. Look at it, and at what it imports; if "
                f"you trust all of that, give the same command with --trust {_PYTHON}."
            )
        if not is_mine:
            return (
                "which you have not named before, on this machine and with this content. Look at it; if you trust it, "
                f"give the same command with --trust, once {_PYTHON}. A command that takes --net, --method or --task "
                "also runs a file that you name with it."
            )
        return None

    def with_cache(self, settings: Settings, progress: Progress) -> Settings:
        """The settings, without a cache folder that nobody named: a run folder must not say where files are written.

        Args:
            settings: of the run, with whole paths.
            progress: told where a folder is left out, or cannot be remembered.

        Returns:
            The same settings, or with the user's own cache.
        """
        asked = settings.data.cache_dir
        if asked is None:
            return settings
        entry = str(_whole(asked)), ""
        if self.trust.everything or _whole(asked) in self.named:
            keep_named([entry], progress)
        elif entry not in read_named():
            progress.say(
                f"images are kept in your own cache: the run's {asked} is no folder that you named. Give --cache-dir, "
                "or --trust, to use that one."
            )
            return settings.changed(cache_dir=None)
        return settings


def code_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The Python files that a run was begun with.

    Args:
        record: run.json.

    Returns:
        SHA-256 by path; empty for older runs, of which nothing is known. Later ones at first lacked what is imported.
    """
    code = record.get("code")
    return cast("dict[str, str]", code) if isinstance(code, dict) else {}


def digest_of(name: str | None, code: Mapping[str, str]) -> str | None:
    """What a Python file must be when it runs.

    Args:
        name: ``FILE.py:FACTORY``, or any other name of a network or method.
        code: SHA-256 of the files that may run, by their paths.

    Returns:
        The SHA-256 of FILE.py; None of any other name.

    Raises:
        PoolsearchError: it may not run.
    """
    if (file := file_of(name)) is None:
        return None
    if file not in code:
        raise PoolsearchError(
            f"{file} may not run for this run folder: it is gone, changed, or none that you named. Look at it; if you "
            f"trust it, give --trust {_PYTHON}."
        )
    return code[file]


def read_named() -> frozenset[Entry]:
    """Read what this user has named before.

    Returns:
        Entries of files and cache folders; none where nothing was named yet.

    Raises:
        PoolsearchError: another user could have written it.
    """
    path = _memory()
    if path is None:
        return frozenset()
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # nothing was named yet
        return frozenset()
    with open(handle, encoding="utf-8", errors="replace") as file:
        _check_mine(path, os.fstat(handle))
        _check_mine(path.parent, path.parent.stat())
        lines = file.read().splitlines()
    return frozenset(entry for line in lines if (entry := _entry(line)) is not None)


def keep_named(entries: Iterable[Entry], progress: Progress) -> None:
    """Keep what this user named, for later commands.

    Args:
        entries: those that are kept already are not written again.
        progress: told where they cannot be kept.

    Raises:
        PoolsearchError: another user could have written what is kept.
    """
    path = _memory()
    if not (new := [entry for entry in entries if entry not in read_named()]):
        return
    try:
        if path is None:
            raise OSError("there is no home folder")
        path.parent.mkdir(mode=_ONLY_MINE, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
            # One write of whole lines at the end, so that several processes do not mix theirs
            file.write("".join(json.dumps({"path": name, "sha256": digest}) + "\n" for name, digest in new))
    except OSError as error:
        progress.say(
            f"warning: {', '.join(name for name, _ in new)} cannot be remembered as named by you ({error}). Later "
            "commands on this run will need --trust; or set XDG_STATE_HOME to a folder that you can write."
        )


def _memory() -> Path | None:
    base = os.environ.get("XDG_STATE_HOME", "")
    try:
        state = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return state / "poolsearch" / "trusted.jsonl"


def _check_mine(path: Path, found: os.stat_result) -> None:
    """See that nobody else can have written what says whom this user trusts."""
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE):
        raise PoolsearchError(
            f"{path} says which Python files you trust, and others can write it. Look at it, then make it your own: "
            f"chmod go-w {path}; or delete it, and name your files again."
        )


def _entry(line: str) -> Entry | None:
    try:
        value = json.loads(line)
        return str(value["path"]), str(value["sha256"])
    except (ValueError, TypeError, KeyError, RecursionError):  # a line cut off by a full disk says nothing
        return None


def _files(settings: Settings) -> list[tuple[str, Path]]:
    """Names of settings that stand for Python files, as they are written, and the files."""
    names = settings.net.net, settings.search.method, settings.data.task
    return [(name, _whole(file)) for name in names if name is not None and (file := file_of(name)) is not None]


def _whole(path: str) -> Path:
    return Path(path).expanduser().resolve()
