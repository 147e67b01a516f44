"""All settings as a command takes them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from poolsearch.settings.groups import (
    AloneSettings,
    BudgetSettings,
    DataSettings,
    MachineSettings,
    NetSettings,
    RankSettings,
    RelaxedSettings,
    RetrainSettings,
    SearchSettings,
)


@dataclass(frozen=True)
class AllSettings:
    data: DataSettings = field(default_factory=DataSettings)
    net: NetSettings = field(default_factory=NetSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    relaxed: RelaxedSettings = field(default_factory=RelaxedSettings)
    alone: AloneSettings = field(default_factory=AloneSettings)
    rank: RankSettings = field(default_factory=RankSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
