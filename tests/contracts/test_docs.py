"""Links of the documentation, and the places that code cites in it, exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE = sorted(path for room in ("src", "tests", "examples", "benchmarks") for path in (ROOT / room).rglob("*.py"))
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED = re.compile(r"docs/[\w/-]+\.md(?:#[\w-]+)?")
BARE_TAU = re.compile(r"""(?<!Kendall's\s)(?<!["'])\b[Tt]au\b(?!-linear)""")
NOTE = re.compile(r"NOTES,? ([A-Z]\d|section|say|key)")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    headings = [slug(found) for found in re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)]
    assert len(headings) == len(set(headings)), f"{page} has two headings of one name"
    return frozenset(headings)


def missing(target: str, folder: Path) -> str | None:
    """What of ``path#anchor``, seen from a folder, does not exist."""
    path, _, anchor = target.partition("#")
    page = (folder / path).resolve()
    if not page.exists():
        return f"no file {target}"
    return f"no heading {target}" if anchor and anchor not in anchors(page) else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_and_anchors_of_a_page_resolve(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text()))
    links = [link for link in LINK.findall(text) if not link.startswith(("http:", "https:", "mailto:"))]
    targets = [f"{page.name}{link}" if link.startswith("#") else link for link in links]
    assert [said for target in targets if (said := missing(target, page.parent))] == []


def test_places_in_docs_that_code_cites_exist() -> None:
    cited = [(path, target) for path in CODE for target in CITED.findall(path.read_text())]
    assert len(cited) > 30
    assert [f"{path}: {said}" for path, target in cited if (said := missing(target, ROOT))] == []


def test_nothing_cites_notes_that_the_repository_does_not_have() -> None:
    assert [path for path in (*CODE, *PAGES) if NOTE.search(path.read_text())] == []


def test_tau_says_whose_it_is() -> None:
    """Kendall's tau, or ``kendall_tau``; a temperature is called one. Quoted, it is a key of a file."""
    sources = [path for path in (*CODE, *PAGES) if (ROOT / "tests") not in path.parents]
    texts = {path: path.read_text() for path in sources}
    assert [
        f"{path}: {text[max(found.start() - 40, 0) : found.end() + 40]}"
        for path, text in texts.items()
        for found in BARE_TAU.finditer(text)
    ] == []


def test_anchors_are_githubs() -> None:
    assert slug("Preset `official`") == "preset-official"
    assert slug("Order of DARTS, and [GAEA](x.md)") == "order-of-darts-and-gaea"
    assert slug("model.py") == "modelpy"
