"""Whether every value is of its kind, in its range, and of use to the method. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.image_size import ImageSize
from poolsearch.settings.cost_limits import limits_of
from poolsearch.settings.halvings import read_halvings
from poolsearch.settings.methods import PLACED, SUPERNETS, flag, kind_of, users
from poolsearch.settings.rule import Rule
from poolsearch.settings.settings import DECLARED, Settings
from poolsearch.settings.tasks import metric_of
from poolsearch.value_range import EACH_FILE, ValueRange


def check(settings: Settings) -> None:
    """See that every value is of its kind, in its range, and of use to the method; None (left to us) passes.

    Args:
        settings: as given, not resolved.

    Raises:
        PoolsearchError: naming the flag, the value and what is allowed.
    """
    check_values(settings)
    check_method(settings)


def check_values(settings: Settings) -> None:
    """See that every value is of the type that its group declares and in its range, and that they go together.

    Args:
        settings: as given, or resolved.

    Raises:
        PoolsearchError: as :func:`check`.
    """
    hints = {group: get_type_hints(type(values)) for group, values in settings.groups().items()}
    for group, name, value in settings.flat():
        check_value(name, value, hints[group][name], DECLARED[name].rule)
    limits_of(settings.budget)
    if read_halvings(settings.net.halvings) and settings.net.paths == "any":
        raise PoolsearchError(
            f"--halvings {settings.net.halvings} is about placements without upsampling, --paths any has all others, "
            "too: leave one of the two out."
        )
    if settings.data.image_size is not None:
        ImageSize.of(settings.data.image_size)
    if settings.data.value_range not in (None, EACH_FILE):
        ValueRange.of(settings.data.value_range)
    metric = metric_of(settings.data.task, settings.data.metric)
    if settings.rank.rank_early_stop and metric != "accuracy":
        other = f"--metric {metric}" if metric else f"--task {settings.data.task}"
        raise PoolsearchError(
            f"--rank-early-stop rests on a bound for accuracy; there is none for {other}. Leave one of them "
            "out, or rank fewer placements with --rank-all-up-to."
        )
    _check_rank_by(settings)
    if settings.rank.rank_early_stop and settings.rank.rank_members == "mean":
        raise PoolsearchError(
            "--rank-early-stop drops single members of a placement, --rank-members mean needs all of them. Leave one "
            "of the two out."
        )
    if settings.net.init is not None and settings.search.sharing == "random-init":
        raise PoolsearchError(
            "--sharing random-init draws the weights of every resolution anew, --init begins with given ones: leave "
            "one of them out, or use --sharing same-init, which gives each resolution these weights to begin with."
        )
    if settings.net.init_key is not None and settings.net.init is None:
        raise PoolsearchError(
            f"--init-key {settings.net.init_key} is an entry of a file of weights, and --init names no file. Give "
            "it, or leave --init-key out."
        )
    if settings.net.init is not None and settings.net.zero_init:
        raise PoolsearchError(
            "--zero-init begins residual branches at zero, --init with given weights: leave one of them out."
        )


def is_calibrated(settings: Settings) -> bool:
    """Whether the preset has the ranking put right by stand-alone trainings, unless something else is asked for.

    Args:
        settings: as given, or resolved.

    Returns:
        True with preset robust, where placements are drawn uniformly and nothing rules a prediction out.
    """
    search, rank = settings.search, settings.rank
    uniform = search.preset == "robust" and search.method in ("mixture", "spos")
    return uniform and rank.rank_members in (None, "mean") and not rank.rank_early_stop


def ranks_by(settings: Settings) -> Literal["metric", "prediction"]:
    """The rule that ranks: as given, or else as method and preset have it.

    Args:
        settings: as given, or resolved.

    Returns:
        The value of ``--rank-by``.
    """
    if settings.rank.rank_by is not None:
        return settings.rank.rank_by
    predicts = settings.search.method in ("bayes", "auto")  # auto is still to be settled: what it may need is let pass
    return "prediction" if predicts or is_calibrated(settings) else "metric"


def _check_rank_by(settings: Settings) -> None:
    """See that what a ranking by prediction needs goes with the rest."""
    rank, method = settings.rank, settings.search.method
    if ranks_by(settings) == "metric" and method != "bayes":
        if rank.trials:
            raise PoolsearchError(
                f"--trials {rank.trials} are trainings that --rank-by prediction learns from, and no other ranking: "
                "add --rank-by prediction, or leave --trials out."
            )
        return
    if rank.rank_by == "metric":
        raise PoolsearchError(
            "--method bayes has no supernet whose metric could rank: leave --rank-by metric out, or choose another "
            "method."
        )
    if rank.rank_members not in (None, "mean"):
        raise PoolsearchError(
            f"--rank-by prediction goes by all members, and --rank-members {rank.rank_members} by one of a placement: "
            "leave one of the two out."
        )
    if rank.rank_early_stop:
        raise PoolsearchError(
            "--rank-early-stop stops placements that are behind in their supernets, --rank-by prediction may still "
            "rank them first: leave one of the two out."
        )


def check_method(settings: Settings) -> None:
    """See that nothing was given that the method does not use.

    Args:
        settings: as given.

    Raises:
        PoolsearchError: naming the flag, and the methods that use it.
    """
    method, kind = settings.search.method, kind_of(settings.search.method)
    for _, name, value in settings.flat():
        if value == DECLARED[name].default or used(name, method):
            continue
        used_by = DECLARED[name].rule.used_by
        if kind in ("alone", "trials", "untrained") and "sampled" in used_by and set(used_by) <= {*SUPERNETS}:
            raise PoolsearchError(
                f"--{flag(name)} is for supernets, and --method {method} trains none. Leave one of the two out."
            )
        if kind == "relaxed" and used_by == PLACED and name not in ("paths", "axes"):
            raise PoolsearchError(
                f"--{flag(name)} limits what may be found, and --method {method} weighs all resolutions of every "
                "block: it cannot be limited. Leave one of the two out."
            )
        named = users(used_by)
        raise PoolsearchError(
            f"--{flag(name)} is for --method {listed(named)}, not for {method}. Leave it out, or choose "
            f"{'that method' if len(named) == 1 else 'one of these methods'}."
        )
    many = settings.search.placements_per_step
    if kind == "sampled" and many > 1 and method not in ("mixture", "spos"):
        raise PoolsearchError(
            f"--placements-per-step {many} is for placements that are drawn uniformly (--method mixture and spos); "
            f"{method} learns from each before the next. Leave it out."
        )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``.

    Args:
        names: at least one.

    Returns:
        The names with commas, and "and" before the last.
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def used(name: str, method: str) -> bool:
    """Whether a method makes use of a setting; as long as it is still to be chosen, every setting may be of use.

    Args:
        name: of the setting.
        method: a value of ``--method``.

    Returns:
        True also of a method that is still to be chosen (auto).
    """
    used_by = DECLARED[name].rule.used_by
    return not used_by or method in ("auto", *used_by) or kind_of(method) in used_by


def with_method(settings: Settings, method: str) -> Settings:
    """The settings with this method; those that are of no use to it are as if they had not been given.

    Args:
        settings: as given.
        method: a value of ``--method``.

    Returns:
        The settings with this method, as given.
    """
    useless = {name: one.default for name, one in DECLARED.items() if not used(name, method)}
    return settings.changed(**useless | {"method": method})


def check_value(name: str, value: Any, hint: Any, rule: Rule) -> None:
    """See that a value is of its type and in its range.

    Args:
        name: of the setting.
        value: of the setting, or of one of its several.
        hint: the type as it was declared.
        rule: its range.

    Raises:
        PoolsearchError: naming the flag, the value and what is allowed.
    """
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            raise PoolsearchError(f"--{flag(name)} is {value!r}; it must be several values: a list or a tuple.")
        for item in cast("tuple[Any, ...]", value):
            check_value(name, item, get_args(hint)[0], rule)
        return
    if not any(_fits(value, kind) for kind in _kinds(hint)):
        raise _misfit(name, value, hint)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    if not rule.at_least <= value <= rule.at_most:
        most = rule.at_most
        allowed = f"at least {rule.at_least:g}" if most == math.inf else f"from {rule.at_least:g} to {most:g}"
        raise PoolsearchError(f"--{flag(name)} is {value}; allowed is {allowed}.")


def _misfit(name: str, value: Any, hint: Any) -> PoolsearchError:
    options = [option for kind in _kinds(hint) if get_origin(kind) is Literal for option in get_args(kind)]
    if options and isinstance(value, str):
        return unknown(f"value for --{flag(name)}:", value, options)
    wanted = " or ".join([*map(repr, options), *(_named(k) for k in _kinds(hint) if get_origin(k) is not Literal)])
    return PoolsearchError(f"--{flag(name)} is {value!r}; it must be {wanted}.")


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _named(kind: Any) -> str:
    return "left out" if kind is type(None) else str(getattr(kind, "__name__", kind))
