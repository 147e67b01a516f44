"""Amounts as they are written, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.cost_limits import limits_of, read_limit, shown_amount
from poolsearch.settings.groups import BudgetSettings


@pytest.mark.parametrize(
    ("kind", "text", "amount"),
    [
        ("macs", "4G", 4e9), ("macs", "800M", 8e8), ("macs", "0.5 g", 5e8), ("macs", "1e3K", 1e6), ("macs", "2t", 2e12),
        ("memory", "2GB", 2e9), ("memory", "2GiB", 2**31), ("memory", "512mb", 512e6), ("memory", "100B", 100),
        ("latency", "5ms", 5), ("latency", "0.2s", 200), ("latency", "700us", 0.7),
    ],
)  # fmt: skip
def test_amounts(kind, text, amount):
    limit = read_limit(kind, text)
    assert not limit.relative
    assert limit.most(123.0) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["1.0x", "1x", "1 X"])
def test_times_the_default_is_exact_at_one(text):
    limit = read_limit("latency", text)
    assert limit.relative and limit.most(1.2345678901) == 1.2345678901


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("macs", "4", "--max-macs is '4', which has no unit: give a number with one of the units K, M, G, T"),
        ("macs", "4GB", "unknown unit 'gb'"),
        ("latency", "5m", "unknown unit 'm': give a number with one of the units us, ms, s, such as 5ms"),
        ("memory", "2G", "units B, KB, MB, GB"),
        ("macs", "", "is '', which is not an amount"),
        ("macs", "many", "which is not an amount"),
        ("macs", "-1x", "which is not an amount"),
        ("macs", "1.2.3x", "which is not an amount"),
        ("macs", "0x", "allowed is more than 0"),
        ("memory", "0GB", "allowed is more than 0"),
        ("macs", "1e999x", "allowed is more than 0"),
    ],
)
def test_what_is_no_amount_is_told(kind, text, said):
    with pytest.raises(PoolsearchError, match=said.replace(".", r"\.")):
        read_limit(kind, text)


def test_only_what_is_given_is_a_limit():
    assert limits_of(BudgetSettings()) == []
    found = limits_of(BudgetSettings(max_macs="1x", max_latency="5ms"))
    assert [(limit.kind, limit.flag) for limit in found] == [("macs", "--max-macs"), ("latency", "--max-latency")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_memory": "3"}, "has no unit"),
        ({"max_macs": 3}, "--max-macs is 3; it must be str or left out"),
        ({"latency_batch": 0}, "--latency-batch is 0; allowed is at least 1"),
        ({"latency_device": "gpu"}, "unknown value for --latency-device: 'gpu'"),
    ],
)
def test_settings_are_checked_before_anything_is_opened(fields, said):
    with pytest.raises(PoolsearchError, match=said):
        check(Settings.of(**fields))


@pytest.mark.parametrize(
    ("kind", "amount", "text"),
    [
        ("macs", 40_813_184, "40.81M"), ("macs", 12, "12"), ("macs", 4.089e9, "4.089G"),
        ("memory", 1_764_000, "1.764MB"),
        ("memory", 3, "3B"), ("latency", 3.14159, "3.142ms"), ("latency", 0.3671, "367.1us"), ("latency", 2500, "2.5s"),
        ("latency", 1e-5, "0.01us"),
    ],
)  # fmt: skip
def test_amounts_for_people(kind, amount, text):
    assert shown_amount(kind, amount) == text


@given(st.sampled_from(["macs", "memory", "latency"]), st.floats(2e3, 1e12))
def test_what_is_shown_can_be_given_back(kind, amount):
    assert read_limit(kind, shown_amount(kind, amount)).amount == pytest.approx(amount, rel=1e-3)
