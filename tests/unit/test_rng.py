"""Keyed randomness: equal keys for equal inputs, other keys for others."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch import rng

purposes = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
keyed = st.tuples(st.integers(0, 2**63 - 1), purposes, st.lists(st.integers(0, 10**9), max_size=3).map(tuple))


def by_hashlib(text):
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def test_a_key_is_the_first_63_bits_of_a_sha256():
    assert rng.key(7, "placement", 3, 12) == by_hashlib(b"7/placement/3/12")
    assert rng.key(0, "init") == by_hashlib(b"0/init")


@given(keyed, keyed)
def test_keys_are_equal_exactly_when_seed_purpose_and_index_are(a, b):
    one, other = (rng.key(seed, purpose, *index) for seed, purpose, index in (a, b))
    assert (one == other) == (a == b)
    assert 0 <= one < 2**63


@pytest.mark.parametrize(
    "other", [(1, "a", 2, 3), (0, "b", 2, 3), (0, "a", 3, 2), (0, "a", 2), (0, "a", 23), (0, "a", 2, 3, 0)]
)
def test_any_difference_gives_other_draws(other):
    draws = rng.generator(0, "a", 2, 3).integers(2**62, size=4)
    assert not np.array_equal(draws, rng.generator(*other).integers(2**62, size=4))
    assert np.array_equal(draws, rng.generator(0, "a", 2, 3).integers(2**62, size=4))


def test_the_type_of_an_integer_does_not_matter():
    assert rng.key(np.int64(5), "a", np.int32(2)) == rng.key(5, "a", 2)


def test_the_generator_is_numpys_pcg64_seeded_with_the_key():
    expected = np.random.Generator(np.random.PCG64(by_hashlib(b"3/member/9"))).random(3)
    assert rng.generator(3, "member", 9).random(3).tolist() == expected.tolist()


def test_keys_agree_between_processes_with_another_hash_seed():
    code = "from poolsearch import rng; print(rng.key(3, 'member', 9))"
    for hash_seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}
        )
        assert int(out.stdout) == by_hashlib(b"3/member/9")


def test_neighbouring_steps_look_independent():
    draws = np.array([rng.generator(0, "placement", step).random() for step in range(4000)])
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / np.sqrt(4000)
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000)
