"""Settings in which nothing is left open: what a run works with. Made by :func:`poolsearch.settings.resolve.resolve`.

What may still be None has a meaning of its own: all images, no limit, the network's own way, or what the machine or
the space decides later. ``field()`` takes the default away that a field has in the settings as given.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from poolsearch.settings.check import used
from poolsearch.settings.groups import NetSettings, RankSettings, RetrainSettings
from poolsearch.settings.search_groups import AloneSettings, RelaxedSettings, SearchSettings
from poolsearch.settings.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ResolvedNet(NetSettings):
    net: str = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedSearch(SearchSettings):
    members: int = field()
    epochs: int = field()
    batch: int = field()
    lr: float = field()
    lr_floor: float = field()
    lr_every: Literal["step", "epoch"] = field()
    weight_decay: float = field()
    inv_temp_end: float = field()
    balance_every: Literal["step", "epoch"] = field()
    val_batch: int = field()
    score_lag: int = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedRelaxed(RelaxedSettings):
    arch_lr: float = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedAlone(AloneSettings):
    """``halving_start`` may be None: it then follows from the size of the space."""

    sweep_epochs: int = field()
    proxy_width: float = field()
    proxy_images: int = field()
    proxy_epochs: int = field()
    trial_epochs: int = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedRank(RankSettings):
    rank_by: Literal["metric", "prediction"] = field()
    trials: int = field()
    rank_members: Literal["assignment", "best", "mean"] = field()
    eval_batch: int = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedRetrain(RetrainSettings):
    retrain_epochs: int = field()
    retrain_batch: int = field()
    retrain_lr: float = field()
    retrain_weight_decay: float = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedSettings(Settings):
    """All settings of a run with nothing left open.

    Attributes:
        given: what they were made from, as the user gave it.
    """

    net: ResolvedNet = field()
    search: ResolvedSearch = field()
    relaxed: ResolvedRelaxed = field()
    alone: ResolvedAlone = field()
    rank: ResolvedRank = field()
    retrain: ResolvedRetrain = field()
    given: Settings

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """As JSON values, by group and field; what was left open and the method makes no use of is None.

        Returns:
            Values by group and field.
        """
        method, given = self.search.method, self.given.to_dict()
        return {
            group: {
                name: None if given[group][name] is None and not used(name, method) else value
                for name, value in fields.items()
            }
            for group, fields in Settings.to_dict(self).items()
        }


def groups_of(settings: Settings, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The groups of settings with changes, as those of :class:`ResolvedSettings`.

    Args:
        settings: as given.
        changes: values by group and field, for all that was left open.

    Returns:
        Groups by name, as :class:`ResolvedSettings` takes them.
    """
    kinds: dict[str, type[Any]] = {
        "net": ResolvedNet, "search": ResolvedSearch, "relaxed": ResolvedRelaxed, "alone": ResolvedAlone,
        "rank": ResolvedRank, "retrain": ResolvedRetrain,
    }  # fmt: skip
    return {
        name: kinds.get(name, type(group))(
            **{item.name: getattr(group, item.name) for item in dataclasses.fields(group)} | changes.get(name, {})
        )
        for name, group in settings.groups().items()
    }
