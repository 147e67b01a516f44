"""Who plays on a table: samplers by their names and settings, as ``bse:warm-up=0.5``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from poolsearch.errors import PoolsearchError
from poolsearch.research.bench.each_once import EachOnce
from poolsearch.samplers import Sampler
from poolsearch.samplers.make import make_sampler
from poolsearch.samplers.user_sampler import Make
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.method_spec import parse_spec
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Space

READS: dict[str, tuple[str, ...]] = {
    "random": (),
    "each-once": (),
    "bse": ("beta", "score_init", "schedule", "inv_temp_end", "warm_up"),
    "mcts": ("ucb_c", "ucb_pick", "ucb_reward", "ucb_prior", "ucb_warm_up", "beta", "warm_up"),
}
"""The samplers beside ``FILE.py:FACTORY``, and the settings that each makes use of.

random: every draw uniform. each-once: in a random order, none again before all were asked for.
"""


@dataclass(frozen=True)
class BenchSampler:
    """A sampler that plays: its name as given, and what makes it."""

    name: str
    make: Make


def parse_sampler(text: str) -> BenchSampler:
    """The sampler of a name with settings.

    Args:
        text: ``NAME[:setting=value]*`` with a NAME of :data:`READS`, or ``FILE.py:FACTORY`` for a function of the
            user's that takes the space, the seed and the number of draws, and gives a sampler.

    Returns:
        The sampler under the name ``text``; it is made for each seed anew.

    Raises:
        PoolsearchError: there is no such sampler or setting, or a value is out of range.
    """
    method, values = parse_spec(text, READS)
    reads = READS.get(method, ())
    if useless := [name.replace("_", "-") for name in values if name not in reads]:
        allowed = ", ".join(name.replace("_", "-") for name in reads) or "none"
        raise PoolsearchError(
            f"'{text}': {method} makes no use of {useless[0]} on a table. Settings it has: {allowed}."
        )
    if method == "each-once":
        return BenchSampler(text, _each_once)
    trained_as = "spos" if method == "random" else method
    settings = Settings.of(method=trained_as, **values)
    check(settings)
    return BenchSampler(text, partial(_of_method, trained_as, settings.search))


def _each_once(space: Space, seed: int, draws: int) -> Sampler:
    return EachOnce(space, seed)


def _of_method(method: str, settings: SearchSettings, space: Space, seed: int, draws: int) -> Sampler:
    return make_sampler(method, space, settings, seed, draws)
