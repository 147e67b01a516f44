"""Samplers by the value of ``--method``."""

from __future__ import annotations

from collections.abc import Callable

from poolsearch.samplers import Sampler
from poolsearch.samplers.boltzmann import Boltzmann
from poolsearch.samplers.tree import TreeSearch
from poolsearch.samplers.uniform import Uniform
from poolsearch.samplers.user_sampler import UserSampler
from poolsearch.settings.methods import is_own
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Space


def _uniform(space: Space, settings: SearchSettings, seed: int, draws: int) -> Uniform:
    return Uniform(space, seed)


SAMPLERS: dict[str, Callable[[Space, SearchSettings, int, int], Sampler]] = {
    "mixture": _uniform,
    "spos": _uniform,
    "bse": Boltzmann,
    "mcts": TreeSearch,
}
"""What makes the sampler of a method from the space, the settings, the seed, and the number of draws of the search.

A new one is a line here and one in :data:`poolsearch.settings.methods.METHODS`.
"""


def make_sampler(
    method: str, space: Space, settings: SearchSettings, seed: int, draws: int, digest: str | None = None
) -> Sampler:
    """The sampler of a method of the kind "sampled".

    Args:
        method: a key of :data:`SAMPLERS`, or ``FILE.py:FACTORY`` for a function of the user's that takes the space, the
            seed and the number of draws, and gives a sampler.
        space: to draw from.
        settings: resolved.
        seed: of the draws.
        draws: in the whole search.
        digest: SHA-256 that FILE.py must have; None: the caller names it, so that whatever is in it may run.

    Returns:
        A new sampler, before its first draw.

    Raises:
        PoolsearchError: FACTORY is not there, fails, or gives no sampler.
    """
    if is_own(method):
        return UserSampler(method, space, seed, draws, digest)
    return SAMPLERS[method](space, settings, seed, draws)
