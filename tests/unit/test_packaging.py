"""What the package says of itself: versions that go together, and checks that are the same everywhere."""

import re
import sys

import pytest

from conftest import ROOT

if sys.version_info < (3, 11):
    import tomli as tomllib
else:
    import tomllib


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def versions(lines, pattern):
    """By name, without zeros at the end: 5.4 and 5.4.0 are one version."""
    return {name: re.sub(r"(\.0)+$", "", text) for name, text in (re.match(pattern, line).groups() for line in lines)}


def test_the_oldest_versions_in_the_tests_are_the_oldest_that_are_allowed(project):
    extras = project["optional-dependencies"]
    allowed = versions(
        [*project["dependencies"], *extras["onnx"], *extras["tensorboard"], *extras["timm"]], r"([\w-]+)>=([\d.]+)"
    )
    lines = (ROOT / "constraints" / "oldest.txt").read_text().splitlines()
    assert versions([line for line in lines if not line.startswith("#")], r"([\w-]+)==([\d.]+)$") == allowed


def test_the_version_is_that_of_the_newest_section_of_the_changelog_and_of_the_citation(project):
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert headings[0] == "[Unreleased]"
    assert all(released), headings
    citation = (ROOT / "CITATION.cff").read_text()
    assert released[0][1] == project["version"] == re.search(r"^version: (.*)$", citation, re.MULTILINE)[1]
    assert released[0][2] == re.search(r"^date-released: (.*)$", citation, re.MULTILINE)[1]
