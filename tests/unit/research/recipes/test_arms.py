"""What the searches of Figure 1 are asked to do."""

from pathlib import Path

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.research.recipes.arms import accuracies_of, placements_of, searches_of, seeds_of, settings_of
from poolsearch.settings.research_groups import RecipeOptions

ENDS = {"early": "1,1,8", "late": "8,1,1"}


def test_full_is_the_paper_and_mini_is_small():
    full, mini = settings_of(RecipeOptions(scale="full")), settings_of(RecipeOptions())
    assert (full.data.data, full.net.net, full.net.width) == ("cifar10", "cifar-resnet20", None)
    assert (full.search.epochs, full.search.batch, full.search.method) == (75, 256, "spos")
    assert (mini.data.data, mini.net.width) == ("digits", 8)


def test_options_win_over_the_scale():
    settings = settings_of(RecipeOptions(scale="full", data="cifar100", subset=500, width=4, epochs=2, batch=32))
    assert (settings.data.data, settings.data.subset, settings.net.width) == ("cifar100", 500, 4)
    assert (settings.search.epochs, settings.search.batch) == (2, 32)


@pytest.mark.parametrize("options", [RecipeOptions(epochs=0), RecipeOptions(width=-1)])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(PoolsearchError, match="at least 1"):
        settings_of(options)


def test_seeds():
    assert seeds_of(RecipeOptions()) == 3 and seeds_of(RecipeOptions(seeds=1)) == 1
    with pytest.raises(PoolsearchError, match="at least 1"):
        seeds_of(RecipeOptions(seeds=0))


def test_the_placements_are_the_ends_of_the_space():
    assert placements_of(RecipeOptions(), settings_of(RecipeOptions()), SilentProgress()) == ENDS


def test_other_placements_can_be_asked_for_and_must_fit():
    found = placements_of(RecipeOptions(early="[2, 2, 6]"), settings_of(RecipeOptions()), SilentProgress())
    assert found == {"early": "2,2,6", "late": "8,1,1"}
    with pytest.raises(PoolsearchError, match="does not fit"):
        placements_of(RecipeOptions(late="4,4,4"), settings_of(RecipeOptions()), SilentProgress())
    with pytest.raises(PoolsearchError, match="differ"):
        placements_of(RecipeOptions(late="1,1,8"), settings_of(RecipeOptions()), SilentProgress())


def test_every_arm_is_trained_with_every_seed_and_both_twice_is_twice_as_long():
    searches = list(searches_of(Path("x"), settings_of(RecipeOptions(epochs=7)), ENDS, 2))
    asked = [
        (s.folder.as_posix(), s.settings.machine.seed, s.settings.search.epochs, s.settings.net.placements)
        for s in searches
    ]
    assert asked == [
        (f"x/{arm}/{seed}", seed, epochs, placements)
        for seed in (0, 1)
        for arm, epochs, placements in (
            ("early", 7, ("1,1,8",)), ("late", 7, ("8,1,1",)), ("both", 7, ("1,1,8", "8,1,1")),
            ("both-twice", 14, ("1,1,8", "8,1,1")),
        )
    ]  # fmt: skip


def test_accuracies_are_in_the_order_of_the_seeds():
    def result(seed, value):
        entries = [{"role": "early", "val_accuracy": value}, {"role": "late", "val_accuracy": 0.0}]
        return {"arm": "both", "seed": seed, "results": entries}

    results = [result(1, 0.2), result(0, 0.1), {**result(0, 0.9), "arm": "early"}]
    assert accuracies_of(results, "both", "early") == [0.1, 0.2]
