"""Torch's random numbers from a key."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from poolsearch import rng


@contextmanager
def seeded(seed: int, purpose: str, *index: int) -> Generator[None]:
    """Draw torch's random numbers from a key inside the block, and leave the generator as it was after it.

    Args:
        seed: of the run.
        purpose: what is drawn, see :func:`poolsearch.rng.key`.
        *index: such as a step or a member, where there are several.

    Yields:
        Nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(seed, purpose, *index))
        yield
