"""What is left to us becomes a value; every value is checked. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings.cost_limits import limits_of
from poolsearch.settings.groups import LARGEST_NATIVE, AloneSettings, RelaxedSettings
from poolsearch.settings.methods import check_method, flag, kind_of
from poolsearch.settings.settings import Settings

T = TypeVar("T")

# Recipe sizes by data set; "" is every other. Nothing else in the package depends on a data set's name.
_EPOCHS = {"": 75, "digits": 40}
_RETRAIN_EPOCHS = {"": 200, "digits": 12}
# With --init the search is a fine-tuning: the weights are near their end from the start (docs/differences.md)
_WARM_EPOCHS, _WARM_RETRAIN_EPOCHS = 10, 20


def resolve(settings: Settings, train_images: int, val_images: int, image_size: int) -> Settings:
    """Replace what was left to us, now that the size of the data is known; check the rest.

    Args:
        settings: as given.
        train_images, val_images: sizes of the search-train and the search-val half.
        image_size: height and width that the network sees.

    Raises:
        PoolsearchError: a value is out of range, or does not belong to the method.
    """
    check_method(settings)
    search, data = settings.search, settings.data.data
    members = search.members if search.method == "mixture" else 1
    official = search.preset == "official"
    batch = _given(search.batch, _auto_batch(train_images, 128 if official else 256))
    warm = settings.net.init is not None
    epochs, retrain_epochs = _auto_epochs(data, warm)
    lr = _given(search.lr, (0.01 if warm else 0.1) * min(1.0, batch / 128))
    decay = _given(search.weight_decay, 0.0 if official else 1e-4 if warm else 1e-3)
    resolved = settings.changed(
        net=_given(settings.net.net, "cifar-resnet20" if image_size <= LARGEST_NATIVE else "resnet18"),
        members=members,
        epochs=_given(search.epochs, epochs),
        batch=batch,
        val_batch=_given(search.val_batch, min(batch, val_images)),
        lr=lr,
        lr_floor=min(_given(search.lr_floor, lr / 100 if warm else 1e-3), lr),
        lr_every=_given(search.lr_every, "epoch" if official else "step"),
        weight_decay=decay,
        inv_temp_end=_given(search.inv_temp_end, 100.0 if official else 100.0 * members),
        score_lag=_given(search.score_lag, 8 if search.preset == "robust" else 0),
        balance_every=_given(search.balance_every, "epoch" if official else "step"),
        rank_members=_given(settings.rank.rank_members, "best" if official else "assignment"),
        eval_batch=_given(settings.rank.eval_batch, 512 if image_size <= LARGEST_NATIVE else 64),
        retrain_batch=_given(settings.retrain.retrain_batch, batch),
        retrain_lr=_given(settings.retrain.retrain_lr, lr),
        retrain_weight_decay=_given(settings.retrain.retrain_weight_decay, decay),
        retrain_epochs=_given(settings.retrain.retrain_epochs, retrain_epochs),
    )
    resolved = dataclasses.replace(
        resolved, alone=_resolved_alone(resolved, train_images), relaxed=_resolved_relaxed(resolved)
    )
    _check_values(resolved)
    _check_alone(resolved, train_images)
    return resolved


def _resolved_alone(settings: Settings, train_images: int) -> AloneSettings:
    """What the method uses of this group becomes a value; the first rung of a halving depends on the space, too."""
    alone, full = settings.alone, settings.retrain.retrain_epochs or 0
    if settings.search.method in ("sweep", "halving", "random", "hyperband"):
        return dataclasses.replace(alone, sweep_epochs=_given(alone.sweep_epochs, full))
    if settings.search.method != "proxy":
        return alone
    enough = max(round(0.4 * train_images), 16 * (settings.search.batch or 0))
    return dataclasses.replace(
        alone,
        proxy_width=_given(alone.proxy_width, 0.5 if _narrows(settings) else 1.0),
        proxy_images=_given(alone.proxy_images, min(enough, train_images)),
        proxy_epochs=_given(alone.proxy_epochs, max(2, full // 8)),
    )


def _resolved_relaxed(settings: Settings) -> RelaxedSettings:
    relaxed, method = settings.relaxed, settings.search.method
    if kind_of(method) != "relaxed":
        return relaxed
    adam = method == "darts" and relaxed.arch_optimizer == "adam"  # paper, B.1; else docs/differences.md#gaea
    return dataclasses.replace(relaxed, arch_lr=_given(relaxed.arch_lr, 0.01 if adam else 0.1))


def _narrows(settings: Settings) -> bool:
    """Whether the network can have fewer channels: ours can, unless given weights fix them."""
    return ":" not in (settings.net.net or "") and settings.net.init is None


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def _auto_epochs(data: str, warm: bool) -> tuple[int, int]:
    """Epochs of the search per member, and of the retraining."""
    epochs, retrain_epochs = (sizes.get(data, sizes[""]) for sizes in (_EPOCHS, _RETRAIN_EPOCHS))
    return (min(epochs, _WARM_EPOCHS), min(retrain_epochs, _WARM_RETRAIN_EPOCHS)) if warm else (epochs, retrain_epochs)


def _auto_batch(images: int, most: int) -> int:
    """The largest power of two up to ``most`` that leaves 16 batches, but 16 images where there are as many."""
    batch = most
    while batch > 16 and images < 16 * batch:
        batch //= 2
    return max(2, min(batch, images))


_AT_LEAST_ONE = (
    "members", "epochs", "batch", "val_batch", "val_every", "rank_all_up_to", "rank_top", "eval_batch", "top_k",
    "retrain_seeds", "retrain_epochs", "retrain_batch", "max_placements", "width", "subset", "image_size", "workers",
    "placements_per_step", "latency_batch", "sweep_epochs", "sweep_seeds", "proxy_images", "proxy_epochs",
    "halving_start", "random_k",
)  # fmt: skip
_RANGES: dict[str, tuple[float, float]] = {
    "score_init": (0, 1), "lr": (0, 100), "retrain_lr": (0, 100), "lr_floor": (0, 100), "momentum": (0, 1),
    "weight_decay": (0, 1), "retrain_weight_decay": (0, 1), "beta": (0, 0.9999), "explore": (0, 1),
    "inv_temp_end": (1, 1e6), "refresh": (0, math.inf), "score_lag": (0, math.inf), "rank_control": (0, math.inf),
    "rank_memory": (0.001, math.inf), "proxy_width": (0.01, 1), "halving_rate": (2, math.inf), "hours": (0, math.inf),
    "answer_at": (0.001, math.inf), "warm_up": (0, 1), "ucb_c": (0, math.inf), "arch_lr": (0, 100),
    "arch_order": (1, 2),
    "checkpoint_seconds": (0, math.inf), "seed": (0, 2**63 - 1),
}  # fmt: skip


def check(settings: Settings) -> None:
    """See that every value is of its kind, in its range, and of use to the method; None (left to us) passes.

    Args:
        settings: as given, not resolved.

    Raises:
        PoolsearchError: naming the flag, the value and what is allowed.
    """
    _check_values(settings)
    check_method(settings)


def _check_values(settings: Settings) -> None:
    hints = {f.name: get_type_hints(type(getattr(settings, f.name))) for f in dataclasses.fields(settings)}
    for group, name, value in settings.flat():
        _check_kind(name, value, hints[group][name])
        _check_range(name, value)
    limits_of(settings.budget)
    if settings.rank.rank_early_stop and settings.data.metric != "accuracy":
        raise PoolsearchError(
            f"--rank-early-stop rests on a bound for accuracy; there is none for --metric {settings.data.metric}. "
            "Leave one of them out, or rank fewer placements with --rank-all-up-to."
        )
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
    if settings.net.init is not None and settings.net.zero_init:
        raise PoolsearchError(
            "--zero-init begins residual branches at zero, --init with given weights: leave one of them out."
        )


def _check_alone(settings: Settings, train_images: int) -> None:
    """What the settings of a method without supernets must agree on, once they are resolved."""
    alone, batch = settings.alone, settings.search.batch or 0
    if (alone.halving_start or 1) > (alone.sweep_epochs or 1):
        raise PoolsearchError(
            f"--halving-start {alone.halving_start} is more than the {alone.sweep_epochs} epochs of a whole training. "
            "Choose fewer, or more --sweep-epochs."
        )
    if alone.proxy_width not in (None, 1) and not _narrows(settings):
        raise PoolsearchError(
            f"--proxy-width {alone.proxy_width:g} is for poolsearch's own networks without --init: only these can be "
            "built with fewer channels. Leave it out."
        )
    if alone.proxy_images is not None and not batch <= alone.proxy_images <= train_images:
        raise PoolsearchError(
            f"--proxy-images {alone.proxy_images} is not possible: a minibatch has {batch} images, the search-train "
            f"half {train_images}. Choose {batch} to {train_images}, or a smaller --batch."
        )


def _check_kind(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            raise PoolsearchError(f"--{flag(name)} is {value!r}; it must be several values: a list or a tuple.")
        for item in cast("tuple[Any, ...]", value):
            _check_kind(name, item, get_args(hint)[0])
        return
    options = [option for kind in _kinds(hint) if get_origin(kind) is Literal for option in get_args(kind)]
    if any(_fits(value, kind) for kind in _kinds(hint)):
        return
    if options and isinstance(value, str):
        raise unknown(f"value for --{flag(name)}:", value, options)
    wanted = " or ".join([*map(repr, options), *(_named(k) for k in _kinds(hint) if get_origin(k) is not Literal)])
    raise PoolsearchError(f"--{flag(name)} is {value!r}; it must be {wanted}.")


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


def _check_range(name: str, value: Any) -> None:
    if isinstance(value, tuple) and name in _RANGES:
        for item in cast("tuple[Any, ...]", value):
            _check_range(name, item)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    low, high = (1, math.inf) if name in _AT_LEAST_ONE else _RANGES[name]
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise PoolsearchError(f"--{flag(name)} is {value}; allowed is {allowed}.")
