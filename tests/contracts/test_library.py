"""What ``poolsearch`` offers by name: listed on one page, documented, typed, and the search without torch."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import poolsearch

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_page_lists_exactly_what_can_be_imported() -> None:
    table = PAGE.read_text().split("## All names")[1]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    listed = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(poolsearch.__all__)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", poolsearch.__all__)
def test_each_is_there_documented_and_typed(name: str) -> None:
    found = getattr(poolsearch, name)
    assert callable(found)
    assert inspect.getdoc(found)
    assert [each for each in _functions(found) if not _is_typed(each)] == []


def test_a_type_checker_finds_each_where_it_is_made() -> None:
    """The lazy imports and those for type checkers name the same things."""
    tree = ast.parse(Path(poolsearch.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == sorted(poolsearch.__all__)
    assert all(getattr(import_module(str(home)), name) is getattr(poolsearch, name) for name, home in homes.items())


def test_a_search_by_ask_and_tell_imports_no_torch() -> None:
    code = (
        "import sys, poolsearch; space = poolsearch.Space(5, 1, poolsearch.Placement.parse('3,2')); "
        "search = poolsearch.MixtureSearch(space, steps=3); search.tell(search.ask(), 0.5); print(search.ranking()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _functions(found: object) -> list[Callable[..., object]]:
    """A function, or the public methods of a class that are the package's own."""
    if inspect.isfunction(found):
        return [found]
    own = [each for name, each in inspect.getmembers(found, inspect.isfunction) if name[0] != "_" or name == "__init__"]
    return [each for each in own if each.__module__.startswith("poolsearch")]


def _is_typed(function: Callable[..., object]) -> bool:
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    hints = function.__annotations__
    return "return" in hints and all(name in hints for name in parameters)
