"""A recipe's folder: begun once, resumed with the same options."""

import dataclasses

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.research.recipes.folder import begin_recipe, options_of
from poolsearch.settings.research_groups import RecipeOptions

GIVEN = RecipeOptions(scale="mini", epochs=3, data="digits")


@pytest.fixture
def begun(tmp_path):
    begin_recipe(tmp_path / "made", "figure1", GIVEN)
    return tmp_path / "made"


def test_a_new_folder_takes_what_is_given(tmp_path):
    assert options_of(tmp_path / "new", "figure1", GIVEN, resume=False) == GIVEN


def test_resumed_without_options_it_has_its_own(begun):
    assert options_of(begun, "figure1", RecipeOptions(), resume=True) == GIVEN


def test_the_same_options_may_be_given_again(begun):
    assert options_of(begun, "figure1", RecipeOptions(epochs=3), resume=True) == GIVEN


def test_other_options_are_refused_by_name(begun):
    with pytest.raises(PoolsearchError, match=r"--epochs was 3, now 4"):
        options_of(begun, "figure1", dataclasses.replace(GIVEN, epochs=4), resume=True)
    with pytest.raises(PoolsearchError, match=r"--seeds was not given, now 2"):
        options_of(begun, "figure1", RecipeOptions(seeds=2), resume=True)


def test_a_folder_in_use_is_not_begun_again(begun):
    with pytest.raises(PoolsearchError, match="--resume"):
        options_of(begun, "figure1", GIVEN, resume=False)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(PoolsearchError, match="not empty"):
        options_of(tmp_path, "figure1", GIVEN, resume=False)


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(PoolsearchError, match="nothing to resume"):
        options_of(tmp_path, "figure1", GIVEN, resume=True)
