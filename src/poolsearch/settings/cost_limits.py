"""What a placement may cost at most, as a user writes it: ``4G``, ``5ms``, ``2GB``, ``1.2x``. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from poolsearch.errors import PoolsearchError
from poolsearch.settings.groups import BudgetSettings

Kind = Literal["macs", "memory", "latency"]
_UNITS: Mapping[Kind, Mapping[str, float]] = {
    "macs": {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "memory": {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "latency": {"us": 1e-3, "ms": 1, "s": 1e3},
}
_EXAMPLES: Mapping[Kind, str] = {"macs": "800M or 4G", "memory": "500MB or 2GB", "latency": "5ms"}
_WHAT: Mapping[Kind, str] = {"macs": "MACs", "memory": "memory of a training step", "latency": "latency"}


@dataclass(frozen=True)
class Limit:
    """The most that a placement may cost of one kind.

    Attributes:
        kind: of what.
        text: as it was given.
        amount: MACs, bytes or milliseconds; or, if ``relative``, how many times what the default placement costs.
    """

    kind: Kind
    text: str
    amount: float
    relative: bool

    @property
    def flag(self) -> str:
        return f"--max-{self.kind}"

    @property
    def what(self) -> str:
        """What is limited, in words."""
        return _WHAT[self.kind]

    def most(self, default: float) -> float:
        """The largest cost allowed, where the default placement costs ``default``.

        Args:
            default: what the network's own placement costs, in the unit of the kind.

        Returns:
            The most that a placement may cost, in that unit.
        """
        return self.amount * default if self.relative else self.amount


def limits_of(budget: BudgetSettings) -> list[Limit]:
    """The limits that were given.

    Args:
        budget: as given.

    Returns:
        The limits that were given, by their kind.

    Raises:
        PoolsearchError: a text is no number with a unit of its kind, or not above zero.
    """
    given: dict[Kind, str | None] = {
        "macs": budget.max_macs, "memory": budget.max_memory, "latency": budget.max_latency,
    }  # fmt: skip
    return [read_limit(kind, text) for kind, text in given.items() if text is not None]


def read_limit(kind: Kind, text: str) -> Limit:
    """Read ``1.2x`` or a number with one of the units of ``kind``; capitals do not matter.

    Args:
        kind: of cost.
        text: as it was typed: 1.2x, or an amount with its unit.

    Returns:
        The limit.

    Raises:
        PoolsearchError: it is neither, or not above zero.
    """
    units = {name.lower(): factor for name, factor in _UNITS[kind].items()} | {"x": 1.0}
    found = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?) ?([a-z]*)", text.strip().lower())
    try:
        number = float(found[1]) if found else math.nan
    except ValueError:
        number = math.nan
    allowed = f"give a number with one of the units {', '.join(_UNITS[kind])}, such as {_EXAMPLES[kind]}, or with x, " \
              "which is times what the default placement needs, such as 1.0x"  # fmt: skip
    if found is None or math.isnan(number):
        raise PoolsearchError(f"--max-{kind} is '{text}', which is not an amount: {allowed}.")
    if found[2] not in units:
        wrong = f"has the unknown unit '{found[2]}'" if found[2] else "has no unit"
        raise PoolsearchError(f"--max-{kind} is '{text}', which {wrong}: {allowed}.")
    if not 0 < number < math.inf:
        raise PoolsearchError(f"--max-{kind} is '{text}'; allowed is more than 0.")
    return Limit(kind, text.strip(), number * units[found[2]], found[2] == "x")


def shown_amount(kind: Kind, amount: float) -> str:
    """A cost for people, such as ``40.82M``, ``1.25GB`` or ``3.1ms``.

    Args:
        kind: of cost.
        amount: in multiply-adds, bytes or seconds.

    Returns:
        The amount with a unit that suits its size.
    """
    units = {"memory": ("B", "KB", "MB", "GB", "TB"), "macs": ("", "K", "M", "G", "T"), "latency": ("us", "ms", "s")}
    factors = {"": 1.0, **_UNITS[kind]}
    fitting = [unit for unit in units[kind] if amount >= factors[unit]] or [units[kind][0]]
    return f"{amount / factors[fitting[-1]]:.4g}{fitting[-1]}"
