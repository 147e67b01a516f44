"""FILE.py:FACTORY: a function of the user's own, taken from their file and called. No torch.

The file is loaded as Python loads a script: what lies beside it can be imported, and in a package relatively, too.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, all_suffixes
from itertools import chain
from pathlib import Path
from types import CodeType, ModuleType
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
        there = f"it has {', '.join(names) or 'none'}."
        if name in vars(module):
            raise PoolsearchError(f"'{name}' in {path} is a {type(factory).__name__}, not a function; {there}")
        raise PoolsearchError(f"{path} has no function '{name}'; {there}")
    return _beside(path, factory)


def functions_in(path: Path) -> list[str]:
    """The functions and classes that a Python file defines, which is not run.

    Args:
        path: a Python file.

    Returns:
        Their names in the file's order; none where it cannot be read as Python.
    """
    return [
        node.name for node in _tree(path) if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
    ]


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
        path = path.resolve()
        folder, parts = path.parent, list[str]()
        while (folder / "__init__.py").is_file() and folder.name.isidentifier():
            parts.insert(0, folder.name)
            folder = folder.parent
        package = ".".join(parts)
        own = "_".join(("user_file", re.sub(r"\W", "_", path.stem), sha256(os.fsencode(path))[:12]))
        return ModulePlace(folder, package, f"{package}.{own}" if package else own)


def imports_of(path: Path) -> list[Path]:
    """The files that a file may import from beside it, and those that these may import in turn. None of them is run.

    They are found by the import statements in their text, wherever these stand, and by ``import_module("name")`` with
    the name written out. A name that is put together while the file runs is not found.

    Args:
        path: a Python file.

    Returns:
        Whole paths below the folder where its imports begin; none of a file that was installed.
    """
    path, root = path.resolve(), ModulePlace.of(path).root
    starts = dict.fromkeys((path.parent, root))
    found = dict[Path, Path]()  # by what a link stands for, so that links in circles end
    left = [] if _INSTALLED & {*root.parts} else [path]
    while left:
        file = left.pop()
        for module in _named_in(file):
            for each in _files_of(module, file, root, starts):
                if each.resolve() not in found:
                    found[each.resolve()] = each
                    left += [each] if each.suffix == ".py" else []
    return sorted(found.values())


def neighbours_of(path: Path) -> dict[str, Path]:
    """The files beside a file that were imported for it, whoever imported them first.

    Args:
        path: a Python file that was loaded last.

    Returns:
        Paths below the folder where its imports begin, with ``/``, and the files.
    """
    root, named = ModulePlace.of(path).root, {file.resolve() for file in imports_of(path)}
    names = {file.name for file in named}
    files = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()]}
    loaded = {name: Path(file) for name, file in files.items() if isinstance(file, str)}
    new = {file.resolve() for name, file in loaded.items() if name in _neighbours}
    found = new | (named & {file.resolve() for file in loaded.values() if file.name in names})
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
        PoolsearchError: there is no such file, it cannot be read, or its content is another.
    """
    if not path.is_file():
        raise PoolsearchError(f"there is no file {path} to take a {what} from.")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PoolsearchError(f"{path} cannot be read: {error.strerror}.") from error
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
    before, finder = {*sys.modules}, _FromSource(place.root)
    sys.path[:0] = folders
    at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(at, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
        new = {*sys.modules} - before if not _INSTALLED & {*place.root.parts} else set[str]()
        tops = {name for name in new if _home(sys.modules[name]) in folders and name != place.name}
        _neighbours.update(name for name in new if name != place.name and {name, *_parents(name)} & tops)


@dataclass(eq=False, frozen=True)
class _FromSource(MetaPathFinder):
    """Imports what lies below ``root`` from the text that was looked at, never from a compiled file beside it."""

    root: Path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        if not Path(spec.origin).is_relative_to(self.root) or _INSTALLED & {*Path(spec.origin).parts}:
            return None
        spec.loader = _SourceLoader(fullname, spec.origin)
        return spec


class _SourceLoader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _tree(file: Path) -> list[ast.stmt]:
    """The statements of a file; none where it cannot be read as Python, which is told when it is loaded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its text: they are told when it is loaded
            return ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _named_in(file: Path) -> Iterator[str]:
    """Names of modules, as far as they can be modules, in the import statements of a file; ``*``: all of a package."""
    for node in chain.from_iterable(map(ast.walk, _tree(file))):
        match node:
            case ast.Import(names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module, names, level):
                start = "." * (level or 0) + (f"{module}." if module else "")
                yield from (start + each.name for each in names)
            case ast.Call(
                ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
                [ast.Constant(str(name)), *_],
            ):
                yield name
            case _:
                pass


def _files_of(module: str, file: Path, root: Path, starts: Iterable[Path]) -> Iterator[Path]:
    """What is imported with a module that ``file`` names: it, and the packages that it is in."""
    parts = module.lstrip(".").split(".")
    level = len(module) - len(module.lstrip("."))
    if parts[0] == __name__.partition(".")[0] and not level:
        return  # it is loaded already, from wherever it is installed
    if level:
        start = Path(*file.parts[:-level])
        if not start.is_relative_to(root):
            return
        packages = (start, *start.parents)
        yield from (each for folder in packages[: packages.index(root)] for each in _modules_at(folder))
        starts = [start]
    for start in starts:
        here = start
        for part in parts:
            if part == "*":
                yield from (each for each in sorted(here.glob("*.py")) if each.is_file())
            if not part.isidentifier():
                break
            here = here / part
            yield from _modules_at(here)


def _modules_at(place: Path) -> Iterator[Path]:
    """The files that Python may take for a module or package: the text, or a compiled file."""
    stems = place / "__init__", place
    files = (stem.with_name(stem.name + suffix) for stem in stems for suffix in all_suffixes())
    return (file for file in files if file.is_file())


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
