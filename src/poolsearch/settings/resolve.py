"""What is left open becomes a value, now that the data is known. Imports no torch."""

from __future__ import annotations

from typing import TypeVar

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import LARGEST_NATIVE, ImageSize
from poolsearch.settings.check import check, check_values, is_calibrated, ranks_by
from poolsearch.settings.methods import kind_of
from poolsearch.settings.resolved import ResolvedSettings, groups_of
from poolsearch.settings.settings import Settings
from poolsearch.settings.tasks import metric_of

T = TypeVar("T")

# Recipe sizes by data set; "" is every other. Nothing else in the package depends on a data set's name.
_EPOCHS = {"": 75, "digits": 40}
_RETRAIN_EPOCHS = {"": 200, "digits": 12}
_PAPER_MEMBERS = 4
# Preset robust: as much work for the supernets as for a few trials (docs/calibration.md)
_ROBUST_MEMBERS, _ROBUST_TRIALS, _BAYES_TRIALS = 1, 5, 8
_ROBUST_SEARCH = 1.5  # epochs of all members together, in those of a retraining
# With --init the search is a fine-tuning: the weights are near their end from the start (docs/differences.md)
_WARM_EPOCHS, _WARM_RETRAIN_EPOCHS = 10, 20


def resolve(settings: Settings, train_images: int, val_images: int, image_size: ImageSize | int) -> ResolvedSettings:
    """Give a value to all that was left open, now that the size of the data is known; check the rest.

    Args:
        settings: as given.
        train_images: size of the search-train half.
        val_images: size of the search-val half.
        image_size: that the network sees; the side of a square, or height and width.

    Returns:
        What a run works with; it remembers ``settings``.

    Raises:
        PoolsearchError: a value is out of range, or does not belong to the method.
    """
    check(settings)
    search, alone, retrain, method = settings.search, settings.alone, settings.retrain, settings.search.method
    size = ImageSize.of(image_size)
    official, warm = search.preset == "official", settings.net.init is not None
    calibrated, rank_by = is_calibrated(settings), ranks_by(settings)
    members = members_of(settings)
    batch = _given(search.batch, _auto_batch(train_images, 128 if official else 256))
    epochs, retrain_epochs = _auto_epochs(settings.data.data, warm)
    retrain_epochs = _given(retrain.retrain_epochs, retrain_epochs)
    if calibrated:
        epochs = max(1, round(_ROBUST_SEARCH * retrain_epochs / members))
    lr = _given(search.lr, (0.01 if warm else 0.1) * min(1.0, batch / 128))
    decay = _given(search.weight_decay, 0.0 if official else 1e-4 if warm else 1e-3)
    net = _given(settings.net.net, "cifar-resnet20" if size.small else "resnet18")
    adam = method == "darts" and settings.relaxed.arch_optimizer == "adam"  # paper, B.1; else docs/differences.md#gaea
    members_asked = "mean" if rank_by == "prediction" else "best" if official else "assignment"
    enough = max(round(0.4 * train_images), 16 * batch)
    resolved = ResolvedSettings(given=settings, **groups_of(settings, {
        "data": {"metric": metric_of(settings.data.task, settings.data.metric)},
        "net": {"net": net},
        "search": {
            "members": members,
            "epochs": _given(search.epochs, epochs),
            "batch": batch,
            "val_batch": _given(search.val_batch, min(batch, val_images)),
            "lr": lr,
            "lr_floor": min(_given(search.lr_floor, lr / 100 if warm else 1e-3), lr),
            "lr_every": _given(search.lr_every, "epoch" if official else "step"),
            "weight_decay": decay,
            "inv_temp_end": _given(search.inv_temp_end, 100.0 if official else 100.0 * members),
            "score_lag": _given(search.score_lag, 8 if calibrated else 0),
            "balance_every": _given(search.balance_every, "epoch" if official else "step"),
        },
        "relaxed": {"arch_lr": _given(settings.relaxed.arch_lr, 0.01 if adam else 0.1)},
        "alone": {
            "sweep_epochs": _given(alone.sweep_epochs, retrain_epochs),
            "proxy_width": _given(alone.proxy_width, 0.5 if _narrows(net, warm) else 1.0),
            "proxy_images": _given(alone.proxy_images, min(enough, train_images)),
            "proxy_epochs": _given(alone.proxy_epochs, max(2, retrain_epochs // 8)),
            "trial_epochs": _given(alone.trial_epochs, retrain_epochs),
        },
        "rank": {
            "rank_by": rank_by,
            "trials": trials_of(settings),
            "rank_members": _given(settings.rank.rank_members, members_asked),
            "eval_batch": _given(settings.rank.eval_batch, 512 if size.pixels <= LARGEST_NATIVE**2 else 64),
        },
        "retrain": {
            "retrain_batch": _given(retrain.retrain_batch, batch),
            "retrain_lr": _given(retrain.retrain_lr, lr),
            "retrain_weight_decay": _given(retrain.retrain_weight_decay, decay),
            "retrain_epochs": retrain_epochs,
        },
    }))  # fmt: skip
    check_values(resolved)
    if kind_of(method) == "alone":
        _check_alone(resolved, train_images)
    return resolved


def members_of(settings: Settings) -> int:
    """How many supernets a search trains.

    Args:
        settings: as given, or resolved.

    Returns:
        M; 1 for every method but the mixture.
    """
    if settings.search.method != "mixture":
        return 1
    return _given(settings.search.members, _ROBUST_MEMBERS if is_calibrated(settings) else _PAPER_MEMBERS)


def trials_of(settings: Settings) -> int:
    """How many stand-alone trainings a ranking learns from.

    Args:
        settings: as given, or resolved.

    Returns:
        As given; else by the method and the preset.
    """
    if settings.search.method == "bayes":
        return _given(settings.rank.trials, _BAYES_TRIALS)
    learns = is_calibrated(settings) and ranks_by(settings) == "prediction"
    return _given(settings.rank.trials, _ROBUST_TRIALS if learns else 0)


def _narrows(net: str, warm: bool) -> bool:
    """Whether the network can have fewer channels: ours can, unless given weights fix them."""
    return ":" not in net and not warm


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


def _check_alone(settings: ResolvedSettings, train_images: int) -> None:
    """What the settings of a method without supernets must agree on."""
    alone, batch, method = settings.alone, settings.search.batch, settings.search.method
    if alone.halving_start is not None and alone.halving_start > alone.sweep_epochs:
        raise PoolsearchError(
            f"--halving-start {alone.halving_start} is more than the {alone.sweep_epochs} epochs of a whole training. "
            "Choose fewer, or more --sweep-epochs."
        )
    if alone.proxy_width != 1 and not _narrows(settings.net.net, settings.net.init is not None):
        raise PoolsearchError(
            f"--proxy-width {alone.proxy_width:g} is for poolsearch's own networks without --init: only these can be "
            "built with fewer channels. Leave it out."
        )
    if method == "proxy" and not batch <= alone.proxy_images <= train_images:
        raise PoolsearchError(
            f"--proxy-images {alone.proxy_images} is not possible: a minibatch has {batch} images, the search-train "
            f"half {train_images}. Choose {batch} to {train_images}, or a smaller --batch."
        )
