"""The values of ``--method``, what each of them trains, and which settings it makes use of. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings import Settings

Kind = Literal["sampled", "relaxed", "alone", "untrained", "auto"]
"""What a method trains.

sampled: supernets, one placement at a time, drawn by a sampler (:data:`poolsearch.samplers.make.SAMPLERS`).
relaxed: one supernet whose blocks work at all resolutions at once, weighted by numbers that are trained too.
alone: placements by themselves, without a supernet.
untrained: nothing, before the retraining.
auto: what the planner advises.
"""


METHODS: dict[str, Kind] = {
    "mixture": "sampled",
    "spos": "sampled",
    "bse": "sampled",
    "mcts": "sampled",
    "darts": "relaxed",
    "gaea": "relaxed",
    "sweep": "alone",
    "proxy": "alone",
    "halving": "alone",
    "random": "alone",
    "hyperband": "alone",
    "macs": "untrained",
    "auto": "auto",
}
"""Every method by its name. ``FILE.py:FACTORY`` is a sampled one of the user's own."""


def is_own(method: str) -> bool:
    """Whether a method is named as ``FILE.py:FACTORY``: a sampler of the user's own."""
    file, _, factory = method.rpartition(":")
    return file.endswith(".py") and factory.isidentifier()


def kind_of(method: str) -> Kind:
    """What a method trains.

    Raises:
        PoolsearchError: there is no such method.
    """
    if is_own(method):
        return "sampled"
    if ".py" in method:
        raise PoolsearchError(
            f"--method {method}: a sampler of your own is named as FILE.py:FACTORY, such as mine.py:make_sampler, a "
            "function that takes the space, the seed and the number of draws, and gives the sampler."
        )
    if method not in METHODS:
        raise unknown("value for --method:", method, [*METHODS, "FILE.py:FACTORY"])
    return METHODS[method]


def named(*kinds: Kind) -> tuple[str, ...]:
    """The methods of these kinds, in the order of :data:`METHODS`."""
    assert all(kind in get_args(Kind) for kind in kinds)
    return tuple(method for method, kind in METHODS.items() if kind in kinds)


def benchmark(settings: Settings) -> bool:
    """Whether a sweep is the ground truth of research, which reads the test split."""
    return settings.search.method == "sweep" and settings.alone.sweep_mode == "benchmark"


_OF_SUPERNETS = ("preset", "epochs", "val_batch", "sharing")


_OF_SAMPLED = (
    "members", "val_every", "beta", "score_init", "schedule", "inv_temp_end", "balance_every", "score", "explore",
    "refresh", "score_lag", "placements_per_step", "norm", "rank_members", "rank_all_up_to", "rank_top", "rank_control",
    "rank_early_stop", "rank_memory",
)  # fmt: skip


_OF_LIMITED = (
    "placements", "min_blocks", "max_blocks", "max_placements", "max_macs", "max_memory", "max_latency",
    "latency_device", "latency_batch",
)  # fmt: skip


_PLACED: tuple[Kind, ...] = ("sampled", "alone", "untrained")
"""Those that choose among the placements of a space."""


_USERS: dict[str, tuple[Kind | str, ...]] = {
    **dict.fromkeys(_OF_SUPERNETS, ("sampled", "relaxed")), **dict.fromkeys(_OF_SAMPLED, ("sampled",)),
    **dict.fromkeys(_OF_LIMITED, _PLACED),
    "paths": _PLACED, "axes": _PLACED,
    "arch_order": ("relaxed",), "arch_optimizer": ("darts",), "arch_lr": ("relaxed",),
    "warm_up": ("bse", "mcts"), "ucb_c": ("mcts",), "ucb_pick": ("mcts",),
    "ucb_reward": ("mcts",), "ucb_prior": ("mcts",), "ucb_warm_up": ("mcts",),
    "sweep_epochs": ("sweep", "halving", "random", "hyperband"), "sweep_seeds": ("sweep",), "sweep_mode": ("sweep",),
    "proxy_width": ("proxy",), "proxy_images": ("proxy",), "proxy_epochs": ("proxy",),
    "halving_rate": ("halving", "hyperband"), "halving_start": ("halving", "hyperband"), "random_k": ("random",),
    "hours": ("auto",),
}  # fmt: skip
"""Which methods, or kinds of them, make use of a setting; all of them where it is not named."""


def check_method(settings: Settings) -> None:
    """See that nothing was given that the method does not use."""
    method, default = settings.search.method, _defaults()
    kind = kind_of(method)
    for _, name, value in settings.flat():
        if value == default[name] or used(name, method):
            continue
        users = _USERS[name]
        if kind in ("alone", "untrained") and "sampled" in users:
            raise PoolsearchError(
                f"--{flag(name)} is for supernets, and --method {method} trains none. Leave one of the two out."
            )
        if kind == "relaxed" and name in _OF_LIMITED:
            raise PoolsearchError(
                f"--{flag(name)} limits what may be found, and --method {method} weighs all resolutions of every "
                "block: it cannot be limited. Leave one of the two out."
            )
        named = [each for each in METHODS if each in users or METHODS[each] in users]
        raise PoolsearchError(
            f"--{flag(name)} is for --method {_listed(named)}, not for {method}. Leave it out, or choose "
            f"{'that method' if len(named) == 1 else 'one of these methods'}."
        )
    many = settings.search.placements_per_step
    if kind == "sampled" and many > 1 and method not in ("mixture", "spos"):
        raise PoolsearchError(
            f"--placements-per-step {many} is for placements that are drawn uniformly (--method mixture and spos); "
            f"{method} learns from each before the next. Leave it out."
        )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def used(name: str, method: str) -> bool:
    """Whether a method makes use of a setting; as long as it is still to be chosen, every setting may be of use."""
    users = _USERS.get(name)
    return users is None or method in ("auto", *users) or kind_of(method) in users


def _defaults() -> dict[str, Any]:
    return {name: value for _, name, value in Settings().flat()}


def with_method(settings: Settings, method: str) -> Settings:
    """The settings with this method; those that are of no use to it are as if they had not been given."""
    useless = {name: value for name, value in _defaults().items() if not used(name, method)}
    return settings.changed(**useless | {"method": method})


def flag(name: str) -> str:
    """A setting as the command line writes it, without the dashes in front."""
    return name.replace("_", "-")
