"""What is declared with each setting: its help, its range, which methods use it, and when it may still change.

Checks, the command line's help, the page of all settings and a method's text form are made from these rules alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_type_hints

T = TypeVar("T")

Change = Literal["never", "before-ranking", "ranks-again", "before-retraining", "grows", "always"]
"""When a resumed run may be given another value. ``ranks-again``: at any time; where there is a ranking, another is
made. ``grows``: at any time; once the test split was opened, only a larger one. ``always``: such a value changes no
result but, for a device or workers, last bits; or what it names is checked by a hash."""


Positional = Literal["required", "optional"]


@dataclass(frozen=True)
class Rule:
    """What is allowed of a setting, and whom it is for.

    Attributes:
        help: what it does, and what its default is where that is left open.
        at_least: least value of a number, or of each of several.
        at_most: largest value.
        used_by: methods, or kinds of them, that make use of it; empty for all.
        may_change: when a resumed run may be given another value.
        expert: shown by ``--help-all`` only.
        positional: given without a flag on the command line; whether it must be.
        flag: its flag, where that is not its name.
    """

    help: str
    at_least: float = -math.inf
    at_most: float = math.inf
    used_by: tuple[str, ...] = ()
    may_change: Change = "never"
    expert: bool = False
    positional: Positional | None = None
    flag: str | None = None


_KEY = "rule"


def setting(
    default: T,
    help: str,  # noqa: A002 - as argparse and click call it
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    used_by: tuple[str, ...] = (),
    may_change: Change = "never",
    expert: bool = False,
    positional: Positional | None = None,
    flag: str | None = None,
) -> T:
    """A field of a dataclass of settings or of a command.

    Args:
        default: its value when nothing is given; None is left open until it is resolved, or means none.
        help: what it does, and what its default is where that is left open.
        at_least: least value.
        at_most: largest value.
        used_by: methods, or kinds of them, that make use of it.
        may_change: when a resumed run may be given another value.
        expert: shown by ``--help-all`` only.
        positional: given without a flag.
        flag: its flag, where that is not its name.

    Returns:
        The field; typed as the default, as those of :func:`dataclasses.field`.
    """
    rule = Rule(help, at_least, at_most, used_by, may_change, expert, positional, flag)
    return field(default=default, metadata={_KEY: rule})


def rule_of(item: dataclasses.Field[Any]) -> Rule | None:
    """The rule of a field; None where it has none, as a group of settings.

    Args:
        item: of a dataclass.

    Returns:
        The rule that the field was declared with.
    """
    return item.metadata.get(_KEY)


@dataclass(frozen=True)
class Declared:
    """A setting as it was declared: its name, type, default and rule."""

    name: str
    hint: Any
    default: Any
    rule: Rule

    @property
    def flag(self) -> str:
        """As the command line writes it."""
        return "--" + (self.rule.flag or self.name).replace("_", "-")


def declared(kind: type[Any]) -> Iterator[Declared]:
    """The settings of a dataclass, in their order; fields without a rule are passed over.

    Args:
        kind: a dataclass.

    Yields:
        Each field that has a rule.
    """
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        rule = rule_of(item)
        if rule is not None:
            yield Declared(item.name, hints[item.name], item.default, rule)
