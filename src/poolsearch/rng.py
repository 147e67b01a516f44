"""Keyed randomness: every draw comes from a generator made for (seed, purpose, step or epoch).

No generator is ever advanced across steps, so a run can resume at any step, and any number of processes
agree, without saving or sending a random state.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key(seed: int, purpose: str, *index: int) -> int:
    """A hash of (seed, purpose, index...): equal inputs, equal key, on every machine.

    Args:
        seed: of the run.
        purpose: what is drawn, such as "placement"; renaming one changes its draws.
        *index: such as a step or an epoch, where there are several draws of a purpose.

    Returns:
        An integer of 63 bits.
    """
    text = "/".join([str(int(seed)), purpose, *(str(int(i)) for i in index)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy generator for one purpose at one step.

    Args:
        seed: of the run.
        purpose: what is drawn.
        *index: as of :func:`key`.

    Returns:
        A new PCG64 generator; equal arguments give equal draws.
    """
    return np.random.Generator(np.random.PCG64(key(seed, purpose, *index)))
