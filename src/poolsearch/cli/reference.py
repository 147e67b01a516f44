"""docs/settings.md: every setting with its type, default, range and methods, from the rules. Imports no torch.

python -m poolsearch.cli.reference > docs/settings.md
"""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterator

from poolsearch.cli.options import metavar, title_of
from poolsearch.settings import Settings
from poolsearch.settings.methods import users
from poolsearch.settings.rule import Declared, declared

_CHANGES = {
    "before-ranking": "may change until the ranking",
    "ranks-again": "may change; a run that has a ranking is then ranked again",
    "before-retraining": "may change until the retraining",
    "grows": "may change until the test split is opened, and then only grow",
    "always": "may change when a run is resumed",
}


def reference() -> str:
    """The page of all settings, as Markdown."""
    lines = [
        "# All settings",
        "",
        "They are given as flags of `poolsearch run` (and of `search`, `plan` and `compare`), as fields of",
        "`poolsearch.Settings.of(...)` with underscores for dashes, or as names of a TOML file for `--config`, in",
        "tables named as the headings or outside of any. Written by `python -m poolsearch.cli.reference`.",
        "",
    ]
    for name, group in Settings().groups().items():
        lines += [f"## [{name}] {title_of(group)}", ""]
        for setting in declared(type(group)):
            said = "; ".join(_said(setting))
            lines += [f"`{setting.flag} {metavar(setting)}`".replace(" `", "`"), "", *_wrapped(setting.rule.help), ""]
            lines += [*_wrapped(f"*{said[0].upper()}{said[1:]}.*"), ""] if said else []
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def _said(setting: Declared) -> Iterator[str]:
    rule = setting.rule
    if setting.default is not False and setting.default not in (None, ()):
        several = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        yield f"default {' '.join(map(str, several))}"
    if rule.at_least != -math.inf:
        yield f"at least {rule.at_least:g}" if rule.at_most == math.inf else f"{rule.at_least:g} to {rule.at_most:g}"
    if rule.used_by:
        yield f"for --method {', '.join(users(rule.used_by))}"
    if rule.may_change != "never":
        yield _CHANGES[rule.may_change]


if __name__ == "__main__":
    sys.stdout.write(reference())
