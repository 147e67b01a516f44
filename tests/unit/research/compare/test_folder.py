"""The record of a comparison: how work is counted in it stays as it was begun."""

from dataclasses import replace

import pytest

from poolsearch.research.compare.cases import without_method
from poolsearch.research.compare.folder import ComparisonDir, ComparisonRequest, begin, read_request, resume_request
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import CompareSettings
from poolsearch.storage.files import read_json, write_json

ASKED = ComparisonRequest(without_method(Settings.of(epochs=2)), CompareSettings(("spos", "bse"), 2))


@pytest.fixture
def folder(tmp_path):
    made = ComparisonDir(tmp_path / "compared")
    begin(made, ASKED)
    return made


def of_an_older_version(folder):
    record = read_json(folder.record)
    del record["charged"]
    write_json(folder.record, record)


def test_scores_that_are_not_used_are_not_charged(folder):
    assert read_request(folder) == ASKED and ASKED.charged == "used"
    assert resume_request(folder, replace(ASKED, options=CompareSettings(("spos",), 3))).charged == "used"


def test_a_comparison_of_an_older_version_goes_on_charging_all(folder):
    of_an_older_version(folder)
    assert read_request(folder).charged == "all"
    assert resume_request(folder, ASKED).charged == "all"
    more = replace(ASKED, options=CompareSettings(("spos", "mcts"), 3))
    assert resume_request(folder, more) == replace(more, charged="all")
    assert read_request(folder) == replace(more, charged="all"), "it is written down"
