"""Options of the command line, made from the rules of the settings: argparse reads and shows them. Imports no torch."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import shutil
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings import Settings
from poolsearch.settings.check import listed
from poolsearch.settings.method_spec import read_value
from poolsearch.settings.methods import users
from poolsearch.settings.rule import Declared, declared

_NARROWEST, _WIDEST = 60, 110


class Parser(argparse.ArgumentParser):
    """argparse whose errors are a user's mistakes, said as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise PoolsearchError(f"{message}. What there is: {self.prog} --help")


def make_parser(commands: Mapping[str, type[Any]], chosen: str | None, everything: bool) -> Parser:
    """The parser of all commands.

    Args:
        commands: dataclasses by name, whose docstrings are their help.
        chosen: the command whose options are needed; of the others only the first line is shown.
        everything: show options for experts and for single methods, too.
    """
    parser = Parser("poolsearch", formatter_class=_formatter, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="store_true", default=argparse.SUPPRESS, help="show the version and exit")
    several = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, kind in commands.items():
        text = inspect.cleandoc(kind.__doc__ or "")
        one = several.add_parser(
            name, help=_escaped(text.partition("\n")[0]), description=_escaped(text), formatter_class=_formatter,
            allow_abbrev=False, add_help=False, argument_default=argparse.SUPPRESS, usage=_usage(name, kind),
        )  # fmt: skip
        if name == chosen:
            _add(one, kind, everything)
    return parser


def options_of(kind: type[Any]) -> Iterator[tuple[str, str, Declared]]:
    """(field, title, option) of everything that a command can be told.

    ``field`` is that of the command, or of the settings (``settings.search``) which the option belongs to.
    """
    for option in declared(kind):
        yield "", "options", option
    for item in dataclasses.fields(kind):
        part = item.default_factory() if item.default_factory is not dataclasses.MISSING else None
        if isinstance(part, Settings):
            for group, values in part.groups().items():
                if group in kind.takes:
                    yield from ((f"{item.name}.{group}", title_of(values), one) for one in declared(type(values)))
        elif part is not None:
            yield from ((item.name, title_of(part), one) for one in declared(type(part)))


def typed_values(options: Mapping[str, Any], declared_: Mapping[str, Declared]) -> dict[str, Any]:
    """What was typed, by name, as values of the options' types.

    Raises:
        PoolsearchError: a text is none of what its option allows.
    """
    return {name: _read(declared_[name], value) for name, value in options.items() if name in declared_}


def check_rest(rest: Sequence[str], command: str, commands: Mapping[str, type[Any]], before: bool = False) -> None:
    """See that nothing is left over that is no option.

    Args:
        rest: words that argparse did not take.
        command: the name of the command.
        commands: dataclasses of all commands by name.
        before: the first of them stands before the command.

    Raises:
        PoolsearchError: naming the first such word, and the option that it may have been meant for.
    """
    for word in rest:
        if word.startswith("-"):
            if before:
                raise PoolsearchError(
                    f"{word} stands before the command. Options go after it: poolsearch {command} {word}"
                )
            flag, flags = word.partition("=")[0], _flags(commands[command])
            if elsewhere := [name for name, kind in commands.items() if flag in _flags(kind)]:
                raise PoolsearchError(
                    f"'poolsearch {command}' has no use for {flag}, an option of {listed(elsewhere)}: leave it out. "
                    f"Allowed: {', '.join(sorted(flags))}."
                )
            raise unknown(f"option of 'poolsearch {command}':", flag, flags)
        raise PoolsearchError(
            f"'{word}' is one word too many for 'poolsearch {command}'. Images are named with --data, a run's folder "
            "with --out; a value with spaces needs quotes."
        )


def _flags(kind: type[Any]) -> set[str]:
    return {option.flag for _, _, option in options_of(kind) if not option.rule.positional}


def _add(parser: argparse.ArgumentParser, kind: type[Any], everything: bool) -> None:
    hidden, sections = 0, dict[str, argparse._ArgumentGroup]()  # pyright: ignore[reportPrivateUsage]
    options = list(options_of(kind))
    own = [(title, option) for field, title, option in options if not field.startswith("settings.")]
    rest = [(title, option) for field, title, option in options if field.startswith("settings.")]
    for title, option in own + rest:
        users_, shown = option.rule.used_by, everything or not option.rule.expert
        hidden += not shown
        title = f"only --method {listed(users(users_))}" if everything and users_ and option.rule.expert else title
        if title not in sections:
            sections[title] = parser.add_argument_group(title)
        _add_option(sections[title], option, shown)
    last = parser.add_argument_group("help")
    last.add_argument("-h", "--help", action="help", help="show this and exit")
    if any(option.rule.expert for _, _, option in options):
        last.add_argument(
            "--help-all", action="help", help=f"show the {hidden} options for experts, too" if hidden else "as --help"
        )


def _add_option(section: argparse._ArgumentGroup, option: Declared, shown: bool) -> None:  # pyright: ignore[reportPrivateUsage]
    text = _escaped(option.rule.help + _default(option)) if shown else argparse.SUPPRESS
    if option.rule.positional:
        nargs = "?" if option.rule.positional == "optional" else None
        section.add_argument(option.name, nargs=nargs, metavar=option.name.upper(), help=text)
    elif option.hint is bool:
        section.add_argument(option.flag, dest=option.name, action="store_true", help=text)
        # undoes what a file of settings or the folder says; it is not shown, as every switch is off by default
        section.add_argument(f"--no-{option.flag[2:]}", dest=option.name, action="store_false", help=argparse.SUPPRESS)
    else:
        several = "*" if get_origin(option.hint) is tuple else None
        section.add_argument(option.flag, dest=option.name, nargs=several, metavar=metavar(option), help=text)


def metavar(option: Declared) -> str:
    """What stands for the value: the words that are allowed, N for a whole number, X for another, else its name."""
    kinds = get_args(option.hint) if get_origin(option.hint) in (tuple, Union, UnionType) else (option.hint,)
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    number = "X" if float in kinds else "N" if int in kinds else ""
    if words:
        return "|".join([*([number] if number else []), *words])
    named = {"out": "FOLDER", "config": "FILE", "image_size": "N|HxW"}
    return named.get(option.name) or number or option.flag[2:].upper()


def _default(option: Declared) -> str:
    """The default, where it is a value and the text does not tell it."""
    value = option.default
    if (
        any(value is empty for empty in (None, False))
        or value in ((), "")
        or "Default:" in option.rule.help
        or option.rule.positional
    ):
        return ""
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f" (default: {shown})"


def _read(option: Declared, given: Any) -> Any:
    if isinstance(given, bool):
        return given
    said = option.name if option.rule.positional else option.flag
    if get_origin(option.hint) is tuple:
        return tuple(read_value(f"{said} {one}", one, get_args(option.hint)[0]) for one in given)
    return read_value(f"{said} {given}", given, option.hint)


def title_of(group: object) -> str:
    """The first line of a group's docstring, as a heading."""
    text = (type(group).__doc__ or "").partition("\n")[0].rstrip(".").partition(";")[0]
    return text[:1].lower() + text[1:]


def _usage(name: str, kind: type[Any]) -> str:
    words = [
        option.name.upper() if option.rule.positional == "required" else f"[{option.name.upper()}]"
        for _, _, option in options_of(kind) if option.rule.positional
    ]  # fmt: skip
    return " ".join(["poolsearch", name, *words, "[options]"])


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=width)
