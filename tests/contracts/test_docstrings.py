"""What users can import says what it takes and what it gives: Args for every parameter, Returns for every result.

``python tests/contracts/test_docstrings.py src/poolsearch/space`` lists what is missing in a folder.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "poolsearch"
NOT_FOR_USERS = ("cli", "reports", "workers", "research/reports")
"""Rooms that only the package itself imports from: the command line, pages, and worker processes."""
ROOMS = sorted(
    str(path.relative_to(SOURCE))
    for path in SOURCE.rglob("*.py")
    if not str(path.relative_to(SOURCE)).startswith(NOT_FOR_USERS)
)


def missing(path: Path) -> Iterator[str]:
    """What public functions and methods of a module leave unsaid, as ``line name: what``."""
    yield from _missing(ast.parse(path.read_text()).body, "")


def _missing(body: list[ast.stmt], inside: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _missing(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not _is_property(node):
            yield from (f"{node.lineno} {inside}{node.name}: {what}" for what in _unsaid(node, bool(inside)))


def _is_property(node: ast.FunctionDef) -> bool:
    """A property is what its first line says; an overload or an override has its text elsewhere."""
    names = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    return bool(names & {"property", "cached_property", "overload", "override", "setter"})


def _unsaid(node: ast.FunctionDef, is_method: bool) -> Iterator[str]:
    text = ast.get_docstring(node)
    if text is None:
        if not is_method:  # a method without a text is that of a protocol, which says it
            yield "no docstring"
        return
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    said = set(_names(_section(text, "Args")))
    for name in names:
        if name not in said and name not in ("self", "cls"):
            yield f"argument {name}"
    result = "None" if node.returns is None else ast.unparse(node.returns)
    if result not in ("None", "NoReturn") and not (_section(text, "Returns") or _section(text, "Yields")):
        yield "Returns"


def _section(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\n((?:(?: {{4}}.*)?\n?)*)", text, re.M)
    return found.group(1) if found else ""


def _names(section: str) -> list[str]:
    """The arguments of a section; several may share a line: ``height, width: in pixels.``"""
    return [name for line in re.findall(r"^ {4}(\w+(?:, \w+)*):", section, re.M) for name in line.split(", ")]


@pytest.mark.parametrize("module", ROOMS)
def test_what_users_import_says_what_it_takes_and_gives(module: str) -> None:
    assert list(missing(SOURCE / module)) == []


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).rglob("*.py")) if Path(sys.argv[1]).is_dir() else [Path(sys.argv[1])]:
        for line in missing(file):
            print(f"{file}:{line}")
