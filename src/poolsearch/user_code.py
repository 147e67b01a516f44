"""FILE.py:FACTORY: a function of the user's own, taken from their file and called. No torch.

The file is loaded as Python loads a script: what lies beside it can be imported, and in a package relatively, too.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.storage.files import sha256

_INSTALLED = {"site-packages", "dist-packages"}  # what lies beside a file in there are no neighbours of it
_neighbours: set[str] = set()
"""Modules, by name, that users' files imported from beside them; loaded anew with the next file."""


def file_of(name: str | None) -> str | None:
    """The file of ``FILE.py:FACTORY``.

    Args:
        name: of a network or method, as in settings.

    Returns:
        FILE.py as it is written; None of any other name, and of None.
    """
    file = (name or "").rpartition(":")[0]
    return file if file.endswith(".py") else None


def factory_of(path: Path, name: str, what: str, digest: str | None = None) -> Callable[..., Any]:
    """Take a function from a Python file of the user's.

    Args:
        path: a Python file; it is run.
        name: of a function, or a class, in it.
        what: it makes, for the error: "network".
        digest: SHA-256 that the file must have; None: the caller names the file, so that whatever is in it may run.

    Returns:
        The function or class, not yet called.

    Raises:
        PoolsearchError: there is no such file or function, its content is another, or it cannot be imported.
    """
    module = _imported(path, what, digest)
    factory = getattr(module, name, None) if name.isidentifier() else None
    if not callable(factory):
        names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise PoolsearchError(f"{path} has no function '{name}'; it has {', '.join(names) or 'none'}.")
    return _beside(path, factory)


@dataclass(frozen=True)
class ModulePlace:
    """Where a Python file is among modules.

    Attributes:
        root: the folder in which its imports begin: its own, or that in which its outermost package lies.
        package: dotted name of the package it is in; empty: none.
        name: of the module that is made of it, unlike that of any other.
    """

    root: Path
    package: str
    name: str

    @staticmethod
    def of(path: Path) -> ModulePlace:
        """The place of a file.

        Args:
            path: a Python file, which is not run.

        Returns:
            Its place; a folder with ``__init__.py`` is a package.
        """
        folder, parts = path.resolve().parent, list[str]()
        while (folder / "__init__.py").is_file() and folder.name.isidentifier():
            parts.insert(0, folder.name)
            folder = folder.parent
        package = ".".join(parts)
        own = "user_file_" + re.sub(r"\W", "_", path.stem)
        return ModulePlace(folder, package, f"{package}.{own}" if package else own)


def neighbours_of(path: Path) -> dict[str, Path]:
    """The files that the last load of a file imported from beside it.

    Args:
        path: a Python file that was loaded last.

    Returns:
        Paths below the folder where its imports begin, with ``/``, and the files.
    """
    root = ModulePlace.of(path).root
    files = (getattr(sys.modules.get(name), "__file__", None) for name in _neighbours)
    found = {Path(file).resolve() for file in files if file is not None}
    return {file.relative_to(root).as_posix(): file for file in sorted(found) if file.is_relative_to(root)}


def call_user_code(name: str, build: Callable[[], Any]) -> Any:
    """Call a function that builds something, and report whatever goes wrong in it.

    The user's or a library's code may do anything, and its own words say what is wrong.

    Args:
        name: what is built, for the error, such as ``network mine.py:make``.
        build: takes nothing.

    Returns:
        What ``build`` gives.

    Raises:
        PoolsearchError: it fails.
    """
    try:
        return build()
    except Exception as error:
        raise PoolsearchError(f"{name} could not be built: {type(error).__name__}: {error}") from error


def source_of(path: Path, what: str, digest: str | None = None) -> bytes:
    """The content of a Python file.

    Args:
        path: of the file.
        what: the file is for, for the error: "network".
        digest: SHA-256 that the file must have; None: any.

    Returns:
        Its bytes, not run.

    Raises:
        PoolsearchError: there is no such file, or its content is another.
    """
    if not path.is_file():
        raise PoolsearchError(f"there is no file {path} to take a {what} from.")
    source = path.read_bytes()
    if digest is not None and (found := sha256(source)) != digest:
        raise PoolsearchError(
            f"{path} changed while the run was under way: its SHA-256 is {found}, and was {digest}. Put it back, or "
            "start a new run with --out."
        )
    return source


def _imported(path: Path, what: str, digest: str | None) -> ModuleType:
    source, place = source_of(path, what, digest), ModulePlace.of(path)
    for name in _neighbours:  # they run again, as the file does: each network is built alike
        sys.modules.pop(name, None)
    _neighbours.clear()
    spec = importlib.util.spec_from_file_location(place.name, path.absolute())
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.name] = module  # where dataclasses look for the names in annotations
    try:
        with _importable(path):
            # The very bytes whose digest was looked at: a loader would read the file again, or a compiled one beside it
            exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # the user's file may do anything
        del sys.modules[place.name]
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f" (line {lines[-1]})" if lines else ""
        raise PoolsearchError(f"{path} cannot be imported: {type(error).__name__}: {error}{where}") from error
    return module


@contextmanager
def _importable(path: Path) -> Generator[None]:
    """Let imports begin beside a file inside the block, and note what is imported there."""
    place = ModulePlace.of(path)
    folders = list(dict.fromkeys((str(path.resolve().parent), str(place.root))))
    before = {*sys.modules}
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
        new = {*sys.modules} - before if not _INSTALLED & {*place.root.parts} else set[str]()
        tops = {name for name in new if _home(sys.modules[name]) in folders and name != place.name}
        _neighbours.update(name for name in new if name != place.name and {name, *_parents(name)} & tops)


def _home(module: ModuleType | None) -> str | None:
    """The folder in which a module, or a package, lies."""
    folders = [*getattr(module, "__path__", ())]
    file = folders[0] if folders else getattr(module, "__file__", None)
    return None if file is None else str(Path(file).resolve().parent)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _beside(path: Path, factory: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with imports that begin beside its file while it runs."""

    @functools.wraps(factory, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with _importable(path):
            return factory(*args, **kwargs)

    return call
