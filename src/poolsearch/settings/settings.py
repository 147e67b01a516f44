"""All settings of a run as one value: from fields, from JSON and back. Imports no torch."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.image_size import ImageSize
from poolsearch.settings.groups import (
    BudgetSettings,
    DataSettings,
    MachineSettings,
    NetSettings,
    RankSettings,
    RetrainSettings,
)
from poolsearch.settings.rule import Declared, declared
from poolsearch.settings.search_groups import AloneSettings, RelaxedSettings, SearchSettings
from poolsearch.settings.tasks import METRICS

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """All settings of a run, by stage, as a user gives them: None is left open, or means none.

    What a run works with is a :class:`poolsearch.settings.ResolvedSettings`, in which nothing is left open.
    """

    data: DataSettings = field(default_factory=DataSettings)
    net: NetSettings = field(default_factory=NetSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    relaxed: RelaxedSettings = field(default_factory=RelaxedSettings)
    alone: AloneSettings = field(default_factory=AloneSettings)
    rank: RankSettings = field(default_factory=RankSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """As JSON values, by group and field.

        Returns:
            Values by group and field.
        """
        return {name: dataclasses.asdict(group) for name, group in self.groups().items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Mapping[str, Any]]) -> Settings:
        """Undo of :meth:`to_dict`.

        Args:
            values: by group and field; what is missing has its default.

        Returns:
            The settings.

        Raises:
            PoolsearchError: a group or field is unknown; the nearest name is given.
        """
        groups = {f.name: f for f in dataclasses.fields(cls)}
        made = {}
        for group, fields in values.items():
            if group not in groups:
                raise unknown("group of settings", group, groups)
            made[group] = _group(type(getattr(_DEFAULTS, group)), fields)
        return cls(**made)

    @classmethod
    def from_record(cls, values: Mapping[str, Mapping[str, Any]]) -> Settings:
        """As :meth:`from_dict`, for what an earlier version may have written: a run keeps doing what that version did.

        Args:
            values: by group and field, as ``run.json`` has them.

        Returns:
            The settings, as that version understood them.

        Raises:
            PoolsearchError: as :meth:`from_dict`.
        """
        return cls.from_dict({group: _as_then(group, fields) for group, fields in values.items()})

    @classmethod
    def of(cls, **fields: Any) -> Settings:
        """From flat field names, as on the command line: ``Settings.of(data="cifar10", members=2)``.

        Returns:
            The settings, with defaults for all other fields.

        Raises:
            PoolsearchError: a field is unknown; the nearest name is given.
        """
        return _DEFAULTS.changed(**fields)

    def changed(self: S, **fields: Any) -> S:
        """These settings with some fields replaced, given by their flat names.

        Where no method is given, nor was before, a preset brings its own, and a setting that only supernets have asks
        for the mixture.

        Returns:
            Other settings of the same type.

        Raises:
            PoolsearchError: a field is unknown; the nearest name is given.
        """
        owner = {name: group for group, name, _ in self.flat()}
        wrong = [name for name in fields if name not in owner]
        if wrong:
            raise unknown("setting", wrong[0], owner)
        if self.search.method == DECLARED["method"].default and any(
            _asks_for_supernets(*one) for one in fields.items()
        ):
            fields = {"method": "mixture", **fields}
        result = self
        for name, value in fields.items():
            group = getattr(result, owner[name])
            value = _plain(value)
            if name == "image_size" and isinstance(value, str):
                value = _one_form(value)
            result = dataclasses.replace(result, **{owner[name]: dataclasses.replace(group, **{name: value})})
        if {"task", "metric"} & {*fields} and result.data.metric == METRICS.get(result.data.task, (None,))[0]:
            # the default by its name is compared with that of a run
            result = dataclasses.replace(result, data=dataclasses.replace(result.data, metric=None))
        return result

    @property
    def is_benchmark(self) -> bool:
        """Whether a sweep is the ground truth of research, which reads the test split."""
        return self.search.method == "sweep" and self.alone.sweep_mode == "benchmark"

    def groups(self) -> dict[str, Any]:
        """The groups by their names.

        Returns:
            Values of the groups, in their order.
        """
        return {group.name: getattr(self, group.name) for group in dataclasses.fields(Settings)}

    def flat(self) -> Iterator[tuple[str, str, Any]]:
        """(group, field, value) of every setting.

        Yields:
            Group, field and value of every setting, in their order.
        """
        for name, group in self.groups().items():
            for item in dataclasses.fields(group):
                yield name, item.name, getattr(group, item.name)


_DEFAULTS = Settings()

DECLARED: dict[str, Declared] = {
    one.name: one for group in _DEFAULTS.groups().values() for one in declared(type(group))
}
"""Every setting by its name, as it was declared."""

_EARLIER: dict[str, dict[str, Any]] = {"search": {"lr_every": "epoch", "preset": "paper"}}
"""What versions did that had no such setting, where it is not the default."""


def _as_then(group: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a group in today's terms.

    Members were 4 unless given, which is now a matter of the preset (and then the same), and the preset ``robust``
    was the text of the paper with scores that are read late. The metric was accuracy unless given.
    """
    found = {**_EARLIER.get(group, {}), **fields}
    if group == "data" and found.get("metric") == "accuracy":
        found["metric"] = None
    if group == "search" and "assign" not in fields:
        if found.get("members") == 4:
            found["members"] = None
        if found["preset"] == "robust":
            lag = found.get("score_lag")
            found |= {"preset": "paper", "score_lag": 8 if lag is None else lag}
    return found


def _asks_for_supernets(name: str, value: Any) -> bool:
    """Whether a setting is of use only where supernets are trained; or a preset that trains them."""
    if value == DECLARED[name].default:
        return False
    used_by = DECLARED[name].rule.used_by
    return name == "preset" or ("sampled" in used_by and not {"trials", "alone", "untrained"} & {*used_by})


def _one_form(image_size: str) -> int | str:
    """``64x64`` is 64, as which it is compared with that of a run; what is no size is refused by the check."""
    try:
        return ImageSize.of(image_size).plain
    except PoolsearchError:
        return image_size


def _plain(value: Any) -> Any:
    """The value as the settings hold it: lists become tuples, paths text, other libraries' integers plain ones."""
    if isinstance(value, ImageSize):
        return value.plain
    if isinstance(value, list):
        return tuple(cast("list[Any]", value))
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, numbers.Integral) else value


def _group(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(kind)}
    wrong = [name for name in fields if name not in names]
    if wrong:
        raise unknown("setting", wrong[0], names)
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})
