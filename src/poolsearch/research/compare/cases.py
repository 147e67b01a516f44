"""What is compared: methods with their settings, each at its own budget and at the same total training. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.check import check, with_method
from poolsearch.settings.method_spec import parse_spec, spec_of
from poolsearch.settings.methods import flag, kind_of
from poolsearch.settings.resolve import members_of
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.settings.settings import DECLARED

Budget = Literal["own", "equal", ""]
"""own: epochs in proportion to the members (paper, appendix B.1). equal: the same total training for all. Else: as the
method's own settings say, which are no epochs of a supernet."""


Charged = Literal["used", "all"]
"""Which scores of minibatches count as work: those that a method makes use of, or all (as in older versions)."""


@dataclass(frozen=True)
class Case:
    """A method with its settings.

    Attributes:
        spec: method and settings as text: ``mixture:members=8:epochs=6``.
        budget: which of the two comparisons it belongs to.
        settings: of its runs, but for the seed.
    """

    spec: str
    budget: Budget
    settings: Settings

    @property
    def method(self) -> str:
        """The value of ``--method``."""
        return self.settings.search.method

    @property
    def folder(self) -> str:
        """The name of the folder of its runs."""
        return "".join("," if c in ":" else "_" if c in '/\\<>"|?* ' else c for c in self.spec)

    @property
    def members(self) -> int:
        """M; 1 for every method but the mixture."""
        return members_of(self.settings)

    @property
    def name(self) -> str:
        """For people: without its epochs, which are told beside it."""
        method, fields = parse_spec(self.spec)
        named = {name: value for name, value in fields.items() if name not in ("epochs", "members")}
        of = f" of {self.members}" if method == "mixture" else ""
        return f"{method}{of}" + "".join(f", {flag(name)} {value}" for name, value in named.items())

    def at(self, seed: int) -> Settings:
        """The settings of one of its runs.

        Args:
            seed: number of the run, from 0; it is added to the seed of the case's settings.

        Returns:
            Settings as given, not yet resolved.
        """
        return self.settings.changed(seed=self.settings.machine.seed + seed)


Epochs = Callable[[Settings, int], int]
"""``epochs(settings, total)``: epochs per member of a search that is as much work as one supernet of ``total``."""


def cases_of(specs: Sequence[str], base: Settings, total: int | None, epochs_of: Epochs) -> list[Case]:
    """The cases of these methods, in their order.

    A method with supernets is compared at its own budget and, where ``total`` is given, at equal total training; once
    where the two are the same, or where its spec says ``epochs``.

    Args:
        specs: methods with their settings, such as ``mixture:members=8``.
        base: settings of all of them; a method is given those that it uses.
        total: epochs of one supernet, as much training as each method gets in the second comparison; None: no such.
        epochs_of: finds epochs per member from it.

    Returns:
        One or two for each of ``specs``, that at its own budget first; specs of theirs say their epochs.

    Raises:
        PoolsearchError: a spec is no method with settings of its, or two are the same.
    """
    found: list[Case] = []
    for spec in specs:
        found += _of_spec(spec, base, total, epochs_of)
    seen: set[str] = set()
    for case in found:
        if case.spec in seen:
            raise PoolsearchError(f"--methods names {case.spec} twice. Leave one of them out.")
        seen.add(case.spec)
    return found


def without_method(settings: Settings) -> Settings:
    """The settings of a comparison, which names its methods by themselves.

    Args:
        settings: of all methods; a setting of supernets may have brought the mixture.

    Returns:
        The same with the default's method.
    """
    return settings.changed(method=DECLARED["method"].default)


def settings_of(method: str, base: Settings, fields: dict[str, object]) -> Settings:
    """The settings of a method: those of ``base`` that it uses, and its own.

    A method is what the paper has it be, unless its own settings say ``preset``.

    Args:
        method: a value of ``--method``.
        base: settings of all methods.
        fields: values of the method's own settings by their flat names; they win.

    Returns:
        Settings as given, not yet resolved.

    Raises:
        PoolsearchError: they are of no use to it, or out of range.
    """
    preset = "paper" if base.search.preset == SearchSettings().preset else base.search.preset
    # what is compared is not cut to hours
    made = with_method(base.changed(hours=None), method).changed(**{"preset": preset, "method": method} | fields)
    check(made)
    return made


def _of_spec(spec: str, base: Settings, total: int | None, epochs_of: Epochs) -> list[Case]:
    method, fields = parse_spec(spec)
    if kind_of(method) == "auto":
        raise PoolsearchError(f"--methods {spec}: 'auto' takes one of the others; name those to compare.")
    settings = settings_of(method, base, fields)
    if kind_of(method) in ("alone", "trials", "untrained"):
        return [Case(spec_of(method, fields), "", settings)]
    own, equal = settings.search.epochs, None if total is None else epochs_of(settings, total)
    if own is None:
        raise PoolsearchError(f"--methods {spec}: epochs must be known here. Give a number, or leave them out.")
    if "epochs" in fields:
        return [Case(spec_of(method, fields), "equal" if own == equal else "own", settings)]
    budgets: dict[int, Budget] = {own: "own"}
    if equal is not None:
        budgets[equal] = "equal"
    return [
        Case(spec_of(method, fields | {"epochs": epochs}), budget, settings.changed(epochs=epochs))
        for epochs, budget in budgets.items()
    ]
