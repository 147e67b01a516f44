"""Keyed randomness: every draw comes from a generator made for (seed, purpose, step or epoch).

No generator is ever advanced across steps, so a run can resume at any step, and any number of processes
agree, without saving or sending a random state.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit integer that is a hash of (seed, purpose, index...): equal inputs, equal key, on every machine."""
    text = "/".join([str(int(seed)), purpose, *(str(int(i)) for i in index)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy generator (PCG64) for one purpose at one step; see :func:`key`."""
    return np.random.Generator(np.random.PCG64(key(seed, purpose, *index)))
