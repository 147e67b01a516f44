"""Which runs a comparison consists of."""

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.research.compare.cases import cases_of
from poolsearch.settings import Settings

BASE = Settings.of(epochs=6, batch=64, sweep_epochs=9)


def epochs_of(settings, total):
    members = settings.search.members if settings.search.method == "mixture" else 1
    return total // members


def made(*specs, total=None, base=BASE):
    return [(case.spec, case.budget) for case in cases_of(specs, base, total, epochs_of)]


def test_each_is_compared_at_its_own_budget_and_at_equal_total_training():
    assert made("spos", "mixture:members=2", "mixture:members=8", total=24) == [
        ("spos:epochs=6", "own"), ("spos:epochs=24", "equal"),
        ("mixture:members=2:epochs=6", "own"), ("mixture:members=2:epochs=12", "equal"),
        ("mixture:members=8:epochs=6", "own"), ("mixture:members=8:epochs=3", "equal"),
    ]  # fmt: skip


def test_where_both_budgets_are_the_same_there_is_one_case_of_the_equal_ones():
    assert made("mixture:members=4", total=24) == [("mixture:members=4:epochs=6", "equal")]


def test_without_a_total_there_is_one_case_each():
    assert made("spos", "bse:warm-up=0.5") == [("spos:epochs=6", "own"), ("bse:warm-up=0.5:epochs=6", "own")]


def test_epochs_of_a_spec_are_the_only_ones():
    assert made("spos:epochs=24", "spos:epochs=5", total=24) == [("spos:epochs=24", "equal"), ("spos:epochs=5", "own")]


def test_methods_without_supernets_have_no_epochs_and_one_case():
    assert made("proxy:proxy-epochs=2", "sweep", total=24) == [("proxy:proxy-epochs=2", ""), ("sweep", "")]


def test_a_method_gets_what_it_uses_of_the_common_settings():
    spos, sweep = cases_of(["spos", "sweep"], BASE.changed(members=3), None, epochs_of)
    assert spos.settings.alone.sweep_epochs is None and sweep.settings.alone.sweep_epochs == 9
    assert spos.members == 1 and spos.settings.search.batch == sweep.settings.search.batch == 64


def test_seeds_are_counted_from_the_given_one():
    (case,) = cases_of(["spos"], BASE.changed(seed=10), None, epochs_of)
    assert [case.at(seed).machine.seed for seed in range(2)] == [10, 11]


@pytest.mark.parametrize(
    ("spec", "folder"),
    [("mixture:members=8", "mixture,members=8,epochs=6"), ("bse:warm-up=0.5", "bse,warm-up=0.5,epochs=6")],
)
def test_folders_are_named_by_what_is_in_them(spec, folder):
    assert cases_of([spec], BASE, None, epochs_of)[0].folder == folder


def test_a_file_of_the_users_makes_a_folder_that_can_be_made():
    (case,) = cases_of(["my dir/mine.py:make"], BASE, None, epochs_of)
    assert not {"/", ":", " "} & set(case.folder) and "mine.py" in case.folder


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (["spos", "spos"], "twice"), (["auto"], "name those to compare"), (["proxy:members=3"], "for supernets"),
        (["nonsense"], "nonsense"), (["darts:placements=4,3,3"], "cannot be limited"),
    ],
)  # fmt: skip
def test_mistakes_are_told(specs, said):
    with pytest.raises(PoolsearchError, match=said):
        cases_of(specs, BASE, None, epochs_of)


def test_names_are_for_people():
    specs = ("mixture:members=8:schedule=tau-linear", "spos:sharing=random-init", "proxy")
    names = [case.name for case in cases_of(specs, BASE, None, epochs_of)]
    assert names == ["mixture of 8, schedule tau-linear", "spos, sharing random-init", "proxy"]
