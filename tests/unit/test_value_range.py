"""Which values are black and white."""

from __future__ import annotations

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.value_range import ValueRange


def test_a_range_is_two_numbers() -> None:
    assert ValueRange.of("0,4095") == (0, 4095) and ValueRange.of("-1000, 1.5e3") == (-1000, 1500)
    assert str(ValueRange.of("0,4095")) == "0,4095"
    for text in ("0,1048575", "0,1048580", "-0.1,0.30000000000000004", "-1e+30,1e-07"):
        assert str(ValueRange.of(text)) == text


@pytest.mark.parametrize("text", ["", "5", "5,5", "9,0", "a,b", "0,inf", "0,1,2"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(PoolsearchError, match=r"--value-range .*such as 0,4095"):
        check(Settings.of(value_range=text))


def test_each_file_is_a_word_for_it() -> None:
    check(Settings.of(value_range="each-file"))


@pytest.mark.parametrize(
    ("low", "high", "whole", "found"),
    [
        (0, 255, True, (0, 255)),
        (0, 256, True, (0, 511)),
        (0, 65535, True, (0, 65535)),
        (5, 65536, True, (0, 131071)),
        (-5, -1, True, (-8, 255)),
        (0, 0.3, False, (0, 0.5)),
        (0, 2.5, False, (0, 4)),
        (0, 255, False, (0, 255)),
        (-3, 0, False, (-4, 1)),
    ],
)
def test_the_least_usual_range(low: float, high: float, whole: bool, found: tuple[float, float]) -> None:
    assert ValueRange.around(low, high, whole) == found
