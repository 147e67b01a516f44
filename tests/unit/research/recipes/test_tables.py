"""What the tables' recipes compare."""

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.research.compare.cases import cases_of
from poolsearch.research.recipes import RECIPES
from poolsearch.research.recipes.tables import FIGURE3, MEMBERS, TABLE1, TABLE2, comparison_request
from poolsearch.settings.research_groups import RecipeOptions
from poolsearch.settings.resolve import members_of


@pytest.mark.parametrize("methods", [TABLE1, TABLE2, FIGURE3])
@pytest.mark.parametrize("scale", ["mini", "full"])
def test_every_method_of_a_table_can_be_compared(methods, scale):
    options, settings = comparison_request(RecipeOptions(scale=scale), methods)
    cases = cases_of(options.methods, settings, options.total_epochs, lambda s, total: max(1, total // members_of(s)))
    assert {case.method for case in cases} == {spec.split(":")[0] for spec in methods}
    assert options.truth == "all" and options.total_epochs == MEMBERS * settings.search.epochs


def test_table1_has_its_rows():
    """Table 1 of the paper: shared or not, with the two path sets, and DARTS shared, alike and random at the start."""
    assert sum(spec.startswith("darts") for spec in TABLE1) == 3
    assert sum(spec.startswith("spos") for spec in TABLE1) == 3 and "paths=any" in " ".join(TABLE1)


def test_table2_has_its_rows():
    """Table 2 of the paper."""
    wanted = {"gaea", "darts", "bse", "bse:warm-up=0.5", "mcts", "mcts:warm-up=0.5", "mixture:members=4"}
    assert wanted <= set(TABLE2)


def test_full_is_the_papers_size():
    options, settings = comparison_request(RecipeOptions(scale="full"), TABLE2)
    assert options.seeds == 3 and settings.data.data == "cifar10" and settings.search.batch == 256
    assert comparison_request(RecipeOptions(scale="full", epochs=5, seeds=1), TABLE2)[0].total_epochs == 20


def test_options_of_figure_1_are_refused(tmp_path):
    with pytest.raises(PoolsearchError, match="for figure1, not for table2"):
        RECIPES["table2"].make(tmp_path / "out", RecipeOptions(early="1,1,8"), False, SilentProgress())
