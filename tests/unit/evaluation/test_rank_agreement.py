"""Agreement given MACs against other formulas for a partial correlation, and its bootstrap against copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poolsearch.evaluation.rank_agreement import agreement_given_macs, resampled_partial_correlation
from poolsearch.evaluation.stats import partial_correlation
from poolsearch.research.bench import ground_truth

TABLE6 = ground_truth("table6")
vectors = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=(4, 12)))


def by_recursion(r: np.ndarray, a: int, b: int, rest: tuple[int, ...]) -> float:
    """The textbook formula: from the correlations given one less, r_ab.c = (r_ab - r_ac r_bc) / sqrt(...)."""
    if not rest:
        return float(r[a, b])
    *fewer, c = rest
    ab, ac, bc = (by_recursion(r, *pair, tuple(fewer)) for pair in ((a, b), (a, c), (b, c)))
    return (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2))


@given(vectors)
def test_a_partial_correlation_is_that_of_the_recursion_and_of_the_inverse(both: np.ndarray) -> None:
    """Given one and given two variables; the inverse P of the correlations has -P_ab / sqrt(P_aa P_bb)."""
    r = np.corrcoef(both)
    assume(np.linalg.cond(r) < 1e6)
    assert partial_correlation(both[0], both[1], both[2]) == pytest.approx(by_recursion(r, 0, 1, (2,)), abs=1e-9)
    found = partial_correlation(both[0], both[1], both[2:].T)
    assert found == pytest.approx(by_recursion(r, 0, 1, (2, 3)), abs=1e-8)
    inverse = np.linalg.inv(r)
    assert found == pytest.approx(-inverse[0, 1] / math.sqrt(inverse[0, 0] * inverse[1, 1]), abs=1e-8)


@given(vectors, st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 10))
def test_what_is_given_may_be_added_to_either_side(both: np.ndarray, one: float, other: float, scale: float) -> None:
    a, b, *rest = both
    known = np.array(rest).T
    found = partial_correlation(a, b, known)
    assert partial_correlation(a * scale + one * rest[0] + 5, b + other * rest[1], known) == pytest.approx(found)
    assert partial_correlation(-a, b, known) == pytest.approx(-found)
    assert partial_correlation(b, a, known) == pytest.approx(found)


def test_a_partial_correlation_by_hand() -> None:
    """Given (-3,-1,1,3) and a constant: of (1,2,3,4) nothing is left, of (1,-1,-1,1), orthogonal to both, all, and of
    (1,0,0,1) half of that."""
    line, bowl = [-3.0, -1.0, 1.0, 3.0], [1.0, -1.0, -1.0, 1.0]
    assert math.isnan(partial_correlation([1, 2, 3, 4], bowl, line)), "nothing is left"
    assert partial_correlation(bowl, [1, 0, 0, 1], line) == pytest.approx(1)
    assert partial_correlation(bowl, [0, 1, 1, 0], line) == pytest.approx(-1)
    # (0,1,0,0) = 1/4 (1,1,1,1) - 1/20 line - 1/4 bowl + 3/20 (-1,3,-3,1): its rest has the squared length
    # 4/16 + 20 (3/20)^2 = 0.7, and -1/4 of the bowl, which has 4: -1/4 * 4 / sqrt(0.7 * 4)
    assert partial_correlation(bowl, [0, 1, 0, 0], line) == pytest.approx(-1 / math.sqrt(2.8))
    assert math.isnan(partial_correlation([1, 2, 4], [1, 3, 2], [1, 5, 2])), "of three, one dimension is left"


def test_an_order_that_only_follows_the_macs_says_nothing_given_them() -> None:
    """Nor any parabola of their logarithm; noise on top of it has an interval around 0, the truth itself has 1."""
    log_A = np.log(TABLE6.macs_A)
    noise_A = np.random.default_rng(0).normal(0, 1e-3, 36)
    assert math.isnan(agreement_given_macs(log_A, TABLE6.mean_A, TABLE6.macs_A).value)
    assert math.isnan(agreement_given_macs(3 - log_A + log_A**2, TABLE6.mean_A, TABLE6.macs_A).value)
    found = agreement_given_macs(log_A + noise_A, TABLE6.mean_A, TABLE6.macs_A)
    assert found.low < 0 < found.high
    own = agreement_given_macs(TABLE6.mean_A, TABLE6.mean_A, TABLE6.macs_A)
    assert own.value == pytest.approx(1) and own.low == pytest.approx(1)


def test_it_does_not_change_with_a_multiple_of_log_macs_or_the_unit_of_macs() -> None:
    value_A = TABLE6.mean_A + np.random.default_rng(1).normal(0, 0.01, 36)
    found = agreement_given_macs(value_A, TABLE6.mean_A, TABLE6.macs_A)
    assert 0 < found.value < 1 and found.low < found.value < found.high
    for other in (value_A + 0.1 * np.log(TABLE6.macs_A), value_A - 0.02 * np.log(TABLE6.macs_A) ** 2):
        assert agreement_given_macs(other, TABLE6.mean_A, TABLE6.macs_A).value == pytest.approx(found.value)
    again = agreement_given_macs(value_A, TABLE6.mean_A, TABLE6.macs_A / 1e6)
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))


def test_a_resample_is_the_same_as_so_many_copies() -> None:
    draw = np.random.default_rng(3)
    value_A, truth_A, given_A2 = draw.normal(size=8), draw.normal(size=8), draw.normal(size=(8, 2))
    times_DA = draw.multinomial(8, np.full(8, 1 / 8), 50)
    times_DA[0] = [4, 4, 0, 0, 0, 0, 0, 0]
    found_D = resampled_partial_correlation(value_A, truth_A, given_A2, times_DA.astype(float))
    for found, times_A in zip(found_D, times_DA, strict=True):
        copies = np.repeat(np.arange(8), times_A)
        if (times_A > 0).sum() < 5:
            assert math.isnan(found)
        else:
            expected = partial_correlation(value_A[copies], truth_A[copies], given_A2[copies])
            assert found == pytest.approx(expected, abs=1e-9)
