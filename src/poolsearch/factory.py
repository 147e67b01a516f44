"""FILE.py:FACTORY: a function of the user's own, taken from their file and called. No torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from poolsearch.errors import PoolsearchError


def factory_of(path: Path, name: str, what: str) -> Callable[..., Any]:
    """The function ``name`` of the file ``path``.

    Args:
        path: a Python file; it is run.
        name: of a function, or a class, in it.
        what: it makes, for the error: "network".

    Raises:
        PoolsearchError: there is no such file or function, or the file cannot be imported.
    """
    module = _imported(path, what)
    factory = getattr(module, name, None)
    if not callable(factory):
        names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise PoolsearchError(f"{path} has no function '{name}'; it has {', '.join(names) or 'none'}.")
    return factory


def built(name: str, build: Callable[[], Any]) -> Any:
    """What ``build`` gives; the user's or a library's code may do anything, and its own words say what is wrong.

    Raises:
        PoolsearchError: it fails.
    """
    try:
        return build()
    except Exception as error:
        raise PoolsearchError(f"{name} could not be built: {type(error).__name__}: {error}") from error


def _imported(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise PoolsearchError(f"there is no file {path} to take a {what} from.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's file may do anything
        raise PoolsearchError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
