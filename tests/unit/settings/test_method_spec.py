"""A method and its settings in one word: every setting of the command line, its type, and what is said of a mistake."""

from __future__ import annotations

from typing import Any

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.method_spec import parse_spec, read_value, setting_types


@pytest.mark.parametrize(
    ("text", "method", "values"),
    [
        ("mixture", "mixture", {}),
        ("bse:warm-up=0.5", "bse", {"warm_up": 0.5}),
        ("mcts:ucb_c=0.1:ucb-pick=softmax", "mcts", {"ucb_c": 0.1, "ucb_pick": "softmax"}),
        ("mine.py:make", "mine.py:make", {}),
        ("dir.d/mine.py:make:epochs=10", "dir.d/mine.py:make", {"epochs": 10}),
        ("mixture:net=timm:regnety_002:members=2", "mixture", {"net": "timm:regnety_002", "members": 2}),
        ("darts:arch-order=2", "darts", {"arch_order": 2}),
        ("sweep:search-stem=true", "sweep", {"search_stem": True}),
        ("mixture:epochs=none", "mixture", {"epochs": None}),
        ("bse:score-init=first", "bse", {"score_init": "first"}),
        ("bse:score-init=0", "bse", {"score_init": 0.0}),
        ("spos:answer-at=1+1.5:control=", "spos", {"answer_at": (1.0, 1.5), "control": ()}),
        ("spos:placements=4,3,3+h 4,3,3 w 3,4,3", "spos", {"placements": ("4,3,3", "h 4,3,3 w 3,4,3")}),
        ("spos:cache-dir=a=b", "spos", {"cache_dir": "a=b"}),
    ],
)
def test_a_spec_is_read(text: str, method: str, values: dict[str, Any]) -> None:
    assert parse_spec(text) == (method, values)
    settings = Settings.of(**values)
    flat = {name: value for _, name, value in settings.flat()}
    assert {name: flat[name] for name in values} == values


def test_numbers_have_the_type_of_the_setting() -> None:
    _, values = parse_spec("bse:warm-up=1:epochs=1:seed=1")
    assert [type(value) for value in values.values()] == [float, int, int]


def test_every_default_is_read_back_from_its_own_text() -> None:
    def typed(value: Any) -> str:
        if isinstance(value, tuple):
            return "+".join(map(typed, value))
        return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    hints = setting_types()
    defaults = {name: value for _, name, value in Settings().flat() if name != "method"}
    assert hints.keys() == defaults.keys()
    for name, value in defaults.items():
        assert read_value(name, typed(value), hints[name]) == value, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bsee", r"'bsee'. Did you mean 'bse'\? Allowed: .*FILE.py:FACTORY, .*mixture"),
        ("bse:warmup", r"NAME\[:setting=value\].* 'bse:warmup'"),
        ("bse:warmup=0.5", "setting in 'bse:warmup=0.5': 'warmup'. Did you mean 'warm-up'"),
        ("bse:method=spos", "setting .* 'method'"),
        ("bse:beta=high", "beta=high: give a number."),
        ("bse:members=2.5", "members=2.5: give a whole number."),
        ("bse:epochs=2.5", "epochs=2.5: give a whole number or none."),
        ("bse:search-stem=1", "search-stem=1: give true or false."),
        ("bse:ucb-pick=min", "ucb-pick=min: give max or softmax."),
        ("bse:control=macs+cpu", "control=macs.cpu: give macs or random or input-size, several of them with a plus"),
        ("bse:score-init=last", "score-init=last: give a number or first."),
        ("bse:beta=0.1:beta=0.2", "gives beta twice"),
        ("bse:", "'bse:'"),
        ("", "method"),
    ],
)
def test_a_mistake_is_said_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(PoolsearchError, match=message):
        parse_spec(text)


def test_who_asks_says_which_methods_there_are() -> None:
    assert parse_spec("random:seed=3", ["random", "bse"]) == ("random", {"seed": 3})
    with pytest.raises(PoolsearchError, match=r"Allowed: FILE\.py:FACTORY, bse, random"):
        parse_spec("mixture", ["random", "bse"])
