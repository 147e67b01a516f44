"""Text that others wrote (names of folders, classes and files) on its way to a terminal, a shell or a page."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable

# Joiners of letters and of emoji are format characters, too, but move nothing
_KEPT = "\n\t\u200c\u200d"
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~])")


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not write, as an escape: ``\\x1b``, ``\\u202e``, ``\\udcff``.

    Lines and tabs stay. Escaped are control characters, those that turn the direction of writing or are not seen,
    separators of lines and paragraphs, and the halves of characters that stand for bytes that are no text.

    Args:
        text: as others wrote it.

    Returns:
        The text itself where nothing is to be escaped.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _OBEYED:
        return character
    return character.encode("unicode_escape").decode()


def writable(text: str) -> str:
    r"""A text that can be written as UTF-8.

    Args:
        text: any text, with names of files as Python has them in it.

    Returns:
        The text; what is not UTF-8 in the name of a file becomes ``\xff``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode(errors="backslashreplace")
        except UnicodeEncodeError:  # halves of characters, as JSON can have them
            return text.encode(errors="backslashreplace").decode()
    return text


def markdown(text: str) -> str:
    """A text as Markdown that means itself: no emphasis, link or HTML.

    Args:
        text: as others wrote it.

    Returns:
        One line; runs of white space are one space.
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))


def shell(words: Iterable[object]) -> str:
    """A line for a POSIX shell, which gives the same words again, whatever is in them.

    Args:
        words: written as texts by ``str``.

    Returns:
        The words quoted where they need it, with a space between.
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # $'...' as in bash and zsh: a character that is not seen cannot be copied from the screen
    kept = "".join(chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in os.fsencode(word))
    return f"$'{kept}'"


def command(*words: object) -> str:
    """A command of poolsearch for the user to copy: ``command("rank", "--out", out)``.

    Args:
        *words: that follow ``poolsearch``.

    Returns:
        One line for a POSIX shell.
    """
    return shell(["poolsearch", *words])
