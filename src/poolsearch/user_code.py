"""FILE.py:FACTORY: a function of the user's own, taken from their file and called. No torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.storage.files import sha256


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
    return factory


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
    source = source_of(path, what, digest)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    try:
        # The very bytes whose digest was looked at: a loader would read the file again, or a compiled one beside it
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:  # the user's file may do anything
        raise PoolsearchError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
